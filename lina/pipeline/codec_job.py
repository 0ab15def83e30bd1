"""A run of job codec: data -> train -> export -> evaluate -> report, in one self-contained directory."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from lina.codec_training.audio_pool import PoolIndex, map_pool
from lina.codec_training.evaluate import evaluate_codec
from lina.codec_training.matmul_precision import tf32_matmul
from lina.codec_training.prepare import CodecData, CodecRun, prepare_audio
from lina.codec_training.trainer import CodecTrainer
from lina.config.codec_resolve import ResolvedCodecSpec
from lina.config.training_choices import hook_choices, place_hooks
from lina.core.errors import PluginError, SpecError
from lina.core.files.atomic import commit, temporary_name
from lina.core.process.malloc import keep_freed_memory
from lina.core.protocols import TrainableCodec, implements
from lina.runs.build_model import count_parameters
from lina.runs.checkpoint_store import Checkpoint
from lina.runs.device import choose_device
from lina.runs.directory import claim, locked, report
from lina.runs.provenance import write_info
from lina.runs.records import ModelInfo
from lina.runs.signals import raise_on_sigterm
from lina.runs.stage_cache import finish, is_up_to_date
from lina.training.loop import resume_point, run_steps
from lina.training.process_group import ProcessGroup, check_share, join_ranks

FREE_KEYS = (
    "evaluate.",
    "train.steps",
    "train.minutes",
    "train.gpus",
    "train.restarts",
    "train.patience.",
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
    "hooks.",
)
"""Keys that may change between two starts of a run: the finished steps do not depend on them."""

EXPORTED = Path("codec.safetensors")


def run_codec_spec(resolved: ResolvedCodecSpec, hooks: Any) -> Path:
    """Run the unfinished stages of a spec and return the run directory.

    Raises:
        RunStopped: a signal came, or ``train.minutes`` are over; the same call resumes.
        LinaError: the spec, the corpora or the directory has a mistake. Finished work stays.
    """
    directory = resolved.spec.train.out
    named = hook_choices(resolved.spec)
    spec = place_hooks(resolved.spec, named)
    resolved = replace(resolved, spec=spec)
    with join_ranks(spec.train) as group:
        device = choose_device(spec.train.device)
        check_share("batch", spec.train.batch, group.size, "crops")
        codec = _build(resolved)
        run = CodecRun(directory, spec)
        if spec.train.threads:
            torch.set_num_threads(spec.train.threads)
        if not group.is_main:
            with raise_on_sigterm(), tf32_matmul(device):
                index, train, valid = cast(tuple[PoolIndex, list[int], list[int]], group.broadcast(None))
                _train(run, codec, CodecData(map_pool(directory / "data", index), train, valid), hooks, group)
            return directory
        with raise_on_sigterm(), locked(directory), tf32_matmul(device):
            claim(directory, spec, FREE_KEYS)
            hooks.run_started(run=run)
            records = (*resolved.records, *(one.record for one in named))
            write_info(directory, records, ModelInfo(parameters=count_parameters(cast(nn.Module, codec))))
            data = prepare_audio(run, resolved, codec, hooks)
            group.broadcast((data.pool.index, data.train, data.valid))
            checkpoint, trainer = _train(run, codec, data, hooks, group)
            group.finish()
            assert checkpoint is not None
            _export(run, resolved, checkpoint, trainer, hooks)
            evaluate_codec(run, resolved, data, checkpoint, directory / EXPORTED, hooks)
            report(run, hooks)
            hooks.run_finished(run=run)
    return directory


def _build(resolved: ResolvedCodecSpec) -> TrainableCodec:
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
    numbers = {
        ("evaluate", "codebooks"): spec.evaluate.codebooks,
        ("train", "dropout_codebooks"): spec.train.dropout_codebooks,
    }
    for key, several in numbers.items():
        if (codebooks := max(several, default=0)) > len(codec.codebook_sizes):
            raise SpecError(
                f"{spec.origin.where(key)}: {'.'.join(key)}: {codebooks} is more than the "
                f"{len(codec.codebook_sizes)} codebooks of this codec"
            )
    return codec


def _train(
    run: CodecRun, codec: TrainableCodec, data: CodecData, hooks: Any, group: ProcessGroup
) -> tuple[Checkpoint | None, CodecTrainer]:
    """Train until ``train.steps``, from the newest checkpoint if there is one; on rank 0 return the last one."""
    began, spec = time.perf_counter(), run.spec.train
    corpus = "" if run.spec.data.may_change else data.pool.identity
    remedy = "set data.may_change=true to go on with the changed audio, "
    last: Checkpoint | None = group.broadcast(resume_point(run, corpus, remedy) if group.is_main else None)
    trainer = CodecTrainer(run, codec, data, hooks, group)
    if last is not None:
        trainer.restore(last)
    if last is not None and last.step >= spec.steps:
        hooks.stage_finished(run=run, stage="train", seconds=0.0)
        return last, trainer
    hooks.stage_started(run=run, stage="train", total=spec.steps, done=trainer.step)
    keep_freed_memory()
    last = run_steps(trainer, run, group, began)
    hooks.stage_finished(run=run, stage="train", seconds=time.perf_counter() - began)
    return last, trainer


def _export(
    run: CodecRun, resolved: ResolvedCodecSpec, checkpoint: Checkpoint, trainer: CodecTrainer, hooks: Any
) -> None:
    """Write ``codec.safetensors``: the averaged weights, in the plugin's format."""
    path = run.directory / EXPORTED
    if path.exists() and is_up_to_date(run.directory, "export", checkpoint.weights):
        hooks.stage_finished(run=run, stage="export", seconds=0.0)
        return
    began = time.perf_counter()
    hooks.stage_started(run=run, stage="export", total=None, done=0)
    state = trainer.state
    if state.average is not None:
        for name, value in state.codec.named_parameters():
            if name in state.average.average:
                value.data.copy_(state.average.average[name])
    codec = state.codec.cpu().eval()
    temporary = temporary_name(path).with_suffix(".part")
    resolved.codec.plugin.save_trained(codec, temporary)
    commit(temporary, path)
    finish(run.directory, "export", checkpoint.weights)
    hooks.stage_finished(run=run, stage="export", seconds=time.perf_counter() - began)
