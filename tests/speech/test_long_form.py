import gc
import itertools
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from lina.core.audio.codec import AnyCodec, decode
from lina.core.errors import LinaError, TextError
from lina.core.generation.attention_window import WindowRules, WindowState, readable
from lina.core.laws.op_count import Cost, cost
from lina.core.model.text_blocks import TextSwaps
from lina.core.model.tokens import MARKS, STOP, teacher_forcing
from lina.core.state import state_bytes
from lina.engine.audio import AudioDecoder
from lina.engine.eager import EagerBackend
from lina.engine.engine import Engine
from lina.engine.state import empty_slots
from lina.speech.long_form import read
from lina.speech.segments import count_sentences
from lina.speech.voice import Voice
from lina.training.packing import pack_columns
from tests.core.toy_codec import HOP, Levels, ToyStreamingCodec
from tests.speech.test_voice import Late, Smooth, make

TEXTS = ["hello there", "a", "one more of them", "and the last"]


def trained_on(voice: Voice, consecutive: int) -> Voice:
    spec = voice.resolved.spec
    train = spec.train.model_copy(update={"consecutive": consecutive})
    voice.resolved.spec = spec.model_copy(update={"train": train})  # type: ignore[misc]
    return voice


@pytest.fixture
def streaming() -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return ToyStreamingCodec.build(config={})


class Recorded:
    """Synthesis with a record of the columns that the model reads and the codes that the decoder gets."""

    def __init__(self, voice: Voice, **options: Any) -> None:
        columns: list[Tensor] = []
        codes: list[Tensor] = []
        embed, step = voice.model._embed, voice.codec.decoder.step  # type: ignore[union-attr]

        def embedded(tokens: Tensor) -> Tensor:
            columns.append(tokens.view(-1, tokens.shape[-1]))
            return embed(tokens)

        def decoded(frame: Tensor, state: Any) -> Any:
            codes.append(frame[0])
            return step(frame, state)

        voice.model._embed = embedded  # type: ignore[method-assign]
        voice.codec.decoder.step = decoded  # type: ignore[union-attr, method-assign]
        try:
            chunks = list(read(voice, TEXTS, **options))
        finally:
            voice.model._embed = embed  # type: ignore[method-assign]
            voice.codec.decoder.step = step  # type: ignore[union-attr, method-assign]
        self.audio = torch.cat([one.audio for one in chunks], -1)
        self.columns, self.codes = torch.cat(columns), torch.stack(codes)
        sentences = torch.tensor([one.sentence for one in chunks])
        self.lengths = sentences.bincount(minlength=len(TEXTS))
        assert torch.equal(sentences, sentences.sort().values)

    def padded(self) -> Tensor:
        """The codes [U, T, Q] of the sentences."""
        return torch.nn.utils.rnn.pad_sequence(
            list(self.codes.split(self.lengths.tolist())), batch_first=True
        )


@pytest.mark.parametrize("stop", [0.02, -3.0])
def test_carried_sentences_are_a_training_row(streaming: Any, stop: float) -> None:
    """The model reads the columns of a row of utterances, for sentences that end and for those that are cut."""
    voice = trained_on(make(streaming, stop), 2)
    record = Recorded(voice, carry=True, temperature=2.0, seed=4)
    rows = torch.arange(len(TEXTS))[None]
    joined = pack_columns(teacher_forcing(record.padded(), record.lengths), record.lengths, rows)
    assert torch.equal(record.columns, joined.columns.inputs[0])
    assert len(set(record.lengths.tolist())) > 1 or stop < 0


@torch.no_grad()
def test_greedy_synthesis_equals_the_training_forward_pass(streaming: Any) -> None:
    voice = trained_on(make(streaming, -0.5), 2)
    record = Recorded(voice, carry=True)
    rows = torch.arange(len(TEXTS))[None]
    columns, texts = pack_columns(teacher_forcing(record.padded(), record.lengths), record.lengths, rows)
    conditions = voice.encode_conditions(voice.model, [voice.ids(text) for text in TEXTS], None)
    lm = voice.model
    logits, _, _ = lm.parallel_forward(columns.inputs, lm.initial_state(1), conditions, None, texts)
    logits[..., :STOP] = -torch.inf
    logits[:, :, 1:, STOP] = -torch.inf
    codes = columns.loss_mask & (columns.targets >= MARKS)
    assert torch.equal(logits.argmax(-1)[codes], columns.targets[codes])
    second = TextSwaps(texts.swaps & (texts.text < 2), texts.text.clamp(max=1))
    alone, _, _ = lm.parallel_forward(columns.inputs, lm.initial_state(1), conditions, None, second)
    assert not torch.allclose(logits[codes], alone[codes], atol=1e-2), "the texts matter"


