"""The law of seams: rows of utterances at once are one stream whose text is swapped."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from lina.backbones.gla import GLA, GLAConfig
from lina.backbones.transformer import Transformer, TransformerConfig
from lina.core.errors import SpecError
from lina.core.model.cross_attention import CrossAttention, PositionCrossAttention
from lina.core.model.delay_lm import Conditions, DelayLM, next_text
from lina.core.model.text_blocks import BLOCK, TextSwaps
from lina.core.model.text_encoder import TextEncoder
from lina.core.model.tokens import START, STOP, delayed_columns, teacher_forcing
from lina.core.ops.segments import segments_of
from lina.core.state import named_leaves, take_rows
from lina.training.losses import cross_entropy
from lina.training.objective import Objective
from lina.training.packing import pack_columns, row_starts, validate_packing
from lina.training.shape_buckets import columns_of
from tests.core.toy_backbone import Toy
from tests.core.toy_model import SIZES, VOCABULARY, WIDTH, random_codes, toy_lm
from tests.training.test_shape_buckets import CODEBOOKS, part

LENGTHS = torch.tensor([5, 3, 6, 4, 2, 7])
ROWS = torch.tensor([[0, 1, 2], [4, 3, -1], [5, -1, -1]])
TEXTS = [[2, 3, 4, 5], [6, 7], [8, 9, 10, 11, 12], [2], [13, 14, 15], [16, 3]]
BACKBONES: dict[str, Any] = {
    "gla": lambda width: GLA.build(d_model=width, n_layers=1, config=GLAConfig(n_heads=2, gate_rank=4)),
    "transformer": lambda width: Transformer.build(
        d_model=width, n_layers=1, config=TransformerConfig(n_heads=2, window=6)
    ),
    "toy": lambda width: Toy.build(d_model=width, n_layers=1, config={}),
}


class Restarting(nn.Module):
    """The toy backbone with starts: a loop, short and slow."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner: Any = Toy.build(d_model=width, n_layers=1, config={})
        self.initial_state, self.step = self.inner.initial_state, self.inner.step

    def parallel_forward(self, x: Tensor, state: Any, starts: Tensor | None = None) -> tuple[Tensor, Any]:
        out = []
        for t, frame in enumerate(x.unbind(1)):
            if starts is not None:
                fresh = self.initial_state(len(x))
                state = type(state)(
                    *(
                        torch.where(starts[:, t].view(-1, *[1] * (new.dim() - 1)), new, old)
                        for new, old in zip(fresh, state, strict=True)
                    )
                )
            y, state = self.step(frame, state)
            out.append(y)
        return torch.stack(out, 1), state


def model(backbone: str, attention: str) -> DelayLM:
    build = BACKBONES[backbone]
    torch.manual_seed(0)
    cross: CrossAttention
    if attention == "plain":
        cross = CrossAttention(WIDTH, 2, rotary=True)
    else:
        cross = PositionCrossAttention(
            WIDTH, Restarting(8) if backbone == "toy" else build(8), 8, rotary=True
        )
    return DelayLM(
        codebook_sizes=SIZES,
        vocab_size=VOCABULARY,
        d_model=WIDTH,
        encoder=build(WIDTH),
        decoder=build(WIDTH),
        attention=cross,
        text_encoder=TextEncoder(WIDTH, 1, 2, 0.0),
        speakers=2,
    ).double()


def texts(lm: DelayLM, *numbers: int) -> Conditions:
    chosen = [TEXTS[number] for number in numbers]
    width = max(map(len, chosen))
    ids = torch.tensor([text + [0] * (width - len(text)) for text in chosen])
    mask = torch.tensor([[True] * len(text) + [False] * (width - len(text)) for text in chosen])
    return lm.conditions(ids, mask, torch.ones(len(chosen), dtype=torch.int64))


def gradients(lm: DelayLM, loss: Tensor) -> dict[str, Tensor]:
    lm.zero_grad()
    loss.backward()
    return {name: part.grad.clone() for name, part in lm.named_parameters() if part.grad is not None}


