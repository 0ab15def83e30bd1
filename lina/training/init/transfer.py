"""Weights from one model into another, by name and, where rows have a meaning, by what they mean.

A tensor of the same name and shape is taken as it is. The tables of text, audio and speakers go row by row: a label
to the same label, a code to the same code of the same codebook, a speaker to the same name. What has no counterpart
keeps the new model's own first values, or is left behind.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from torch import Tensor

from lina.core.errors import CheckpointError
from lina.core.model.tokens import MARKS
from lina.training.init.source import Rows

Pairs = list[tuple[int, int]]
"""(row here, row there)."""

PARTS = {
    "txt_embed": "text embeddings",
    "txt_encoder": "text encoder",
    "rvq_embed": "audio embeddings",
    "encoder": "backbone before the text",
    "cross_att.pos_net": "position network",
    "cross_att": "attention to the text",
    "decoder": "backbone after the text",
    "head_norm": "norm before the heads",
    "logits_head": "heads",
    "speaker_embed": "speakers",
    "no_text": "dropped text",
}
"""Beginning of a tensor's name -> what it is to a person."""

NAMED = 6
"""So many rows or tensors are named in a line, then the rest is counted."""


@dataclass
class Part:
    """What became of a part of the model, in numbers (scalars) and in words."""

    name: str
    loaded: int = 0
    fresh: int = 0
    left: int = 0
    how: list[str] = field(default_factory=list)


@dataclass
class Transfer:
    state: dict[str, Tensor]
    """The new model's whole state dict."""
    parts: list[Part]
    whole: list[str]
    """Tensors that were loaded whole; nothing in them is fresh."""


def transfer(own: Mapping[str, Tensor], given: Mapping[str, Tensor], here: Rows, there: Rows) -> Transfer:
    """Fill the state dict ``own`` from ``given``.

    Raises:
        CheckpointError: a table of ``given`` has not the rows that ``there`` says.
    """
    parts = {name: Part(name) for name in PARTS.values()}
    state, whole = dict(own), list[str]()
    fresh, left = defaultdict[str, list[str]](list), defaultdict[str, list[str]](list)
    for name, value in own.items():
        part = part_of(parts, name)
        old = given.get(name)
        if old is not None and name in TABLES and old.shape[1:] == value.shape[1:]:
            pairs, words = TABLES[name](value, old, here, there)
            state[name] = _rows(value, old, pairs)
            row = value[0].numel()
            part.loaded += len(pairs) * row
            part.fresh += (len(value) - len(pairs)) * row
            part.left += (len(old) - len({two for _, two in pairs})) * row
            part.how += words
            if len(pairs) == len(value):
                whole.append(name)
        elif old is not None and old.shape == value.shape:
            state[name] = old.to(value)
            part.loaded += value.numel()
            whole.append(name)
        else:
            part.fresh += value.numel()
            fresh[part.name].append(name if old is None else f"{name} ({_shape(value)}, there {_shape(old)})")
            part.left += old.numel() if old is not None else 0
    for name, value in given.items():
        if name not in own:
            part_of(parts, name).left += value.numel()
            left[part_of(parts, name).name].append(name)
    layers = {_layer(name) for name in state.keys() & given.keys()}
    for part in parts.values():
        # Nothing to name where all of a part has one fate: the numbers say it.
        if part.loaded:
            part.how += _tensors("fresh", fresh[part.name], layers)
            part.how += _tensors("left behind", left[part.name], layers)
    return Transfer(state, [part for part in parts.values() if part.loaded or part.fresh or part.left], whole)


def part_of(parts: dict[str, Part], name: str) -> Part:
    """The part that tensor ``name`` belongs to."""
    known = PARTS.get(_prefix(name), "other")
    return parts.setdefault(known, Part(known))


def _prefix(name: str) -> str:
    found = [prefix for prefix in PARTS if name == prefix or name.startswith(f"{prefix}.")]
    return max(found, key=len, default="")


def _rows(value: Tensor, old: Tensor, pairs: Pairs) -> Tensor:
    filled = value.clone()
    if pairs:
        here, there = (list(side) for side in zip(*pairs, strict=True))
        filled[here] = old[there].to(value)
    return filled