def test_without_carry_each_sentence_starts_from_the_initial_state(streaming: Any) -> None:
    voice = make(streaming, 0.02)
    record = Recorded(voice)
    parts = record.codes.split(record.lengths.tolist())
    for text, codes in zip(TEXTS, parts, strict=True):
        assert torch.equal(codes, voice.speak([text])[0].codes)
    expected = decode(streaming, record.codes[None])[0]
    stopped = [voice.speak([text])[0].stopped for text in TEXTS]
    assert set(stopped) == {True, False}
    for end, ended in zip(record.lengths.cumsum(0).tolist(), stopped, strict=True):
        if not ended:
            expected[:, (end - 1) * HOP : end * HOP] *= torch.arange(HOP, 0, -1) / HOP
    torch.testing.assert_close(record.audio, expected, atol=1e-6, rtol=1e-6)
    fresh = Recorded(voice, temperature=1.0)
    carried = Recorded(trained_on(voice, 2), carry=True, temperature=1.0)
    first = int(fresh.lengths[0])
    assert torch.equal(carried.codes[:first], fresh.codes[:first]), "the first has no predecessor"
    assert carried.codes.shape != fresh.codes.shape or not torch.equal(carried.codes, fresh.codes)


def test_the_seed_decides(streaming: Any) -> None:
    voice = make(streaming)

    def audio(seed: int) -> Tensor:
        return torch.cat(list(voice.read(TEXTS, temperature=1.0, seed=seed)), -1)

    assert torch.equal(audio(1), audio(1))
    assert audio(1).shape != audio(2).shape or not torch.equal(audio(1), audio(2))
    first = voice.say(TEXTS[0], temperature=1.0, seed=1)
    torch.testing.assert_close(audio(1)[:, : first.shape[1] - HOP], first[:, :-HOP], atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("frames", [1, 2, 3, 4])
def test_sentences_shorter_than_the_latency_are_complete(frames: int) -> None:
    codec: Any = type(
        "Codec", (), {"sample_rate": 8_000, "hop": HOP, "channels": 1, "codebook_sizes": (16,)}
    )()
    codec.encoder, codec.decoder = None, Late()
    voice = make(codec, stop=-3.0, temperature=5.0)
    for count in (1, 3):
        chunks = list(read(voice, TEXTS[:count], max_seconds=frames / 1000))
        assert [one.sentence for one in chunks] == [n for n in range(count) for _ in range(frames)]
        assert all(one.audio.shape == (1, HOP) and one.audio.all() for one in chunks)


@pytest.mark.parametrize("codec", [Smooth(), Levels()])
def test_codecs_without_streams_work_too(codec: AnyCodec) -> None:
    voice = make(codec, -3.0)
    chunks = list(voice.read(TEXTS))
    assert sum(chunk.shape[1] for chunk in chunks) == len(TEXTS) * 30 * HOP
    chunks[0] *= 0.5  # a plain tensor


def test_a_sentence_that_does_not_end_is_cut_and_logged(streaming: Any, caplog: Any) -> None:
    voice = make(streaming, -3.0)
    with caplog.at_level(logging.WARNING, "lina"):
        list(voice.read(TEXTS[:2]))
    assert [record.getMessage() for record in caplog.records] == [
        "sentence 1 was cut at 0.0 s: 'hello there'",
        "sentence 2 was cut at 0.0 s: 'a'",
    ]
    caplog.clear()
    list(make(streaming, 5.0).read(TEXTS))
    assert not caplog.records


def test_carry_needs_a_run_trained_on_consecutive_utterances(streaming: Any) -> None:
    with pytest.raises(LinaError, match=r"carry: this run was trained on single utterances.*consecutive: 2"):
        make(streaming).read(TEXTS, carry=True)


def test_a_list_is_validated_before_synthesis(streaming: Any) -> None:
    voice = make(streaming)
    with pytest.raises(TextError, match=r"^sentence 2 \(' '\): text is blank"):
        voice.read(["hello", " "])
    assert count_sentences(voice, TEXTS) == len(TEXTS)
    with pytest.raises(LinaError, match="unknown option 'temprature'; did you mean 'temperature'"):
        voice.read(TEXTS, temprature=1.0)


def test_texts_are_consumed_lazily(streaming: Any) -> None:
    consumed = []

    def texts() -> Iterator[str]:
        for number in itertools.count():
            consumed.append(number)
            yield TEXTS[number % len(TEXTS)]

    chunks = read(make(streaming, -3.0), texts())
    assert not consumed
    for _ in range(45):
        next(chunks)
    assert consumed == [0, 1]


@pytest.mark.parametrize(("carry", "last"), [(True, 1_000), (False, 190)])
def test_costs_are_constant_over_sentences(streaming: Any, carry: bool, last: int) -> None:
    """State, operations per step, live objects and tensors are the same at step 10 and at the last."""
    voice = trained_on(make(streaming, -3.0), 2)
    lm, step = voice.model, voice.model.step
    costs: dict[int, Cost] = {}
    sizes: dict[int, int] = {}
    steps = itertools.count(1)

    def counting_step(column: Tensor, state: Any, conditions: Any) -> Any:
        number = next(steps)
        if number in (10, last):
            costs[number] = cost(lambda: step(column, state, conditions))
            sizes[number] = state_bytes((state, conditions))
        return step(column, state, conditions)

    lm.step = counting_step  # type: ignore[method-assign, assignment]
    chunks = read(voice, itertools.cycle(TEXTS[::2]), carry=carry)
    alive = {}
    for frame, _ in enumerate(chunks, start=1):
        if frame in (40, last - 30):  # at the same frame of a sentence
            gc.collect()
            objects = gc.get_objects()
            tensors = [one for one in objects if type(one) is Tensor and one.layout is torch.strided]
            alive[frame] = (len(objects), len(tensors), sum(one.nbytes for one in tensors))
            del objects, tensors
        if frame == last:
            break
    assert costs[10] == costs[last]
    assert costs[10].operations > 20
    assert sizes[10] == sizes[last]
    (early_objects, *held), (later_objects, *later_held) = alive.values()
    assert held == later_held
    assert abs(later_objects - early_objects) < 50, "a few are of this test itself"


@pytest.mark.parametrize("carry", [True, False])
def test_each_sentence_has_its_own_attention_window(
    streaming: Any, carry: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that never stops is moved through each text and ended there; the next starts at its beginning."""
    window = {"ahead": 2, "back": 1, "pace": 1000.0, "stall": 0.001, "stop_within": 1, "linger": 0.003}
    voice = trained_on(make(streaming, -99.0, window=window, max_seconds=1.0), 2)
    places: list[int] = []

    def followed(mask: Tensor, place: WindowState, rules: WindowRules) -> Tensor:
        places.append(int(place.at[0]))
        return readable(mask, place, rules)

    monkeypatch.setattr("lina.engine.step.readable", followed)
    record = Recorded(voice, carry=carry, temperature=2.0)
    assert record.lengths.max() < 100, "none reaches the limit of 1000 frames"
    starts = [n for n, place in enumerate(places) if n == 0 or place < places[n - 1]]
    ends = [places[n - 1] for n in [*starts[1:], len(places)]]
    assert [places[n] for n in starts] == [0] * len(TEXTS)
    assert all(len(voice.ids(text)) - end in (1, 2) for text, end in zip(TEXTS, ends, strict=True))
    assert record.lengths[1] == record.lengths.min(), "the shortest text"
    if carry:
        rows = torch.arange(len(TEXTS))[None]
        joined = pack_columns(teacher_forcing(record.padded(), record.lengths), record.lengths, rows)
        assert torch.equal(record.columns, joined.columns.inputs[0])


@pytest.mark.parametrize("at_once", [1, 2])
@pytest.mark.parametrize("stop", [0.02, -3.0])
def test_sentences_read_ahead_beside_a_gpu_sound_the_same(
    streaming: Any, monkeypatch: pytest.MonkeyPatch, at_once: int, stop: float
) -> None:
    """With blocks under way and calls of four frames, as on a GPU; the next sentence is read during one.

    Two slots decode two sentences side by side: all of a short one may be there before the audio of the one before.
    """

    class Lagging(EagerBackend):
        lag = 1

    def backend(
        name: str, lm: Any, step: Any, row: Any, slots: int, numerics: Any, running: Any, _: Any
    ) -> Any:
        return Lagging(lm, step, empty_slots(row, slots) if running is None else running, numerics)

    def audio(decoder: Any, rows: int, codebooks: int, frames: int) -> AudioDecoder:
        return AudioDecoder(decoder, rows, codebooks, frames)

    expected = list(read(make(streaming, stop), TEXTS))
    voice = make(streaming, stop)
    monkeypatch.setattr(voice.engines, "slots_of_text", lambda best_of, carry: at_once)
    busy: list[int] = []
    collect = Engine._collect

    def count(engine: Engine) -> None:
        busy.append(sum(one is not None for one in engine._streams))
        collect(engine)

    monkeypatch.setattr(Engine, "_collect", count)
    reads: list[int] = []
    issued: list[int] = []
    requests, ahead = voice.requests, Engine.issue_ahead

    def recorded(*arguments: Any) -> Any:
        reads.append(len(issued))
        return requests(*arguments)

    def issue(engine: Engine, blocks: int) -> bool:
        issued.append(blocks)
        return ahead(engine, blocks)

    monkeypatch.setattr("lina.engine.engine.build_backend", backend)
    monkeypatch.setattr("lina.engine.engine.build_audio_decoder", audio)
    monkeypatch.setattr(Engine, "issue_ahead", issue)
    monkeypatch.setattr(voice, "requests", recorded)
    found = list(read(voice, TEXTS))
    assert [one.sentence for one in found] == [one.sentence for one in expected]
    together, alone = (torch.cat([one.audio for one in chunks], 1) for chunks in (found, expected))
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)
    assert issued
    assert reads[0] == 0
    assert len(reads) == len(TEXTS)
    assert max(busy) == at_once
