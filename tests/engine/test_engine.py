import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from lina.core.errors import LinaError
from lina.core.generation.settings import Repetition, Sampling, Window
from lina.core.model.delay_lm import Conditions, DelayLM
from lina.core.model.tokens import MARKS, PAD, START, STOP, delayed_columns
from lina.core.state import leaves, take_rows, tree_map
from lina.engine.backend_names import GRAPHS
from lina.engine.buffers import BufferBackend
from lina.engine.compare import worst_difference
from lina.engine.eager import EagerBackend
from lina.engine.engine import Engine
from lina.engine.request import Request, RowResult
from lina.engine.state import Features, empty_slots, first_state, together
from lina.engine.step import DecodeStep
from tests.core.toy_model import SIZES, push_stop, random_codes, toy_conditions, toy_lm
from tests.engine.decoding import SAMPLED, TEXTS, decode, requests


@pytest.fixture(scope="module")
def lm() -> DelayLM:
    return push_stop(toy_lm(), 0.02)


def test_rows_end_on_their_own(lm: DelayLM) -> None:
    produced = decode(lm, toy_conditions(lm, *TEXTS), seed=1)
    lengths = [len(row.codes) for row in produced]
    assert len(set(lengths)) > 2, lengths
    assert all(row.stopped == (len(row.codes) < 30) for row in produced)
    assert any(row.stopped for row in produced)
    assert all(len(row.attention) == len(row.codes) for row in produced)


@pytest.mark.parametrize("attention", ["blind", "plain"])
def test_a_text_in_company_is_decoded_as_alone(attention: str) -> None:
    lm = push_stop(toy_lm(attention=attention), 0.02)
    for sampling in (Sampling(), SAMPLED):
        together = decode(lm, toy_conditions(lm, *TEXTS), sampling, seed=1)
        for row, text in enumerate(TEXTS):
            (alone,) = decode(lm, toy_conditions(lm, text), sampling, seed=1, rows=[row])
            assert torch.equal(alone.codes, together[row].codes), (sampling, row)
            assert alone.stopped == together[row].stopped
            weights = together[row].attention[:, : len(text)]
            torch.testing.assert_close(weights, alone.attention, atol=1e-5, rtol=1e-5)


def test_the_seed_decides(lm: DelayLM) -> None:
    conditions = toy_conditions(lm, TEXTS[0])
    one, again, other = (decode(lm, conditions, seed=seed)[0].codes for seed in (5, 5, 6))
    assert torch.equal(one, again)
    assert one.shape != other.shape or not torch.equal(one, other)


def test_the_limit_cuts_and_says_so() -> None:
    lm = push_stop(toy_lm(), -3.0)
    for produced in decode(lm, toy_conditions(lm, *TEXTS), max_frames=7):
        assert len(produced.codes) == 7
        assert not produced.stopped
        assert len(produced.attention) == 7


@pytest.mark.parametrize("sampling", [Sampling(), SAMPLED])
def test_nothing_is_no_speech(sampling: Sampling) -> None:
    """A model that wants to stop at once still says one frame."""
    lm = push_stop(toy_lm(), 5.0)
    for produced in decode(lm, toy_conditions(lm, *TEXTS), sampling):
        assert len(produced.codes) == 1
        assert produced.stopped


def test_codes_are_in_the_range_of_their_codebook(lm: DelayLM) -> None:
    codes = torch.cat(
        [
            produced.codes
            for produced in decode(lm, toy_conditions(lm, *TEXTS), Sampling(100.0), max_frames=60)
        ]
    )
    assert (codes >= 0).all()
    assert (codes < torch.tensor(SIZES)).all()
    assert (codes.amax(0) == torch.tensor(SIZES) - 1).all(), "all of the range is used at such a temperature"


