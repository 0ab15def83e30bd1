"""flash-linear-attention's plain references, read from their files: the package does not import without Triton."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def naive(operator: str, function: str, file: str = "naive") -> Callable[..., Any]:
    """``function`` of ``fla/ops/<operator>/<file>.py``."""
    package = importlib.util.find_spec("fla")
    assert package is not None, "pip install 'lina[dev]'"
    assert package.submodule_search_locations is not None
    path = Path(package.submodule_search_locations[0]) / "ops" / operator / f"{file}.py"
    name = f"fla_{operator}_{file}".replace("/", "_")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    found: Callable[..., Any] = getattr(module, function)
    return found
