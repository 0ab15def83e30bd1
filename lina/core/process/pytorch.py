"""PyTorch as a package that may be missing: ``lina-voice`` is without it."""

from importlib.util import find_spec

from lina.core.errors import LinaError


def require_pytorch() -> None:
    """Refuse a call that needs PyTorch where it is not installed, without importing it.

    Raises:
        LinaError: it is not installed.
    """
    if find_spec("torch") is None:
        raise LinaError(
            "this call needs PyTorch, which is not installed; pip install lina (lina-voice is without it)"
        )
