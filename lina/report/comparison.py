"""Table and page of a comparison: means with intervals over seeds, and curves on common axes."""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from lina.core.files.atomic import write_atomic
from lina.report import numbers
from lina.report.chart import Chart, Curve, line_chart
from lina.runs.comparison import ComparisonRecord, TrialRecord
from lina.runs.comparison import Curve as Points
from lina.runs.records import Interval

PAGE = Path("comparison.html")
QUANTILES = (12.71, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""97.5 % quantiles of Student's t for 1 to 9 degrees of freedom; 2.0 stands for more."""


@dataclass(frozen=True)
class Row:
    """One combination of settings over its seeds."""

    label: str
    error: str
    seeds: int
    lr: float
    at_edge: bool
    """The best learning rate of the sweep is its smallest or largest."""
    layers: int
    parameters: int
    steps: int
    loss: Interval | None
    behind: Interval | None
    """Loss above that of the first row, by seed; None for the first row."""
    error_rate: Interval | None
    seconds: float
    training: float
    decoding: float
    state_bytes: int
    trials: tuple[TrialRecord, ...]


def interval(values: Sequence[float]) -> Interval | None:
    """Mean with its 95 % interval by Student's t; a single value has no width."""
    if not values or not all(map(math.isfinite, values)):
        return None
    mean = statistics.fmean(values)
    if len(values) == 1:
        return Interval(value=mean, low=mean, high=mean)
    quantile = QUANTILES[len(values) - 2] if len(values) - 2 < len(QUANTILES) else 2.0
    around = quantile * statistics.stdev(values) / math.sqrt(len(values))
    return Interval(value=mean, low=mean - around, high=mean + around)


def rows(record: ComparisonRecord) -> list[Row]:
    """One row per combination, the lowest loss first; failures last."""
    by_label: dict[str, list[TrialRecord]] = {}
    for one in record.trials:
        if record.chosen.get(one.label, one.lr) == one.lr:
            by_label.setdefault(one.label, []).append(one)
    order = sorted(by_label, key=lambda label: (_mean_loss(by_label[label]), label))
    best = by_label[order[0]] if order else []
    return [_row(label, by_label[label], best, record) for label in order]


def _mean_loss(trials: Sequence[TrialRecord]) -> float:
    losses = [one.loss for one in trials if one.loss is not None]
    return statistics.fmean(losses) if losses else math.inf


def _row(
    label: str, trials: Sequence[TrialRecord], best: Sequence[TrialRecord], record: ComparisonRecord
) -> Row:
    good = [one for one in trials if one.error is None]
    failed = [one.error for one in trials if one.error is not None]
    first = {one.seed: one.loss for one in best}
    behind = [
        one.loss - other
        for one in good
        if one.loss is not None and (other := first.get(one.seed)) is not None
    ]
    rates = [one.error_rate for one in good if one.error_rate is not None]
    last = (good or trials)[0]

    def median(value: Callable[[TrialRecord], float]) -> float:
        return statistics.median(map(value, good)) if good else 0.0

    return Row(
        label=label,
        error=failed[0] or "" if failed else "",
        seeds=len(good),
        lr=last.lr,
        at_edge=bool(record.sweep) and last.lr in (min(record.sweep), max(record.sweep)),
        layers=last.layers,
        parameters=last.parameters,
        steps=last.steps,
        loss=interval([one.loss for one in good if one.loss is not None]),
        behind=None if trials is best else interval(behind),
        error_rate=interval(rates),
        seconds=median(lambda one: one.seconds),
        training=median(lambda one: one.training_frames_per_second),
        decoding=median(lambda one: one.decoding_frames_per_second),
        state_bytes=last.state_bytes,
        trials=tuple(good),
    )


def cells(row: Row) -> list[str]:
    """The cells of a row; ``HEADER`` names them."""
    if not row.seeds:
        return [row.label, f"failed: {row.error}", *[""] * (len(HEADER) - 2)]
    return [
        row.label + (f" (a seed failed: {row.error})" if row.error else ""),
        _shown(row.loss, ".3f", row.seeds),
        "" if row.behind is None else _shown(row.behind, "+.3f", row.seeds),
        "" if row.error_rate is None else f"{100 * row.error_rate.value:.1f} %",
        f"{row.lr:.3g}" + (" (edge of the sweep)" if row.at_edge else ""),
        f"2 × {row.layers}",
        f"{row.parameters / 1e6:.2f} M",
        f"{row.steps:,}",
        f"{row.seconds:,.{1 if row.seconds < 100 else 0}f}",
        f"{row.training:,.0f}",
        f"{row.decoding:,.0f}",
        f"{row.state_bytes / 1024:,.0f}",
    ]


HEADER = (
    "settings",
    "validation loss",
    "above the first",
    "word errors",
    "lr",
    "layers",
    "parameters",
    "steps",
    "training, s",
    "training, frames/s",
    "decoding, frames/s",
    "state, KiB",
)


def _shown(one: Interval | None, form: str, seeds: int) -> str:
    """A mean with its interval, which one seed does not have."""
    if one is None:
        return "none"
    width = "" if seeds == 1 else f" ± {one.high - one.value:.3f}"
    return f"{one.value:{form}}{width}"


def summary(record: ComparisonRecord) -> str:
    """The conditions of a comparison, in one paragraph."""
    seeds = sorted({one.seed for one in record.trials})
    machine = next((one.gpu or f"{one.cores} cores of {one.cpu}" for one in record.trials if one.cpu), "")
    rates = (
        f"the best of {', '.join(f'{one:.3g}' for one in record.sweep)} by the first seed's validation loss"
        if record.sweep
        else "one learning rate for all, so learning rates are ranked, too"
    )
    sizes = (
        "layers chosen for equal numbers of parameters" if record.matched else "sizes as the spec has them"
    )
    return (
        f"{record.spec} {' '.join(record.settings)}: {record.budget} each, {len(seeds)} seeds with equal data and "
        f"order for all rows; {rates}; {sizes}; ± is a 95 % interval over seeds (Student's t). {machine}, "
        f"{record.date}, lina {record.lina}."
    )


def table(record: ComparisonRecord) -> str:
    """The comparison as a Markdown table."""
    header, *body = _columns(rows(record))
    lines = [summary(record), "", f"| {' | '.join(header)} |", "|---|" + "---:|" * (len(header) - 1)]
    return "\n".join([*lines, *(f"| {' | '.join(one)} |" for one in body)])


def _columns(found: Sequence[Row]) -> list[list[str]]:
    """Header and rows, without columns that are empty in all rows."""
    body = [cells(row) for row in found]
    kept = [place for place in range(len(HEADER)) if any(one[place] for one in body)]
    return [[one[place] for place in kept] for one in (HEADER, *body)]


def write_page(directory: Path, record: ComparisonRecord) -> Path:
    """Write ``comparison.html``, which needs no network and no other file."""
    path = directory / PAGE
    write_atomic(path, page(record).encode())
    return path


def page(record: ComparisonRecord) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    here = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader(here), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters.update(percent=numbers.percent, duration=numbers.duration, short=numbers.short)
    found = rows(record)
    header, *body = _columns(found)
    return environment.get_template("comparison.html.j2").render(
        style=Markup((here / "style.css").read_text(encoding="utf-8")),
        name=Path(record.spec).stem,
        summary=summary(record),
        header=header,
        rows=body,
        charts=charts(record, found),
    )


def charts(record: ComparisonRecord, found: Sequence[Row]) -> list[Chart]:
    """Losses over steps, the mean of the seeds with its interval, and the loss over learning rates of a sweep."""
    drawn = [
        line_chart(
            f"{title}, mean and 95 % interval over seeds",
            [_mean_curve(row, curve, index, len(found)) for index, row in enumerate(found) if row.seeds],
            y_label="loss (nats)",
        )
        for title, curve in (
            ("Validation loss", lambda one: one.valid_curve),
            ("Training loss", lambda one: one.train_curve),
        )
    ]
    if record.sweep:
        drawn.append(
            line_chart(
                "Validation loss by learning rate, first seed",
                [_sweep_curve(record, row.label, index, len(found)) for index, row in enumerate(found)],
                y_label="loss (nats)",
                x_label="log10 of the learning rate",
            )
        )
    return [chart for chart in drawn if chart]


def _mean_curve(row: Row, curve: Callable[[TrialRecord], Points], index: int, count: int) -> Curve:
    by_step: dict[float, list[float]] = {}
    for one in row.trials:
        for step, loss in curve(one):
            by_step.setdefault(step, []).append(loss)
    points, band = [], []
    for step, losses in sorted(by_step.items()):
        around = interval(losses) if len(losses) == row.seeds else None
        if around is not None:
            points.append((step, around.value))
            band.append((step, around.low, around.high))
    return Curve(row.label, points, _shade(index, count), band if row.seeds > 1 else ())


def _sweep_curve(record: ComparisonRecord, label: str, index: int, count: int) -> Curve:
    first = min(one.seed for one in record.trials)
    points = [
        (math.log10(one.lr), one.loss)
        for one in sorted(record.trials, key=lambda one: one.lr)
        if one.label == label and one.seed == first and one.loss is not None
    ]
    return Curve(label, points, _shade(index, count))


def _shade(index: int, count: int) -> float | None:
    return index / (count - 1) if count > 4 else None
