"""Name the plugin in whose code an unexpected exception was raised, before its traceback."""

import sys
import traceback
from pathlib import Path

from lina.core.entry_points import Record, records, same_distribution


def plugin_at_fault(error: BaseException) -> str | None:
    """A line that names plugin, distribution, file and line; None if no installed package's plugin is involved."""
    others = [record for record in records() if not same_distribution(record.distribution, "lina")]
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        for record in others:
            if _belongs(frame.filename, record):
                return (
                    f"the plugin {record.full_name} ({record.distribution} {record.version}) failed in "
                    f"{frame.filename}, line {frame.lineno}; its authors may need the traceback below"
                )
    return None


def _belongs(filename: str, record: Record) -> bool:
    module = sys.modules.get(record.value.partition(":")[0].partition(".")[0])
    file = getattr(module, "__file__", None)
    if file is None:
        return False
    inside = Path(file).parent
    return filename == file or (Path(file).name == "__init__.py" and inside in Path(filename).parents)
