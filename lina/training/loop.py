"""Training loop of both jobs: steps, validation and checkpoints until the last step, a signal or a deadline."""

import logging
import time
from collections.abc import Callable
from typing import Any, Protocol

from lina.core.errors import CheckpointError, LinaError, is_out_of_memory, one_line
from lina.runs.checkpoint_store import Checkpoint, checkpoint_folder, newest_checkpoint
from lina.runs.metrics import rewind_metrics
from lina.runs.signals import RunStopped, stop_requested
from lina.training.process_group import ProcessGroup

COMPILING = 3
"""First steps of a start, in which kernels are compiled and tuned."""

log = logging.getLogger("lina")


class Steps(Protocol):
    """A trainer, as the loop uses it."""

    step: int
    """Steps finished so far."""

    def advance(self, stopping: Callable[[], bool]) -> bool:
        """Do one optimizer step; true, on all ranks, if a rank is ``stopping`` after it."""

    def validate(self) -> None:
        """Measure and log the validation loss."""

    def save(self, wait: bool) -> Checkpoint | None:
        """Write a checkpoint, on rank 0; return it, there and with ``wait``: else training goes on meanwhile."""

    def finish_writing(self) -> None:
        """Wait for a checkpoint that is being written, if there is one.

        Raises:
            CheckpointError: it could not be written.
        """

    def next_batch(self) -> tuple[str, str]:
        """Size of the next step's batch in words, and the key of the spec that sets it."""


def resume_point(run: Any, corpus: str, remedy: str) -> Checkpoint | None:
    """The newest checkpoint of a run on ``corpus``, None for a new run.

    Args:
        run: ``lina.runs.hooks.Run`` of either job.
        corpus: identity of the training data; "" accepts any.
        remedy: advice for a user whose corpus has changed.

    Raises:
        CheckpointError: the checkpoints cannot be used, or are of another corpus.
    """
    last = newest_checkpoint(checkpoint_folder(run.directory))
    if last is not None and corpus and last.corpus != corpus:
        raise CheckpointError(
            f"{last.path}: was trained on other data: the corpus or its codes have changed since; {remedy}choose "
            "another name or train.out, or delete that run directory"
        )
    return last


def run_steps(trainer: Steps, run: Any, group: ProcessGroup, began: float) -> Checkpoint | None:
    """Train from ``trainer.step`` until ``train.steps`` and return the last checkpoint, on rank 0.

    Args:
        run: ``lina.runs.hooks.Run`` of either job; metrics after ``trainer.step`` are removed from its file.
        began: time of ``time.perf_counter()`` from which ``train.minutes`` count.

    Raises:
        RunStopped: SIGTERM or SIGINT came or ``train.minutes`` are over; a checkpoint has been saved.
        LinaError: memory ran out; the step was not applied.
    """
    spec = run.spec.train
    deadline = float("inf") if spec.minutes is None else began + spec.minutes * 60
    if group.is_main:
        rewind_metrics(run.directory, trainer.step)
    first = saved_step = trainer.step
    with stop_requested(ranks=group.size) as stop:
        while True:
            group.enter("compilation" if trainer.step < first + COMPILING else "step")
            try:
                stopping = trainer.advance(lambda: stop.is_set() or time.perf_counter() >= deadline)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                raise _out_of_memory(trainer, run, group, error, saved_step) from error
            finished = trainer.step >= spec.steps
            if finished or trainer.step % spec.valid_every == 0:
                group.enter("validation")
                trainer.validate()
            if not (finished or stopping or trainer.step % spec.checkpoint_every == 0):
                continue
            group.enter("saving")
            saved, saved_step = trainer.save(wait=finished or stopping), trainer.step
            group.barrier()  # no rank leaves, or has its next step held against time, while rank 0 is not through
            if not finished and not stopping:
                continue
            by_signal = group.any(stop.is_set())
            if by_signal or not finished:
                cause = "by a signal" if by_signal else f"after {spec.minutes:g} minutes"
                raise RunStopped(
                    f"stopped {cause} at step {trainer.step} of {spec.steps}; run the same command to resume"
                )
            return saved


def _out_of_memory(
    trainer: Steps, run: Any, group: ProcessGroup, error: Exception, saved_step: int
) -> LinaError:
    """The error of a step; ``saved_step``: that of the last checkpoint that was begun, which rank 0 may be writing."""
    if group.is_main:
        try:
            trainer.finish_writing()
        except Exception as failure:  # it may want memory, too
            log.warning("the last checkpoint was not written: %s", one_line(failure))
        last = newest_checkpoint(checkpoint_folder(run.directory))
        saved_step = last.step if last else 0
    batch, key = trainer.next_batch()
    rank = f" on rank {group.rank}" if group.size > 1 else ""
    return LinaError(
        f"train: out of memory in step {trainer.step + 1}{rank}, whose batch is {batch} ({one_line(error)}); the "
        f"last checkpoint is of step {saved_step}: run the same command where there is more "
        f"memory, or start a run of another name with a smaller {key}"
    )
