"""CUDA graphs by themselves: for small steps of long runs, where they are possible at all."""

from pathlib import Path

import pytest

from lina.training.graph_choice import LAUNCH_BOUND, uses_cuda_graph
from tests.core.toy_model import toy_lm
from tests.pipeline.small_run import small

LONG, AUTO = "train.steps=5000", "train.cuda_graph=auto"


@pytest.mark.parametrize(
    ("settings", "share", "captured"),
    [
        ((LONG, AUTO), 0.9, True),
        ((LONG, AUTO), 1.1, False),
        (("train.steps=500", AUTO), 0.9, False),
        ((LONG, AUTO, "train.accumulate=2"), 0.9, False),
        ((LONG, AUTO, "train.parallel=fsdp"), 0.9, False),
        ((LONG,), 0.9, False),
        (("train.steps=5", "train.cuda_graph=true"), 9.0, True),
    ],
)
def test_small_steps_of_long_runs_are_captured(
    tmp_path: Path, settings: tuple[str, ...], share: float, captured: bool
) -> None:
    train, lm = small(tmp_path, *settings).spec.train, toy_lm()
    frames = round(share * LAUNCH_BOUND / sum(one.numel() for one in lm.parameters()))
    assert uses_cuda_graph(train, lm, frames) is captured
