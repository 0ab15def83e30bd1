"""Key facts of a run for the head of the report."""

from collections.abc import Sequence
from dataclasses import dataclass

from lina.report.numbers import count, duration, short
from lina.runs.records import CodecInfo, DataSummary, Evaluation, MetricsRecord, RunInfo


@dataclass(frozen=True)
class Fact:
    name: str
    value: str
    detail: str = ""


def facts(info: RunInfo | None, data: DataSummary | None, metrics: Sequence[MetricsRecord]) -> list[Fact]:
    """Collect the known facts."""
    found = []
    if info and info.model:
        backbone = info.model.backbone
        found.append(
            Fact(
                "Parameters",
                count(info.model.parameters),
                f"{count(backbone)} in backbones" if backbone is not None else "",
            )
        )
    found += _training(metrics)
    if data:
        held_out = f"{data.valid} held out" if data.valid else "none held out"
        rejected = f", {data.rejects} rejected" if data.rejects else ""
        found.append(
            Fact("Data", duration(data.seconds), f"{data.utterances} utterances, {held_out}{rejected}")
        )
    if data and data.codec:
        found.append(Fact("Codec", data.codec.name, _codec(data.codec)))
    if info and (info.machine.cpu or info.machine.gpu):
        cores = f"{info.machine.cores} cores" if info.machine.cores else ""
        processor, accelerator = info.machine.cpu, info.machine.gpu
        if accelerator:
            found.append(Fact("Machine", accelerator, ", ".join(filter(None, (processor, cores)))))
        else:
            found.append(Fact("Machine", processor, cores))
    if info:
        commit = f", commit {info.commit[:10]}" if info.commit else ""
        found.append(Fact("Started", info.started[:16].replace("T", " "), f"lina {info.lina}{commit}"))
    return found


FAR_FROM_READING = 0.5
"""Word error rate of unseen sentences from which the report explains it."""


def unseen_note(
    evaluation: Evaluation | None, data: DataSummary | None, metrics: Sequence[MetricsRecord]
) -> str:
    """Explain a high error rate of unseen sentences in a small run; nothing if there is none."""
    groups = evaluation.groups if evaluation else ()
    rates = [one.word_error_rate for one in groups if one.name.startswith("unseen")]
    rate = next((one for one in rates if one is not None), 0.0)
    if rate < FAR_FROM_READING:
        return ""
    steps = max((record.step for record in metrics if record.split == "train"), default=0)
    amount = f" on {duration(data.seconds)} of speech" if data else ""
    above = (
        " Above 100 %, the recognizer hears more words than the text has, as it does in speech without words."
        if rate > 1
        else ""
    )
    return (
        f"A model learns its training sentences by heart long before it reads others: after {steps:,} steps{amount} it "
        f"has not learned to read, and unseen sentences fail.{above} More recordings, then more steps, change that."
    )


def _training(metrics: Sequence[MetricsRecord]) -> list[Fact]:
    found = []
    train = [record for record in metrics if record.split == "train"]
    if train:
        last = train[-1]
        found.append(Fact("Steps", f"{last.step:,}", f"last training loss {short(last.loss)}"))
        if last.seconds is not None:
            speed = last.frames_per_second
            frames = f"{short(speed)} frames/s at the end" if speed is not None else ""
            found.append(Fact("Training time", duration(last.seconds), frames))
    valid = [record for record in metrics if record.split == "valid" and record.loss == record.loss]
    if valid:
        best = min(valid, key=lambda record: record.loss)
        found.append(Fact("Best validation loss", short(best.loss), f"at step {best.step:,}"))
    return found


def _codec(codec: CodecInfo) -> str:
    rate = f"{codec.sample_rate / 1000:g} kHz, {codec.sample_rate / codec.hop:.4g} frames/s"
    number = len(codec.codebook_sizes)
    smallest, largest = min(codec.codebook_sizes), max(codec.codebook_sizes)
    entries = f"{smallest}" if smallest == largest else f"{smallest} to {largest}"
    return f"{rate}, {number} codebook{'s' if number != 1 else ''} of {entries} entries"


@dataclass(frozen=True)
class Codebook:
    number: int
    size: str
    training: float | None
    validation: float | None


def codebooks(data: DataSummary | None, metrics: Sequence[MetricsRecord]) -> list[Codebook]:
    """Return the last accuracies of each codebook, with its number of entries if known."""
    last = {record.split: record.accuracy for record in metrics if record.accuracy}
    sizes = data.codec.codebook_sizes if data and data.codec else ()
    train, valid = last.get("train", ()), last.get("valid", ())
    return [
        Codebook(
            q + 1,
            f"{sizes[q]:,}" if q < len(sizes) else "unknown",
            train[q] if q < len(train) else None,
            valid[q] if q < len(valid) else None,
        )
        for q in range(max(len(train), len(valid)))
    ]
