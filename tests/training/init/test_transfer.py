"""Weights from model to model: by name, and row by row where rows have a meaning."""

from itertools import accumulate
from typing import Any

import pytest
import torch
from torch import Tensor

from lina.core.errors import CheckpointError
from lina.core.model.tokens import MARKS
from lina.training.init.source import Rows
from lina.training.init.transfer import Part, Transfer, transfer
from tests.core.toy_model import SIZES, WIDTH, toy_lm

LABELS = tuple("abcdefghijklmnopqrst")
HERE = Rows(SIZES, LABELS, ())


def rows(**changes: Any) -> Rows:
    return Rows(**{"codebook_sizes": SIZES, "labels": LABELS, "speakers": ()} | changes)


def state(seed: int, **facts: Any) -> dict[str, Tensor]:
    return toy_lm(seed=seed, **facts).state_dict()


def part(done: Transfer, name: str) -> Part:
    [found] = [one for one in done.parts if one.name == name]
    return found


def test_the_same_model_is_loaded_whole() -> None:
    own, given = state(0), state(1)
    done = transfer(own, given, HERE, HERE)
    assert done.state.keys() == own.keys()
    assert all(done.state[name].equal(given[name]) for name in given)
    assert set(done.whole) == own.keys()
    assert sum(one.loaded for one in done.parts) == sum(value.numel() for value in own.values())
    assert not any(one.fresh or one.left or one.how for one in done.parts)


def test_nothing_given_is_written_to_and_dtypes_are_the_models() -> None:
    own, given = state(0), {name: value.double() for name, value in state(1).items()}
    before = {name: value.clone() for name, value in own.items()}
    done = transfer(own, given, HERE, rows(labels=LABELS[::-1]))
    assert all(value.equal(before[name]) for name, value in own.items())
    assert all(value.dtype == own[name].dtype for name, value in done.state.items())


def test_text_embeddings_go_by_label() -> None:
    own, given = state(0), state(1, vocabulary=4)
    labels = ("t", "x", "b", "a")
    done = transfer(own, given, HERE, rows(labels=labels))
    table = done.state["txt_embed.weight"]
    for label, row in (("t", 0), ("b", 2), ("a", 3)):
        assert table[LABELS.index(label)].equal(given["txt_embed.weight"][row])
    assert table[2].equal(own["txt_embed.weight"][2]), "a new row is as the model would begin"
    text = part(done, "text embeddings")
    assert (text.loaded, text.fresh, text.left) == (3 * WIDTH, 17 * WIDTH, WIDTH)
    assert text.how == ["by label: 3 kept", "17 new: c, d, e, f, g, h and 11 more", "1 left behind: x"]
    assert "txt_embed.weight" not in done.whole


def test_a_label_of_several_ids_goes_in_their_order() -> None:
    done = transfer(
        state(0, vocabulary=4),
        given := state(1, vocabulary=3),
        rows(labels=("?", "a", "?", "?")),
        rows(labels=("a", "?", "?")),
    )
    assert done.state["txt_embed.weight"][:3].equal(given["txt_embed.weight"][[1, 0, 2]])


@pytest.mark.parametrize("unknown", ["here", "there"])
def test_without_labels_text_embeddings_go_by_number(unknown: str) -> None:
    own, given = state(0), state(1, vocabulary=15)
    known = {"here": LABELS, "there": LABELS[:15], unknown: None}
    done = transfer(own, given, rows(labels=known["here"]), rows(labels=known["there"]))
    assert done.state["txt_embed.weight"][:15].equal(given["txt_embed.weight"])
    assert done.state["txt_embed.weight"][15:].equal(own["txt_embed.weight"][15:])
    assert part(done, "text embeddings").how == ["by number: 15 ids kept, 5 new"]


def blocks(table: Tensor, sizes: tuple[int, ...]) -> list[Tensor]:
    """The rows of each codebook, its marks first."""
    starts = accumulate((MARKS + size for size in sizes), initial=0)
    return [table[start : start + MARKS + size] for start, size in zip(starts, sizes, strict=False)]


@pytest.mark.parametrize("table", ["rvq_embed.weight", "logits_head.weight"])
@pytest.mark.parametrize("sizes", [(7, 4), (7, 4, 11, 5), (9, 4, 6), (3,), (7, 4, 11)])
def test_audio_goes_codebook_by_codebook_and_code_by_code(table: str, sizes: tuple[int, ...]) -> None:
    own, given = state(0, sizes=sizes), state(1)
    done = transfer(own, given, rows(codebook_sizes=sizes), HERE)
    new, fresh, old = (
        blocks(one[table], shape) for one, shape in ((done.state, sizes), (own, sizes), (given, SIZES))
    )
    for q, block in enumerate(new):
        kept = MARKS + min(sizes[q], SIZES[q]) if q < len(SIZES) else 0
        assert q >= len(SIZES) or block[:kept].equal(old[q][:kept])
        assert block[kept:].equal(fresh[q][kept:])
    numbers = part(done, "heads" if "head" in table else "audio embeddings")
    kept_rows = sum(MARKS + min(pair) for pair in zip(sizes, SIZES, strict=False))
    assert numbers.loaded == kept_rows * WIDTH
    assert numbers.fresh == (len(own[table]) - kept_rows) * WIDTH
    assert numbers.left == (len(given[table]) - kept_rows) * WIDTH
    assert (table in done.whole) == (sizes in ((7, 4), (3,), (7, 4, 11)))