@pytest.mark.parametrize(
    ("backbone", "attention"),
    [("gla", "plain"), ("gla", "position"), ("transformer", "plain"), ("toy", "plain"), ("toy", "position")],
)
def test_rows_at_once_are_the_fold_of_steps_with_the_text_swapped(backbone: str, attention: str) -> None:
    lm = model(backbone, attention)
    codes = random_codes(len(LENGTHS), int(LENGTHS.max()))
    columns, swaps = pack_columns(teacher_forcing(codes, LENGTHS), LENGTHS, ROWS)
    weigh = torch.randn(len(SIZES), lm.vocab, dtype=torch.float64)

    def loss(logits: Tensor) -> Tensor:
        return (logits.masked_fill(logits.isinf(), 0.0) * weigh).tanh().sum()

    arguments = texts(lm, *range(len(TEXTS)))
    target, after, weights = lm.parallel_forward(
        columns.inputs, lm.initial_state(len(ROWS)), arguments, None, swaps
    )
    wanted_gradients = gradients(lm, loss(target))

    output, states = [], []
    for row, numbers in enumerate(ROWS.tolist()):
        state, utterance, logits = lm.initial_state(1), -1, []
        for t, column in enumerate(columns.inputs[row]):
            if swaps.swaps[row, t]:
                utterance += 1
                memory = texts(lm, numbers[utterance])
                state = next_text(state, lm.initial_state(1))
            out, state, read = lm.step(column[None], state, memory)
            logits.append(out[0])
            own = weights[row, t]
            torch.testing.assert_close(own[: read.shape[1]], read[0], atol=1e-9, rtol=1e-9)
            torch.testing.assert_close(own.sum(), torch.ones((), dtype=torch.float64))
        output.append(torch.stack(logits))
        states.append(state)
    torch.testing.assert_close(torch.stack(output), target, atol=1e-9, rtol=1e-9)
    for row, state in enumerate(states):
        expected = named_leaves(take_rows(after, torch.tensor([row])))
        for name, leaf in named_leaves(state).items():
            torch.testing.assert_close(leaf, expected[name], atol=1e-9, rtol=1e-9, msg=name)
    found = gradients(lm, loss(torch.stack(output)))
    assert found.keys() == wanted_gradients.keys()
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, wanted_gradients[name], atol=1e-8, rtol=1e-8, msg=name)


def test_a_row_that_begins_in_the_middle_of_a_text_goes_on_with_it() -> None:
    lm = model("gla", "position")
    columns, swaps = pack_columns(
        teacher_forcing(random_codes(6, 7), LENGTHS), LENGTHS, torch.tensor([[0, 1]])
    )
    arguments = texts(lm, 0, 1)
    state = lm.initial_state(1)
    target, _, _ = lm.parallel_forward(columns.inputs, state, arguments, None, swaps)
    begin, end = (TextSwaps(*(part[:, where] for part in swaps)) for where in (slice(3), slice(3, None)))
    first, state, _ = lm.parallel_forward(columns.inputs[:, :3], state, arguments, None, begin)
    second, _, _ = lm.parallel_forward(columns.inputs[:, 3:], state, arguments, None, end)
    torch.testing.assert_close(torch.cat([first, second], 1), target, atol=1e-9, rtol=1e-9)


def test_the_state_hears_the_utterance_before() -> None:
    lm = model("gla", "plain")
    output = []
    for before in (0, 2):
        rows = torch.tensor([[before, 1]])
        columns, swaps = pack_columns(teacher_forcing(random_codes(6, 7), LENGTHS), LENGTHS, rows)
        arguments = texts(lm, *range(6))
        logits, _, _ = lm.parallel_forward(columns.inputs, lm.initial_state(1), arguments, None, swaps)
        output.append(logits[0, -int(LENGTHS[1]) :])
    assert not torch.allclose(output[0], output[1], atol=1e-3)


def test_columns_at_the_seams() -> None:
    codes = random_codes(len(LENGTHS), int(LENGTHS.max()))
    joined = pack_columns(teacher_forcing(codes, LENGTHS), LENGTHS, ROWS)
    codebooks = len(SIZES)
    for row, numbers in enumerate(ROWS.tolist()):
        at = 0
        for number in (number for number in numbers if number >= 0):
            length = int(LENGTHS[number])
            alone = delayed_columns(codes[number : number + 1, :length], torch.tensor([length]))[0]
            steps = length + codebooks
            assert torch.equal(joined.columns.inputs[row, at : at + steps], alone[:-1])
            assert torch.equal(joined.columns.targets[row, at : at + steps], alone[1:])
            assert (joined.columns.inputs[row, at] == START).all()
            loss_mask = joined.columns.loss_mask[row, at : at + steps]
            assert loss_mask.sum(0).tolist() == [length + 1, *[length] * (codebooks - 1)]
            assert joined.texts.swaps[row, at : at + steps].nonzero().tolist() == [[0]]
            at += steps
        assert (joined.columns.inputs[row, at:] == STOP).all()
        assert (joined.columns.targets[row, at:] == STOP).all()
        assert not joined.columns.loss_mask[row, at:].any()
        assert not joined.texts.swaps[row, at:].any()


