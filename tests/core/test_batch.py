import pytest
import torch

from lina.core.batch import collate, drop_conditions, pad_texts


def test_texts_are_padded_to_a_multiple() -> None:
    ids, mask = pad_texts([[5, 6, 7], [8]], multiple=4)
    assert ids.tolist() == [[5, 6, 7, 0], [8, 0, 0, 0]]
    assert mask.tolist() == [[True, True, True, False], [True, False, False, False]]
    assert pad_texts([[5, 6, 7, 8]], multiple=4)[0].shape == (1, 4)
    assert pad_texts([[5, 6, 7, 8, 9]], multiple=4)[0].shape == (1, 8)
    assert pad_texts([[5, 6], [7]])[0].shape == (2, 2)


def test_collate_keeps_every_row() -> None:
    rows = [torch.arange(6).view(3, 2), torch.arange(2).view(1, 2)]
    batch = collate(rows, [[1, 2], [3]], [0, 4])
    assert batch.lengths.tolist() == [3, 1]
    for row, codes in enumerate(rows):
        assert torch.equal(batch.codes[row, : len(codes)], codes)
    assert batch.text[batch.text_mask].tolist() == [1, 2, 3]
    assert batch.speaker.tolist() == [0, 4]
    moved = batch.to(torch.device("meta"))
    assert {tensor.device.type for tensor in moved} == {"meta"}


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_conditions_are_dropped_as_often_as_asked(share: float) -> None:
    lengths, generator = torch.full((4000,), 10), torch.Generator().manual_seed(0)
    for which in range(3):
        wanted = [share if which == place else 0.0 for place in range(3)]
        dropped = drop_conditions(lengths, *wanted, generator)
        shares = [float(dropped.text.float().mean()), float(dropped.speaker.float().mean())]
        shares.append(
            float((dropped.prompts > 0).float().mean()) / 0.8
        )  # one prompt in five is shorter than a frame
        for place, got in enumerate(shares):
            assert got == pytest.approx(wanted[place], abs=0.04), (which, place)


def test_a_prompt_is_at_most_half_of_its_row() -> None:
    lengths = torch.arange(1, 401)
    prompts = drop_conditions(lengths, 0.0, 0.0, 1.0, torch.Generator().manual_seed(0)).prompts
    assert (prompts >= 0).all()
    assert (prompts * 2 <= lengths).all()
    assert (prompts[200:] * 4 > lengths[200:]).float().mean() == pytest.approx(0.5, abs=0.1)


def test_dropping_is_a_function_of_the_generator() -> None:
    lengths = torch.full((50,), 10)
    one, again, other = (
        drop_conditions(lengths, 0.5, 0.5, 0.5, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
    assert not torch.equal(one.text, other.text)
    assert not torch.equal(one.text, one.speaker)
