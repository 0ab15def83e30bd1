"""Export of a language model to ONNX graphs: the start of a stream, and one whole decode step.

Both are the engine's own functions, traced: ``first_state`` and ``DecodeStep`` with window, sampling, repetition and
undelay, so there is one specification of a step. Sizes of the slots (S) and of the text (J) stay open. Weights are
initializers outside of the file, under the names of the model's ``state_dict``. Needs ``onnx`` and ``onnxscript``.
"""

import importlib.util
import inspect
import logging
import math
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from lina.core.generation.settings import Repetition, Sampling, Window
from lina.core.model.delay_lm import DelayLM
from lina.core.state import join_rows, leaves, named_leaves
from lina.engine.onnx.files import LM, NEXT, OUTPUTS
from lina.engine.onnx.rewrite import MOST_INLINE, move_weights_out
from lina.engine.request import Request
from lina.engine.state import DecodeState, Features, first_state
from lina.engine.step import DecodeStep


class Rules(NamedTuple):
    """The rules of a spec that each of its streams has."""

    window: Window | None = None
    repetition: Repetition | None = None


ROWS, POSITIONS = "S", "J"
TRACED_POSITIONS = 48
"""Text positions of the example that is traced: no other size of a model should equal it by chance."""
MOST_ROWS, MOST_POSITIONS = 4096, 65_536

PACKAGES = ("onnx", "onnxscript")


def obstacle() -> str | None:
    """The reason why graphs cannot be exported here; None if they can."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    return f"{' and '.join(missing)} not installed; pip install 'lina[onnx]'" if missing else None


def export_step(lm: DelayLM, features: Features) -> Any:
    """The graph of one decode step of ``lm``, as an ``onnx.ModelProto``.

    Inputs are the leaves of ``DecodeState`` by their paths, those that the step reads; outputs are the leaves that it
    changes, as ``next.PATH``, and codes, attention, flags and logits. ``features.positions`` does not matter.
    """
    row = example_row(lm, features)
    slots = join_rows([row, row])
    step = DecodeStep(lm.codebook_sizes, features, torch.device("cpu"))
    paths, structure = list(named_leaves(slots)), pytree.tree_structure(slots)
    with torch.no_grad():
        after, _ = step(lm.step, slots)
    pairs = zip(leaves(slots), leaves(after), strict=True)
    changed = [place for place, (one, other) in enumerate(pairs) if one is not other]
    present = [place for place, leaf in enumerate(leaves(slots)) if leaf.numel()]
    empty = {
        place: leaf.shape[1:] for place, leaf in enumerate(leaves(slots)) if not leaf.numel()
    }  # of no numbers, such as the positions of plain attention: no inputs
    dtypes = [leaf.dtype for leaf in leaves(slots)]

    class Step(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lm = lm

        def forward(self, *leaf_values: Tensor) -> tuple[Tensor, ...]:
            found = dict(zip(present, leaf_values, strict=True))
            rows = leaf_values[0].shape[0]
            for place, shape in empty.items():
                found[place] = leaf_values[0].new_zeros((rows, *shape), dtype=dtypes[place])
            state: DecodeState = pytree.tree_unflatten([found[at] for at in sorted(found)], structure)
            logits, own, attention = self.lm.step(state.column, state.lm, step.conditions(state))
            chosen, output = step.choose(state, logits, attention)
            new = leaves(chosen._replace(lm=own))
            return *(new[place] for place in changed), *output, logits

    inputs = {paths[place]: leaves(slots)[place].clone() for place in present}
    model = trace(
        Step(),
        inputs,
        [*(NEXT + paths[place] for place in changed), *OUTPUTS],
        {name: _open_sizes(name) for name in inputs},
    )
    return without_weights(model, weight_names(lm))


def export_start(lm: DelayLM, features: Features, rules: Rules) -> Any:
    """The graph of the start of one stream: text ids [1, J], their mask and a speaker to all leaves of its state.

    Sampling, length and key are filled in by whoever speaks.
    """
    like = named_leaves(example_row(lm, features))
    present = [name for name, leaf in like.items() if leaf.numel()]

    class Start(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lm = lm

        def forward(self, ids: Tensor, mask: Tensor, speaker: Tensor) -> tuple[Tensor, ...]:
            row = _first_row(self.lm, ids, mask, speaker, features, rules)
            # A clone has a name of its own where one value is several outputs.
            return tuple(leaf.clone() for name, leaf in named_leaves(row).items() if name in present)

    ids = torch.ones(1, TRACED_POSITIONS, dtype=torch.int64)
    sizes = {1: torch.export.Dim(POSITIONS, min=2, max=MOST_POSITIONS)}
    model = trace(
        Start(),
        {"ids": ids, "mask": ids > 0, "speaker": torch.zeros(1, dtype=torch.int64)},
        present,
        {"ids": sizes, "mask": sizes, "speaker": {}},
    )
    return without_weights(model, weight_names(lm))


def weight_names(lm: DelayLM) -> list[str]:
    """Names of the model's weights in its graphs."""
    return [f"{LM}{name}" for name in lm.state_dict()]


def _first_row(
    lm: DelayLM, ids: Tensor, mask: Tensor, speaker: Tensor, features: Features, rules: Rules
) -> DecodeState:
    conditions = lm.conditions(ids, mask, speaker if lm.speaker_embed is not None else None)
    sizes = Features(ids.shape[1], True, features.widest, True, True, features.recent)
    request = Request(conditions, Sampling(1.0), 1, window=rules.window, repetition=rules.repetition)
    return first_state(lm, [request], sizes)


