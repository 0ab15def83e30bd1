"""Report section: evaluation on a text set, with a table and players side by side."""

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from lina.evaluation.metrics import AUDIO_METRICS
from lina.evaluation.records import MODEL, ClipRecord, TextSetEvaluation
from lina.evaluation.summary import MEASURES
from lina.report import audio
from lina.report.numbers import percent, short
from lina.report.transcript_diff import compare
from lina.runs.hooks import Section
from lina.runs.records import Interval

MOST_TEXTS = 40
"""Most texts with players; of more, those with the highest error rate of the voice."""


def section(folder: Path, found: TextSetEvaluation) -> Section:
    """Render the result in ``folder``, which has its clips."""
    recognizer = f"recognizer {escape(found.recognizer)}" if found.recognizer else "no recognizer"
    threads = f" with {found.threads} thread{'s' * (found.threads > 1)}" if found.device == "cpu" else ""
    memory = f", {found.peak_memory_mib:.0f} MiB at peak" if found.peak_memory_mib is not None else ""
    remarks = "".join(f'<p class="note">{escape(remark)}</p>' for remark in found.remarks)
    return Section(
        f"Text set {found.name}",
        f'<p class="note">Step {found.step:,}, seed {found.seed}, synthesis on {escape(found.device)}{threads}'
        f"{memory}; {recognizer}. Codec resynthesis is the ceiling of any model on this codec. "
        "Each number has its 95 % bootstrap confidence interval over texts; a text fails with more than 30 % "
        "character errors, or with a duration below 0.6 or above 1.6 times that of its recording.</p>"
        f"{remarks}{_table(found)}{_players(folder, found)}",
    )


def _table(found: TextSetEvaluation) -> str:
    head = "".join(f'<th class="number">{escape(one.name)}</th>' for one in found.groups)
    counts = "".join(f'<td class="number">{one.sentences}</td>' for one in found.groups)
    rows = f"<tr><td>Texts</td>{counts}</tr>"
    for key, measure in MEASURES.items():
        if any(key in one.measures for one in found.groups):
            values = [one.measures.get(key) for one in found.groups]
            label = measure.label[0].upper() + measure.label[1:]
            rows += f"<tr><td>{label}</td>{_cells(values, measure.share)}</tr>"
        if any(key in one.minus_ceiling for one in found.groups):
            differences = [one.minus_ceiling.get(key) for one in found.groups]
            rows += f"<tr><td><small>above the ceiling</small></td>{_cells(differences, measure.share)}</tr>"
    table = f"<table><thead><tr><th>Measure</th>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return f'<div class="scroll">{table}</div>'


def _cells(intervals: Sequence[Interval | None], share: bool) -> str:
    cells = ""
    for one in intervals:
        shown = ""
        if one is not None:
            value, low, high = (percent(x) if share else f"{x:.2f}" for x in (one.value, one.low, one.high))
            shown = f"{value} <small>{low} to {high}</small>"
        cells += f'<td class="number">{shown}</td>'
    return cells


def _players(folder: Path, found: TextSetEvaluation) -> str:
    texts: dict[str, list[ClipRecord]] = {}
    for clip in found.clips:
        texts.setdefault(clip.id, []).append(clip)
    shown = list(texts.values())
    note = ""
    if len(shown) > MOST_TEXTS:
        shown = sorted(shown, key=_error_rate, reverse=True)[:MOST_TEXTS]
        note = (
            f'<p class="note">The {MOST_TEXTS} of {len(texts)} texts with the highest error rate; all others are in '
            f"evaluations/{escape(folder.name)}.</p>"
        )
    size = sum(audio.stored_bytes(folder / clip.audio) for clips in shown for clip in clips)
    form: audio.Format = "flac" if size <= audio.LOSSLESS_LIMIT else "mp3"
    return note + "".join(_article(folder, clips, form) for clips in shown)


def _error_rate(clips: Iterable[ClipRecord]) -> float:
    own = next((clip for clip in clips if clip.system == MODEL), None)
    return 0.0 if own is None else (own.wrong_characters or 0) / (own.characters or 1)


def _article(folder: Path, clips: list[ClipRecord], form: audio.Format) -> str:
    figures = "".join(_figure(folder, clip, form) for clip in clips)
    text, id = escape(clips[0].text), escape(clips[0].id)
    return f'<article><h3 dir="auto">{text}</h3><p class="id">{id}</p><div class="panels">{figures}</div></article>'


def _figure(folder: Path, clip: ClipRecord, form: audio.Format) -> str:
    found = audio.load(folder / clip.audio)
    name = escape(clip.system)
    errors = (
        f" <small>{percent(clip.wrong_words / clip.words)} word errors</small>"
        if clip.wrong_words is not None and clip.words
        else ""
    )
    scores = {info.title: getattr(clip, name) for name, info in AUDIO_METRICS.items()}
    metrics = "".join(
        f" <small>{title} {short(round(score, 2))}</small>"
        for title, score in scores.items()
        if score is not None
    )
    player = (
        f'<p class="warning">{escape(str(clip.audio))} {found}</p>'
        if isinstance(found, str)
        else f'<audio controls preload="metadata" src="{audio.encode(found, form)}" aria-label="{name}">{name}</audio>'
    )
    return f"<figure><figcaption>{name}{errors}{metrics}</figcaption>{player}{_transcript(clip)}</figure>"


def _transcript(clip: ClipRecord) -> str:
    if clip.transcript is None:
        return ""
    words = ""
    for mark in compare(clip.text, clip.transcript, clip.language):
        if mark.kind == "right":
            words += f" {escape(mark.transcript)}"
        else:
            words += f" <del>{escape(mark.reference)}</del>" if mark.reference else ""
            words += f" <ins>{escape(mark.transcript)}</ins>" if mark.transcript else ""
    return f'<p class="transcript" dir="auto"><span>Transcript:</span>{words}</p>'
