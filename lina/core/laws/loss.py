"""Laws of losses, on inputs that a tiny model computes."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from lina.core.errors import SpecError
from lina.core.laws.law import Conditions, Law, NotApplicable, Violation
from lina.core.laws.stream import SEED, seeded, seeded_build
from lina.core.model.cross_attention import CrossAttention
from lina.core.model.delay_lm import DelayLM
from lina.core.model.stack import Layers
from lina.core.model.text_encoder import TextEncoder
from lina.core.model.tokens import teacher_forcing
from lina.core.plugin import Plugin
from lina.core.state import named_leaves
from lina.core.training.loss_inputs import LossInputs, LossResult, names_read

WIDTH, SIZES, VOCABULARY = 8, (5, 4), 11
LENGTHS, LETTERS = (6, 4), 5


def reads_known_names(plugin: type[Plugin], conditions: Conditions) -> None:
    try:
        names_read(seeded_build(plugin), plugin.__name__)
    except SpecError as error:
        raise Violation(str(error)) from None


def loss_is_a_finite_scalar(plugin: type[Plugin], conditions: Conditions) -> None:
    result = _call(seeded_build(plugin), _inputs())
    loss = _loss(result)
    if not bool(torch.isfinite(loss)):
        raise Violation(f"the loss is {float(loss)}")
    if isinstance(result, LossResult) and tuple(result.n_correct.shape) != (len(SIZES),):
        raise Violation(f"n_correct: expected [{len(SIZES)}], found {list(result.n_correct.shape)}")


def loss_has_a_gradient(plugin: type[Plugin], conditions: Conditions) -> None:
    inputs = _inputs()
    loss = _loss(_call(seeded_build(plugin), inputs))
    if not loss.requires_grad:
        raise Violation(
            "the loss has no gradient; compute it outside of torch.no_grad, without detach or item"
        )
    trained = list(inputs.model.parameters())
    gradients = [one for one in torch.autograd.grad(loss, trained, allow_unused=True) if one is not None]
    if not all(bool(one.isfinite().all()) for one in gradients):
        raise Violation("a gradient is not finite")
    if not any(bool(one.any()) for one in gradients):
        raise Violation("the gradient is 0 for every weight; nothing would be learned")


def loss_repeats(plugin: type[Plugin], conditions: Conditions) -> None:
    """A resumed run begins in the middle, with a loss of its own."""
    inputs, loss = _inputs(), seeded_build(plugin)
    first, second = (_loss(_call(loss, inputs)) for _ in range(2))
    for other, cause in (
        (second, "in the second call"),
        (_loss(_call(seeded_build(plugin), inputs)), "anew"),
    ):
        if not torch.equal(first, other):
            raise Violation(f"{float(first)} in the first call, {float(other)} {cause}, on the same inputs")


def loss_inputs_stay(plugin: type[Plugin], conditions: Conditions) -> None:
    inputs = _inputs()
    loss = seeded_build(plugin)
    before = {name: value.detach().clone() for name, value in _tensors(inputs)}
    training = inputs.model.training
    _call(loss, inputs)
    after = dict(_tensors(inputs))
    for name, value in before.items():
        if name not in after or not torch.equal(after[name], value):
            raise Violation(f"{name} changed; compute out of place")
    if inputs.model.training != training:
        raise Violation("the model's training mode changed")


def masked_targets_do_not_count(plugin: type[Plugin], conditions: Conditions) -> None:
    loss = seeded_build(plugin)
    if "targets" not in names_read(loss, plugin.__name__):
        raise NotApplicable("it does not read targets")
    inputs, others = _inputs(), _inputs()
    others.targets = torch.where(others.loss_mask, others.targets, others.targets.roll(1, dims=1))
    one, other = (_loss(_call(loss, each)) for each in (inputs, others))
    if not torch.equal(one, other):
        raise Violation(
            f"{float(one)}, and {float(other)} with other targets where loss_mask is false; leave them out"
        )


class _Auxiliary(dict[str, Tensor]):
    """Auxiliary losses of a backbone, of any name."""

    def __missing__(self, name: str) -> Tensor:
        return self["example"]


def _inputs() -> LossInputs:
    """The inputs of two rows of a tiny model in training, the same each time."""
    with seeded():
        model = DelayLM(
            codebook_sizes=SIZES,
            vocab_size=VOCABULARY,
            d_model=WIDTH,
            encoder=Layers(()),
            decoder=Layers(()),
            attention=CrossAttention(WIDTH, 2, rotary=False),
            text_encoder=TextEncoder(WIDTH, 1, 2, 0.0),
        ).train()
        rows, frames = len(LENGTHS), max(LENGTHS)
        codes = torch.stack([torch.randint(size, (rows, frames)) for size in SIZES], dim=-1)
        columns = teacher_forcing(codes, torch.tensor(LENGTHS))
        text = torch.randint(VOCABULARY, (rows, LETTERS))
        described = model.conditions(text, torch.ones_like(text, dtype=torch.bool))
        hidden, _, attention = model.hidden_states(columns.inputs, model.initial_state(rows), described)
    read = torch.arange(rows)[:, None].expand(rows, columns.inputs.shape[1]).contiguous()
    auxiliary = _Auxiliary(example=0.01 * hidden.float().square().mean())
    return LossInputs(model, hidden, attention, columns, described.text, read, auxiliary)


def _call(loss: Any, inputs: LossInputs) -> Any:
    """The loss on inputs, with the random numbers of one step."""
    passed = {name: getattr(inputs, name) for name in names_read(loss, "loss")}
    with seeded(SEED + 1):
        return loss(**passed)


def _loss(result: Any) -> Tensor:
    loss = result.loss if isinstance(result, LossResult) else result
    if not isinstance(loss, Tensor):
        raise Violation(f"expected a scalar tensor, found {type(loss).__name__} {loss!r:.60}")
    if loss.dim() or not loss.is_floating_point():
        raise Violation(f"expected a scalar tensor, found {list(loss.shape)} of {loss.dtype}")
    return loss


def _tensors(inputs: LossInputs) -> Iterator[tuple[str, Tensor]]:
    names = ("hidden", "heads", "logits", "targets", "loss_mask", "attention", "progress", "memory", "text")
    for name in names:
        for leaf, value in named_leaves(getattr(inputs, name)).items():
            if isinstance(value, Tensor):
                yield name if isinstance(getattr(inputs, name), Tensor) else f"{name}.{leaf}", value
    for key, value in inputs.auxiliary.items():
        yield f"auxiliary[{key!r}]", value
    for key, value in inputs.model.state_dict().items():
        yield f"model.{key}", value


LOSS_LAWS = (
    Law(
        "reads_known_names",
        "Each parameter of the loss names an input that there is.",
        reads_known_names,
        dtypes=(),
    ),
    Law(
        "loss_is_a_finite_scalar",
        "The loss is a tensor without axes, of a finite number.",
        loss_is_a_finite_scalar,
        dtypes=(),
    ),
    Law("loss_inputs_stay", "A loss changes none of its inputs.", loss_inputs_stay, dtypes=()),
    Law("loss_repeats", "The same inputs and random seed give the same loss.", loss_repeats, dtypes=()),
    Law(
        "masked_targets_do_not_count",
        "Targets where loss_mask is false do not change the loss.",
        masked_targets_do_not_count,
        dtypes=(),
    ),
    Law("loss_has_a_gradient", "The loss has finite gradients, not all 0.", loss_has_a_gradient, dtypes=()),
)
