"""Where fetched corpora live between runs."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """``$LINA_CACHE``, or ``lina`` in the user's cache folder (``$XDG_CACHE_HOME`` or ``~/.cache``)."""
    if own := os.environ.get("LINA_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lina"
