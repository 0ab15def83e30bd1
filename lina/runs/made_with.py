"""Distributions that the plugins of a run or a voice come from. Imports no PyTorch."""

from pathlib import Path

from lina.core.registry import MadeWith
from lina.runs.files import read_run_info


def made_with(directory: Path) -> dict[tuple[str, str], MadeWith]:
    """Distributions of the plugins of a run or a voice, by role and name; empty if none are recorded."""
    info = read_run_info(directory)
    if info is None:
        return {}
    last = info.later[-1] if info.later else info
    return {
        (one.role, one.name): MadeWith(one.distribution, one.version)
        for one in last.plugins
        if one.distribution
    }
