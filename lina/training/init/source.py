"""Source run of ``init.from``: its weights and the meaning of the rows of its tables. Nothing in it is executed.

Only names and sizes are read from its spec; of its plugins only the tokenizer and the codec are used, if installed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from lina.config.resolve import choose_plugin
from lina.config.run_files import SPEAKERS_FILE, SPEC_FILE
from lina.config.spec import Spec
from lina.config.stored import load_run_spec
from lina.core.errors import CheckpointError, FileError, LinaError, did_you_mean
from lina.core.model.tokens import MARKS
from lina.core.protocols import Tokenizer
from lina.runs.build_model import build_codec
from lina.runs.checkpoint import read_weights, weights_file
from lina.runs.checkpoint_store import FACTS, Checkpoint, find_checkpoint, open_checkpoint
from lina.runs.files import read_data_summary
from lina.runs.layout import read_speakers, tokenizer_of
from lina.runs.weight_files import weight_shapes

TEXT, AUDIO = "txt_embed.weight", "rvq_embed.weight"


@dataclass(frozen=True)
class TableLayout:
    """Meaning of the rows of a model's embedding tables and heads."""

    codebook_sizes: tuple[int, ...]
    """Empty if unknown."""
    labels: tuple[str, ...] | None
    """Label of each text id; None if unknown."""
    speakers: tuple[str, ...]
    """Row 0 is for no speaker, row n for ``speakers[n - 1]``."""


@dataclass(frozen=True)
class InitSource:
    """A trained run whose weights have not been read yet."""

    path: Path
    """Run directory."""
    spec: Spec
    checkpoint: Checkpoint
    averaged: bool
    """Use the averaged weights."""
    width: int
    """d_model."""

    def tensors(self) -> dict[str, Tensor]:
        """Weights by name, with LoRA matrices merged."""
        return read_weights(self.checkpoint, self.averaged)


def open_source(path: Path, average: bool) -> InitSource:
    """Open a run, or one checkpoint of a run, and verify the files of the checkpoint.

    Raises:
        CheckpointError: the run or checkpoint is missing or damaged.
        SpecError: its spec cannot be read.
    """
    if path.is_file():
        raise CheckpointError(
            f"init.from: {path}: is a file; name the directory of a run, or use init.backbone for weights of "
            "another project"
        )
    if not path.is_dir():
        near = did_you_mean(
            str(path), sorted(str(one.parent) for one in path.parent.glob(f"*/{SPEC_FILE}"))[:20]
        )
        raise CheckpointError(f"init.from: {path}: does not exist{near or '; name a run'}")
    single = (path / FACTS).is_file()
    run = path.resolve().parent.parent if single else path
    if not (run / SPEC_FILE).is_file():
        kind = "is a checkpoint outside of its run" if single else "is not a run"
        raise CheckpointError(
            f"init.from: {path}: {kind} (no {run / SPEC_FILE}); name the directory of a run"
        )
    try:
        checkpoint = open_checkpoint(path) if single else find_checkpoint(run)
    except CheckpointError as error:
        reason = str(error).partition(";")[0]  # drop the advice, which is for resuming a run
        raise CheckpointError(f"init.from: {reason}; name another run or checkpoint") from None
    if checkpoint is None:
        raise CheckpointError(
            f"init.from: {path}: has no checkpoint yet; train it first, or name another run"
        )
    file, averaged = weights_file(checkpoint, average)
    try:
        shapes = weight_shapes(file)
    except (FileError, OSError) as error:
        raise CheckpointError(f"init.from: {error}; name another run or checkpoint") from None
    if missing := {name for name in (TEXT, AUDIO) if len(shapes.get(name, ())) != 2}:
        raise CheckpointError(f"init.from: {file}: has no {min(missing)}; name a run of lina")
    return InitSource(run, load_run_spec(run), checkpoint, averaged, shapes[TEXT][1])


def source_layout(
    source: InitSource, tensors: Mapping[str, Tensor], target: TableLayout
) -> tuple[TableLayout, list[str]]:
    """Layout of the source, and a remark for each part that is unknown and therefore assumed equal to ``target``."""
    remarks = []
    try:
        labels = row_labels(_tokenizer(source), len(tensors[TEXT]))
    except LinaError as error:
        labels = None
        remarks.append(
            f"the labels of the source's text ids are unknown, so ids are matched by number: {error}"
        )
    speakers = read_speakers(source.path) if (source.path / SPEAKERS_FILE).exists() else ()
    try:
        sizes = _codebook_sizes(source)
    except LinaError as error:
        sizes = _assume_sizes(target.codebook_sizes, len(tensors[AUDIO]))
        assumption = f"assumed to be {len(sizes)} of {_size_range(sizes)} codes" if sizes else "unknown"
        remarks.append(f"the source's codebooks are {assumption}: {error}")
    return TableLayout(sizes, labels, tuple(speakers)), remarks


def row_labels(tokenizer: Tokenizer, rows: int) -> tuple[str, ...] | None:
    """Label of each id; None if the tokenizer's vocabulary is not of size ``rows``, or has no labels."""
    if tokenizer.vocab_size != rows:
        return None
    try:
        return tuple(tokenizer.labels([id])[0] for id in range(rows))
    except (ValueError, IndexError, KeyError):
        return None


def _size_range(sizes: tuple[int, ...]) -> str:
    return str(sizes[0]) if len(set(sizes)) == 1 else f"{min(sizes)} to {max(sizes)}"


def _assume_sizes(sizes: tuple[int, ...], rows: int) -> tuple[int, ...]:
    """Sizes that need ``rows`` rows: ``sizes``, or another number of codebooks of the same size; else empty."""
    if sum(sizes) + MARKS * len(sizes) == rows:
        return sizes
    each = sizes[0] + MARKS
    return sizes[:1] * (rows // each) if len(set(sizes)) == 1 and rows % each == 0 else ()


def _tokenizer(source: InitSource) -> Tokenizer:
    section = source.spec.tokenizer
    return tokenizer_of(
        choose_plugin(
            "tokenizer", section.plugin, section.config, source.spec.origin, ("tokenizer", "plugin")
        ),
        source.path,
    )


def _codebook_sizes(source: InitSource) -> tuple[int, ...]:
    summary = read_data_summary(source.path)
    if summary is not None and summary.codec is not None:
        return summary.codec.codebook_sizes
    section = source.spec.codec
    codec = choose_plugin("codec", section.plugin, section.config, source.spec.origin, ("codec", "plugin"))
    built: Sequence[int] = build_codec(codec).codebook_sizes
    return tuple(built)
