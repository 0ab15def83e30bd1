"""What the runs of all jobs do with their directory: own it, refuse another spec's, write the report."""

import errno
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from lina.core.errors import CheckpointError, LinaError

DISK_REFUSES = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO),
    *(errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG),
)
"""A full or failing disk, and things put where a run wants to put its own."""

log = logging.getLogger("lina")


@contextmanager
def owned(directory: Path) -> Iterator[None]:
    """The directory, ours alone; what the disk refuses meanwhile is told in one line."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = FileLock(directory / "lock").acquire(timeout=0)
    except Timeout:
        raise LinaError(
            f"{directory}: another lina is running there; wait for it, or choose another train.out"
        ) from None
    except OSError as error:
        raise LinaError(
            f"{directory}: cannot be written: {error.strerror}; choose another train.out"
        ) from None
    with lock:
        try:
            yield
        except OSError as error:
            if error.errno not in DISK_REFUSES:
                raise
            raise LinaError(
                f"{error.filename or directory}: {error.strerror}; fix this and run the same command to resume"
            ) from error


def refuse_changed(directory: Path, changed: Sequence[str]) -> None:
    """Raise CheckpointError if anything has changed that what the run has done depends on."""
    if changed:
        more = f" (and {len(changed) - 3} more)" if len(changed) > 3 else ""
        raise CheckpointError(
            f"{directory}: holds a run of another spec: {'; '.join(changed[:3])}{more}; "
            "choose another name or train.out, or delete that directory"
        )


def report(run: Any, hooks: Any) -> None:
    """Stage report: whatever hook plugins write."""
    began = time.perf_counter()
    hooks.stage_started(run=run, stage="report", total=None, done=0)
    sections = [section for several in hooks.report_sections(run=run) for section in several]
    if not any(hooks.write_report(run=run, sections=sections)):
        log.warning("no plugin wrote a report")
    hooks.stage_finished(run=run, stage="report", seconds=time.perf_counter() - began)
