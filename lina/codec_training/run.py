"""A run of job codec as hooks see it."""

from dataclasses import dataclass
from pathlib import Path

from lina.config.codec_spec import CodecSpec


@dataclass(frozen=True)
class CodecRun:
    """As ``lina.runs.hooks.Run``, with a spec of job codec."""

    directory: Path
    spec: CodecSpec
