"""RWKV-7 models as RWKV publishes them: lina reads them, and says what the ``rwkv`` package says."""

from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lina.backbones.rwkv.rwkv7 import RWKV7, RWKV7Stack
from lina.backbones.rwkv.rwkv7_mixing import RWKV7Config
from lina.backbones.rwkv.state import RWKVState
from lina.core.errors import CheckpointError
from tests.backbones.rwkv.rwkv_oracle import ask

WIDTH, HEADS, VOCABULARY, LAYERS = 32, 2, 11, 2
CONFIG = RWKV7Config(n_heads=HEADS, decay_rank=3, rate_rank=4, value_rank=5, gate_rank=6)
SIZES: dict[str, Any] = {"d_model": WIDTH, "n_layers": LAYERS, "config": CONFIG}


def published(n_layers: int = 2 * LAYERS) -> dict[str, Tensor]:
    """A model of random weights with the names and shapes of RWKV's own RWKV-7 files."""
    generator = torch.Generator().manual_seed(0)

    def randn(*shape: int, size: float = 0.3) -> Tensor:
        return size * torch.randn(*shape, generator=generator)

    def norm(name: str) -> dict[str, Tensor]:
        return {f"{name}.weight": 1 + randn(WIDTH), f"{name}.bias": randn(WIDTH)}

    model = {"emb.weight": randn(VOCABULARY, WIDTH), "head.weight": randn(VOCABULARY, WIDTH)}
    model |= norm("ln_out") | norm("blocks.0.ln0")
    for layer in range(n_layers):
        block = f"blocks.{layer}."
        model |= norm(f"{block}ln1") | norm(f"{block}ln2") | norm(f"{block}att.ln_x")
        for name in "rwkvag":
            model[f"{block}att.x_{name}"] = torch.rand(1, 1, WIDTH, generator=generator)
        for name, rank in {"w": 3, "a": 4, "v": 5, "g": 6}.items():
            model[f"{block}att.{name}1"] = randn(WIDTH, rank)
            model[f"{block}att.{name}2"] = randn(rank, WIDTH)
        for name in ("w0", "a0", "v0"):
            model[f"{block}att.{name}"] = randn(1, 1, WIDTH, size=2.0)
        model[f"{block}att.k_k"] = 1 + randn(1, 1, WIDTH)
        model[f"{block}att.k_a"] = 1 + randn(1, 1, WIDTH)
        model[f"{block}att.r_k"] = randn(HEADS, WIDTH // HEADS)
        for name in ("receptance", "key", "value", "output"):
            model[f"{block}att.{name}.weight"] = randn(WIDTH, WIDTH)
        model[f"{block}ffn.x_k"] = torch.rand(1, 1, WIDTH, generator=generator)
        model[f"{block}ffn.key.weight"] = randn(4 * WIDTH, WIDTH)
        model[f"{block}ffn.value.weight"] = randn(WIDTH, 4 * WIDTH)
    return model


def half(model: dict[str, Tensor], which: Any = "encoder") -> RWKV7Stack:
    backbone = RWKV7.build(**SIZES)
    backbone.load_state_dict(RWKV7.import_weights(model, half=which, **SIZES))
    return backbone


class Oracle(NamedTuple):
    model: dict[str, Tensor]
    embedded: Tensor
    """Inputs of the first layer, [1, T, D]."""
    found: dict[str, Tensor]

    def logits(self, x: Tensor) -> Tensor:
        """Logits [T, V] of the last layer's outputs [1, T, D]."""
        return norm(self.model, "ln_out", x[0]) @ self.model["head.weight"].T


def norm(model: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return F.layer_norm(x, (WIDTH,), model[f"{name}.weight"], model[f"{name}.bias"])


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Oracle:
    """The ``rwkv`` package on the layers that make the first half of a model."""
    model, tokens = published(), torch.randint(VOCABULARY, (40,), generator=torch.Generator().manual_seed(1))
    first = {name: value for name, value in model.items() if not name.startswith(("blocks.2", "blocks.3"))}
    found = ask(first, tokens, tmp_path_factory.mktemp("rwkv"), generation=7)
    return Oracle(model, norm(model, "blocks.0.ln0", model["emb.weight"][tokens])[None], found)


def assert_states(oracle: Oracle, states: tuple[RWKVState, ...]) -> None:
    for layer, state in enumerate(states):
        expected = [oracle.found[f"state.{3 * layer + place}"] for place in range(3)]
        expected[1] = expected[1].mT  # theirs is [value, key]
        for found, leaf in zip(state, expected, strict=True):
            torch.testing.assert_close(found[0], leaf, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_the_rwkv_package_agrees_in_parallel_form(oracle: Oracle) -> None:
    backbone = half(oracle.model)
    x, state = backbone.parallel_forward(oracle.embedded, backbone.initial_state(1))
    assert float(oracle.found["logits"].std()) > 0.1
    torch.testing.assert_close(oracle.logits(x), oracle.found["logits"], atol=1e-4, rtol=1e-4)
    assert_states(oracle, state)


@torch.no_grad()
def test_the_rwkv_package_agrees_step_by_step(oracle: Oracle) -> None:
    backbone = half(oracle.model)
    state, output = backbone.initial_state(1), []
    for frame in oracle.embedded.unbind(1):
        frame, state = backbone.step(frame, state)
        output.append(frame)
    logits = oracle.logits(torch.stack(output, 1))
    torch.testing.assert_close(logits, oracle.found["stepped_logits"], atol=1e-4, rtol=1e-4)
    assert_states(oracle, state)


def test_a_published_model_is_cut_in_halves() -> None:
    model = published(5)
    encoder, decoder = (half(model, which).state_dict() for which in ("encoder", "decoder"))
    assert torch.equal(encoder["layers.1.tmix.v2"], model["blocks.1.att.v2"])
    assert torch.equal(decoder["layers.0.cmix.value.weight"], model["blocks.2.ffn.value.weight"])
    assert torch.equal(decoder["layers.1.tmix.v0"], model["blocks.3.att.v0"])
    assert "layers.0.tmix.v0" not in decoder, "each half has first values of its own"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"d_model": 64}, "backbone.d_model 32, the spec has 64; write backbone.d_model: 32"),
        ({"n_layers": 3}, "has 4 layers, .* 6 in all; write backbone.n_layers: 2"),
        ({"config": CONFIG.model_copy(update={"n_heads": 4})}, "write backbone.config.n_heads: 2"),
        ({"config": CONFIG.model_copy(update={"decay_rank": None})}, "write backbone.config.decay_rank: 3"),
        ({"config": CONFIG.model_copy(update={"rate_rank": 3})}, "write backbone.config.rate_rank: 4"),
        ({"config": CONFIG.model_copy(update={"value_rank": 3})}, "write backbone.config.value_rank: 5"),
        ({"config": CONFIG.model_copy(update={"gate_rank": 3})}, "write backbone.config.gate_rank: 6"),
    ],
)
def test_a_model_of_other_sizes_is_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        RWKV7.import_weights(published(), half="encoder", **SIZES | changed)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"blocks.0.att.time_maa_x": torch.zeros(1)}, "holds a model of rwkv6; backbone rwkv7 needs"),
        (
            {name: value for name, value in published().items() if name != "blocks.1.ffn.x_k"},
            r"blocks.1.ffn.x_k is missing, expected \[1, 1, 32\]",
        ),
        (
            published() | {"blocks.1.att.v0": torch.zeros(3)},
            r"blocks.1.att.v0 is \[3\], expected \[1, 1, 32\]",
        ),
    ],
)
def test_another_model_is_refused(tensors: dict[str, Tensor], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        half(tensors)
