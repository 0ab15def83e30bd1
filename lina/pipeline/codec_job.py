"""A run of job codec: data -> train -> export -> evaluate -> report, in one directory; finished work is not redone."""

import time
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from lina.codec_training.checkpoints import Learning
from lina.codec_training.evaluate import evaluate
from lina.codec_training.matmul_precision import fast_arithmetic
from lina.codec_training.prepare import CodecData, prepare
from lina.codec_training.run import CodecRun
from lina.codec_training.trainer import Trainer
from lina.config.codec_resolve import ResolvedCodecSpec
from lina.config.loader import load_job
from lina.config.spec import differences
from lina.core.errors import CheckpointError, PluginError, SpecError
from lina.core.files import commit, temporary_name, write_atomic
from lina.core.malloc import keep_freed_memory
from lina.core.protocols import TrainableCodec, implements
from lina.runs.build_model import count_parameters
from lina.runs.checkpoint_store import Checkpoint, checkpoint_folder, newest_checkpoint
from lina.runs.device import choose_device
from lina.runs.directory import owned, refuse_changed, report
from lina.runs.layout import SPEC_FILE
from lina.runs.metrics import rewind_metrics
from lina.runs.provenance import write_info
from lina.runs.records import ModelInfo
from lina.runs.signals import RunStopped, asked_to_stop, terminated_as_stopped
from lina.runs.stage_cache import finish, is_finished

FREE_KEYS = (
    "evaluate.",
    "train.steps",
    "train.minutes",
    "train.valid_every",
    "train.keep",
    "train.log_every",
    "train.threads",
    "train.out",
    "train.device",
    "train.cuda_graph",
    "data.max_rejects",
    "data.workers",
    "data.may_change",
)
"""Keys that may change between two starts: they do not change what the steps until now have computed."""

EXPORTED = Path("codec.safetensors")


def run_codec_spec(resolved: ResolvedCodecSpec, hooks: Any) -> Path:
    """Do what a spec asks, or what is left of it; the run directory.

    Raises:
        RunStopped: a signal came, or ``train.minutes`` are over; the same call goes on.
        LinaError: something in the spec, the corpora or the directory is wrong. What was finished stays.
    """
    spec, directory = resolved.spec, resolved.spec.train.out
    device = choose_device(spec.train.device)
    codec = _fresh(resolved)
    with terminated_as_stopped(), owned(directory), fast_arithmetic(device):
        run = CodecRun(directory, spec)
        _claim(run)
        if spec.train.threads:
            torch.set_num_threads(spec.train.threads)
        hooks.run_started(run=run)
        write_info(
            directory, resolved.records, ModelInfo(parameters=count_parameters(cast(nn.Module, codec)))
        )
        data = prepare(run, resolved, codec, hooks)
        checkpoint, trainer = _train(run, codec, data, hooks)
        _export(run, resolved, checkpoint, trainer, hooks)
        evaluate(run, resolved, data, checkpoint, directory / EXPORTED, hooks)
        report(run, hooks)
        hooks.run_finished(run=run)
    return directory


def _fresh(resolved: ResolvedCodecSpec) -> TrainableCodec:
    spec = resolved.spec
    torch.manual_seed(spec.seed)
    try:
        codec = resolved.codec.plugin.build_trainable(config=resolved.codec.config)
    except SpecError as error:
        raise SpecError(f"{spec.origin.where(('codec',))}: codec: {error}") from None
    if not implements(codec, TrainableCodec) or not isinstance(codec, nn.Module):
        raise PluginError(
            f"{resolved.codec.record}: build_trainable gives a {type(codec).__name__}, which is no TrainableCodec; "
            "see docs/plugins.md"
        )
    if codec.channels != 1:
        raise SpecError(
            f"{spec.origin.where(('codec',))}: codec: has {codec.channels} channels; only codecs of one are trained"
        )
    for asked in spec.evaluate.codebooks:
        if asked > len(codec.codebook_sizes):
            raise SpecError(
                f"{spec.origin.where(('evaluate', 'codebooks'))}: evaluate.codebooks: {asked} is more than the "
                f"{len(codec.codebook_sizes)} codebooks of this codec"
            )
    return codec


def _claim(run: CodecRun) -> None:
    """Write the spec, or check that the one there asks for the same where training depends on it."""
    path = run.directory / SPEC_FILE
    if path.exists() and any(checkpoint_folder(run.directory).glob("step-*")):
        before = load_job(path)
        changed = [line for line in differences(before, run.spec) if not line.startswith(FREE_KEYS)]
        refuse_changed(run.directory, changed)
    write_atomic(path, run.spec.to_yaml().encode())


def _train(run: CodecRun, codec: TrainableCodec, data: CodecData, hooks: Any) -> tuple[Checkpoint, Trainer]:
    """Train until ``train.steps``, from the newest checkpoint if there is one."""
    spec = run.spec.train
    last = newest_checkpoint(checkpoint_folder(run.directory))
    if last is not None and last.corpus != data.pool.identity and not run.spec.data.may_change:
        raise CheckpointError(
            f"{last.path}: was trained on other audio: the corpora have changed since; say data.may_change=true "
            "to go on with these, choose another name or train.out, or delete that run directory"
        )
    began = time.perf_counter()
    trainer = Trainer(run, codec, data, hooks)
    if last is not None:
        trainer.restore(last)
    if last is not None and last.step >= spec.steps:
        hooks.stage_finished(run=run, stage="train", seconds=0.0)
        return last, trainer
    hooks.stage_started(run=run, stage="train", total=spec.steps, done=trainer.step)
    keep_freed_memory()
    rewind_metrics(run.directory, trainer.step)
    until = began + spec.minutes * 60 if spec.minutes else None
    with asked_to_stop() as stop:
        while trainer.step < spec.steps:
            trainer.advance()
            finished = trainer.step == spec.steps
            over = until is not None and time.perf_counter() >= until
            if finished or trainer.step % spec.valid_every == 0:
                trainer.validate()
            if finished or trainer.step % spec.checkpoint_every == 0 or stop.is_set() or over:
                last = trainer.save()
            if (stop.is_set() or over) and not finished:
                cause = "by a signal" if stop.is_set() else f"after {spec.minutes:g} minutes"
                raise RunStopped(
                    f"stopped {cause} at step {trainer.step} of {spec.steps}; run the same command to go on"
                )
    assert last is not None
    hooks.stage_finished(run=run, stage="train", seconds=time.perf_counter() - began)
    return last, trainer


def _export(
    run: CodecRun, resolved: ResolvedCodecSpec, checkpoint: Checkpoint, trainer: Trainer, hooks: Any
) -> None:
    """``codec.safetensors``: the averaged weights as the plugin writes them."""
    path = run.directory / EXPORTED
    if path.exists() and is_finished(run.directory, "export", checkpoint.weights):
        hooks.stage_finished(run=run, stage="export", seconds=0.0)
        return
    began = time.perf_counter()
    hooks.stage_started(run=run, stage="export", total=None, done=0)
    learning: Learning = trainer.learning
    if learning.average is not None:
        for name, value in learning.codec.named_parameters():
            if name in learning.average.average:
                value.data.copy_(learning.average.average[name])
    codec = learning.codec.cpu().eval()
    temporary = temporary_name(path).with_suffix(".part")
    resolved.codec.plugin.save_trained(codec, temporary)
    commit(temporary, path)
    finish(run.directory, "export", checkpoint.weights)
    hooks.stage_finished(run=run, stage="export", seconds=time.perf_counter() - began)
