"""flash-linear-attention's plain references, read from their files: the package does not import without Triton."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.from_file import module_from_file


def naive(operator: str, function: str, file: str = "naive") -> Callable[..., Any]:
    """``function`` of ``fla/ops/<operator>/<file>.py``."""
    package = importlib.util.find_spec("fla")
    assert package is not None, "pip install 'lina[dev]'"
    assert package.submodule_search_locations is not None
    path = Path(package.submodule_search_locations[0]) / "ops" / operator / f"{file}.py"
    name = f"fla_{operator}_{file}".replace("/", "_")
    return getattr(module_from_file(path, name), function)  # type: ignore[no-any-return]
