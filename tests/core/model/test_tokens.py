import pytest
import torch
from torch import Tensor

from lina.core.model.delay_pattern import undelay
from lina.core.model.tokens import MARKS, START, STOP, delayed_columns, teacher_forcing
from tests.core.toy_model import random_codes


def recovered(columns: Tensor, frames: int) -> Tensor:
    """Codes out of delayed columns, as a listener would align them."""
    codebooks = columns.shape[2]
    skew = undelay(codebooks, START)
    aligned, _ = skew.parallel_forward(columns[:, 1:], skew.initial_state(len(columns)))
    return aligned[:, codebooks - 1 : codebooks - 1 + frames] - MARKS


def test_columns_by_hand() -> None:
    codes = torch.tensor([[[0, 5], [1, 6], [2, 7]], [[3, 8], [99, 99], [99, 99]]])
    columns = delayed_columns(codes, torch.tensor([3, 1]))
    assert columns.tolist() == [
        [[1, 1], [3, 1], [4, 8], [5, 9], [2, 10], [2, 2]],
        [[1, 1], [6, 1], [2, 11], [2, 2], [2, 2], [2, 2]],
    ]


@pytest.mark.parametrize("codebooks", range(1, 15))
def test_codes_survive_from_first_to_last_frame(codebooks: int) -> None:
    for frames in range(1, 21):
        codes = random_codes(2, frames, (9,) * codebooks, seed=frames)
        columns = delayed_columns(codes, torch.tensor([frames, frames]))
        assert columns.shape == (2, frames + codebooks + 1, codebooks)
        assert (columns[:, 0] == START).all()
        assert (columns[:, -1] == STOP).all()
        assert torch.equal(recovered(columns, frames), codes)


def test_a_row_of_a_ragged_batch_is_what_it_is_alone() -> None:
    codes, lengths = random_codes(4, 9), torch.tensor([9, 1, 5, 8])
    columns = delayed_columns(codes, lengths)
    for row, length in enumerate(lengths.tolist()):
        alone = delayed_columns(codes[row : row + 1, :length], lengths[row : row + 1])
        assert torch.equal(columns[row, : alone.shape[1]], alone[0])
        assert (columns[row, alone.shape[1] :] == STOP).all()


def test_narrow_integers_do_not_overflow() -> None:
    codes = torch.tensor([[[254], [255]]], dtype=torch.uint8)
    columns = delayed_columns(codes, torch.tensor([2]))
    assert columns.dtype == torch.int64
    assert columns[0, :, 0].tolist() == [START, 257, 258, STOP]


def test_targets_are_the_next_inputs() -> None:
    codes, lengths = random_codes(2, 6), torch.tensor([6, 4])
    inputs, targets, loss_mask, _ = teacher_forcing(codes, lengths)
    assert inputs.shape == targets.shape == loss_mask.shape == (2, 9, 3)
    assert torch.equal(inputs[:, 1:], targets[:, :-1])
    assert torch.equal(inputs, delayed_columns(codes, lengths)[:, :-1])


@pytest.mark.parametrize("codebooks", [1, 2, 5])
def test_counted_are_all_codes_and_one_stop(codebooks: int) -> None:
    codes, lengths = random_codes(3, 7, (9,) * codebooks), torch.tensor([7, 1, 4])
    _, targets, loss_mask, _ = teacher_forcing(codes, lengths)
    for row, length in enumerate(lengths.tolist()):
        for codebook in range(codebooks):
            output = targets[row, loss_mask[row, :, codebook], codebook]
            expected = (codes[row, :length, codebook] + MARKS).tolist()
            assert output.tolist() == expected + ([STOP] if codebook == 0 else [])


def test_frames_of_a_prompt_do_not_count() -> None:
    codes, lengths = random_codes(2, 7), torch.tensor([7, 5])
    _, targets, loss_mask, _ = teacher_forcing(codes, lengths, prompts=torch.tensor([3, 0]))
    for codebook in range(3):
        output = targets[0, loss_mask[0, :, codebook], codebook].tolist()
        assert output == (codes[0, 3:, codebook] + MARKS).tolist() + ([STOP] if codebook == 0 else [])
    assert torch.equal(loss_mask[1], teacher_forcing(codes, lengths).loss_mask[1])


def test_progress_is_the_share_of_frames_done() -> None:
    codes, lengths = torch.zeros(2, 4, 3, dtype=torch.int64), torch.tensor([4, 2])
    progress = teacher_forcing(codes, lengths).progress
    expected = [[0, 0.25, 0.5, 0.75, 1, 1, 1], [0, 0.5, 1, 1, 1, 1, 1]]
    assert progress.tolist() == expected
