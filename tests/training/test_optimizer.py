"""Parameter groups, Muon, moving average, and what an optimizer remembers."""

import contextlib
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lina.core.errors import PluginError
from lina.core.model.lora import adapt
from lina.core.registry import load
from lina.runs.optimizer_state import optimizer_state, restore_optimizer
from lina.training.muon import Chained, Muon
from lina.training.optimizer import MovingAverage, adamw, parameter_groups


def test_only_weight_matrices_decay() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3), nn.Embedding(4, 3), nn.Conv1d(1, 2, 2))
    model[1].register_parameter("row", nn.Parameter(torch.zeros(1, 1, 3)))
    model[1].register_parameter("rates", nn.Parameter(torch.zeros(2, 3)))
    frozen = model[0].weight.requires_grad_(False)
    matrices, tables, others = parameter_groups(model)
    assert [one.dim() for one in matrices] == [3]
    assert [one.dim() for one in tables] == [2]
    assert [one.dim() for one in others] == [1, 1, 1, 3, 2, 1]
    assert all(one is not frozen for one in matrices)
    optimizer = adamw(parameter_groups(model), lr=1.0, betas=(0.9, 0.99), weight_decay=0.3)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.3, 0.0]
    assert optimizer.param_groups[0]["params"] == [*matrices, *tables]


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("gla", set()),
        ("mamba", {"A_log"}),
        ("mamba2", set()),
        ("rwkv6", {"time_maa_w1", "time_maa_w2", "time_decay_w1", "time_decay_w2", "time_faaaa"}),
    ],
)
def test_matrices_that_are_no_layers_weight_do_not_decay(name: str, kept: set[str]) -> None:
    plugin = load("backbone", name)
    model = plugin.build(**plugin.example())
    assert isinstance(model, nn.Module)
    others = parameter_groups(model).others
    names = {parameter: name.rpartition(".")[2] for name, parameter in model.named_parameters()}
    assert {names[one] for one in others if one.squeeze().dim() > 1} == kept


def test_low_rank_matrices_of_a_weight_decay() -> None:
    model = nn.Sequential(nn.Linear(3, 3))
    adapt(model, ["0"], rank=2, alpha=2.0, seed=0)
    assert len(parameter_groups(model).matrices) == 3


def test_the_average_is_what_a_hand_computes() -> None:
    model = nn.Linear(1, 1, bias=False)
    weight: Tensor = model.weight.data
    weight.fill_(4.0)
    average = MovingAverage(model, 0.75)
    expected = 4.0
    for value in (8.0, 0.0, -4.0):
        weight.fill_(value)
        average.update(model, 1000)
        expected = 0.75 * expected + 0.25 * value
        assert average.average["weight"].item() == pytest.approx(expected)
    assert weight.item() == -4.0


def test_the_average_follows_at_once_and_then_slows_down() -> None:
    model = nn.Linear(1, 1, bias=False)
    weight: Tensor = model.weight.data
    weight.fill_(1.0)
    average = MovingAverage(model, 0.6)
    weight.fill_(0.0)
    left = []
    for step in range(1, 20):
        before = average.average["weight"].item()
        average.update(model, step)
        left.append(average.average["weight"].item() / before)
    assert left == pytest.approx([min(0.6, step / (9 + step)) for step in range(1, 20)])
    assert left[0] == pytest.approx(0.1)
    assert left[-1] == pytest.approx(0.6)


def test_the_average_keeps_nothing_of_what_is_not_trained() -> None:
    model = nn.Linear(2, 2)
    model.weight.requires_grad_(False)
    average = MovingAverage(model, 0.5)
    assert average.average.keys() == {"bias"}
    assert average.state(model)["weight"] is model.weight
    average.update(model, 1)
    weight, bias = model.weight.data_ptr(), model.bias.data_ptr()
    with average.in_place(model):
        assert (model.weight.data_ptr() == weight, model.bias.data_ptr() == bias) == (True, False)


def test_in_place_the_model_computes_with_the_average_and_then_as_before() -> None:
    model = nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    before, parameters = model.weight.detach().clone(), list(model.parameters())
    average = MovingAverage(model, 0.5)
    average.average["weight"].fill_(7.0)
    seen = []
    with contextlib.suppress(KeyError), average.in_place(model):
        seen.append(model.weight.detach().clone())
        raise KeyError
    assert bool((seen[0] == 7.0).all())
    assert model.weight.equal(before)
    assert bool((average.average["weight"] == 7.0).all())
    assert all(one is two for one, two in zip(model.parameters(), parameters, strict=True))
    assert optimizer.param_groups[0]["params"][0] is model.weight


