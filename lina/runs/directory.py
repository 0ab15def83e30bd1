"""Run directory of both jobs: lock it, claim it for one spec, write the report."""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from lina.config.run_files import SPEC_FILE, TOKENIZER_FILE
from lina.config.spec import AnySpec, changes
from lina.config.stored import load_stored_spec
from lina.core.errors import SYSTEM_ERRORS, CheckpointError, LinaError
from lina.core.files.atomic import make_directory, write_atomic
from lina.runs.checkpoint_store import has_checkpoints
from lina.runs.files import RUN_FILE
from lina.runs.lexicon_copy import PATTERN as LEXICONS

INPUTS = ("data.config.", "codec.config.", "tokenizer.config.", "init.from", "init.backbone")
"""Prefixes of keys of input files. Training depends on their contents, which the identity of the corpus covers."""

NOTHING_DONE = {"lock", SPEC_FILE, TOKENIZER_FILE, RUN_FILE.name}
"""Files of a run before any data has been encoded; a copy of the lexicon may be beside them."""

PART_LOCKS = "part-*.lock"
"""Of the parts of a corpus that are being encoded, in ``data`` of the run directory."""
LOCK_SECONDS = 5.0
"""Longest wait for a lock that others only test."""

log = logging.getLogger("lina")


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Create and lock the run directory; errors of the disk inside the context become one line.

    A directory that is new is removed again if the run is refused before any data has been encoded.

    Raises:
        LinaError: another process holds the lock, or the disk is full or cannot be written.
    """
    is_new = not directory.exists()
    try:
        make_directory(directory, parents=True)
        lock = FileLock(directory / "lock").acquire(timeout=0)
    except Timeout:
        raise LinaError(
            f"{directory}: another lina process is running there; wait for it, or choose another train.out"
        ) from None
    except OSError as error:
        raise LinaError(
            f"{directory}: cannot be written: {error.strerror}; choose another train.out"
        ) from None
    with lock:
        try:
            yield
        except LinaError as error:
            if is_new and error.exit_code == LinaError.exit_code:
                _remove_if_nothing_is_done(directory)
            raise
        except OSError as error:
            if error.errno not in SYSTEM_ERRORS:
                raise
            raise LinaError(
                f"{error.filename or directory}: {error.strerror}; fix this and run the same command to resume"
            ) from error


def _remove_if_nothing_is_done(directory: Path) -> None:
    found = list(directory.iterdir())
    if all(one.name in NOTHING_DONE or one.match(LEXICONS) for one in found):
        with suppress(OSError):
            for one in found:
                one.unlink()
            directory.rmdir()


@contextmanager
def part_locked(directory: Path, part: int, parts: int) -> Iterator[None]:
    """Lock one part of the corpus of a run, to be encoded beside other parts but beside no run.

    Raises:
        LinaError: the same part is being encoded already, or a run is under way in the directory.
    """
    make_directory(directory / "data")
    path = directory / "data" / PART_LOCKS.replace("*", f"{part}-of-{parts}")
    try:
        lock = FileLock(path).acquire(timeout=LOCK_SECONDS)
    except Timeout:
        raise LinaError(
            f"{directory}: part {part} of {parts} is being encoded by another process; wait for it, or end it"
        ) from None
    with lock:
        # Tested after the own lock is held, as a run tests the parts' after its own: one of both sees the other.
        try:
            with FileLock(directory / "lock").acquire(timeout=LOCK_SECONDS):
                pass
        except Timeout:
            raise LinaError(
                f"{directory}: a run is under way there, which encodes the corpus itself; wait for it, or end it to "
                "encode in parts"
            ) from None
        yield


def check_no_part_is_encoded(directory: Path) -> None:
    """Refuse a run, which would clear away what processes that encode parts of its corpus are writing.

    Raises:
        LinaError: there is such a process.
    """
    for path in sorted((directory / "data").glob(PART_LOCKS)):
        try:
            with FileLock(path).acquire(timeout=0):
                pass
        except Timeout:
            raise LinaError(
                f"{directory}: lina data encode is encoding {path.stem.replace('-', ' ')} of the corpus; wait until "
                "all parts are finished, and run the same command again"
            ) from None


def claim(
    directory: Path,
    spec: AnySpec,
    free: Sequence[str],
    encoding: Sequence[str] = (),
    growing: Sequence[str] = (),
) -> None:
    """Write ``spec.yaml``, or check that the existing one agrees where results depend on it.

    Before anything has been encoded or trained, a changed spec simply replaces the old one. Inputs may have moved:
    their contents are compared when they are read.

    Args:
        free: prefixes of keys that may change between two starts of a run.
        encoding: prefixes of keys on which encoded data depends; only they count before the first checkpoint.
        growing: keys of numbers that may become larger, as the number of steps of a run that goes on.

    Raises:
        CheckpointError: a key has changed on which existing results depend, or ``spec.yaml`` has gone.
    """
    path = directory / SPEC_FILE
    trained = has_checkpoints(directory)
    encoded = any((directory / "data").glob("shard-*.json"))
    if trained or encoded:
        if not path.exists():
            raise CheckpointError(
                f"{path}: is missing, so nothing shows with which settings this run was begun; restore it, choose "
                "another name or train.out, or delete that directory"
            )
        changed = [
            one for one in changes(load_stored_spec(path), spec) if not one.key.startswith(tuple(free))
        ]
        for one in [one for one in changed if one.key in growing and one.new > one.old]:
            changed.remove(one)
            log.info("%s: %s was %s and is now %s: the run goes on", directory, *one)
        if not trained:
            changed = [one for one in changed if one.key.startswith(tuple(encoding))]
        for one in [one for one in changed if one.is_move and one.key.startswith(INPUTS)]:
            changed.remove(one)
            log.info("%s was %s and is now %s; the run resumes if its content is the same", *one)
        if changed:
            more = f" (and {len(changed) - 3} more)" if len(changed) > 3 else ""
            raise CheckpointError(
                f"{directory}: holds a run of another spec: {'; '.join(map(str, changed[:3]))}{more}; "
                "choose another name or train.out, or delete that directory"
            )
    write_atomic(path, spec.to_yaml().encode())


def report(run: Any, hooks: Any) -> None:
    """Run stage report: collect the hook plugins' sections and let them write the report."""
    began = time.perf_counter()
    hooks.stage_started(run=run, stage="report", total=None, done=0)
    sections = [section for several in hooks.report_sections(run=run) for section in several]
    if not any(hooks.write_report(run=run, sections=sections)):
        log.warning("no plugin wrote a report")
    hooks.stage_finished(run=run, stage="report", seconds=time.perf_counter() - began)
