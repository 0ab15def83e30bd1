"""The comparison of lengths: both models see the same frames, and the crossover lies between measured lengths."""

import pytest
import torch

from benchmarks import length, packing
from benchmarks.length import FullAttention, crossover, language_model, micro_batch
from lina.training.losses import fused_cross_entropy
from lina.training.objective import Objective
from lina.training.packing import row_starts
from lina.training.shape_buckets import columns_of

SMALL = ("backbone.d_model=32", "backbone.n_layers=1", "text={layers: 1, heads: 2, attention: plain}")


def test_the_crossover_lies_between_lengths() -> None:
    assert crossover([100, 400], [0.5, 2.0]) == pytest.approx(200)
    assert crossover([100, 400, 800], [0.5, 0.8, 0.9]) is None
    assert crossover([100, 400], [1.2, 2.0]) == 100


def test_full_attention_reads_no_future_and_all_of_the_past(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(length, "HEADS", 2)
    torch.manual_seed(0)
    attention, x = FullAttention(16), torch.randn(1, 9, 16)
    y, _ = attention.parallel_forward(x, ())
    for moved, first in ((4, 4), (0, 0)):
        changed = x.clone()
        changed[:, moved] += 1.0
        differs = (attention.parallel_forward(changed, ())[0] - y).abs().amax(-1)[0] > 1e-6
        assert differs.nonzero().flatten().tolist() == list(range(first, 9))


def test_both_layouts_cost_the_same() -> None:
    """Streams in rows of their own, and end to end: the loss of a model without dropout."""
    losses = []
    objective = Objective(
        language_model("gla", SMALL).train(), fused_cross_entropy, torch.device("cpu"), guided=False
    )
    for end_to_end in (False, True):
        batch = micro_batch([[12, 20], [32]], end_to_end)
        starts = row_starts(batch.lengths, batch.rows, batch.groups, 4, torch.device("cpu"))
        assert batch.rows.tolist() == ([[0, 1, 2]] if end_to_end else [[0, 1], [2, -1]])
        losses.append(objective(batch, columns_of(batch), torch.float32, starts).loss.detach())
    torch.testing.assert_close(*losses)


def test_batches_are_those_of_training() -> None:
    planned = packing.batches(3, 4)
    assert all(len(group) <= 3 for groups in planned for group in groups)
    assert all(len(groups) * max(map(sum, groups)) <= packing.BUDGET for groups in planned)
