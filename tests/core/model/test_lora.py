"""Low-rank adaptation, of every installed backbone."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lina.config.spec import Spec
from lina.core.errors import SpecError
from lina.core.model.delay_lm import DelayLM
from lina.core.model.lora import LowRank, adapt, choose_targets, is_adapted, merged, train_only
from lina.core.model.tokens import teacher_forcing
from lina.core.registry import load, records
from lina.runs.build_model import build_lm
from lina.training.losses import cross_entropy
from lina.training.optimizer import adamw, parameter_groups
from tests.core.toy_model import SIZES, random_codes, toy_conditions, toy_lm

BACKBONES = sorted({record.name for record in records("backbone")})
TABLES = ("txt_embed.weight", "rvq_embed.weight")


def model_of(backbone: str) -> DelayLM:
    """A language model on the backbone's example, and a position network of the same width."""
    plugin = load("backbone", backbone)
    example = plugin.example()
    width = example["d_model"]
    sections = {
        "backbone": {"plugin": backbone, "d_model": width, "n_layers": 1},
        "codec": {"plugin": "toy"},
        "tokenizer": {"plugin": "toy"},
        "text": {"layers": 1, "heads": 1, "position_dim": width},
        "data": {"source": "folder"},
    }
    spec = Spec.model_validate({"lina": 1, "name": "toy"} | sections)
    chosen = SimpleNamespace(plugin=plugin, config=example["config"], record=SimpleNamespace(name=backbone))
    resolved: Any = SimpleNamespace(spec=spec, backbone=chosen, layers=(), after=())
    return build_lm(resolved, codebook_sizes=SIZES, vocab_size=20, speakers=0, seed=0)


