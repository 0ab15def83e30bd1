"""Comparison of exported graphs with the model that they were exported from, before they are used."""

import copy
from collections.abc import Callable
from typing import Any

import torch

from lina.core.model.delay_lm import DelayLM
from lina.core.state import join_rows, leaves, named_leaves
from lina.engine.compare import worst_difference
from lina.engine.onnx.export import example_row
from lina.engine.onnx.files import NEXT, OUTPUTS, STEP, GraphFolder
from lina.engine.onnx.session import Graphs, ort_value
from lina.engine.onnx.weights import weight_of
from lina.engine.state import DecodeState, Features
from lina.engine.step import DecodeStep

STEPS = 30
LIMIT = 1e-3
"""Relative root-mean-square difference of logits and states after ``STEPS`` steps that are fed back."""


def step_differences(
    folder: GraphFolder, lm: DelayLM, features: Features, extreme: Callable[[Any], object]
) -> dict[str, float]:
    """The difference of the exported step from eager, with the model's own parameters and with extreme ones.

    ``extreme``: puts extreme parameters into a backbone, in place.
    """
    wild = copy.deepcopy(lm)
    for part in (wild.encoder, wild.decoder):
        extreme(part)
    # What is no weight, such as the decays of retention, stays: a graph is for one configuration.
    weights, wild = wild.state_dict(), copy.deepcopy(lm)
    wild.load_state_dict(weights)
    return {name: _difference(folder, one, features) for name, one in (("ordinary", lm), ("extreme", wild))}


@torch.no_grad()
def _difference(folder: GraphFolder, lm: DelayLM, features: Features) -> float:
    graph = Graphs(folder, weight_of(lm)).graph(STEP)
    row = example_row(lm, features)
    state: DecodeState = join_rows([row, row])._replace(length=torch.tensor([1000, 3]))
    step = DecodeStep(lm.codebook_sizes, features, torch.device("cpu"))
    values = {name: ort_value(leaf.numpy()) for name, leaf in named_leaves(state).items()}
    changed = [name for name in graph.outputs if name.startswith(NEXT)]
    for _ in range(STEPS):
        expected, own, attention = lm.step(state.column, state.lm, step.conditions(state))
        after, _ = step.choose(state, expected, attention)
        state = after._replace(lm=own)
        logits, *new = graph.run(values, [OUTPUTS[-1], *changed])
        found = {name.removeprefix(NEXT): value for name, value in zip(changed, new, strict=True)}
        # The model's state is fed back; the column is eager's, for a tie would lead to another one.
        values |= {name: value for name, value in found.items() if name.startswith("lm.")}
        others = named_leaves(state)
        values |= {
            name: ort_value(leaf.numpy()) for name, leaf in others.items() if not name.startswith("lm.")
        }
    memory = [
        torch.from_numpy(values[name].numpy()) for name in named_leaves(state) if name.startswith("lm.")
    ]
    return worst_difference(expected, torch.from_numpy(logits.numpy()), leaves(state.lm), memory)
