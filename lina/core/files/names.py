"""Names that are safe for files, and the folder of fetched ones."""

import hashlib
import os
import re
from pathlib import Path


def file_name(id: str) -> str:
    """The id if it is safe as a file name, else its safe characters and a digest that keeps names unique."""
    name = re.sub(r"[^A-Za-z0-9_-]", "_", id)[:60]
    return name if name == id else f"{name}-{hashlib.sha256(id.encode()).hexdigest()[:8]}"


def cache_folder() -> Path:
    """Folder of fetched corpora and models: ``$LINA_CACHE``, or ``lina`` in ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    if own := os.environ.get("LINA_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lina"