def test_rows_of_one_are_the_columns_themselves() -> None:
    columns = teacher_forcing(random_codes(len(LENGTHS), int(LENGTHS.max())), LENGTHS)
    joined = pack_columns(columns, LENGTHS, torch.arange(len(LENGTHS))[:, None])
    for one, other in zip(joined.columns, columns, strict=True):
        assert torch.equal(one, other)
    assert joined.texts.swaps.nonzero()[:, 1].tolist() == [0] * len(LENGTHS)


def test_a_blind_attention_that_cannot_begin_anew_is_refused() -> None:
    lm = model("transformer", "position")
    validate_packing(lm.cross_att, "transformer", 1)
    validate_packing(model("gla", "position").cross_att, "gla", 3)
    with pytest.raises(
        SpecError, match=r"train.consecutive is 2.*'transformer' takes no starts; set text.att"
    ):
        validate_packing(lm.cross_att, "transformer", 2)


@pytest.mark.parametrize("attention", ["plain", "position"])
def test_groups_end_to_end_cost_what_they_cost_in_rows_of_their_own(
    attention: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loss, measures and gradients, with blocks shorter than most utterances, one text dropped, and prompts."""
    monkeypatch.setattr("lina.core.model.text_blocks.BLOCK", 4)
    lm = toy_lm(attention=attention, sizes=(4,) * CODEBOOKS, speakers=1, drops_text=True).double().train()
    objective = Objective(lm, cross_entropy, torch.device("cpu"), guided=True)
    rows = part([[7, 5], [9], [3, 2, 14], [1]])
    rows = rows._replace(
        speaker=torch.tensor([1, 1, 0, 1, 1, 1, 0]),
        without_text=torch.arange(7) == 3,
        without_speaker=torch.arange(7) == 4,
    )
    row = rows._replace(rows=torch.arange(7)[None])
    found = []
    for batch, multiple in ((rows, 1), (row, 16), (row, 1)):
        lm.zero_grad()
        starts = row_starts(batch.lengths, batch.rows, batch.groups, CODEBOOKS, torch.device("cpu"), multiple)
        assert starts is not None
        steps = starts.utterances.shape[1]
        assert steps % multiple == 0
        assert 0 <= steps - columns_of(batch) < multiple
        measured = objective(batch, steps, torch.float32, starts)
        torch.autograd.backward(measured.loss + measured.guided_attention_loss)
        gradients = [p.grad.clone() for p in lm.parameters() if p.grad is not None]
        found.append([*(value.detach() for value in measured), *gradients])
        assert starts is not None
        assert (starts.groups is None) == (batch is rows)
    ends = (rows.lengths + CODEBOOKS).cumsum(0).tolist()
    assert starts is not None
    assert starts.groups is not None
    assert starts.utterances.nonzero()[:, 1].tolist() == [0, *ends[:-1]]
    assert starts.groups.nonzero()[:, 1].tolist() == [0, ends[1], ends[2], ends[5]]
    assert segments_of(starts.groups).offsets_on_cpu.tolist() == [0, ends[1], ends[2], ends[5], ends[6]]
    for padded, aligned, packed in zip(*found, strict=True):
        torch.testing.assert_close(packed, padded)
        torch.testing.assert_close(aligned, padded)


def test_no_attention_spans_two_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row of 1,000 frames holds blocks of frames by one text, never itself by all of its texts."""
    largest = 0

    class Largest(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            nonlocal largest
            result = func(*args, **(kwargs or {}))
            if isinstance(result, Tensor):
                largest = max(largest, result.numel())
            return result

    lm = toy_lm(attention="plain")
    lengths = torch.full((20,), 47)
    columns, texts = pack_columns(
        teacher_forcing(random_codes(20, 47), lengths), lengths, torch.arange(20)[None]
    )
    steps = columns.inputs.shape[1]
    conditions = lm.conditions(torch.ones(20, 60, dtype=torch.int64), torch.ones(20, 60, dtype=torch.bool))
    state = lm.cross_att.initial_state(1)
    with Largest():
        lm.cross_att.parallel_forward(torch.randn(1, steps, WIDTH), state, conditions.text, texts)
    heads = 2
    blocks = steps // BLOCK + 1 + 20
    assert steps == 1000
    assert largest <= heads * blocks * BLOCK * 60 < heads * steps * 20 * 60
