"""Draw the picture of README.md: a sentence spoken by the shipped voice, its spectrogram and its alignment.

    python -m benchmarks.readme_picture --out docs/pictures/sentence.png

The sampling seed is fixed, so the picture changes only with the voice, PyTorch or Matplotlib.
"""

from collections.abc import Sequence
from pathlib import Path

import click
import torch
from jaxtyping import Float
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

import lina

SENTENCE = "The state of the model has a constant size."
WINDOW, HOP = 1024, 128


def spectrogram(audio: Float[Tensor, "samples"]) -> Float[Tensor, "F T"]:
    """Magnitudes in dB below the loudest, at least -70."""
    window = torch.hann_window(WINDOW)
    magnitude = torch.stft(audio, WINDOW, HOP, window=window, return_complex=True).abs()
    return (20 * torch.log10(magnitude / magnitude.max() + 1e-9)).clamp(min=-70)


def draw(
    audio: Float[Tensor, "samples"],
    rate: int,
    attention: Float[Tensor, "T J"],
    labels: Sequence[str],
    path: Path,
) -> None:
    """Write a PNG: the spectrogram above, below it the attention of each frame to the text, on one time axis."""
    seconds = len(audio) / rate
    figure = Figure(figsize=(9, 5.4), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, 3))
    extent = (0.0, seconds, 0.0, rate / 2000)
    above.imshow(spectrogram(audio).numpy(), origin="lower", aspect="auto", cmap="magma", extent=extent)
    above.set_ylabel("frequency, kHz")
    above.set_title(f"“{SENTENCE}”")
    below.imshow(
        attention.T.numpy(),
        aspect="auto",
        cmap="Blues",
        interpolation="nearest",
        extent=(0.0, seconds, len(labels) - 0.5, -0.5),
    )
    below.set_yticks([])
    below.set_ylabel("attention to phonemes")
    step = seconds / len(attention)
    for position, label in enumerate(labels):
        if len(label) == 1 and label.isalpha():
            frame = int(attention[:, position].argmax())
            below.text((frame + 2) * step, position, label, fontsize=9, va="center")
    below.set_xlabel("time, s")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Software": None})


@click.command()
@click.option(
    "--out", type=click.Path(path_type=Path), default="docs/pictures/sentence.png", show_default=True
)
def main(out: Path) -> None:
    """Speak the sentence and write the picture to OUT."""
    voice = lina.load()
    (speech,) = voice.speak([SENTENCE])
    audio = speech.audio.mean(dim=0)
    draw(audio, voice.sample_rate, speech.attention, speech.labels, out)
    click.echo(f"{out}: {len(audio) / voice.sample_rate:.2f} s of speech, {len(speech.labels)} phonemes")


if __name__ == "__main__":
    main()
