"""What a spec's ``init`` starts from, as tensors and what their rows mean. Nothing of a foreign run is executed.

Of the source's spec only names and sizes are read; of its plugins only an installed tokenizer or codec, to tell
what its rows mean.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open
from torch import Tensor

from lina.config.loader import load_spec
from lina.config.resolve import choose_plugin
from lina.config.spec import Spec
from lina.core.errors import CheckpointError, LinaError, did_you_mean
from lina.core.model.tokens import MARKS
from lina.core.protocols import Tokenizer
from lina.runs.checkpoint import read_weights, weights_file
from lina.runs.checkpoint_store import FACTS, Checkpoint, newest_checkpoint, open_checkpoint
from lina.runs.files import read_data_summary
from lina.runs.layout import SPEAKERS_FILE, SPEC_FILE, read_json, tokenizer_of

TEXT, AUDIO = "txt_embed.weight", "rvq_embed.weight"


@dataclass(frozen=True)
class Rows:
    """What the rows of the tables of a model stand for."""

    codebook_sizes: tuple[int, ...]
    """Empty where they are not known."""
    labels: tuple[str, ...] | None
    """Of the text's ids; None where they are not known."""
    speakers: tuple[str, ...]
    """Row 0 is nobody, row n is ``speakers[n - 1]``."""


@dataclass(frozen=True)
class Source:
    """A trained run, opened but not read."""

    path: Path
    """The run's directory."""
    spec: Spec
    checkpoint: Checkpoint
    averaged: bool
    """Whether its averaged weights are taken."""
    width: int

    def tensors(self) -> dict[str, Tensor]:
        """By the names of a model that was never adapted."""
        return read_weights(self.checkpoint, self.averaged)


def open_source(path: Path, average: bool) -> Source:
    """The run, or the checkpoint of a run, in ``path``; each of its files is checked.

    Raises:
        CheckpointError: there is none, or it is damaged.
        SpecError: its spec cannot be read.
    """
    if path.is_file():
        raise CheckpointError(
            f"init.from: {path}: is a file; name the directory of a run, or say init.backbone for weights of "
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
        checkpoint = open_checkpoint(path) if single else newest_checkpoint(run / "checkpoints")
    except CheckpointError as error:
        reason = str(error).partition(";")[0]  # what to do about it is not the same for a source
        raise CheckpointError(f"init.from: {reason}; name another run or checkpoint") from None
    if checkpoint is None:
        raise CheckpointError(
            f"init.from: {path}: has no checkpoint yet; train it first, or name another run"
        )
    file, averaged = weights_file(checkpoint, average)
    with safe_open(file, "pt") as tensors:
        if missing := {TEXT, AUDIO} - set(tensors.keys()):
            raise CheckpointError(f"init.from: {file}: has no {min(missing)}; it is no model of lina's")
        width = tensors.get_slice(TEXT).get_shape()[1]
    return Source(run, load_spec(run / SPEC_FILE), checkpoint, averaged, width)


def source_rows(source: Source, tensors: Mapping[str, Tensor], here: Rows) -> tuple[Rows, list[str]]:
    """What the source's rows mean, and a remark for each thing that cannot be told and is taken to be as ``here``."""
    remarks = []
    try:
        labels = row_labels(_tokenizer(source), len(tensors[TEXT]))
    except LinaError as error:
        labels = None
        remarks.append(f"the ids of the source's texts are not known, so they are matched by number: {error}")
    speakers = read_json(source.path / SPEAKERS_FILE) if (source.path / SPEAKERS_FILE).exists() else ()
    try:
        sizes = _codebook_sizes(source)
    except LinaError as error:
        sizes = _like(here.codebook_sizes, len(tensors[AUDIO]))
        taken = f"are taken to be {len(sizes)} of {_named(sizes)} codes" if sizes else "are not known"
        remarks.append(f"the source's codebooks {taken}: {error}")
    return Rows(sizes, labels, tuple(map(str, speakers))), remarks


def row_labels(tokenizer: Tokenizer, rows: int) -> tuple[str, ...] | None:
    """A label for each id; None where the tokenizer has not as many ids as the table has rows, or cannot tell."""
    if tokenizer.vocab_size != rows:
        return None
    try:
        return tuple(tokenizer.labels([one])[0] for one in range(rows))
    except (ValueError, IndexError, KeyError):
        return None


def _named(sizes: tuple[int, ...]) -> str:
    return str(sizes[0]) if len(set(sizes)) == 1 else f"{min(sizes)} to {max(sizes)}"


def _like(sizes: tuple[int, ...], rows: int) -> tuple[int, ...]:
    """Codebooks that need ``rows`` rows: these, or more or fewer of their one size; none if neither."""
    if sum(sizes) + MARKS * len(sizes) == rows:
        return sizes
    each = sizes[0] + MARKS
    return sizes[:1] * (rows // each) if len(set(sizes)) == 1 and rows % each == 0 else ()


def _tokenizer(source: Source) -> Tokenizer:
    section = source.spec.tokenizer
    return tokenizer_of(
        choose_plugin(
            "tokenizer", section.plugin, section.config, source.spec.origin, ("tokenizer", "plugin")
        ),
        source.path,
    )


def _codebook_sizes(source: Source) -> tuple[int, ...]:
    summary = read_data_summary(source.path)
    if summary is not None and summary.codec is not None:
        return summary.codec.codebook_sizes
    section = source.spec.codec
    codec = choose_plugin("codec", section.plugin, section.config, source.spec.origin, ("codec", "plugin"))
    built: Sequence[int] = codec.plugin.build(config=codec.config).codebook_sizes
    return tuple(built)
