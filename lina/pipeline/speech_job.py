"""A run: data -> train -> evaluate -> synthesize -> report, in one directory, where finished work is not redone.

Running the same spec again goes on where the last run was: each stage stores its inputs, and a stage whose
causes have not changed is left as it is. Everything a run makes is inside its directory.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from lina.config.resolve import ResolvedSpec
from lina.config.training_choices import hook_choices, place_hooks, training_choices
from lina.core.errors import ContractError, PluginError
from lina.core.model.contract import check_backbone
from lina.core.model.delay_lm import DelayLM
from lina.core.registry import Record
from lina.data.corpus_inputs import DATA_KEYS
from lina.data.prepare import PreparedData, prepare
from lina.data.training_data import TrainingData
from lina.evaluation.text_set import read_text_set
from lina.pipeline.speech_stages import evaluate_samples, evaluate_text_set, synthesize_texts
from lina.runs.build_model import build_lm, sketch_lm
from lina.runs.checkpoint_store import Checkpoint
from lina.runs.device import choose_device
from lina.runs.directory import check_no_part_is_encoded, claim, locked, report
from lina.runs.hooks import Run
from lina.runs.lexicon_copy import copy_lexicon
from lina.runs.provenance import record_run
from lina.runs.signals import raise_on_sigterm
from lina.speech.voice_loading import load
from lina.training.graph_choice import check_cuda_graph
from lina.training.init.initialize import check_init, initialize, source_speakers
from lina.training.packing import validate_packing
from lina.training.process_group import ProcessGroup, check_share, join_ranks
from lina.training.trainer import train

FREE_KEYS = (
    "evaluate.",
    "synthesize.",
    "train.valid_every",
    "train.checkpoint_every",
    "train.keep",
    "train.log_every",
    "train.threads",
    "train.compile",
    "train.cuda_graph",
    "train.out",
    "train.device",
    "train.gpus",
    "train.parallel",
    "train.restarts",
    "train.patience.",
    "train.minutes",
    "data.max_rejects",
    "data.workers",
    "hooks.",
)
"""Keys that may change between two starts of a run: training does not depend on them.

On a GPU it does in rounding and, with ``train.cuda_graph``, in what dropout draws.
"""

GROWING_KEYS = ("train.steps",)
"""Keys whose numbers may become larger: the schedule of the learning rate is that of the new number from then on."""


def run_spec(resolved: ResolvedSpec, hooks: Any) -> Path:
    """Run the unfinished stages of a spec and return the run directory.

    Raises:
        RunStopped: a signal came; the same call resumes.
        LinaError: the spec, the corpus or the directory has a mistake. Finished work stays.
    """
    directory = resolved.spec.train.out
    training, named = training_choices(resolved.spec), hook_choices(resolved.spec)
    spec = place_hooks(training.place(resolved.spec), named)
    resolved = replace(resolved, spec=spec)
    with join_ranks(spec.train) as group:
        # Fail fast: check everything possible before hours of encoding.
        choose_device(spec.train.device)
        check_share("accumulate", spec.train.accumulate, group.size, "micro-batches")
        check_cuda_graph(spec.train, group.size)
        if not group.is_main:
            _train_with_main(directory, resolved, hooks, group)
            return directory
        check_model(resolved)
        if spec.evaluate.texts is not None:
            read_text_set(spec.evaluate.texts)
        with raise_on_sigterm(), locked(directory):
            check_no_part_is_encoded(directory)
            run = Run(directory, spec)
            claim(directory, spec, FREE_KEYS, DATA_KEYS, GROWING_KEYS)
            copy_lexicon(spec.synthesize.lexicon, directory)
            if spec.train.threads:
                torch.set_num_threads(spec.train.threads)
            hooks.run_started(run=run)
            prepared = prepare(run, resolved, hooks, source_speakers(run))
            records = (*resolved.records, *training.records, *(one.record for one in named))
            checkpoint = _train(run, resolved, records, prepared, hooks, group)
            voice = load(directory, device=spec.train.device)
            evaluate_samples(run, resolved, prepared, voice, checkpoint, hooks)
            evaluate_text_set(run, resolved, voice, checkpoint, hooks)
            synthesize_texts(run, voice, checkpoint, hooks)
            report(run, hooks)
            hooks.run_finished(run=run)
    return directory


def check_model(resolved: ResolvedSpec) -> None:
    """Check that a model can be built and trained as the spec says, before any data is prepared.

    Raises:
        LinaError: sizes do not fit each other, or initial weights or packed rows the model.
    """
    sketch = sketch_lm(resolved)
    check_init(resolved, sketch)
    validate_packing(sketch.cross_att, resolved.backbone.record.name, resolved.spec.train.consecutive)


def _check_backbones(resolved: ResolvedSpec, model: DelayLM) -> None:
    for half in (model.encoder, model.decoder):
        try:
            check_backbone(cast(nn.Module, half), resolved.spec.backbone.d_model)
        except ContractError as error:
            raise PluginError(f"{resolved.backbone.record}: {error}; check it: lina check") from error
        except PluginError:
            return  # kernels that a spec forces may need the GPU, to which the model is moved later


def _train(
    run: Run,
    resolved: ResolvedSpec,
    records: Sequence[Record],
    prepared: PreparedData,
    hooks: Any,
    group: ProcessGroup,
) -> Checkpoint:
    model = build_lm(
        resolved,
        codebook_sizes=prepared.codec.codebook_sizes,
        vocab_size=prepared.tokenizer.vocab_size,
        speakers=len(prepared.speakers),
        seed=run.spec.seed,
    )
    _check_backbones(resolved, model)
    record_run(run, records, model, resolved.codec)
    initialize(run, resolved, model, prepared)
    group.broadcast((model, prepared.training))
    checkpoint = train(run, model, prepared.training, hooks, group)
    assert checkpoint is not None
    group.finish()
    return checkpoint


def _train_with_main(directory: Path, resolved: ResolvedSpec, hooks: Any, group: ProcessGroup) -> None:
    """All that other ranks do than rank 0: train the model that it has made, on the data that it has prepared."""
    spec = resolved.spec
    if spec.train.threads:
        torch.set_num_threads(spec.train.threads)
    with raise_on_sigterm():
        prepared: tuple[DelayLM, TrainingData] = group.broadcast(None)
        train(Run(directory, spec), *prepared, hooks, group)
