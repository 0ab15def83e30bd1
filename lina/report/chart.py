"""Line charts over steps as data for a template: labeled ticks and SVG paths, in units of the drawing.

The colors of the SVG come from the page's style, so that one drawing serves light and dark mode.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from lina.report.numbers import short

WIDTH, HEIGHT = 460.0, 250.0
LEFT, RIGHT, TOP, BOTTOM = 68.0, 14.0, 12.0, 42.0
MAX_POINTS = 400

Point = tuple[float, float]


@dataclass(frozen=True)
class Curve:
    name: str
    points: Sequence[Point]
    """(step, value), steps rising."""
    shade: float | None = None
    """Position in a sequence of curves, 0 .. 1; None for the first colors of the style."""
    band: Sequence[tuple[float, float, float]] = ()
    """(step, low, high) of an interval around the curve, finite."""


@dataclass(frozen=True)
class Tick:
    at: float
    label: str


@dataclass(frozen=True)
class Line:
    name: str
    path: str
    color: str
    dots: tuple[Point, ...]
    """Isolated values, which a line would not show."""
    last: str
    band: str = ""
    """Closed path of the interval around the curve."""


@dataclass(frozen=True)
class Chart:
    title: str
    x_label: str
    y_label: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...]
    note: str
    width: float = WIDTH
    height: float = HEIGHT
    left: float = LEFT
    right: float = WIDTH - RIGHT
    top: float = TOP
    bottom: float = HEIGHT - BOTTOM


def line_chart(
    title: str,
    curves: Sequence[Curve],
    *,
    y_label: str,
    x_label: str = "step",
    log: bool = False,
    y_range: tuple[float, float] | None = None,
) -> Chart | None:
    """Lay out a chart; None if no curve has a finite value. ``log`` is ignored unless all values are positive."""
    thinned = [(curve, *_thin(curve.points)) for curve in curves]
    finite = [point for _, points, _ in thinned for point in points if math.isfinite(point[1])]
    finite += [(x, y) for curve in curves for x, *ends in curve.band for y in ends]
    if not finite:
        return None
    log = log and min(y for _, y in finite) > 0
    xs, ys = [x for x, _ in finite], [math.log10(y) if log else y for _, y in finite]
    x_low, x_high = _span(min(xs), max(xs), margin=0.0)
    y_low, y_high = y_range if y_range and not log else _span(min(ys), max(ys), margin=0.05)

    def x_at(x: float) -> float:
        return LEFT + (x - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT)

    def y_at(y: float) -> float:
        y = math.log10(y) if log else y
        return HEIGHT - BOTTOM - (y - y_low) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM)

    lines = []
    for index, (curve, points, _) in enumerate(thinned):
        known = [(x, y) for x, y in points if math.isfinite(y)]
        if known:
            runs = _runs([(x_at(x), y_at(y)) if math.isfinite(y) else (x, y) for x, y in points])
            path = " ".join(
                "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in run) for run in runs if len(run) > 1
            )
            dots = tuple((round(run[0][0], 1), round(run[0][1], 1)) for run in runs if len(run) == 1)
            around = [(x_at(x), y_at(low), y_at(high)) for x, low, high in curve.band]
            edge = [(x, high) for x, _, high in around] + [(x, low) for x, low, _ in reversed(around)]
            band = "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in edge) + "Z" if len(around) > 1 else ""
            lines.append(Line(curve.name, path, _color(index, curve.shade), dots, short(known[-1][1]), band))
    y_values = _log_ticks(y_low, y_high) if log else ticks(y_low, y_high)
    return Chart(
        title=title,
        x_label=x_label,
        y_label=y_label + (", log scale" if log else ""),
        x_ticks=tuple(Tick(round(x_at(x), 1), short(x)) for x in ticks(x_low, x_high, whole=True)),
        y_ticks=tuple(Tick(round(y_at(y), 1), short(y)) for y in y_values),
        lines=tuple(lines),
        note=_note(thinned),
    )


def _thin(points: Sequence[Point]) -> tuple[list[Point], int]:
    """Average finite neighbors to at most MAX_POINTS; return the means and the number of points per mean."""
    size = max(1, math.ceil(len(points) / MAX_POINTS))
    return [_mean(points[start : start + size]) for start in range(0, len(points), size)], size


def _mean(points: Sequence[Point]) -> Point:
    known = [point for point in points if math.isfinite(point[1])] or points
    return sum(x for x, _ in known) / len(known), sum(y for _, y in known) / len(known)


def _runs(points: Sequence[Point]) -> list[list[Point]]:
    """Split into runs of finite values: a line must not bridge NaN."""
    return [list(run) for finite, run in groupby(points, lambda point: math.isfinite(point[1])) if finite]


def _note(thinned: Sequence[tuple[Curve, list[Point], int]]) -> str:
    notes = []
    largest = max(size for _, _, size in thinned)
    if largest > 1:
        notes.append(f"Each point is the mean of {largest} records.")
    for curve, _, _ in thinned:
        bad = [x for x, y in curve.points if not math.isfinite(y)]
        if bad:
            share = f"{len(bad)} of {len(curve.points)} values"
            notes.append(f"{curve.name}: {share} not finite, the first at step {bad[0]:g}.")
    return " ".join(notes)


def _span(low: float, high: float, margin: float) -> tuple[float, float]:
    if high == low:
        around = abs(low) * 0.5 or 0.5
        return low - around, high + around
    return low - margin * (high - low), high + margin * (high - low)


def ticks(low: float, high: float, whole: bool = False) -> list[float]:
    from matplotlib.ticker import MaxNLocator

    found = MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10], integer=whole).tick_values(low, high)
    return [float(value) for value in found if low <= value <= high]


def _log_ticks(low: float, high: float) -> list[float]:
    """Ticks at 1, 2 and 5 times powers of ten (powers only over many decades); the ends are logarithms."""
    factors = (1, 2, 5) if high - low <= 2.5 else (1,)
    decades = range(math.floor(low), math.ceil(high) + 1)
    found = [factor * 10.0**decade for decade in decades for factor in factors]
    found = [value for value in found if low <= math.log10(value) <= high]
    return found if len(found) >= 3 else [value for value in ticks(10**low, 10**high) if value > 0]


def _color(index: int, shade: float | None) -> str:
    """One of the style's variables ``--curve-0`` .. ``--curve-3``, or a hue from blue to orange for a sequence."""
    if shade is None:
        return f"var(--curve-{index % 4})"
    return f"hsl({220 - 195 * shade:.0f} 65% var(--shade))"
