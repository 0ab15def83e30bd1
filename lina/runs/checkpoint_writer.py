"""Writing of checkpoints while training goes on: a copy is taken at once, files are written and synced in a thread.

One checkpoint is written at a time. It counts when it is complete, as any other: a kill during the writing leaves the
one before. An error of the writing is raised by the next call.
"""

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from lina.core.errors import LinaError, one_line
from lina.core.process.threads import use_one_thread
from lina.runs.checkpoint import CheckpointContent
from lina.runs.checkpoint_store import Checkpoint
from lina.runs.shards import cpu_copy

log = logging.getLogger("lina")


def copied(content: CheckpointContent) -> CheckpointContent:
    """The same content in memory of its own on the CPU, which training does not change."""
    files = {
        file: {name: cpu_copy(value) for name, value in tensors.items()}
        for file, tensors in content.files.items()
    }
    return content._replace(files=files)


class CheckpointWriter:
    """Thread that writes checkpoints; ``written`` is called with each one, in the caller's thread."""

    def __init__(self, written: Callable[[Checkpoint], None]) -> None:
        self.written = written
        self.executor = ThreadPoolExecutor(1, thread_name_prefix="checkpoint", initializer=use_one_thread)
        self.pending: Future[Checkpoint] | None = None

    def submit(self, write: Callable[[], Checkpoint]) -> None:
        """Begin to write, once the checkpoint before is complete."""
        self.finish()
        self.pending = self.executor.submit(write)

    def poll(self) -> None:
        """Report a checkpoint that is complete by now.

        Raises:
            CheckpointError: it could not be written.
        """
        if self.pending is not None and self.pending.done():
            self.finish()

    def finish(self) -> Checkpoint | None:
        """Wait for the checkpoint that is being written, and return it.

        Raises:
            CheckpointError: it could not be written.
        """
        if self.pending is None:
            return None
        try:
            checkpoint = self.pending.result()
        finally:
            self.pending = None
        self.written(checkpoint)
        return checkpoint

    def is_writing(self) -> bool:
        """True until the checkpoint that was begun is complete; for other threads, too."""
        pending = self.pending
        return pending is not None and not pending.done()

    def close(self) -> None:
        """Wait for the end of the writing; log an error, since another one is on its way."""
        try:
            self.finish()
        except LinaError as error:
            log.warning("%s", error)
        except Exception as error:
            log.warning("the last checkpoint was not written: %s", one_line(error))
        finally:
            self.executor.shutdown()
