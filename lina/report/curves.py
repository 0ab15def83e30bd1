"""Curves of ``metrics.jsonl`` in the report."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

from lina.report.chart import Chart, Curve, Point, line_chart
from lina.runs.records import MetricsRecord

_NAMES: dict[Literal["train", "valid"], str] = {"train": "training", "valid": "validation"}

_PARTS = {
    "loudness": "PESQ disturbance loss",
    "intelligibility": "1 - STOI",
    "adversarial": "Adversarial loss",
    "features": "Feature matching loss",
    "commitment": "Commitment loss",
    "discriminators": "Discriminator loss",
}
"""Titles of the losses of codec training."""


def charts(metrics: Sequence[MetricsRecord]) -> list[Chart]:
    """Chart the logged metrics: loss, accuracy (mean and per codebook), learning rate, speed, gradient norm.

    For codec training: the mel distance, which is its loss, and the other loss terms.
    """
    codec = any(_extra(record, "commitment") is not None for record in metrics)
    drawn = [
        line_chart(
            "Mel distance" if codec else "Loss",
            _both(metrics, lambda r: r.loss),
            y_label="log10, summed over resolutions" if codec else "loss (nats)",
            log=True,
        ),
        line_chart(
            "Accuracy, mean over codebooks",
            _both(metrics, lambda r: sum(r.accuracy) / len(r.accuracy) if r.accuracy else None),
            y_label="correct greedy predictions",
            y_range=(0.0, 1.0),
        ),
        *(
            line_chart(
                f"Accuracy of each codebook, {name}",
                _codebooks(metrics, split),
                y_label="correct greedy predictions",
                y_range=(0.0, 1.0),
            )
            for split, name in _NAMES.items()
        ),
        *(
            line_chart(title, [_curve(metrics, "train", partial(_extra, name=name))], y_label="loss")
            for name, title in _PARTS.items()
        ),
        line_chart("Learning rate", [_curve(metrics, "train", lambda r: r.lr)], y_label="learning rate"),
        line_chart(
            "Training speed", [_curve(metrics, "train", lambda r: r.frames_per_second)], y_label="frames/s"
        ),
        line_chart(
            "Gradient norm, before clipping",
            [_curve(metrics, "train", lambda r: r.grad_norm)],
            y_label="norm",
            log=True,
        ),
    ]
    return [chart for chart in drawn if chart]


def _both(metrics: Sequence[MetricsRecord], value: Callable[[MetricsRecord], float | None]) -> list[Curve]:
    return [_curve(metrics, split, value) for split in _NAMES]


def _curve(
    metrics: Sequence[MetricsRecord],
    split: Literal["train", "valid"],
    value: Callable[[MetricsRecord], float | None],
) -> Curve:
    points: list[Point] = []
    for record in metrics:
        found = value(record) if record.split == split else None
        if found is not None:
            points.append((record.step, found))
    return Curve(_NAMES[split], points)


def _extra(record: MetricsRecord, name: str) -> float | None:
    value = (record.model_extra or {}).get(name)
    return float(value) if isinstance(value, int | float) else None


def _codebooks(metrics: Sequence[MetricsRecord], split: Literal["train", "valid"]) -> list[Curve]:
    """One curve per codebook; none for a single codebook, whose accuracy is the mean."""
    number = max((len(record.accuracy) for record in metrics if record.split == split), default=0)
    return [
        Curve(
            f"codebook {q + 1}",
            [(r.step, r.accuracy[q]) for r in metrics if r.split == split and q < len(r.accuracy)],
            shade=q / (number - 1),
        )
        for q in range(number)
        if number > 1
    ]
