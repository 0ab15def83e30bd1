"""Rendering of a run directory as one HTML page, deterministically."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from markupsafe import Markup

from lina.core.files.atomic import write_atomic
from lina.report import audio, numbers
from lina.report.audio import Clip, Format
from lina.report.curves import charts
from lina.report.facts import codebooks, facts, unseen_note
from lina.report.panels import Attention, Spectrogram, attention, spectrogram
from lina.report.transcript_diff import Mark, compare
from lina.runs import files
from lina.runs.hooks import Run, Section
from lina.runs.metrics import read_metrics
from lina.runs.records import DataSummary, Sample

REPORT_FILE = Path("report.html")

_KINDS = {
    "train": "Training sentences",
    "valid": "Validation sentences",
    "unseen": "Unseen sentences",
    "spec": "Texts in the spec",
}


@dataclass(frozen=True)
class Panel:
    """One clip of a sample: spectrogram and player, or the reason why it cannot be displayed."""

    title: str
    problem: str = ""
    audio: str = ""
    spectrogram: Spectrogram | None = None
    seconds: float = 0.0
    marks: Sequence[Mark] = ()
    error_rate: float | None = None


@dataclass(frozen=True)
class Card:
    """A sample with its panels."""

    record: Sample
    panels: Sequence[Panel]
    attention: Attention | None = None
    attention_problem: str = ""


@dataclass
class Group:
    name: str
    cards: list[Card] = field(default_factory=list)


def write(run: Run, sections: Sequence[Section]) -> Path:
    """Write ``report.html`` into the run directory.

    Raises:
        CheckpointError: A file of the run is damaged.
    """
    path = run.directory / REPORT_FILE
    write_atomic(path, page(run, sections).encode())
    return path


def page(run: Run, sections: Sequence[Section]) -> str:
    """Render the page. Sections without content are left out."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    here = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader(here),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=numbers.percent, duration=numbers.duration, short=numbers.short)
    directory = run.directory
    info = files.read_run_info(directory)
    data = files.read_data_summary(directory)
    metrics = read_metrics(directory)
    records = files.read_samples(directory)
    form, evaluation = _format(directory, records), files.read_evaluation(directory)
    return environment.get_template("template.html.j2").render(
        style=Markup((here / "style.css").read_text(encoding="utf-8")),
        name=run.spec.name,
        spec=run.spec.to_yaml(),
        info=info,
        facts=facts(info, data, metrics),
        evaluation=evaluation,
        unseen_note=unseen_note(evaluation, data, metrics),
        charts=charts(metrics),
        codebooks=codebooks(data, metrics),
        groups=_groups(directory, records, data, form),
        form=form,
        sections=[(section.title, Markup(section.html)) for section in sections if section.html.strip()],
    )


def _format(directory: Path, records: Sequence[Sample]) -> Format:
    """Choose FLAC, or MP3 if the page would become too large."""
    paths = {path for r in records for path in (r.audio, r.resynthesis, r.reference) if path}
    size = sum(audio.stored_bytes(directory / path) for path in paths)
    return "flac" if size <= audio.LOSSLESS_LIMIT else "mp3"


def _groups(
    directory: Path, records: Sequence[Sample], data: DataSummary | None, form: Format
) -> list[Group]:
    groups: dict[str, Group] = {}
    order = list(_KINDS)
    for record in sorted(records, key=lambda r: order.index(r.kind) if r.kind in order else len(order)):
        group = groups.setdefault(record.kind, Group(_KINDS.get(record.kind, record.kind)))
        group.cards.append(_card(directory, record, data, form))
    return list(groups.values())


def _card(directory: Path, record: Sample, data: DataSummary | None, form: Format) -> Card:
    parts = (
        ("Model", record.audio, record.transcript, record.error_rate),
        (
            "Codec resynthesis",
            record.resynthesis,
            record.resynthesis_transcript,
            record.resynthesis_error_rate,
        ),
        ("Recording", record.reference, record.reference_transcript, None),
    )
    clips = {title: audio.load(directory / path) for title, path, _, _ in parts if path}
    longest = max((clip.seconds for clip in clips.values() if isinstance(clip, Clip)), default=0.0)
    panels = []
    for title, path, transcript, error_rate in parts:
        if not path:
            continue
        clip = clips[title]
        marks = compare(record.text, transcript, record.language) if transcript is not None else []
        if isinstance(clip, str):
            panels.append(Panel(title, f"{path} {clip}", marks=marks, error_rate=error_rate))
            continue
        panels.append(
            Panel(
                title,
                audio=audio.encode(clip, form),
                spectrogram=spectrogram(clip, longest),
                seconds=clip.seconds,
                marks=marks,
                error_rate=error_rate,
            )
        )
    if record.attention is None:
        return Card(record, panels)
    rate = data.codec.sample_rate / data.codec.hop if data and data.codec else None
    seen = attention(directory / record.attention, record.text_labels, rate)
    if isinstance(seen, str):
        return Card(record, panels, attention_problem=f"{record.attention} {seen}")
    return Card(record, panels, attention=seen)
