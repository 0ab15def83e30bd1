"""Weight transfer between models, by tensor name and by the meaning of table rows."""

from itertools import accumulate
from typing import Any

import pytest
import torch
from torch import Tensor

from lina.core.errors import CheckpointError
from lina.core.model.tokens import MARKS
from lina.training.init.source import TableLayout
from lina.training.init.transfer import PartReport, TransferResult, transfer
from tests.core.toy_model import SIZES, WIDTH, toy_lm

LABELS = tuple("abcdefghijklmnopqrst")
LAYOUT = TableLayout(SIZES, LABELS, ())


def layout(**changes: Any) -> TableLayout:
    return TableLayout(**{"codebook_sizes": SIZES, "labels": LABELS, "speakers": ()} | changes)


def state(seed: int, **facts: Any) -> dict[str, Tensor]:
    return toy_lm(seed=seed, **facts).state_dict()


def part(result: TransferResult, name: str) -> PartReport:
    [report] = [one for one in result.parts if one.name == name]
    return report


def test_same_model_is_loaded_completely() -> None:
    target, source = state(0), state(1)
    result = transfer(target, source, LAYOUT, LAYOUT)
    assert result.state.keys() == target.keys()
    assert all(result.state[name].equal(source[name]) for name in source)
    assert set(result.loaded) == target.keys()
    assert sum(one.loaded for one in result.parts) == sum(value.numel() for value in target.values())
    assert not any(one.fresh or one.left or one.how for one in result.parts)


def test_arguments_are_not_modified_and_dtypes_are_those_of_the_target() -> None:
    target, source = state(0), {name: value.double() for name, value in state(1).items()}
    before = {name: value.clone() for name, value in target.items()}
    result = transfer(target, source, LAYOUT, layout(labels=LABELS[::-1]))
    assert all(value.equal(before[name]) for name, value in target.items())
    assert all(value.dtype == target[name].dtype for name, value in result.state.items())


def test_text_embeddings_are_matched_by_label() -> None:
    target, source = state(0), state(1, vocabulary=4)
    labels = ("t", "x", "b", "a")
    result = transfer(target, source, LAYOUT, layout(labels=labels))
    table = result.state["txt_embed.weight"]
    for label, row in (("t", 0), ("b", 2), ("a", 3)):
        assert table[LABELS.index(label)].equal(source["txt_embed.weight"][row])
    assert table[2].equal(target["txt_embed.weight"][2]), "a new row keeps its initial value"
    text = part(result, "text embeddings")
    assert (text.loaded, text.fresh, text.left) == (3 * WIDTH, 17 * WIDTH, WIDTH)
    assert text.how == ["by label: 3 kept", "17 new: c, d, e, f, g, h and 11 more", "1 unused: x"]
    assert "txt_embed.weight" not in result.loaded


def test_ids_with_equal_labels_are_matched_in_order() -> None:
    result = transfer(
        state(0, vocabulary=4),
        source := state(1, vocabulary=3),
        layout(labels=("?", "a", "?", "?")),
        layout(labels=("a", "?", "?")),
    )
    assert result.state["txt_embed.weight"][:3].equal(source["txt_embed.weight"][[1, 0, 2]])


@pytest.mark.parametrize("unknown", ["target", "source"])
def test_text_embeddings_without_labels_are_matched_by_number(unknown: str) -> None:
    target, source = state(0), state(1, vocabulary=15)
    known = {"target": LABELS, "source": LABELS[:15], unknown: None}
    result = transfer(target, source, layout(labels=known["target"]), layout(labels=known["source"]))
    assert result.state["txt_embed.weight"][:15].equal(source["txt_embed.weight"])
    assert result.state["txt_embed.weight"][15:].equal(target["txt_embed.weight"][15:])
    assert part(result, "text embeddings").how == ["by number: 15 ids kept, 5 new"]


def blocks(table: Tensor, sizes: tuple[int, ...]) -> list[Tensor]:
    """The rows of each codebook, its marks first."""
    starts = accumulate((MARKS + size for size in sizes), initial=0)
    return [table[start : start + MARKS + size] for start, size in zip(starts, sizes, strict=False)]


@pytest.mark.parametrize("table", ["rvq_embed.weight", "logits_head.weight"])
@pytest.mark.parametrize("sizes", [(7, 4), (7, 4, 11, 5), (9, 4, 6), (3,), (7, 4, 11)])
def test_audio_tables_are_matched_by_codebook_and_code(table: str, sizes: tuple[int, ...]) -> None:
    target, source = state(0, sizes=sizes), state(1)
    result = transfer(target, source, layout(codebook_sizes=sizes), LAYOUT)
    new, fresh, old = (
        blocks(one[table], shape) for one, shape in ((result.state, sizes), (target, sizes), (source, SIZES))
    )
    for q, block in enumerate(new):
        kept = MARKS + min(sizes[q], SIZES[q]) if q < len(SIZES) else 0
        assert q >= len(SIZES) or block[:kept].equal(old[q][:kept])
        assert block[kept:].equal(fresh[q][kept:])
    numbers = part(result, "heads" if "head" in table else "audio embeddings")
    kept_rows = sum(MARKS + min(pair) for pair in zip(sizes, SIZES, strict=False))
    assert numbers.loaded == kept_rows * WIDTH
    assert numbers.fresh == (len(target[table]) - kept_rows) * WIDTH
    assert numbers.left == (len(source[table]) - kept_rows) * WIDTH
    assert (table in result.loaded) == (sizes in ((7, 4), (3,), (7, 4, 11)))


