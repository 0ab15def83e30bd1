"""Type of a configuration's key that names weights: a local path, or an address on the Hugging Face hub."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator

from lina.core.errors import DataError
from lina.core.files.hub import is_address, parse_address


def _path_or_pinned(value: Any) -> Any:
    if not is_address(value):
        return Path(value) if isinstance(value, str) else value
    try:
        revision = parse_address(value).revision
    except DataError as error:
        raise ValueError(str(error)) from None
    if revision is None:
        raise ValueError(f"{value}: has no revision; add @COMMIT, so that the weights stay the same")
    return value


WeightsSource = Annotated[str | Path, AfterValidator(_path_or_pinned)]
"""Type of a configuration's key: a local path, or an address on the hub with its revision (a string)."""
