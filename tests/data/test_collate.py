"""Batches of unequal rows, and what of their conditions is left out."""

import torch

from lina.core.model.text_encoder import pad_texts
from lina.data.collate import collate, drop_conditions


def test_rows_are_padded_at_their_ends_and_masked() -> None:
    batch = collate([torch.ones(3, 2, dtype=torch.int64), torch.full((1, 2), 5)], [[7], [8, 9]], [0, 2])
    assert batch.codes.tolist() == [[[1, 1]] * 3, [[5, 5], [0, 0], [0, 0]]]
    assert batch.lengths.tolist() == [3, 1]
    assert batch.text.tolist() == [[7, 0], [8, 9]]
    assert batch.text_mask.tolist() == [[True, False], [True, True]]
    assert batch.speaker.tolist() == [0, 2]
    assert batch.to(torch.device("cpu")) == batch


def test_texts_are_padded_to_a_multiple_and_an_empty_one_is_all_masked() -> None:
    ids, mask = pad_texts([[1, 2, 3], []], multiple=4)
    assert ids.tolist() == [[1, 2, 3, 0], [0, 0, 0, 0]]
    assert mask.sum(1).tolist() == [3, 0]


def test_conditions_are_dropped_at_their_rates() -> None:
    lengths = torch.full((20_000,), 100)
    dropped = drop_conditions(lengths, 0.1, 0.3, 0.5, torch.Generator().manual_seed(0))
    assert abs(dropped.text.float().mean().item() - 0.1) < 0.01
    assert abs(dropped.speaker.float().mean().item() - 0.3) < 0.01
    prompted = dropped.prompts > 0
    assert abs(prompted.float().mean().item() - 0.5 * 0.98) < 0.02
    assert int(dropped.prompts.max()) in (48, 49, 50)
    together = (dropped.text & dropped.speaker).float().mean().item()
    assert abs(together - 0.03) < 0.01


def test_nothing_is_dropped_by_default_and_draws_are_the_generators() -> None:
    lengths = torch.full((50,), 10)
    nothing = drop_conditions(lengths, 0.0, 0.0, 0.0, torch.Generator().manual_seed(0))
    assert not nothing.text.any()
    assert not nothing.speaker.any()
    assert not nothing.prompts.any()
    all_out = drop_conditions(lengths, 1.0, 1.0, 1.0, torch.Generator().manual_seed(0))
    assert all_out.text.all()
    assert all_out.speaker.all()
    one, two = (drop_conditions(lengths, 0.5, 0.5, 0.5, torch.Generator().manual_seed(4)) for _ in range(2))
    assert all(a.equal(b) for a, b in zip(one, two, strict=True))


def test_drops_of_one_condition_do_not_depend_on_the_others() -> None:
    lengths = torch.full((50,), 10)
    alone = drop_conditions(lengths, 0.5, 0.0, 0.0, torch.Generator().manual_seed(4))
    together = drop_conditions(lengths, 0.5, 0.7, 0.9, torch.Generator().manual_seed(4))
    assert alone.text.equal(together.text)