def test_changed_codebooks_are_told() -> None:
    done = transfer(state(0, sizes=(9, 4)), state(1), rows(codebook_sizes=(9, 4)), HERE)
    assert part(done, "heads").how == ["2 codebooks kept, 1 left behind", "codebook 1 has 9 codes, had 7"]


def test_codebooks_that_are_not_those_of_the_weights_are_an_error() -> None:
    with pytest.raises(
        CheckpointError, match=r"codebooks of \[7, 4\] entries need 17 rows, but its weights have 31"
    ):
        transfer(state(0), state(1), HERE, rows(codebook_sizes=(7, 4)))


def test_speakers_go_by_name_and_nobody_stays_nobody() -> None:
    own, given = state(0, speakers=2), state(1, speakers=3)
    done = transfer(own, given, rows(speakers=("bert", "dora")), rows(speakers=("anna", "bert", "carl")))
    table = done.state["speaker_embed.weight"]
    assert table[:2].equal(given["speaker_embed.weight"][[0, 2]])
    assert table[2].equal(own["speaker_embed.weight"][2])
    assert part(done, "speakers").how == ["by name: 2 kept", "1 new: dora", "2 left behind: anna, carl"]


def test_speakers_without_names_are_strangers() -> None:
    own, given = state(0, speakers=2), state(1, speakers=3)
    done = transfer(own, given, rows(speakers=("bert", "dora")), HERE)
    assert done.state["speaker_embed.weight"][0].equal(given["speaker_embed.weight"][0])
    assert done.state["speaker_embed.weight"][1:].equal(own["speaker_embed.weight"][1:])
    assert part(done, "speakers").how == ["the source's speakers are not known by name; only nobody is kept"]


def test_what_one_side_has_not_is_fresh_or_left() -> None:
    own, given = state(0, speakers=1, drops_text=True), state(1, attention="plain")
    done = transfer(own, given, rows(speakers=("anna",)), HERE)
    assert (part(done, "speakers").fresh, part(done, "speakers").loaded) == (2 * WIDTH, 0)
    assert part(done, "dropped text").fresh == WIDTH
    network = part(done, "position network")
    assert (network.loaded, network.left) == (0, 0)
    assert network.fresh == sum(value.numel() for name, value in own.items() if "pos_net" in name)
    back = transfer(given, own, HERE, rows(speakers=("anna",)))
    assert part(back, "position network").left == network.fresh
    assert part(back, "speakers").left == 2 * WIDTH


def test_layers_go_by_their_number() -> None:
    own, given = state(0), state(1)
    encoder = {name: value for name, value in own.items() if name.startswith("encoder.")}
    deeper = own | {name.replace("layers.0", "layers.1"): value + 1 for name, value in encoder.items()}
    done = transfer(deeper, given, HERE, HERE)
    assert done.state["encoder.layers.0.norm1.weight"].equal(given["encoder.layers.0.norm1.weight"])
    assert done.state["encoder.layers.1.norm1.weight"].equal(own["encoder.layers.0.norm1.weight"] + 1)
    assert part(done, "backbone before the text").how == ["fresh: encoder.layers.1"]
    back = transfer(own, deeper, HERE, HERE)
    assert part(back, "backbone before the text").how == ["left behind: encoder.layers.1"]


def test_another_shape_is_fresh_and_named() -> None:
    own, given = state(0), state(1)
    given["cross_att.q.weight"] = torch.zeros(3, WIDTH)
    given["decoder.layers.0.tmix.extra"] = torch.zeros(5)
    done = transfer(own, given, HERE, HERE)
    assert done.state["cross_att.q.weight"].equal(own["cross_att.q.weight"])
    attention = part(done, "attention to the text")
    assert attention.how == ["fresh: cross_att.q.weight (16 x 16, there 3 x 16)"]
    assert (attention.fresh, attention.left) == (WIDTH * WIDTH, 3 * WIDTH)
    assert part(done, "backbone after the text").how == ["left behind: decoder.layers.0.tmix.extra"]


def test_a_tensor_of_a_later_lina_has_its_place_in_the_table() -> None:
    done = transfer(state(0), state(1) | {"echo.weight": torch.zeros(2)}, HERE, HERE)
    assert part(done, "other").left == 2
