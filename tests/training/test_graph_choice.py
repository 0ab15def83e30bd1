"""CUDA graphs by themselves: for small steps of long runs, where they are possible at all."""

from pathlib import Path

import pytest
import torch

from lina.core.errors import SpecError
from lina.pipeline.speech_job import run_spec
from lina.training.graph_choice import (
    LAUNCH_BOUND,
    choose_forms_for_graph,
    is_own_code,
    uses_cuda_graph,
)
from tests.core.toy_model import toy_lm
from tests.pipeline.small_run import hooks_of, small

LONG, AUTO = "train.steps=5000", "train.cuda_graph=auto"


@pytest.mark.parametrize(
    ("settings", "share", "captured"),
    [
        ((LONG, AUTO), 0.9, True),
        ((LONG, AUTO), 1.1, False),
        (("train.steps=500", AUTO), 0.9, False),
        ((LONG, AUTO, "train.accumulate=2"), 0.9, False),
        ((LONG, AUTO, "train.parallel=fsdp"), 0.9, False),
        ((LONG, AUTO, "train.gradient_checkpointing=true"), 0.9, False),
        ((LONG,), 0.9, True),
        ((LONG, "train.cuda_graph=false"), 0.9, False),
        (("train.steps=5", "train.cuda_graph=true"), 9.0, True),
    ],
)
def test_small_steps_of_long_runs_are_captured(
    tmp_path: Path, settings: tuple[str, ...], share: float, captured: bool
) -> None:
    train, lm = small(tmp_path, *settings).spec.train, toy_lm()
    frames = round(share * LAUNCH_BOUND / sum(one.numel() for one in lm.parameters()))
    assert uses_cuda_graph(train, lm, frames) is captured
    large = uses_cuda_graph(train, lm, 100 * frames, end_to_end=True)
    assert large is (captured or share > 1.0)


def test_code_of_others_is_captured_on_request_alone(tmp_path: Path) -> None:
    spec, lm = small(tmp_path, LONG).spec, toy_lm()
    assert is_own_code(lm, spec)
    assert not uses_cuda_graph(spec.train, lm, 1, own=False)
    lm.decoder.layers[0].cmix = Others(lm.decoder.layers[0].cmix)
    assert not is_own_code(lm, spec)
    required = spec.train.model_copy(update={"cuda_graph": True})
    assert uses_cuda_graph(required, lm, 1, own=False)


class Others(torch.nn.Sequential):
    """A module of another package."""


def test_a_graph_has_one_micro_batch_on_each_rank_that_there_is(tmp_path: Path) -> None:
    """``train.gpus`` does not count: torchrun may start another number of ranks."""
    lm = toy_lm()
    for gpus in (1, 4):
        auto = small(tmp_path, LONG, AUTO, "train.accumulate=4", f"train.gpus={gpus}").spec.train
        graph = auto.model_copy(update={"cuda_graph": True})
        assert [uses_cuda_graph(auto, lm, 1, ranks) for ranks in (1, 2, 4)] == [False, False, True]
        assert uses_cuda_graph(graph, lm, 1, 4)
        with pytest.raises(SpecError, match=r"accumulate is 4 and there are 2 ranks; set accumulate: 2 and"):
            uses_cuda_graph(graph, lm, 1, 2)


def test_a_graph_of_several_micro_batches_is_refused_before_anything_is_encoded(tmp_path: Path) -> None:
    resolved = small(tmp_path, "train.accumulate=2", "train.cuda_graph=true")
    with pytest.raises(SpecError, match="accumulate is 2 and there is 1 rank; set accumulate: 1"):
        run_spec(resolved, hooks_of())
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("settings", "attention", "kernels"),
    [
        (("train.cuda_graph=true", "train.consecutive=2"), "position", "reference"),
        (("train.cuda_graph=true",), "position", "auto"),
        (("train.consecutive=2",), "position", "auto"),
        (("train.cuda_graph=true", "train.consecutive=2"), "plain", "auto"),
    ],
)
def test_a_position_network_that_restarts_in_a_graph_has_one_form(
    tmp_path: Path, settings: tuple[str, ...], attention: str, kernels: str
) -> None:
    lm = toy_lm(attention=attention)
    choose_forms_for_graph(small(tmp_path, *settings).spec.train, lm)
    own = getattr(lm.cross_att, "pos_net", lm.encoder)
    assert {module.config.kernels for module in own.modules() if hasattr(module, "config")} == {kernels}
    assert all(
        module.config.kernels == "auto" for module in lm.decoder.modules() if hasattr(module, "config")
    )
