"""Modules that are no part of a package that can be imported: benchmarks, and files of packages that want a GPU."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType


def module_from_file(path: Path, name: str) -> ModuleType:
    """Run the file as module ``name``, a fresh one each time; dataclasses and pickles find it under that name."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
