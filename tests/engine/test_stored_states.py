"""States whose memories a fused step stores in bfloat16, where the pure forms of a model take over."""

from typing import Any

import pytest
import torch

from lina.core.model.delay_lm import DelayLM
from lina.core.registry import load
from lina.core.state import named_leaves, tree_map
from lina.engine.backend import build_backend
from lina.engine.numerics import Numerics
from lina.engine.state import DecodeState, Features, empty_slots, first_state
from lina.engine.step import DecodeStep
from tests.core.toy_model import SIZES, toy_conditions, toy_lm
from tests.engine.decoding import SAMPLED, TEXTS, requests

MEMORIES = ("memory", "keys", "values")


def model_of(backbone: str) -> DelayLM:
    lm, plugin = toy_lm(attention="plain"), load("backbone", backbone)
    example: Any = plugin.example()
    config = example["config"]
    for name in ("encoder", "decoder"):
        setattr(lm, name, plugin.build(d_model=16, n_layers=1, config=config))
    return lm.eval()


def stored(state: DecodeState) -> DecodeState:
    """In bfloat16 what fused steps on a GPU would store so."""
    names = iter(named_leaves(state.lm))

    def store(leaf: torch.Tensor) -> torch.Tensor:
        return leaf.bfloat16() if next(names).rpartition(".")[2] in MEMORIES else leaf

    return state._replace(lm=tree_map(store, state.lm))


@pytest.mark.parametrize("backbone", ["transformer", "gated_deltanet", "retnet"])
def test_eager_goes_on_from_stored_states(backbone: str) -> None:
    lm = model_of(backbone)
    many = requests(toy_conditions(lm, *TEXTS[:2]), SAMPLED)
    features = Features.of(many, len(SIZES))
    row = first_state(lm, many[:1], features)
    running = stored(empty_slots(row, 2))
    assert any(leaf.dtype == torch.bfloat16 for leaf in named_leaves(running.lm).values())
    backend = build_backend(
        "eager", lm, DecodeStep(SIZES, features, torch.device("cpu")), row, 2, Numerics(), running=running
    )
    backend.insert([0], row)
    backend.run(3)
    dtypes = {name: leaf.dtype for name, leaf in named_leaves(backend.state.lm).items()}
    assert dtypes == {name: leaf.dtype for name, leaf in named_leaves(lm.initial_state(1)).items()}
