"""Attention plot as an image, for TensorBoard."""

from collections.abc import Sequence
from typing import Any

import numpy
from jaxtyping import Float, UInt8
from torch import Tensor

MAX_LABELS = 250
_FONT = "DejaVu Sans Mono"


def attention_figure(
    weights: Float[Tensor, "T J"], labels: Sequence[str], frames_per_second: float | None
) -> UInt8[numpy.ndarray, "height width 3"]:
    """Plot attention weights: text on the x axis (labeled if there are J labels, at most 250), seconds on the y axis.

    Without a frame rate the y axis is in frames. No global state of matplotlib is used.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    frames, positions = weights.shape
    labeled = len(labels) == positions <= MAX_LABELS
    figure = Figure(figsize=(max(6.0, 0.11 * positions) if labeled else 8.0, 3.6), dpi=100)
    canvas: Any = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    length = frames / frames_per_second if frames_per_second else frames
    image = axes.imshow(
        weights.float().nan_to_num(0.0).numpy(),
        aspect="auto",
        origin="lower",
        interpolation="nearest",
        cmap="Blues",
        extent=(-0.5, positions - 0.5, 0.0, length),
    )
    axes.set_xlabel("text position")
    axes.set_ylabel("time (s)" if frames_per_second else "frame")
    if labeled:
        shown = [_printable(label) for label in labels]
        turned = 90 if any(len(label) > 1 for label in shown) else 0
        axes.set_xticks(range(positions), shown, rotation=turned, family=_FONT, fontsize=7, parse_math=False)
        axes.tick_params(axis="x", length=0)
    figure.colorbar(image, label="weight", pad=0.02)
    figure.subplots_adjust(left=0.1, right=1.0, bottom=0.3 if labeled and turned else 0.16, top=0.97)
    canvas.draw()
    return numpy.asarray(canvas.buffer_rgba())[..., :3].copy()


def _printable(label: str) -> str:
    """Replace characters missing in the font by an open square, and spaces by an open box."""
    from matplotlib.font_manager import findfont, get_font

    font = get_font(findfont(_FONT))
    marked = label.replace(" ", "␣")
    return "".join(c if c.isprintable() and font.get_char_index(ord(c)) else "□" for c in marked) or "□"
