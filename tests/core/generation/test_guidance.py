from typing import Any

import pytest
import torch
from torch import Tensor

from lina.core.errors import LinaError
from lina.core.generation.guidance import Guided
from lina.core.generation.settings import Sampling
from lina.core.model.delay_lm import Conditions, DelayLM
from lina.core.model.tokens import delayed_columns
from lina.core.state import leaves
from lina.engine.engine import Engine
from tests.core.toy_model import SIZES, push_stop, random_codes, toy_conditions, toy_lm
from tests.engine.decoding import decode, requests

TEXTS = ([2, 3, 4, 5, 6, 7, 8], [9, 10, 11], [12, 2])
SAMPLED = Sampling(temperature=1.0)


@pytest.fixture(scope="module")
def lm() -> DelayLM:
    lm = push_stop(toy_lm(drops_text=True, speakers=2), 0.02)
    with torch.no_grad():
        assert lm.no_text is not None
        lm.no_text.normal_(generator=torch.Generator().manual_seed(3))
    return lm


def conditions(model: Any, *texts: list[int], **rest: Any) -> Conditions:
    return toy_conditions(model, *texts, speaker=torch.arange(len(texts)) % 3, **rest)


def without_text(lm: DelayLM, *texts: list[int]) -> Conditions:
    return conditions(lm, *texts, without_text=torch.ones(len(texts), dtype=torch.bool))


def columns(rows: int, frames: int = 6) -> Tensor:
    return delayed_columns(random_codes(rows, frames), torch.full((rows,), frames))


def whole(model: Any, tokens: Tensor, inputs: Conditions) -> tuple[Tensor, Tensor]:
    logits, _, attention = model.parallel_forward(tokens, model.initial_state(len(tokens)), inputs)
    return logits, attention


def say(model: Any, inputs: Conditions, sampling: Sampling = SAMPLED, **options: Any) -> list[Tensor]:
    return [one.codes for one in decode(model, inputs, sampling, **{"max_frames": 12, **options})]


@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0, 3.0])
@torch.no_grad()
def test_logits_move_from_without_the_text_to_with_it_and_on(lm: DelayLM, scale: float) -> None:
    guided, tokens = Guided(lm, scale), columns(3)
    logits, attention = whole(guided, tokens, conditions(guided, *TEXTS))
    messages, seen = whole(lm, tokens, conditions(lm, *TEXTS))
    untold, _ = whole(lm, tokens, without_text(lm, *TEXTS))
    exists = messages.isfinite()
    torch.testing.assert_close(
        logits[exists], (untold + scale * (messages - untold))[exists], atol=1e-4, rtol=1e-4
    )
    assert (logits[~exists] == -torch.inf).all(), "what a smaller codebook lacks is -inf and no NaN"
    torch.testing.assert_close(attention, seen, atol=1e-6, rtol=1e-6)


@torch.no_grad()
def test_the_limit_of_scale_one_is_no_guidance(lm: DelayLM) -> None:
    tokens = columns(3)
    messages, _ = whole(lm, tokens, conditions(lm, *TEXTS))
    far = []
    for distance in (1e-1, 1e-2, 1e-3, 0.0):
        for scale in (1 - distance, 1 + distance):
            guided = Guided(lm, scale)
            logits, _ = whole(guided, tokens, conditions(guided, *TEXTS))
            far.append(float((logits - messages)[messages.isfinite()].abs().max()))
    slope = far[0] / 1e-1
    for pair, distance in enumerate((1e-1, 1e-2, 1e-3, 0.0)):
        assert max(far[2 * pair : 2 * pair + 2]) <= slope * distance + 2e-5
    assert far[0] > 0.05, "the text matters here"


@torch.no_grad()
def test_a_guided_model_is_a_stream(lm: DelayLM) -> None:
    guided, tokens = Guided(lm, 2.5), columns(3)
    inputs = conditions(guided, *TEXTS)
    expected, after, weights = guided.parallel_forward(tokens, guided.initial_state(3), inputs)
    state = guided.initial_state(3)
    for t, column in enumerate(tokens.unbind(1)):
        logits, state, read = guided.step(column, state, inputs)
        torch.testing.assert_close(logits, expected[:, t], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(read, weights[:, t], atol=1e-5, rtol=1e-5)
    for one, other in zip(leaves(state), leaves(after), strict=True):
        assert one.shape[:2] == (3, 2)
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_scale_zero_speaks_as_without_the_text(lm: DelayLM) -> None:
    guided = Guided(lm, 0.0)
    for one, other in zip(
        say(guided, conditions(guided, *TEXTS), seed=4),
        say(lm, without_text(lm, *TEXTS), seed=4),
        strict=True,
    ):
        assert torch.equal(one, other)


def test_scale_one_speaks_as_without_guidance(lm: DelayLM) -> None:
    guided = Guided(lm, 1.0)
    for sampling in (SAMPLED, Sampling()):
        for one, other in zip(
            say(guided, conditions(guided, *TEXTS), sampling),
            say(lm, conditions(lm, *TEXTS), sampling),
            strict=True,
        ):
            assert torch.equal(one, other)


def test_guidance_changes_the_speech(lm: DelayLM) -> None:
    guided = Guided(lm, 4.0)
    assert not torch.equal(
        say(guided, conditions(guided, TEXTS[0]), Sampling())[0],
        say(lm, conditions(lm, TEXTS[0]), Sampling())[0],
    )


def test_a_text_in_company_is_decoded_as_alone(lm: DelayLM) -> None:
    guided, prompt, lengths = Guided(lm, 2.0), random_codes(3, 5), torch.tensor([3, 0, 5])
    together = say(guided, conditions(guided, *TEXTS), prompt=prompt, prompt_lengths=lengths, seed=1)
    for row, text in enumerate(TEXTS):
        inputs = toy_conditions(guided, text, speaker=torch.tensor([row % 3]))  # type: ignore[arg-type]
        (alone,) = say(
            guided,
            inputs,
            prompt=prompt[row : row + 1, : int(lengths[row])],
            seed=1,
            rows=[row],
        )
        assert torch.equal(alone, together[row]), row


def test_both_rows_of_a_pair_read_the_same_step(lm: DelayLM, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Tensor] = []
    step = lm.step

    def overheard(tokens: Tensor, *rest: Any) -> Any:
        read.append(tokens)
        return step(tokens, *rest)

    monkeypatch.setattr(lm, "step", overheard)
    guided = Guided(lm, 2.0)
    engine = Engine(guided, 3)
    list(engine.run(requests(conditions(guided, *TEXTS), max_frames=5)))
    assert len(read) == engine.steps, "one step of the model a frame"
    for tokens in read:
        assert tokens.shape == (6, len(SIZES))
        assert torch.equal(tokens[::2], tokens[1::2])


def test_a_model_that_always_had_its_text_cannot_be_guided() -> None:
    with pytest.raises(LinaError, match=r"guidance = 2\.0, but .* text always there; .*drop_text") as error:
        Guided(toy_lm(), 2.0)
    assert "\n" not in str(error.value)