def test_the_state_of_an_average_has_the_buffers_too() -> None:
    model = nn.BatchNorm1d(2)
    model.running_mean.fill_(3.0)  # type: ignore[union-attr]
    state = MovingAverage(model, 0.5).state(model)
    assert state.keys() == model.state_dict().keys()
    assert state["running_mean"].tolist() == [3.0, 3.0]


class TwoLayers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.inner, self.logits_head = nn.Embedding(5, 4), nn.Linear(4, 4), nn.Linear(4, 5)

    def forward(self, ids: Tensor) -> Tensor:
        out: Tensor = self.logits_head(self.inner(self.embed(ids)))
        return out


def test_muon_orthogonalizes_the_matrices_of_layers_alone() -> None:
    torch.manual_seed(0)
    model = TwoLayers()
    options: dict[str, Any] = {"lr": 0.1, "betas": (0.9, 0.99), "weight_decay": 0.0}
    optimizer = Muon.build(parameters=parameter_groups(model), config=Muon.Config(), **options)
    assert isinstance(optimizer, Chained)
    [matrices], *others = ([*map(id, group["params"])] for group in optimizer.param_groups)
    assert matrices == id(model.inner.weight)
    assert id(model.logits_head.weight) in others[0]
    before = model.inner.weight.detach().clone()
    model(torch.arange(5)).square().sum().backward()
    optimizer.step()
    singular = torch.linalg.svdvals(before - model.inner.weight.detach())
    # match_rms_adamw: 0.2 sqrt(max(rows, columns)) times a nearly orthogonal matrix.
    assert bool(((singular / (0.1 * 0.2 * 4**0.5) - 1).abs() < 0.35).all())


def test_a_pytorch_without_muon_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.optim, "Muon")
    with pytest.raises(PluginError, match=r"needs torch\.optim\.Muon of PyTorch 2\.9.*set optimizer: adamw"):
        Muon.build(**Muon.example())


class Remembering(torch.optim.SGD):
    """Keeps numbers beside tensors, and one in its group, as some published optimizers do."""

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        group = self.param_groups[0]
        group["k"] = group.get("k", 0) + 1
        for parameter in group["params"]:
            state = self.state[parameter]
            state["count"] = state.get("count", 0) + 2
            state["sum"] = state.get("sum", 0) + parameter.grad
            parameter.data -= 0.1 * group["k"] * state["count"] * state["sum"]


def three_steps(optimizer: torch.optim.Optimizer, model: nn.Module, first: int = 0) -> None:
    for number in range(first, first + 3):
        optimizer.zero_grad()
        model(torch.full((1, 2), 0.1 * (number + 1))).sum().backward()
        optimizer.step()


@pytest.mark.parametrize("kind", [Remembering, torch.optim.AdamW, torch.optim.RAdam, torch.optim.Adagrad])
def test_an_optimiser_goes_on_as_if_never_stopped(kind: Any) -> None:
    torch.manual_seed(0)
    model, other = nn.Linear(2, 2), nn.Linear(2, 2)
    optimizer = kind(model.parameters(), lr=0.01)
    three_steps(optimizer, model)
    tensors, numbers = optimizer_state(model, optimizer)
    tensors = {name: value.clone() for name, value in tensors.items()}
    other.load_state_dict(model.state_dict())
    resumed = kind(other.parameters(), lr=0.01)
    restore_optimizer(other, resumed, tensors, numbers)
    three_steps(optimizer, model, 3)
    three_steps(resumed, other, 3)
    assert all(one.equal(two) for one, two in zip(model.parameters(), other.parameters(), strict=True))


def test_moments_find_their_parameter_by_name_not_by_order() -> None:
    model = nn.Linear(2, 2)
    optimizer = torch.optim.AdamW([model.weight, model.bias])
    three_steps(optimizer, model)
    resumed = torch.optim.AdamW([model.bias, model.weight])
    restore_optimizer(model, resumed, *optimizer_state(model, optimizer))
    assert resumed.state[model.bias]["exp_avg"].equal(optimizer.state[model.bias]["exp_avg"])


def test_state_that_no_checkpoint_can_hold_is_refused() -> None:
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters())
    optimizer.state[model.weight]["history"] = [1, 2]
    with pytest.raises(PluginError, match=r"SGD keeps a list in 'history'; a checkpoint holds tensors"):
        optimizer_state(model, optimizer)
