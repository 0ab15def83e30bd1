"""Transfer of weights between models, by tensor name and, in tables, by the meaning of the rows.

Tensors of the same name and shape are copied. Rows of the tables of text, audio and speakers are matched by the label
of a text id, by codebook and code, and by the name of a speaker. Anything without a counterpart keeps its initial value
in the target, or is unused in the source.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from torch import Tensor

from lina.core.errors import CheckpointError
from lina.core.model.tokens import MARKS
from lina.training.init.source import TableLayout

Pairs = list[tuple[int, int]]
"""(row of the target, row of the source)."""

PARTS = {
    "txt_embed": "text embeddings",
    "txt_encoder": "text encoder",
    "rvq_embed": "audio embeddings",
    "encoder": "backbone encoder",
    "cross_att.pos_net": "position network",
    "cross_att": "cross-attention",
    "decoder": "backbone decoder",
    "head_norm": "head norm",
    "logits_head": "heads",
    "speaker_embed": "speakers",
    "no_text": "null text",
}
"""Prefix of a tensor's name -> part of the model in reports."""

NAMED = 6
"""Largest number of rows or tensors that a report names; the others are counted."""


@dataclass
class PartReport:
    """Transfer of one part of the model, in numbers of parameters; fields as in ``lina.runs.records.InitPart``."""

    name: str
    loaded: int = 0
    fresh: int = 0
    left: int = 0
    how: list[str] = field(default_factory=list)
    """Remarks."""


@dataclass
class TransferResult:
    """New state dict of the target model, and a report."""

    state: dict[str, Tensor]
    parts: list[PartReport]
    loaded: list[str]
    """Names of the tensors without any fresh row."""


def transfer(
    target: Mapping[str, Tensor],
    source: Mapping[str, Tensor],
    target_layout: TableLayout,
    source_layout: TableLayout,
) -> TransferResult:
    """Load the state dict ``source`` into a copy of the state dict ``target``.

    Raises:
        CheckpointError: the number of rows of a source table contradicts ``source_layout``.
    """
    parts = {name: PartReport(name) for name in PARTS.values()}
    state, loaded = dict(target), list[str]()
    fresh, unused = defaultdict[str, list[str]](list), defaultdict[str, list[str]](list)
    for name, value in target.items():
        part = part_of(parts, name)
        old = source.get(name)
        if old is not None and name in TABLES and old.shape[1:] == value.shape[1:]:
            pairs, remarks = TABLES[name](value, old, target_layout, source_layout)
            state[name] = _copy_rows(value, old, pairs)
            width = value[0].numel()
            part.loaded += len(pairs) * width
            part.fresh += (len(value) - len(pairs)) * width
            part.left += (len(old) - len({row for _, row in pairs})) * width
            part.how += remarks
            if len(pairs) == len(value):
                loaded.append(name)
        elif old is not None and old.shape == value.shape:
            state[name] = old.to(value)
            part.loaded += value.numel()
            loaded.append(name)
        else:
            part.fresh += value.numel()
            fresh[part.name].append(name if old is None else f"{name} ({_shape(value)}, was {_shape(old)})")
            part.left += old.numel() if old is not None else 0
    for name, value in source.items():
        if name not in target:
            part_of(parts, name).left += value.numel()
            unused[part_of(parts, name).name].append(name)
    layers = {_layer(name) for name in state.keys() & source.keys()}
    for part in parts.values():
        # Where nothing was loaded, the numbers alone describe the part.
        if part.loaded:
            part.how += _tensors("fresh", fresh[part.name], layers)
            part.how += _tensors("unused", unused[part.name], layers)
    changed = [part for part in parts.values() if part.loaded or part.fresh or part.left]
    return TransferResult(state, changed, loaded)


def part_of(parts: dict[str, PartReport], name: str) -> PartReport:
    """Report of the part to which tensor ``name`` belongs; added to ``parts`` if missing."""
    part = PARTS.get(_prefix(name), "other")
    return parts.setdefault(part, PartReport(part))


def _prefix(name: str) -> str:
    prefixes = [prefix for prefix in PARTS if name == prefix or name.startswith(f"{prefix}.")]
    return max(prefixes, key=len, default="")


def _copy_rows(value: Tensor, old: Tensor, pairs: Pairs) -> Tensor:
    copy = value.clone()
    if pairs:
        target_rows, source_rows = (list(side) for side in zip(*pairs, strict=True))
        copy[target_rows] = old[source_rows].to(value)
    return copy