@pytest.mark.parametrize("frames", [0, 1, 5])
@pytest.mark.parametrize("stop", [0.02, -3.0])
def test_the_model_reads_the_columns_of_training(frames: int, stop: float) -> None:
    """Whatever is sampled, after any prompt, whether it stops or is cut: ramp, frames and tail are as in training."""
    lm = push_stop(toy_lm(sizes=(7, 4, 11, 5, 6)), stop)
    read: list[Tensor] = []
    embed, conditions = lm._embed, toy_conditions(lm, *TEXTS)

    def overheard(tokens: Tensor) -> Tensor:
        read.append(tokens.view(-1, 5))
        return embed(tokens)

    lm._embed = overheard  # type: ignore[method-assign]
    prompt = random_codes(4, frames, lm.codebook_sizes) if frames else None
    many = requests(conditions, Sampling(3.0), seed=8, max_frames=200 if stop > 0 else 9, prompt=prompt)
    for row, request in enumerate(many):
        read.clear()
        (speech,) = Engine(lm, 1).run([request])
        codes = speech.codes if prompt is None else torch.cat([prompt[row], speech.codes])
        trained = delayed_columns(codes[None], torch.tensor([len(codes)]))[0]
        columns = torch.cat(read)
        assert len(columns) == len(codes) + 5 - 1, "all but the last frame's last code was read"
        assert torch.equal(columns, trained[: len(columns)])
        assert speech.stopped == (stop > 0)


@pytest.mark.parametrize("frames", [0, 3])
@torch.no_grad()
def test_greedy_speech_read_again_is_what_the_model_would_decode(frames: int) -> None:
    """Teacher forcing over what was said puts the same token first wherever one was chosen."""
    lm = push_stop(toy_lm(), -1.0)
    conditions = toy_conditions(lm, TEXTS[0])
    prompt = random_codes(1, frames) if frames else None
    (produced,) = decode(lm, conditions, Sampling(), prompt=prompt, max_frames=12)
    assert len(produced.codes) > 3
    codes = produced.codes[None] if prompt is None else torch.cat([prompt, produced.codes[None]], 1)
    length = codes.shape[1]
    columns = delayed_columns(codes, torch.tensor([length]))
    logits, _, _ = lm.parallel_forward(columns[:, :-1], lm.initial_state(1), conditions)
    logits[..., [PAD, START]] = -torch.inf
    logits[:, :, 1:, STOP] = -torch.inf
    logits[:, frames, 0, STOP] = -torch.inf
    likeliest = logits.argmax(-1)
    for codebook in range(len(SIZES)):
        steps = slice(frames + codebook, length + codebook)
        assert torch.equal(likeliest[0, steps, codebook], produced.codes[:, codebook] + MARKS)


@torch.no_grad()
def test_a_stream_takes_over_the_state_that_was_prefilled_while_it_waited(
    lm: DelayLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    conditions = toy_conditions(lm, *TEXTS[:2])
    many = requests(conditions, SAMPLED, seed=8, max_frames=9, prompt=random_codes(2, 3))
    expected = list(Engine(lm, 1).run(many))
    engine = Engine(lm, 1)
    first, second = (engine.submit(request) for request in many)
    next(frames := iter(first))
    with engine.beside():
        engine.prefill(second)
    assert second.prefilled is not None
    monkeypatch.setattr(engine, "_first_states", None)  # no state is made when it joins
    for found, one in zip((first, second), expected, strict=True):
        assert torch.equal(found.result().codes, one.codes)
    assert [one.prefilled for one in (first, second)] == [None, None]
    frames.close()  # type: ignore[attr-defined]


def test_a_state_that_was_prefilled_for_other_features_is_made_again() -> None:
    lm = push_stop(toy_lm(), -3.0)
    short, plain = (replace(requests(toy_conditions(lm, TEXTS[0]))[0], max_frames=one) for one in (4, 9))
    larger = replace(plain, sampling=SAMPLED, repetition=Repetition(4, 0.5))
    expected = next(Engine(lm, 1).run([plain]))
    engine = Engine(lm, 2)
    streams = [engine.submit(one) for one in (short, plain, larger, plain)]
    next(frames := iter(streams[0]))
    engine.prefill(streams[3])
    assert streams[3].prefilled is not None
    assert torch.equal([one.result() for one in streams][3].codes, expected.codes)
    frames.close()  # type: ignore[attr-defined]


def test_a_request_without_audio_has_none(lm: DelayLM) -> None:
    stream = Engine(lm, 1).submit(requests(toy_conditions(lm, TEXTS[0]), max_frames=2)[0])
    with pytest.raises(
        ValueError, match=r"this request has no audio; make it with audio=engine\.open_audio\(\)"
    ):
        next(stream.audio())


def test_prefill_of_a_prompt_is_stepping_through_it(lm: DelayLM) -> None:
    conditions, prompt = toy_conditions(lm, *TEXTS), random_codes(4, 5)
    together = decode(lm, conditions, prompt=prompt, seed=3)
    slow = _Stepping(lm)
    again = decode(slow, conditions, prompt=prompt, seed=3)
    assert slow.stepped == 4 * 5, "the reference has read the prompts"
    for one, other in zip(together, again, strict=True):
        assert torch.equal(one.codes, other.codes)
    without = decode(lm, conditions, seed=3)
    assert any(
        one.codes.shape != other.codes.shape or not torch.equal(one.codes, other.codes)
        for one, other in zip(together, without, strict=True)
    )


class _Stepping:
    """A model whose prefill is a loop of steps."""

    def __init__(self, lm: DelayLM) -> None:
        self._lm, self.stepped = lm, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lm, name)

    def parallel_forward(self, tokens: Tensor, state: Any, conditions: Conditions) -> Any:
        produced, read = [], []
        for column in tokens.unbind(1):
            logits, state, attention = self._lm.step(column, state, conditions)
            produced.append(logits)
            read.append(attention)
            self.stepped += 1
        return torch.stack(produced, 1), state, torch.stack(read, 1)