def test_changed_codebooks_are_reported() -> None:
    result = transfer(state(0, sizes=(9, 4)), state(1), layout(codebook_sizes=(9, 4)), LAYOUT)
    assert part(result, "heads").how == ["2 codebooks kept, 1 unused", "codebook 1 has 9 codes, had 7"]


def test_layout_that_contradicts_the_weights_is_an_error() -> None:
    with pytest.raises(
        CheckpointError, match=r"codebooks of \[7, 4\] entries need 17 rows, but its weights have 31"
    ):
        transfer(state(0), state(1), LAYOUT, layout(codebook_sizes=(7, 4)))


def test_speakers_are_matched_by_name() -> None:
    target, source = state(0, speakers=2), state(1, speakers=3)
    result = transfer(
        target, source, layout(speakers=("bert", "dora")), layout(speakers=("anna", "bert", "carl"))
    )
    table = result.state["speaker_embed.weight"]
    assert table[:2].equal(source["speaker_embed.weight"][[0, 2]])
    assert table[2].equal(target["speaker_embed.weight"][2])
    assert part(result, "speakers").how == ["by name: 2 kept", "1 new: dora", "2 unused: anna, carl"]


def test_speakers_without_names_are_not_matched() -> None:
    target, source = state(0, speakers=2), state(1, speakers=3)
    result = transfer(target, source, layout(speakers=("bert", "dora")), LAYOUT)
    assert result.state["speaker_embed.weight"][0].equal(source["speaker_embed.weight"][0])
    assert result.state["speaker_embed.weight"][1:].equal(target["speaker_embed.weight"][1:])
    assert part(result, "speakers").how == [
        "the source's speaker names are unknown; only the row for no speaker is kept"
    ]


def test_parts_of_one_side_only_are_fresh_or_unused() -> None:
    target, source = state(0, speakers=1, drops_text=True), state(1, attention="plain")
    result = transfer(target, source, layout(speakers=("anna",)), LAYOUT)
    assert (part(result, "speakers").fresh, part(result, "speakers").loaded) == (2 * WIDTH, 0)
    assert part(result, "null text").fresh == WIDTH
    network = part(result, "position network")
    assert (network.loaded, network.left) == (0, 0)
    assert network.fresh == sum(value.numel() for name, value in target.items() if "pos_net" in name)
    back = transfer(source, target, LAYOUT, layout(speakers=("anna",)))
    assert part(back, "position network").left == network.fresh
    assert part(back, "speakers").left == 2 * WIDTH


def test_layers_are_matched_by_number() -> None:
    target, source = state(0), state(1)
    encoder = {name: value for name, value in target.items() if name.startswith("encoder.")}
    deeper = target | {name.replace("layers.0", "layers.1"): value + 1 for name, value in encoder.items()}
    result = transfer(deeper, source, LAYOUT, LAYOUT)
    assert result.state["encoder.layers.0.norm1.weight"].equal(source["encoder.layers.0.norm1.weight"])
    assert result.state["encoder.layers.1.norm1.weight"].equal(target["encoder.layers.0.norm1.weight"] + 1)
    assert part(result, "backbone encoder").how == ["fresh: encoder.layers.1"]
    back = transfer(target, deeper, LAYOUT, LAYOUT)
    assert part(back, "backbone encoder").how == ["unused: encoder.layers.1"]


def test_tensor_of_another_shape_is_fresh_and_named() -> None:
    target, source = state(0), state(1)
    source["cross_att.q.weight"] = torch.zeros(3, WIDTH)
    source["decoder.layers.0.tmix.extra"] = torch.zeros(5)
    result = transfer(target, source, LAYOUT, LAYOUT)
    assert result.state["cross_att.q.weight"].equal(target["cross_att.q.weight"])
    attention = part(result, "cross-attention")
    assert attention.how == ["fresh: cross_att.q.weight (16 x 16, was 3 x 16)"]
    assert (attention.fresh, attention.left) == (WIDTH * WIDTH, 3 * WIDTH)
    assert part(result, "backbone decoder").how == ["unused: decoder.layers.0.tmix.extra"]


def test_unknown_tensor_is_reported_as_other() -> None:
    result = transfer(state(0), state(1) | {"echo.weight": torch.zeros(2)}, LAYOUT, LAYOUT)
    assert part(result, "other").left == 2