def logits(model: DelayLM, codes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    columns = teacher_forcing(codes, torch.tensor([len(row) for row in codes]))
    text = toy_conditions(model, [3, 1, 4], [1, 5, 9])
    arguments, *_ = model.parallel_forward(columns.inputs, model.initial_state(len(codes)), text)
    return arguments, columns.targets, columns.loss_mask


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_backbone_is_adapted_trained_and_merged(backbone: str) -> None:
    model, codes = model_of(backbone), random_codes(2, 5)
    source = {name: value.clone() for name, value in model.state_dict().items()}
    expected = logits(model, codes)[0]
    adapt(model, choose_targets(model, ("encoder.*", "decoder.*")), rank=2, alpha=4.0, seed=0)
    train_only(model, TABLES)
    assert logits(model, codes)[0].equal(expected), "nothing is added at first"

    optimizer = adamw(parameter_groups(model), lr=0.05, betas=(0.9, 0.99), weight_decay=0.1)
    for _ in range(2):
        loss = cross_entropy(*logits(model, codes))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    after = merged(model.state_dict())
    assert after.keys() == source.keys()
    changed = {name for name in source if not after[name].equal(source[name])}
    linear = {
        f"{half}.{name}.weight"
        for half in ("encoder", "decoder")
        for name, module in model_of(backbone).get_submodule(half).named_modules()
        if isinstance(module, nn.Linear)
    }
    assert {*TABLES} < changed <= {*linear, *TABLES}
    assert any(name.startswith("encoder.") for name in changed)
    assert any(name.startswith("decoder.") for name in changed)
    with_state = {id(one) for one in optimizer.state}
    assert all(
        (id(one) in with_state) <= (MARKED in name or name in TABLES)
        for name, one in model.named_parameters()
    )
    assert all(one.grad is None for one in model.parameters() if not one.requires_grad)

    plain = model_of(backbone)
    plain.load_state_dict(after)
    whole = logits(plain, codes)[0]
    torch.testing.assert_close(whole, logits(model, codes)[0], rtol=1e-5, atol=1e-5)
    assert not whole.allclose(expected)
    steps, state = [], model.initial_state(2)
    inputs = teacher_forcing(codes, torch.tensor([5, 5])).inputs
    text = toy_conditions(model, [3, 1, 4], [1, 5, 9])
    with torch.no_grad():
        for t in range(inputs.shape[1]):
            column, state, _ = model.step(inputs[:, t], state, text)
            steps.append(column)
    torch.testing.assert_close(torch.stack(steps, 1), whole, rtol=1e-3, atol=1e-4)


MARKED = "parametrizations.weight.0."


def test_the_added_matrix_is_the_formula() -> None:
    linear = nn.Linear(3, 5)
    weight = linear.weight.detach().clone()
    model = nn.Sequential(linear)
    adapt(model, ["0"], rank=2, alpha=6.0, seed=1)
    low: Any = linear.parametrizations["weight"][0]  # type: ignore[index]
    assert (low.down.shape, low.up.shape) == ((2, 3), (5, 2))
    with torch.no_grad():
        low.up.copy_(torch.arange(10.0).reshape(5, 2))
    expected = weight + 6.0 / 2 * low.up @ low.down
    torch.testing.assert_close(linear.weight, expected)
    whole = merged(model.state_dict())
    assert whole.keys() == {"0.weight", "0.bias"}
    assert whole["0.weight"].equal(linear.weight)


def test_half_precision_does_not_reach_the_sum() -> None:
    low = LowRank(torch.ones(2, 2), 1, 1.0, torch.Generator().manual_seed(0))
    with torch.no_grad():
        low.up.fill_(1e-4)
    exact = low(torch.ones(2, 2))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert low(torch.ones(2, 2)).equal(exact)


def test_the_first_matrices_are_a_function_of_the_seed_alone() -> None:
    states = []
    for seed, disturbance in ((1, 0), (1, 5), (2, 0)):
        torch.manual_seed(disturbance)
        model = toy_lm()
        adapt(model, choose_targets(model, ["q_proj"]), rank=2, alpha=1.0, seed=seed)
        states.append([value for name, value in model.state_dict().items() if name.endswith("down")])
    assert all(one.equal(two) for one, two in zip(states[0], states[1], strict=True))
    assert not states[0][0].equal(states[2][0])
    assert not states[0][0].equal(states[0][1])


def test_the_adapted_weight_is_there_for_whoever_reads_it() -> None:
    model = toy_lm()
    adapt(model, choose_targets(model, ["q_proj"]), rank=2, alpha=1.0, seed=0)
    q_proj: Any = model.encoder.layers[0].tmix.q_proj
    assert isinstance(q_proj, nn.Linear)
    assert q_proj.weight.dtype == torch.float32
    assert model.double().encoder.initial_state(1)[0].memory.dtype == torch.float64
    assert is_adapted(model.state_dict())
    assert not is_adapted(toy_lm().state_dict())


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        (["encoder.layers.0.tmix.q_proj"], {"encoder.layers.0.tmix.q_proj"}),
        (["q_proj"], {f"{one}.layers.0.tmix.q_proj" for one in ("encoder", "decoder", "cross_att.pos_net")}),
        (["decoder.*.?_proj"], {f"decoder.layers.0.tmix.{one}_proj" for one in "qkvgo"}),
        (["qkv", "cross_att.q"], {"txt_encoder.sa.0.tmix.qkv", "cross_att.q"}),
    ],
)
def test_targets_are_names_ends_of_names_and_patterns(patterns: list[str], found: set[str]) -> None:
    assert set(choose_targets(toy_lm(), patterns)) == found


@pytest.mark.parametrize("pattern", ["q_porj", "logits_head", "encoder", "txt_embed", "head_norm"])
def test_a_target_that_is_no_linear_layer_is_an_error_with_the_known_ones(pattern: str) -> None:
    with pytest.raises(
        SpecError, match=rf"init\.lora\.targets: no linear layer is named '{pattern}'.*known: "
    ) as options:
        choose_targets(toy_lm(), ["q_proj", pattern])
    assert pattern != "q_porj" or "did you mean 'q_proj'?" in str(options.value)


def test_frozen_parameters_stay_frozen() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[0].bias.requires_grad_(False)
    train_only(model, ["0.bias", "1.weight"])
    assert [name for name, one in model.named_parameters() if one.requires_grad] == ["1.weight"]
