"""Conversion of a lina-speech checkpoint into a run, for synthesis and as a start of training."""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from lina.config.resolve import ResolvedSpec, choose_plugin, resolve
from lina.config.run_files import SPEAKERS_FILE, SPEC_FILE, TOKENIZER_FILE
from lina.config.source_map import Origin, SpecSource
from lina.config.spec import Spec
from lina.convert.lina_speech.names import fill
from lina.convert.lina_speech.sizes import CheckpointSizes, NotConvertible, read_sizes
from lina.convert.lina_speech.spec import CODEC_WEIGHTS, spec_of, tokenizer_file
from lina.convert.lina_speech.tensors import read_tensors
from lina.core.errors import CheckpointError, SpecError
from lina.core.files.atomic import sync_directory, write_atomic
from lina.core.files.checks import sha256
from lina.core.model.allocation_limit import AllocationLimit
from lina.core.model.delay_lm import DelayLM
from lina.runs.build_model import build_lm
from lina.runs.checkpoint import load_weights, save_checkpoint
from lina.runs.checkpoint_store import checkpoint_folder
from lina.runs.files import write_data_summary
from lina.runs.hooks import Run
from lina.runs.provenance import record_run
from lina.runs.records import CodecInfo, DataSummary
from lina.training.optimizer import adamw, parameter_groups

MARKED = [1, 2]
"""First and last text id of lina-speech: [BOS] and [EOS]; 0 is padding."""


class Converted(NamedTuple):
    sizes: CheckpointSizes
    parameters: int
    missing: tuple[Path, ...]
    """Files that the run lacks for synthesis."""


def convert(
    checkpoint: Path,
    out: Path,
    *,
    tokenizer: Path | None = None,
    codec_weights: Path | None = None,
    check: Callable[[DelayLM], None] = lambda model: None,
) -> Converted:
    """Write the run ``out``, atomically.

    Args:
        checkpoint: File of lina-speech.
        out: Directory of the run; must not exist.
        tokenizer: Vocabulary, copied into the run.
        codec_weights: EnCodec weights, referred to by their path.
        check: Called with the model as loaded from the written files; if it raises, no run is written.

    Raises:
        CheckpointError: ``checkpoint`` is not one of lina-speech (the message names the cause), or ``out`` exists.
        SpecError: CheckpointSizes or the tokenizer do not fit.
        PluginError: A required plugin cannot be used.
    """
    if out.exists() or out.is_symlink():
        raise CheckpointError(f"{out}: exists already; name a new directory, or delete it")
    tensors = read_tensors(checkpoint)
    try:
        sizes = read_sizes(tensors)
        spec = spec_of(sizes, checkpoint, out, codec_weights)
        resolved = resolve(spec)
        model = _model(resolved, sizes, tensors)
    except NotConvertible as error:
        raise CheckpointError(f"{checkpoint}: {error}") from None
    if tokenizer is not None:
        _check_tokenizer(tokenizer, sizes)
    if codec_weights is not None:
        resolved.codec.plugin.build(config=resolved.codec.config)
    with _atomic_directory(out) as directory:
        if tokenizer is not None:
            shutil.copyfile(tokenizer, directory / tokenizer_file(sizes))
        write_atomic(directory / SPEC_FILE, spec.to_yaml().encode())
        write_atomic(directory / TOKENIZER_FILE, json.dumps({"key": "", "trained": None}).encode())
        write_atomic(directory / SPEAKERS_FILE, b"[]")
        write_data_summary(directory, _no_data(sizes))
        record_run(Run(directory, spec), resolved.records, model, resolved.codec)
        _save(directory, spec, model, sha256(checkpoint))
        check(model)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    missing = [
        name
        for name, path in ((tokenizer_file(sizes), tokenizer), (CODEC_WEIGHTS, codec_weights))
        if path is None
    ]
    return Converted(sizes, parameters, tuple(out / name for name in missing))


@contextmanager
def _atomic_directory(out: Path) -> Iterator[Path]:
    """Yield a hidden directory that is renamed to ``out`` on success and deleted on failure."""
    out.parent.mkdir(parents=True, exist_ok=True)
    hidden = out.with_name(f".{out.name}.{os.getpid()}.part")
    hidden.mkdir()
    try:
        yield hidden
        hidden.rename(out)
        sync_directory(out.parent)
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def _check_tokenizer(file: Path, sizes: CheckpointSizes) -> None:
    origin = Origin((SpecSource("--tokenizer", Path(), {}),))
    chosen = choose_plugin("tokenizer", "bpe", {"file": str(file.resolve())}, origin)
    tokenizer = chosen.plugin.build(config=chosen.config)
    if tokenizer.vocab_size != sizes.vocabulary:
        raise SpecError(
            f"--tokenizer {file}: has {tokenizer.vocab_size} ids, but the checkpoint has {sizes.vocabulary} text ids; "
            "pass the file that the model was trained with"
        )
    if (marks := tokenizer.parallel_forward("")) != MARKED:
        raise SpecError(
            f"--tokenizer {file}: begins and ends a text with ids {marks}, but lina-speech with {MARKED}; "
            "pass the file that the model was trained with"
        )


def _model(resolved: ResolvedSpec, sizes: CheckpointSizes, tensors: Mapping[str, Tensor]) -> DelayLM:
    codebook_sizes = (sizes.codebook_size,) * sizes.codebooks
    try:
        with AllocationLimit(sum(value.numel() for value in tensors.values())):
            model = build_lm(
                resolved, codebook_sizes=codebook_sizes, vocab_size=sizes.vocabulary, speakers=0, seed=0
            )
    except SpecError as error:  # of the backbone plugin, or of the limit
        raise NotConvertible(str(error)) from None
    fill(model, tensors, sizes.backbone)
    return model


def _no_data(sizes: CheckpointSizes) -> DataSummary:
    """Describe the codes for fine-tuning: nothing is encoded here, and EnCodec's weights may be missing."""
    codebook_sizes = (sizes.codebook_size,) * sizes.codebooks
    codec = CodecInfo(name="encodec", sample_rate=24_000, hop=320, codebook_sizes=codebook_sizes)
    return DataSummary(utterances=0, valid=0, seconds=0.0, codec=codec)


def _save(directory: Path, spec: Spec, model: DelayLM, digest: str) -> None:
    """Save the checkpoint of step 0, then load its weights back from the file."""
    rate, decay = spec.train.lr, spec.train.weight_decay
    optimizer = adamw(parameter_groups(model), lr=rate, betas=spec.train.betas, weight_decay=decay)
    written = save_checkpoint(
        checkpoint_folder(directory),
        step=0,
        seconds=0.0,
        corpus=f"converted from lina-speech, SHA-256 {digest}",
        model=model,
        optimizer=optimizer,
        average=None,
        keep=1,
    )
    load_weights(model, written, average=True)
