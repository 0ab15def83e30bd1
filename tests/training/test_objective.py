"""Objective without the operations that no CUDA graph captures: synchronization and copies from Python values."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from lina.config.loader import load_spec
from lina.config.resolve import resolve
from lina.runs.build_model import build_lm
from lina.training.losses import cross_entropy
from lina.training.objective import Objective
from tests.training.test_shape_buckets import CODEBOOKS, part

BRINGS = {torch.tensor, torch.as_tensor, torch.from_numpy, Tensor.numpy, Tensor.cpu}
SPEC = Path(__file__).parents[2] / "specs" / "voice.yaml"
WAITS = (
    "_local_scalar_dense",
    "nonzero",
    "masked_select",
    "lift_fresh",
    "repeat_interleave.Tensor",
    "is_nonzero",
)


class Watch:
    """A mode of PyTorch that takes down what is called and should not be."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def unwanted(self, func: Any) -> bool:
        raise NotImplementedError

    def called(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if self.unwanted(func):
            self.seen.append(func.__name__)
        return func(*args, **(kwargs or {}))


class Waits(Watch, TorchDispatchMode):
    __torch_dispatch__ = Watch.called

    def unwanted(self, func: Any) -> bool:
        return any(func.__name__ == one or func.__name__.startswith(f"{one}.") for one in WAITS)


class Brings(Watch, TorchFunctionMode):
    __torch_function__ = Watch.called

    def unwanted(self, func: Any) -> bool:
        return func in BRINGS


def test_the_watch_sees() -> None:
    with Waits() as waits, Brings() as brings:
        assert float(torch.tensor([1.0]).sum()) == 1.0
        torch.ones(3).nonzero()
    assert waits.seen == ["lift_fresh.default", "_local_scalar_dense.default", "nonzero.default"]
    assert brings.seen == ["tensor"]


@pytest.mark.parametrize("backbone", ["gla", "rwkv6", "mamba"])
@pytest.mark.parametrize("attention", ["plain", "position"])
def test_a_step_neither_waits_for_the_device_nor_brings_it_anything(backbone: str, attention: str) -> None:
    config = "{}" if backbone == "mamba" else "{n_heads: 2}"
    small = f"backbone={{plugin: {backbone}, d_model: 32, n_layers: 1, config: {config}}}"
    text = f"text={{layers: 1, heads: 2, attention: {attention}}}"
    resolved = resolve(load_spec(SPEC, [small, text]))
    lm = build_lm(resolved, codebook_sizes=(4,) * CODEBOOKS, vocab_size=12, speakers=1, seed=0).train()
    objective = Objective(lm, cross_entropy, torch.device("cpu"), guided=True)
    inputs = part([[7, 5], [9], [3, 2]])
    with Waits() as waits, Brings() as brings:
        measured = objective(inputs, 20, torch.float32)
        torch.autograd.backward(measured.loss + measured.guided_attention_loss)
    assert waits.seen == []
    assert brings.seen == []
