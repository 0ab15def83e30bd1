"""Training loop of both jobs: steps, validation and checkpoints until the last step, a signal or a deadline."""

import time
from typing import Any, Protocol

from lina.core.errors import CheckpointError, LinaError, is_out_of_memory, one_line
from lina.runs.checkpoint_store import Checkpoint, checkpoint_folder, newest_checkpoint
from lina.runs.metrics import rewind_metrics
from lina.runs.signals import RunStopped, stop_requested


class Steps(Protocol):
    """A trainer, as the loop uses it."""

    step: int
    """Steps finished so far."""

    def advance(self) -> None:
        """Do one optimizer step."""

    def validate(self) -> None:
        """Measure and log the validation loss."""

    def save(self) -> Checkpoint:
        """Write a checkpoint."""

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


def run_steps(trainer: Steps, run: Any, deadline: float = float("inf"), limit: str = "") -> Checkpoint:
    """Train from ``trainer.step`` until ``train.steps`` and return the last checkpoint.

    Args:
        run: ``lina.runs.hooks.Run`` of either job; metrics after ``trainer.step`` are removed from its file.
        deadline: time of ``time.perf_counter()`` at which to save and stop; ``limit`` describes it in the message.

    Raises:
        RunStopped: SIGTERM or SIGINT came or the deadline passed; a checkpoint has been saved.
        LinaError: memory ran out; the step was not applied.
    """
    spec = run.spec.train
    rewind_metrics(run.directory, trainer.step)
    with stop_requested() as stop:
        while True:
            try:
                trainer.advance()
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                last = newest_checkpoint(checkpoint_folder(run.directory))
                batch, key = trainer.next_batch()
                raise LinaError(
                    f"train: out of memory in step {trainer.step + 1}, whose batch is {batch} ({one_line(error)}); the "
                    f"last checkpoint is of step {last.step if last else 0}: run the same command where there is more "
                    f"memory, or start a run of another name with a smaller {key}"
                ) from error
            finished = trainer.step >= spec.steps
            stopping = stop.is_set() or time.perf_counter() >= deadline
            if finished or trainer.step % spec.valid_every == 0:
                trainer.validate()
            if not (finished or stopping or trainer.step % spec.checkpoint_every == 0):
                continue
            saved = trainer.save()
            if stop.is_set() or (stopping and not finished):
                cause = "by a signal" if stop.is_set() else limit
                raise RunStopped(
                    f"stopped {cause} at step {trainer.step} of {spec.steps}; run the same command to resume"
                )
            if finished:
                return saved