def _match_text_ids(
    value: Tensor, old: Tensor, target: TableLayout, source: TableLayout
) -> tuple[Pairs, list[str]]:
    if target.labels is None or source.labels is None:
        return _match_by_number(len(value), len(old), "ids")
    # A label may stand for several ids (unprintable characters): those are matched in their order.
    rows = defaultdict[str, list[int]](list)
    for row, label in enumerate(source.labels):
        rows[label].append(row)
    pairs: Pairs = []
    for row, label in enumerate(target.labels):
        if rows[label]:
            pairs.append((row, rows[label].pop(0)))
    return pairs, _describe("by label", pairs, target.labels, source.labels)


def _match_speakers(
    value: Tensor, old: Tensor, target: TableLayout, source: TableLayout
) -> tuple[Pairs, list[str]]:
    if len(old) != len(source.speakers) + 1:
        return [(0, 0)], ["the source's speaker names are unknown; only the row for no speaker is kept"]
    names = ("(no speaker)", *target.speakers), ("(no speaker)", *source.speakers)
    pairs = [(row, names[1].index(name)) for row, name in enumerate(names[0]) if name in names[1]]
    return pairs, _describe("by name", pairs, *names)


def _match_codes(
    value: Tensor, old: Tensor, target: TableLayout, source: TableLayout
) -> tuple[Pairs, list[str]]:
    """Match codebook by codebook: first the special tokens, then code by code."""
    if not source.codebook_sizes:
        return [], ["the source's codebooks are unknown"]
    starts, old_starts = _starts(target.codebook_sizes), _starts(source.codebook_sizes)
    if old_starts[-1] != len(old):
        raise CheckpointError(
            f"init.from: the source's codebooks of {list(source.codebook_sizes)} entries need {old_starts[-1]} rows, "
            f"but its weights have {len(old)}; its data/summary.json or its weights are of another run"
        )
    pairs = [
        (start + row, old_start + row)
        for start, end, old_start, old_end in zip(
            starts, starts[1:], old_starts, old_starts[1:], strict=False
        )
        for row in range(min(end - start, old_end - old_start))
    ]
    count, old_count = len(target.codebook_sizes), len(source.codebook_sizes)
    remarks = []
    if count != old_count:
        rest = f"{count - old_count} new" if count > old_count else f"{old_count - count} unused"
        remarks.append(f"{min(count, old_count)} codebooks kept, {rest}")
    sizes = zip(target.codebook_sizes, source.codebook_sizes, strict=False)
    changed = [
        f"codebook {q + 1} has {new} codes, had {old}" for q, (new, old) in enumerate(sizes) if new != old
    ]
    return pairs, [*remarks, *([_shorten(changed, 3)] if changed else [])]


def _starts(sizes: Sequence[int]) -> list[int]:
    starts = [0]
    for size in sizes:
        starts.append(starts[-1] + MARKS + size)
    return starts


def _match_by_number(rows: int, old_rows: int, noun: str) -> tuple[Pairs, list[str]]:
    count = min(rows, old_rows)
    rest = f", {abs(rows - old_rows)} {'new' if rows > old_rows else 'unused'}" if rows != old_rows else ""
    return [(row, row) for row in range(count)], [f"by number: {count} {noun} kept{rest}"]


def _describe(how: str, pairs: Pairs, target: Sequence[str], source: Sequence[str]) -> list[str]:
    """Remarks on rows without a counterpart; none if all rows match."""
    rows, old_rows = {row for row, _ in pairs}, {row for _, row in pairs}
    new = [label for row, label in enumerate(target) if row not in rows]
    unused = [label for row, label in enumerate(source) if row not in old_rows]
    if not new and not unused:
        return []
    remarks = [f"{how}: {len(pairs)} kept"]
    remarks += [f"{len(new)} new: {_shorten(new)}"] if new else []
    return [*remarks, *([f"{len(unused)} unused: {_shorten(unused)}"] if unused else [])]


def _tensors(kind: str, names: Sequence[str], shared: AbstractSet[str]) -> list[str]:
    """Remark on tensors; a layer that exists on one side only is named as a whole."""
    short = (name if _layer(name) in shared else _layer(name) for name in names)
    return [f"{kind}: {_shorten(list(dict.fromkeys(short)))}"] if names else []


def _layer(name: str) -> str:
    """``encoder.layers.2`` for ``encoder.layers.2.norm1.weight``; the name itself if it has no number."""
    numbered = re.match(r".*?\.\d+(?=\.)", name)
    return numbered.group() if numbered else name


def _shorten(names: Sequence[str], most: int = NAMED) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _shape(value: Tensor) -> str:
    return " x ".join(map(str, value.shape)) or "one number"


TABLES: dict[str, Callable[[Tensor, Tensor, TableLayout, TableLayout], tuple[Pairs, list[str]]]] = {
    "txt_embed.weight": _match_text_ids,
    "rvq_embed.weight": _match_codes,
    "logits_head.weight": _match_codes,
    "speaker_embed.weight": _match_speakers,
}
"""Tensors whose rows are matched by meaning."""
