"""A run: data -> train -> evaluate -> synthesize -> report, in one directory, where finished work is not redone.

Running the same spec again goes on where the last run was: each stage keeps what it was made from, and a stage whose
causes have not changed is left as it is. Everything a run makes is inside its directory.
"""

from pathlib import Path
from typing import Any

import torch

from lina.config.loader import load_spec
from lina.config.resolve import ResolvedSpec, in_present_names
from lina.config.spec import differences
from lina.core.files import write_atomic
from lina.data.prepare import PreparedData, prepare
from lina.evaluation.text_set import read_text_set
from lina.pipeline.speech_stages import evaluate, evaluate_text_set, synthesize
from lina.runs.build_model import build_lm, sketch_lm
from lina.runs.checkpoint_store import Checkpoint, checkpoint_folder
from lina.runs.device import choose_device
from lina.runs.directory import owned, refuse_changed, report
from lina.runs.hooks import Run
from lina.runs.layout import SPEC_FILE
from lina.runs.provenance import record_run
from lina.runs.signals import terminated_as_stopped
from lina.speech.voice import load
from lina.training.data_parallel import check_gpus
from lina.training.init.initialize import check_init, initialise
from lina.training.packing import validate_packing
from lina.training.trainer import train

FREE_KEYS = (
    "evaluate.",
    "synthesize.",
    "train.valid_every",
    "train.checkpoint_every",
    "train.keep",
    "train.log_every",
    "train.threads",
    "train.out",
    "train.device",
    "train.gpus",
    "data.max_rejects",
    "data.workers",
)
"""Keys that may change between two starts of a run: they do not change what training computes."""

DATA_KEYS = ("codec.", "tokenizer.", "data.", "text.max_characters")
"""Keys that what is encoded depends on."""


def run_spec(resolved: ResolvedSpec, hooks: Any) -> Path:
    """Do what a spec asks, or what is left of it; the run directory.

    Raises:
        RunStopped: a signal came; the same call goes on.
        LinaError: something in the spec, the corpus or the directory is wrong. What was finished stays.
    """
    spec, directory = resolved.spec, resolved.spec.train.out
    # What can be seen to fail is told before hours of encoding, not after.
    choose_device(spec.train.device)
    check_gpus(spec.train)
    sketch = sketch_lm(resolved)
    check_init(resolved, sketch)
    validate_packing(sketch.cross_att, resolved.backbone.record.name, spec.train.consecutive)
    if spec.evaluate.texts is not None:
        read_text_set(spec.evaluate.texts)
    with terminated_as_stopped(), owned(directory):
        run = Run(directory, spec)
        _claim(run)
        if spec.train.threads:
            torch.set_num_threads(spec.train.threads)
        hooks.run_started(run=run)
        prepared = prepare(run, resolved, hooks)
        checkpoint = _train(run, resolved, prepared, hooks)
        voice = load(directory, device=spec.train.device)
        evaluate(run, resolved, prepared, voice, checkpoint, hooks)
        evaluate_text_set(run, resolved, voice, checkpoint, hooks)
        synthesize(run, voice, checkpoint, hooks)
        report(run, hooks)
        hooks.run_finished(run=run)
    return directory


def _claim(run: Run) -> None:
    """Write the spec, or check that the one there asks for the same where something depends on it.

    A mistake that is found before there is anything to lose is mended by running the mended spec.
    """
    path = run.directory / SPEC_FILE
    trained = any(checkpoint_folder(run.directory).glob("step-*"))
    encoded = any((run.directory / "data").glob("shard-*.json"))
    if path.exists() and (trained or encoded):
        before = in_present_names(load_spec(path))
        changed = [line for line in differences(before, run.spec) if not line.startswith(FREE_KEYS)]
        if not trained:
            changed = [line for line in changed if line.startswith(DATA_KEYS)]
        refuse_changed(run.directory, changed)
    write_atomic(path, run.spec.to_yaml().encode())


def _train(run: Run, resolved: ResolvedSpec, prepared: PreparedData, hooks: Any) -> Checkpoint:
    model = build_lm(
        resolved,
        codebook_sizes=prepared.codec.codebook_sizes,
        vocab_size=prepared.tokenizer.vocab_size,
        speakers=len(prepared.speakers),
        seed=run.spec.seed,
    )
    record_run(run, resolved, model)
    initialise(run, resolved, model, prepared)
    return train(run, model, prepared.training, hooks)