@torch.no_grad()
def example_row(lm: DelayLM, features: Features) -> DecodeState:
    """A stream of some text, for the shapes of its state."""
    ids = torch.arange(TRACED_POSITIONS)[None] % lm.txt_embed.num_embeddings
    mask, speaker = torch.ones_like(ids, dtype=torch.bool), torch.zeros(1, dtype=torch.int64)
    return _first_row(lm, ids, mask, speaker, features, Rules())


def _open_sizes(name: str) -> dict[int, Any]:
    """The open sizes of a leaf of the state: its rows, and the text's positions in conditions and window."""
    sizes: dict[int, Any] = {0: torch.export.Dim(ROWS, min=1, max=MOST_ROWS)}
    if name.startswith(("conditions.text.", "window.always")):
        sizes[1] = torch.export.Dim(POSITIONS, min=2, max=MOST_POSITIONS)
    return sizes


def trace(
    module: nn.Module,
    inputs: Mapping[str, Tensor],
    outputs: Sequence[str],
    sizes: Mapping[str, dict[int, Any]] | None = None,
) -> Any:
    """Trace ``module`` and translate it; an ``onnx_ir.Model`` that has not been optimized.

    ``sizes``: the open sizes of each input.
    """
    shapes: Any = None
    if sizes is not None:
        shapes = tuple(sizes[name] for name in inputs)
        parameters = inspect.signature(module.forward).parameters.values()
        takes_many = any(one.kind is one.VAR_POSITIONAL for one in parameters)
        shapes = (shapes,) if takes_many else shapes
    with warnings.catch_warnings(), torch.no_grad(), TransformsAsProducts():
        warnings.simplefilter("ignore")
        program = torch.export.export(
            module.eval(), tuple(inputs.values()), dynamic_shapes=shapes, strict=False
        )
        translated = torch.onnx.export(
            program,
            dynamo=True,
            optimize=False,
            verbose=False,
            input_names=list(inputs),
            output_names=list(outputs),
            custom_translation_table=translations(),
        )
    assert translated is not None
    return translated.model


def translations() -> dict[Any, Callable[..., Any]]:
    """Operators that the exporter lacks or writes unstably: its logsigmoid is log(sigmoid(x)), -inf below -88.

    Cosines are sines of float64: before version 1.30, onnxruntime has no others in that type.
    """
    from onnx import TensorProto
    from onnx.helper import make_tensor
    from onnxscript import opset18 as op

    def cos(x: Any) -> Any:
        quarter: Any = op.Constant(value=make_tensor("quarter", TensorProto.DOUBLE, [], [math.pi / 2]))
        exact: Any = op.Cast(x, to=TensorProto.DOUBLE)
        sine: Any = op.Sin(op.Add(exact, quarter))
        return op.CastLike(sine, x)

    def log_sigmoid(x: Any) -> Any:
        return op.Neg(op.Softplus(op.Neg(x)))

    def stable_sort(x: Any, stable: bool | None = None, dim: int = -1, descending: bool = False) -> Any:
        return op.TopK(
            x, op.Shape(x, start=-1), axis=dim, largest=int(descending), sorted=1
        )  # of equals the first

    aten = torch.ops.aten
    return {aten.log_sigmoid.default: log_sigmoid, aten.sort.stable: stable_sort, aten.cos.default: cos}


class TransformsAsProducts(TorchFunctionMode):
    """Within it, ``torch.fft.irfft`` is a matrix product: onnxruntime's transform of few windows takes longer."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is torch.fft.irfft and len(args) == 1 and set(kwargs or {}) == {"n"}:
            return _inverse_transform(args[0], (kwargs or {})["n"])
        return func(*args, **(kwargs or {}))


def _inverse_transform(spectra: Tensor, length: int) -> Tensor:
    """As ``torch.fft.irfft(spectra, n=length)``. Cosines and sines come from one period: a small graph."""
    bins, time = torch.arange(length // 2 + 1), torch.arange(length)
    angle = time.double() * (2 * torch.pi / length)
    edge = (bins == 0) | (2 * bins == length)
    weight = torch.where(edge, 1.0 / length, 2.0 / length)[:, None]
    index = bins[:, None] * time % length
    own: Tensor = spectra.real @ (angle.cos().float()[index] * weight)
    return own - spectra.imag @ (angle.sin().float()[index] * weight)


def without_weights(model: Any, weights: Collection[str]) -> Any:
    """Optimize a model, and put its weights outside of the file, where the one who loads it gives them."""
    import onnxscript.optimizer
    from onnx_ir import serde

    graph = model.graph
    own = [value for name, value in graph.initializers.items() if name in weights]
    # Constants that are inputs as well are not folded into others; a pass would warn of each.
    logging.getLogger("onnx_ir.passes.common.initializer_deduplication").setLevel(logging.ERROR)
    graph.inputs.extend(own)
    onnxscript.optimizer.optimize_ir(model, input_size_limit=MOST_INLINE, output_size_limit=MOST_INLINE)
    for value in own:
        graph.inputs.remove(value)
    for value in list(graph.inputs):
        if not value.uses() and not value.is_graph_output():
            graph.inputs.remove(value)
    proto = serde.serialize_model(model)
    for part in (proto, *proto.graph.node):  # notes on the source, with paths of this machine
        del part.metadata_props[:]
    for node in proto.graph.node:
        node.doc_string = ""
    del proto.graph.value_info[:]
    move_weights_out(proto, weights)
    return proto
