"""All that an optimizer remembers, as tensors and numbers that a checkpoint can hold."""

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from lina.core.errors import PluginError
from lina.runs.shards import scatter


class OptimizerNumbers(BaseModel):
    """Content of ``optimizer.json``, and of each optimizer in a codec's ``numbers.json``."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    state: dict[str, bool | int | float | str | None]
    groups: Annotated[list[dict[str, int | float]], Field(max_length=10_000)]


def optimizer_state(
    model: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """All that an optimizer remembers: tensors as ``parameter|name``, and numbers as a value JSON can hold.

    Raises:
        PluginError: it remembers something else, which no checkpoint can hold.
    """
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, Any] = {}
    names: dict[Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
    for parameter, entries in optimizer.state.items():
        for key, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"{names[parameter]}|{key}"] = value
            elif value is None or isinstance(value, bool | int | float | str):
                numbers[f"{names[parameter]}|{key}"] = value
            else:
                raise PluginError(
                    f"train.optimizer: {type(optimizer).__name__} keeps a {type(value).__name__} in {key!r}; "
                    "a checkpoint holds tensors and numbers only"
                )
    groups = [
        {key: value for key, value in one.items() if _is_number(value)} for one in optimizer.param_groups
    ]
    return tensors, {"state": numbers, "groups": groups}


def restore_optimizer(
    model: nn.Module, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], numbers: dict[str, Any]
) -> None:
    """Undo ``optimizer_state``; PyTorch puts each tensor where its parameter's device and kernel want it.

    Raises:
        KeyError, ValueError: it is another model's or another optimizer's.
    """
    parameters = dict(model.named_parameters())
    names = {parameter: name for name, parameter in parameters.items()}
    order = [names[parameter] for group in optimizer.param_groups for parameter in group["params"]]
    places = {name: place for place, name in enumerate(order)}
    state: dict[int, dict[str, Any]] = {}
    for full, value in {**tensors, **numbers["state"]}.items():
        name, _, key = full.rpartition("|")
        if isinstance(value, Tensor) and value.shape == parameters[name].shape:
            value = scatter({name: value}, parameters)[name]
        state.setdefault(places[name], {})[key] = value
    plain = optimizer.state_dict()
    groups = [one | stored for one, stored in zip(plain["param_groups"], numbers["groups"], strict=True)]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
