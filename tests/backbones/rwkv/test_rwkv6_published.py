"""Models as RWKV publishes them: lina reads them, and says what the ``rwkv`` package says."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, get_args

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lina.backbones.rwkv.rwkv6 import RWKV6, RWKV6Config
from lina.backbones.rwkv.state import RWKVState
from lina.config.spec import Spec
from lina.core.errors import CheckpointError
from lina.core.model.stack import Layers
from lina.core.plugin import Half
from lina.training.init.import_backbone import import_backbone
from tests.backbones.rwkv.rwkv_oracle import ask

WIDTH, HEADS, HIDDEN, VOCABULARY = 32, 2, 96, 11
CONFIG = RWKV6Config(n_heads=HEADS, mix_rank=3, decay_rank=4)


def published(n_layers: int = 2) -> dict[str, Tensor]:
    """A model of random weights with the names and shapes of RWKV's own RWKV-6 files."""
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
        for name in "xwkvrg":
            model[f"{block}att.time_maa_{name}"] = torch.rand(1, 1, WIDTH, generator=generator)
        model[f"{block}att.time_maa_w1"] = randn(WIDTH, 5 * 3)
        model[f"{block}att.time_maa_w2"] = randn(5, 3, WIDTH)
        model[f"{block}att.time_decay"] = randn(1, 1, WIDTH, size=2.0) - 2
        model[f"{block}att.time_decay_w1"] = randn(WIDTH, 4)
        model[f"{block}att.time_decay_w2"] = randn(4, WIDTH)
        model[f"{block}att.time_faaaa"] = randn(HEADS, WIDTH // HEADS)
        for name in ("receptance", "key", "value", "output", "gate"):
            model[f"{block}att.{name}.weight"] = randn(WIDTH, WIDTH)
        for name in "kr":
            model[f"{block}ffn.time_maa_{name}"] = torch.rand(1, 1, WIDTH, generator=generator)
        model[f"{block}ffn.key.weight"] = randn(HIDDEN, WIDTH)
        model[f"{block}ffn.receptance.weight"] = randn(WIDTH, WIDTH)
        model[f"{block}ffn.value.weight"] = randn(WIDTH, HIDDEN)
    return model


def halves(model: dict[str, Tensor], n_layers: int = 1) -> list[Layers]:
    """The backbones before and after the text with the weights of a published model."""
    built: list[Layers] = []
    for half in get_args(Half):
        built.append(stack(n_layers))
        weights = RWKV6.import_weights(model, d_model=WIDTH, n_layers=n_layers, config=CONFIG, half=half)
        built[-1].load_state_dict(weights)
    return built


def stack(n_layers: int) -> Layers:
    return RWKV6.build(d_model=WIDTH, n_layers=n_layers, config=CONFIG)


class Oracle(NamedTuple):
    model: dict[str, Tensor]
    tokens: Tensor
    found: dict[str, Tensor]

    def embedded(self) -> Tensor:
        """Inputs of the first layer, [1, T, D]."""
        return self._norm("blocks.0.ln0", self.model["emb.weight"][self.tokens])[None]

    def logits(self, x: Tensor) -> Tensor:
        """Logits [T, V] of the last layer's outputs [1, T, D]."""
        return self._norm("ln_out", x[0]) @ self.model["head.weight"].T

    def _norm(self, name: str, x: Tensor) -> Tensor:
        return F.layer_norm(x, (WIDTH,), self.model[f"{name}.weight"], self.model[f"{name}.bias"])


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Oracle:
    model, tokens = published(), torch.randint(VOCABULARY, (40,), generator=torch.Generator().manual_seed(1))
    return Oracle(model, tokens, ask(model, tokens, tmp_path_factory.mktemp("rwkv"), generation=6))


def assert_states(oracle: Oracle, states: list[RWKVState]) -> None:
    for layer, state in enumerate(states):
        for place, leaf in enumerate(state):
            torch.testing.assert_close(
                leaf[0], oracle.found[f"state.{3 * layer + place}"], atol=1e-4, rtol=1e-4
            )


@torch.no_grad()
def test_the_rwkv_package_agrees_in_parallel_form(oracle: Oracle) -> None:
    x, states = oracle.embedded(), []
    for backbone in halves(oracle.model):
        x, state = backbone.parallel_forward(x, backbone.initial_state(1))
        states.extend(state)
    assert float(oracle.found["logits"].std()) > 0.1
    torch.testing.assert_close(oracle.logits(x), oracle.found["logits"], atol=1e-4, rtol=1e-4)
    assert_states(oracle, states)


@torch.no_grad()
def test_the_rwkv_package_agrees_step_by_step(oracle: Oracle) -> None:
    first, second = halves(oracle.model)
    before, after, output = first.initial_state(1), second.initial_state(1), []
    for frame in oracle.embedded().unbind(1):
        frame, before = first.step(frame, before)
        frame, after = second.step(frame, after)
        output.append(frame)
    logits = oracle.logits(torch.stack(output, 1))
    torch.testing.assert_close(logits, oracle.found["stepped_logits"], atol=1e-4, rtol=1e-4)
    assert_states(oracle, [*before, *after])


def test_a_published_model_is_cut_in_halves() -> None:
    model = published(5)
    encoder, decoder = (backbone.state_dict() for backbone in halves(model, n_layers=2))
    assert torch.equal(encoder["layers.1.tmix.key.weight"], model["blocks.1.att.key.weight"])
    assert torch.equal(decoder["layers.0.cmix.value.weight"], model["blocks.2.ffn.value.weight"])
    assert torch.equal(decoder["layers.1.norm2.bias"], model["blocks.3.ln2.bias"])


def test_a_spec_begins_with_a_published_file(tmp_path: Path) -> None:
    """Published files hold bfloat16; what is no half of the backbone begins afresh."""
    model = {name: value.bfloat16() for name, value in published().items()}
    torch.save(model, tmp_path / "model.pth")
    spec = Spec.model_validate(
        {
            "lina": 1,
            "name": "toy",
            "backbone": {"plugin": "rwkv6", "d_model": WIDTH, "n_layers": 1},
            "codec": {"plugin": "toy"},
            "tokenizer": {"plugin": "toy"},
            "data": {"source": "folder"},
            "init": {"backbone": str(tmp_path / "model.pth")},
        }
    )
    resolved: Any = SimpleNamespace(spec=spec, backbone=SimpleNamespace(plugin=RWKV6, config=CONFIG))
    lm: Any = nn.ModuleDict({half: stack(1) for half in ("encoder", "decoder", "position_net")})
    before = {name: value.clone() for name, value in lm["position_net"].state_dict().items()}
    lm.load_state_dict(import_backbone(resolved, lm).state)
    for half, expected in zip(("encoder", "decoder"), halves(model), strict=True):
        for name, value in expected.state_dict().items():
            assert torch.equal(lm[half].state_dict()[name], value), name
    assert all(torch.equal(value, before[name]) for name, value in lm["position_net"].state_dict().items())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"d_model": 64}, "backbone.d_model 32, the spec has 64; write backbone.d_model: 32"),
        ({"n_layers": 2}, "has 2 layers, .* 4 in all; write backbone.n_layers: 1"),
        ({"config": CONFIG.model_copy(update={"n_heads": 4})}, "write backbone.config.n_heads: 2"),
        ({"config": CONFIG.model_copy(update={"mix_rank": 4})}, "write backbone.config.mix_rank: 3"),
        ({"config": CONFIG.model_copy(update={"decay_rank": 8})}, "write backbone.config.decay_rank: 4"),
    ],
)
def test_a_model_of_other_sizes_is_refused(changed: dict[str, Any], message: str) -> None:
    sizes: dict[str, Any] = {"d_model": WIDTH, "n_layers": 1, "config": CONFIG} | changed
    with pytest.raises(CheckpointError, match=message) as caught:
        RWKV6.import_weights(published(), half="encoder", **sizes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"weight": torch.zeros(1)}, "has no tensor blocks.0.att.time_maa_x; backbone rwkv6 needs"),
        ({"blocks.0.att.x_r": torch.zeros(1)}, "holds a model of rwkv7; backbone rwkv6 needs"),
        (
            {name: value for name, value in published().items() if name != "blocks.1.ffn.key.weight"},
            r"blocks.1.ffn.key.weight is missing, expected \[96, 32\]",
        ),
        (
            published() | {"blocks.1.att.gate.weight": torch.zeros(3)},
            r"blocks.1.att.gate.weight is \[3\], expected \[32, 32\]",
        ),
        (published(1), "has 1 layers, .* use a deeper model"),
    ],
)
def test_another_model_is_refused(tensors: dict[str, Tensor], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        halves(tensors)