def test_frames_of_the_prompt_are_not_repeated() -> None:
    """The frames that come out follow the prompt, whole from the first on."""
    lm = push_stop(toy_lm(), -3.0)
    conditions = toy_conditions(lm, TEXTS[0])
    (first,) = decode(lm, conditions, Sampling(), max_frames=9)
    (rest,) = decode(lm, conditions, Sampling(), max_frames=5, prompt=first.codes[None, :4])
    assert torch.equal(rest.codes, first.codes[4:])


@pytest.mark.parametrize("attention", ["blind", "plain"])
@pytest.mark.parametrize("sampling", [Sampling(), SAMPLED])
def test_rows_of_unequal_prompts_are_decoded_as_alone(attention: str, sampling: Sampling) -> None:
    lm = push_stop(toy_lm(attention=attention), 0.02)
    lengths = torch.tensor([4, 0, 7, 4])
    prompt = random_codes(4, 7)
    together = decode(
        lm, toy_conditions(lm, *TEXTS), sampling, prompt=prompt, prompt_lengths=lengths, max_frames=9, seed=1
    )
    for row, text in enumerate(TEXTS):
        inputs = prompt[row : row + 1, : lengths[row]]
        (alone,) = decode(
            lm, toy_conditions(lm, text), sampling, prompt=inputs, seed=1, rows=[row], max_frames=9
        )
        assert torch.equal(alone.codes, together[row].codes), row
        assert alone.stopped == together[row].stopped
        weights = together[row].attention[:, : len(text)]
        torch.testing.assert_close(weights, alone.attention, atol=1e-5, rtol=1e-5)


def test_padding_after_a_rows_own_prompt_is_not_read(lm: DelayLM) -> None:
    prompt, lengths = random_codes(2, 6), torch.tensor([6, 2])
    changed = prompt.clone()
    changed[1, 2:] = 0
    one, other = (
        decode(lm, toy_conditions(lm, *TEXTS[:2]), prompt=codes, prompt_lengths=lengths, seed=1)
        for codes in (prompt, changed)
    )
    assert all(torch.equal(a.codes, b.codes) for a, b in zip(one, other, strict=True))


def test_a_prompt_of_no_frames_is_no_prompt(lm: DelayLM) -> None:
    conditions = toy_conditions(lm, *TEXTS)
    plain = decode(lm, conditions, seed=3)
    for prompt, lengths in (
        (random_codes(4, 0), None),
        (random_codes(4, 5), torch.zeros(4, dtype=torch.int64)),
    ):
        prompted = decode(lm, conditions, seed=3, prompt=prompt, prompt_lengths=lengths)
        for one, other in zip(plain, prompted, strict=True):
            assert torch.equal(one.codes, other.codes)
            assert torch.equal(one.attention, other.attention)


