"""A run or voice as an argument: a directory, or an address on the Hugging Face hub."""

from pathlib import Path
from typing import Any

import click


class RunPath(click.ParamType):  # type: ignore[type-arg]
    """A path; a repository at ``hf://ORGANIZATION/NAME@REVISION`` is fetched."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        from lina.speech.default_voice import voice_directory

        return voice_directory(value)