def _text(value: Tensor, old: Tensor, here: Rows, there: Rows) -> tuple[Pairs, list[str]]:
    if here.labels is None or there.labels is None:
        return _by_number(len(value), len(old), "ids")
    # A label may stand for several ids (characters that cannot be printed): the first is the first, and so on.
    places = defaultdict[str, list[int]](list)
    for row, label in enumerate(there.labels):
        places[label].append(row)
    pairs: Pairs = []
    for row, label in enumerate(here.labels):
        if places[label]:
            pairs.append((row, places[label].pop(0)))
    return pairs, _told("by label", pairs, here.labels, there.labels)


def _speakers(value: Tensor, old: Tensor, here: Rows, there: Rows) -> tuple[Pairs, list[str]]:
    if len(old) != len(there.speakers) + 1:
        return [(0, 0)], ["the source's speakers are not known by name; only nobody is kept"]
    names = ("(nobody)", *here.speakers), ("(nobody)", *there.speakers)
    pairs = [(row, names[1].index(name)) for row, name in enumerate(names[0]) if name in names[1]]
    return pairs, _told("by name", pairs, *names)


def _codes(value: Tensor, old: Tensor, here: Rows, there: Rows) -> tuple[Pairs, list[str]]:
    """Codebook by codebook: the marks first, then code by code."""
    if not there.codebook_sizes:
        return [], ["the source's codebooks are not known"]
    starts, before = _starts(here.codebook_sizes), _starts(there.codebook_sizes)
    if before[-1] != len(old):
        raise CheckpointError(
            f"init.from: the source's codebooks of {list(there.codebook_sizes)} entries need {before[-1]} rows, "
            f"but its weights have {len(old)}; its data/summary.json or its weights are of another run"
        )
    pairs = [
        (start + row, other + row)
        for start, end, other, other_end in zip(starts, starts[1:], before, before[1:], strict=False)
        for row in range(min(end - start, other_end - other))
    ]
    new, old_count = len(here.codebook_sizes), len(there.codebook_sizes)
    words = []
    if new != old_count:
        rest = f"{new - old_count} new" if new > old_count else f"{old_count - new} left behind"
        words.append(f"{min(new, old_count)} codebooks kept, {rest}")
    sizes = list(zip(here.codebook_sizes, there.codebook_sizes, strict=False))
    changed = [
        f"codebook {q + 1} has {one} codes, had {two}" for q, (one, two) in enumerate(sizes) if one != two
    ]
    return pairs, [*words, *([_listed(changed, 3)] if changed else [])]


def _starts(sizes: Sequence[int]) -> list[int]:
    starts = [0]
    for size in sizes:
        starts.append(starts[-1] + MARKS + size)
    return starts


def _by_number(here: int, there: int, what: str) -> tuple[Pairs, list[str]]:
    kept = min(here, there)
    changed = f", {abs(here - there)} {'new' if here > there else 'left behind'}" if here != there else ""
    return [(row, row) for row in range(kept)], [f"by number: {kept} {what} kept{changed}"]


def _told(how: str, pairs: Pairs, here: Sequence[str], there: Sequence[str]) -> list[str]:
    ours, theirs = {one for one, _ in pairs}, {two for _, two in pairs}
    new = [label for row, label in enumerate(here) if row not in ours]
    lost = [label for row, label in enumerate(there) if row not in theirs]
    if not new and not lost:
        return []
    words = [f"{how}: {len(pairs)} kept"]
    words += [f"{len(new)} new: {_listed(new)}"] if new else []
    return [*words, *([f"{len(lost)} left behind: {_listed(lost)}"] if lost else [])]


def _tensors(what: str, names: Sequence[str], shared: AbstractSet[str]) -> list[str]:
    """Names of tensors; a layer of which both sides have nothing in common is named as a whole."""
    short = (name if _layer(name) in shared else _layer(name) for name in names)
    return [f"{what}: {_listed(list(dict.fromkeys(short)))}"] if names else []


def _layer(name: str) -> str:
    """``encoder.layers.2`` of ``encoder.layers.2.norm1.weight``; the name itself where it has no number."""
    numbered = re.match(r".*?\.\d+(?=\.)", name)
    return numbered.group() if numbered else name


def _listed(names: Sequence[str], most: int = NAMED) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _shape(value: Tensor) -> str:
    return " x ".join(map(str, value.shape)) or "one number"


TABLES: dict[str, Callable[[Tensor, Tensor, Rows, Rows], tuple[Pairs, list[str]]]] = {
    "txt_embed.weight": _text,
    "rvq_embed.weight": _codes,
    "logits_head.weight": _codes,
    "speaker_embed.weight": _speakers,
}
"""Tensors whose rows have a meaning."""
