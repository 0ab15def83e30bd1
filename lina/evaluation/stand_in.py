"""Stand-ins for modules that a package imports without need."""

import contextlib
import importlib.util
import sys
from collections.abc import Iterator
from types import ModuleType


@contextlib.contextmanager
def stand_in(module: ModuleType) -> Iterator[None]:
    """Let imports of the module's name find ``module`` inside the context, if none of that name is installed."""
    name = module.__name__
    if name in sys.modules or importlib.util.find_spec(name) is not None:
        yield
        return
    sys.modules[name] = module
    try:
        yield
    finally:
        del sys.modules[name]