@pytest.mark.parametrize("seed", [0, 1, 6])
def test_a_continuation_equals_the_models_own_frames(seed: int) -> None:
    """Greedy: given any beginning of its own speech, the model says the rest of it, and reads the text as it did."""
    lm = push_stop(toy_lm(seed=seed), 0.02)
    conditions = toy_conditions(lm, *TEXTS)
    produced = decode(lm, conditions, Sampling())
    assert sum(len(row.codes.unique(dim=0)) for row in produced) > 15, "it says different things"
    starts = torch.tensor([max(1, len(row.codes) // (2 + place)) for place, row in enumerate(produced)])
    prompt = torch.nn.utils.rnn.pad_sequence([row.codes for row in produced], batch_first=True)
    rest = decode(lm, conditions, Sampling(), prompt=prompt, prompt_lengths=starts)
    for row, start in enumerate(starts.tolist()):
        # Speech that was cut had no time to finish what its last codes were to be.
        target = (
            produced[row].codes[start:]
            if produced[row].stopped
            else produced[row].codes[start : -len(SIZES) + 1]
        )
        assert torch.equal(rest[row].codes[: len(target)], target)
        if produced[row].stopped:
            assert rest[row].stopped
            assert len(rest[row].codes) == len(target)
        seen = produced[row].attention[start : start + len(target)]
        torch.testing.assert_close(rest[row].attention[: len(target)], seen, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("sizes", [(5,), (6, 6), (3,) * 9])
def test_any_number_of_codebooks(sizes: tuple[int, ...]) -> None:
    lm = push_stop(toy_lm(sizes=sizes), -3.0)
    (produced,) = decode(lm, toy_conditions(lm, TEXTS[1]), max_frames=2)
    assert produced.codes.shape == (2, len(sizes))


def test_frames_come_as_soon_as_they_are_complete() -> None:
    """The first frame needs as many steps as there are codebooks, and each later one more step."""
    lm = push_stop(toy_lm(), -3.0)
    engine = Engine(lm, 1)
    (request,) = requests(toy_conditions(lm, TEXTS[0]), Sampling(), max_frames=4)
    stream = engine.submit(request)
    assert [engine.steps for _ in stream] == [3, 4, 5, 6]
    assert stream.finished


def test_the_model_may_be_called_twice(lm: DelayLM) -> None:
    conditions = toy_conditions(lm, TEXTS[0])
    assert torch.equal(decode(lm, conditions, seed=2)[0].codes, decode(lm, conditions, seed=2)[0].codes)


class Lagging(EagerBackend):
    """As on a GPU: the loop goes on while a block is under way."""

    lag = 1


class LaggingBuffers(BufferBackend):
    """As the CUDA graph, but for the graph."""

    lag = 1


@pytest.fixture(params=["at once", "lagging", "in place"])
def engine_of(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    if request.param != "at once":

        def build(
            name: str, lm: Any, step: Any, row: Any, slots: int, numerics: Any, running: Any, _: Any
        ) -> Any:
            state = empty_slots(row, slots) if running is None else running
            if request.param == "lagging":
                return Lagging(lm, step, state, numerics)
            return LaggingBuffers(lm, step, state, numerics, running=running is not None)

        monkeypatch.setattr("lina.engine.engine.build_backend", build)
    return Engine


OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"window": Window(ahead=2, back=1, pace=0.5, stall=3, stop_within=1, linger=4)},
    {"repetition": Repetition(last=4, ratio=0.3)},
    {"sampling": Sampling([0.8, 1.0, 0.0], top_k=[3, None, None], top_p=[0.9, 0.7, None])},
    {"sampling": Sampling()},
    {"prompt": random_codes(1, 4)},
    {"max_frames": 3},
    {"text": [3, 4, 5] * 13},
)
"""The last one has a longer text than all others: the memories of all slots grow."""


def one_of_each(lm: DelayLM) -> list[Request]:
    """Streams that differ in everything in which streams can differ."""
    found = []
    for place, options in enumerate(OPTIONS * 2):
        own = {key: value for key, value in options.items() if key != "text"}
        text = toy_conditions(lm, options.get("text", TEXTS[place % len(TEXTS)]))
        found += requests(text, seed=3, rows=[place], **own)
    return found


@cache
def alone_of_each(lm: DelayLM) -> list[RowResult]:
    return [next(iter(Engine(lm, 1).run([request]))) for request in one_of_each(lm)]


@given(
    order=st.permutations(range(len(OPTIONS) * 2)),
    slots=st.integers(1, 5),
    patience=st.lists(st.integers(0, 6), min_size=16, max_size=16),
)
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_stream_is_the_same_in_any_slot_company_and_order(
    lm: DelayLM, engine_of: Any, order: list[int], slots: int, patience: list[int]
) -> None:
    """Streams join one after the other, between steps, and some are read for a while before the next one joins."""
    alone = alone_of_each(lm)
    engine, many = engine_of(lm, slots), one_of_each(lm)
    streams = {}
    for place, wait in zip(order, patience, strict=True):
        streams[place] = engine.submit(many[place])
        engine.drive(lambda until=engine.steps + wait: engine.steps >= until or engine.idle)
    for place, stream in streams.items():
        result = stream.result()
        assert torch.equal(result.codes, alone[place].codes), place
        assert result.stopped == alone[place].stopped
        assert result.ended_by_window == alone[place].ended_by_window
        torch.testing.assert_close(result.attention, alone[place].attention, atol=1e-5, rtol=1e-5)


def test_a_stream_that_is_closed_gives_its_slot_back(lm: DelayLM, engine_of: Any) -> None:
    lm = push_stop(toy_lm(), -3.0)
    engine = engine_of(lm, 1)
    endless, short = requests(toy_conditions(lm, *TEXTS[:2]), max_frames=10_000)
    reading = iter(engine.submit(endless))
    next(reading)
    second = engine.submit(replace(short, max_frames=5))
    reading.close()
    assert len(second.result().codes) == 5


def test_streams_side_by_side_are_read_in_turns(lm: DelayLM, engine_of: Any) -> None:
    many = requests(toy_conditions(lm, *TEXTS), seed=1)
    target = decode(lm, toy_conditions(lm, *TEXTS), seed=1)
    engine = engine_of(lm, 4)
    streams = [iter(engine.submit(one)) for one in many]
    found: list[list[Tensor]] = [[] for _ in many]
    for frames in itertools.zip_longest(*streams):
        for row, frame in enumerate(frames):
            if frame is not None:
                found[row].append(frame)
    for row, pieces in enumerate(found):
        assert torch.equal(torch.cat(pieces), target[row].codes)


def test_a_caller_may_be_in_inference_mode(lm: DelayLM, engine_of: Any) -> None:
    """Buffers that are made there must be writable outside of it."""
    with torch.inference_mode():
        found = list(engine_of(lm, 2).run(requests(toy_conditions(lm, *TEXTS), seed=1)))
    expected = decode(lm, toy_conditions(lm, *TEXTS), seed=1)
    assert all(torch.equal(one.codes, two.codes) for one, two in zip(found, expected, strict=True))


def test_threads_read_streams_of_one_engine(lm: DelayLM, engine_of: Any) -> None:
    target = decode(lm, toy_conditions(lm, *TEXTS), seed=1)
    engine = engine_of(lm, 2)
    streams = [engine.submit(one) for one in requests(toy_conditions(lm, *TEXTS), seed=1)]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda stream: stream.result(), streams))
    assert all(torch.equal(one.codes, two.codes) for one, two in zip(results, target, strict=True))


def test_a_result_that_is_carried_on_has_read_all_columns(lm: DelayLM, engine_of: Any) -> None:
    conditions = toy_conditions(lm, TEXTS[0])
    (request,) = requests(conditions, seed=2, carry=True)
    (result,) = engine_of(lm, 1).run([request])
    columns = delayed_columns(result.codes[None], torch.tensor([len(result.codes)]))
    with torch.no_grad():
        _, target, _ = lm.parallel_forward(columns[:, :-1], lm.initial_state(1), conditions)
    assert result.state is not None
    for one, other in zip(leaves(result.state), leaves(target), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_a_backend_that_differs_from_eager_is_left(
    lm: DelayLM, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its first step is compared; the streams begin anew, and nothing of it is emitted."""

    class Wrong(LaggingBuffers):
        def _body(self) -> Tensor:
            logits = super()._body()
            self.state.lm.encoder[0].memory.mul_(1.1)
            return logits

    def build(
        name: str, lm: Any, step: Any, row: Any, slots: int, numerics: Any, running: Any, _: Any
    ) -> Any:
        state = empty_slots(row, slots)
        if name == "eager":
            return EagerBackend(lm, step, state, numerics)
        return Wrong(lm, step, state, numerics, running=False)

    expected = decode(lm, toy_conditions(lm, *TEXTS), seed=1)
    monkeypatch.setattr("lina.engine.engine.build_backend", build)
    engine = Engine(lm, 2)
    with caplog.at_level("WARNING", "lina"):
        found = list(engine.run(requests(toy_conditions(lm, *TEXTS), seed=1)))
    assert engine.backend_name == "eager"
    assert "failed its check (it differs from eager by" in caplog.text
    with pytest.raises(LinaError, match=r"backend 'graph' failed its check \(it differs from eager by"):
        list(Engine(lm, 2, backend="graph").run(requests(toy_conditions(lm, *TEXTS), seed=1)))
    assert all(torch.equal(one.codes, two.codes) for one, two in zip(found, expected, strict=True))


def test_requests_that_cannot_be_decoded_are_refused(lm: DelayLM) -> None:
    (request,) = requests(toy_conditions(lm, TEXTS[0]), max_frames=0)
    with pytest.raises(ValueError, match="max_frames = 0"):
        Engine(lm, 1).submit(request)
    for name in GRAPHS:
        with pytest.raises(LinaError, match=rf"backend '{name}' needs a CUDA device.*; use eager or auto"):
            next(iter(Engine(lm, 1, backend=name).run([replace(request, max_frames=1)])))


def test_a_step_reads_nothing_back(lm: DelayLM) -> None:
    """On the meta device tensors have no values: a step that looked at one would fail."""
    logits, attention = torch.empty(3, len(SIZES), lm.vocab, device="meta"), torch.empty(3, 32, device="meta")
    request = one_of_each(lm)[1]
    features = Features(32, True, 5, True, True, 4)
    row = first_state(lm, [request], features)
    state = tree_map(lambda leaf: leaf.to("meta"), empty_slots(row, 3))
    step = DecodeStep(lm.codebook_sizes, features, torch.device("meta"))
    after, output = step(lambda tokens, state, conditions: (logits, state, attention), state)
    assert output.codes.shape == (3, len(SIZES))
    assert [leaf.shape for leaf in leaves(after)] == [leaf.shape for leaf in leaves(state)]
    assert [leaf.dtype for leaf in leaves(after)] == [leaf.dtype for leaf in leaves(state)]


def test_streams_that_begin_alike_are_prepared_together(lm: DelayLM) -> None:
    """Those without prompt and with one window, over texts of one length; each as it would be by itself."""
    many = one_of_each(lm)
    groups = together(many)
    assert sorted(index for group in groups for index in group) == list(range(len(many)))
    assert max(map(len, groups)) > 3
    assert [many.index(one) for one in many if one.prompt is not None] == [
        index for group in groups for index in group if many[index].prompt is not None and len(group) == 1
    ]
    features = Features.of(many, len(SIZES))
    for group in groups:
        rows = first_state(lm, [many[index] for index in group], features)
        for place, index in enumerate(group):
            alone = leaves(first_state(lm, [many[index]], features))
            for one, other in zip(alone, leaves(take_rows(rows, torch.tensor([place]))), strict=True):
                assert torch.equal(one, other)


def test_states_of_no_numbers_do_not_differ() -> None:
    """Such as that of a convolution over one step; its mean would be NaN."""
    logits, nothing = torch.ones(1, 2), torch.zeros(1, 3, 0)
    assert worst_difference(logits, logits, [nothing, logits], [nothing, logits]) == 0
    assert worst_difference(logits, logits, [nothing, logits], [nothing, 2 * logits]) == 1
