"""The clips of all rows beside the numbers: rates are counted again from their transcripts, with no audio.

A line of the file is a clip without its text (which ``voices_sets`` has), its audio and its times: ``row``, the fields
of ``ClipRecord`` that were measured, and ``again``, the transcript of Whisper base.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.voices_sets import all_texts
from benchmarks.voices_table import Voice
from lina.core.errors import DataError
from lina.core.files.atomic import write_atomic
from lina.evaluation.metrics import with_errors
from lina.evaluation.records import ClipRecord

DERIVED = {"words", "wrong_words", "characters", "wrong_characters"}
TIMES = {"synthesis_seconds", "first_audio", "peak_memory_mib"}
"""Of one machine on one day; their summary is in the file of numbers."""


def clips_file(numbers: Path) -> Path:
    """Path of the clips that belong to a file of numbers."""
    return numbers.with_name(f"{numbers.stem}-clips.jsonl")


def write_clips(path: Path, voices: Sequence[Voice]) -> None:
    known = all_texts()
    lines = []
    for voice in voices:
        again = {clip.id: clip.transcript for clip in voice.again}
        for clip in voice.clips:
            left_out = DERIVED | TIMES | {"audio"} | ({"text"} if known.get(clip.id) == clip.text else set())
            fields = clip.model_dump(mode="json", exclude_defaults=True, exclude=left_out)
            short = {key: round(one, 4) if isinstance(one, float) else one for key, one in fields.items()}
            more = {"again": again[clip.id]} if clip.id in again else {}
            lines.append(json.dumps({"row": voice.name} | short | more, ensure_ascii=False))
    write_atomic(path, "".join(f"{line}\n" for line in lines).encode())


def read_clips(path: Path) -> list[Voice]:
    """Rows with the errors of their transcripts counted by today's normalization.

    Raises:
        DataError: The file is missing or damaged.
    """
    known = all_texts()
    first: dict[str, list[ClipRecord]] = {}
    again: dict[str, list[ClipRecord]] = {}
    number = 0
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            number += 1
            fields: dict[str, Any] = json.loads(line)
            row, transcript = fields.pop("row"), fields.pop("again", None)
            clip = ClipRecord(**{"text": known.get(fields["id"]), "audio": Path()} | fields)
            first.setdefault(row, []).append(with_errors(clip))
            if transcript is not None:
                again.setdefault(row, []).append(
                    with_errors(clip.model_copy(update={"transcript": transcript}))
                )
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}; measure first, with --json") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DataError(f"{path}: line {number} is no clip of this benchmark; measure again") from None
    return [Voice(name, clips, again.get(name, ())) for name, clips in first.items()]
