"""Synthesis after an audio prompt, which is not part of the output."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lina.core.audio.codec import AnyCodec, decode, decoder_stream, encode, skip
from lina.core.audio.read import write_wav
from lina.core.errors import DataError, LinaError, TextError
from lina.core.model.delay_lm import next_text
from lina.core.model.tokens import MARKS, teacher_forcing
from lina.core.state import leaves
from lina.speech.long_form import read
from lina.speech.prompt import Prompt, encode_prompt
from lina.speech.synthesis_input import build_input
from lina.speech.voice import Voice
from tests.core.toy_codec import HOP, ToyStreamingCodec
from tests.core.toy_model import random_codes
from tests.core.toy_tokenizer import Letters
from tests.speech.test_voice import Smooth, make

RATE = 8_000
SIZES = (16, 5)


@pytest.fixture
def voice() -> Voice:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        codec: Any = ToyStreamingCodec.build(config={})
    return make(codec, drop_text=True, temperature=1.0, max_seconds=0.012)


def prompt(frames: int = 6, seed: int = 0) -> Prompt:
    return Prompt(random_codes(1, frames, SIZES, seed)[0], "and so")


def recording(folder: Path, samples: int = 2_005, name: str = "a.wav") -> Path:
    audio = torch.rand(1, samples, generator=torch.Generator().manual_seed(1)) - 0.5
    write_wav(folder / name, audio, RATE)
    return folder / name


def test_speech_continues_its_own_beginning(voice: Voice) -> None:
    """Greedy: with the beginning of its own speech as a prompt, the voice produces the rest."""
    whole = voice.speak(["hello there"], temperature=0.0, max_seconds=0.02)[0]
    start = Prompt(whole.codes[:5], "hello")
    rest = voice.speak(["there"], temperature=0.0, max_seconds=0.02, prompt=start)[0]
    kept = min(len(rest.codes), len(whole.codes) - 5 - 1)
    assert kept > 5
    assert torch.equal(rest.codes[:kept], whole.codes[5 : 5 + kept])
    assert rest.labels == whole.labels
    torch.testing.assert_close(rest.attention[:kept], whole.attention[5 : 5 + kept], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("frames", [1, 7])
def test_the_samples_of_the_prompt_are_removed_exactly(frames: int) -> None:
    voice = make(Smooth(), stop=0.5, temperature=8.0, max_seconds=0.012)
    start = Prompt(random_codes(1, frames, (16,))[0], "and so")
    speech = voice.speak(["hello"], prompt=start)[0]
    assert speech.stopped, "speech that is cut would fade"
    both = decode(voice.codec, torch.cat([start.audio, speech.codes])[None])[0]  # type: ignore[list-item]
    assert torch.equal(speech.audio, both[:, frames * HOP :])
    assert speech.audio.shape == (1, len(speech.codes) * HOP)
    cold = decode(voice.codec, speech.codes[None])[0]
    assert not torch.equal(speech.audio[:, :HOP], cold[:, :HOP]), "the decoder has decoded the prompt"


@pytest.mark.parametrize("options", [{}, {"guidance": 2.0}, {"best_of": 3}, {"guidance": 0.5, "best_of": 2}])
@pytest.mark.parametrize("frames", [0, 6])
def test_stream_equals_say(voice: Voice, frames: int, options: dict[str, Any]) -> None:
    start = prompt(frames) if frames else None
    settings: dict[str, Any] = {"seed": 1, "prompt": start, **options}
    audio = voice.say("hello", **settings)
    streamed = torch.cat(list(voice.stream("hello", **settings)), -1)
    torch.testing.assert_close(streamed, audio, atol=1e-6, rtol=1e-6)


def test_stream_of_a_codec_without_streaming_after_a_prompt() -> None:
    voice = make(Smooth(), stop=-2.0, temperature=8.0)
    start = Prompt(random_codes(1, 9, (16,))[0], "and so")
    audio = voice.say("hello", prompt=start)
    streamed = torch.cat(list(voice.stream("hello", prompt=start)), -1)
    assert streamed.shape == audio.shape == (1, 30 * HOP)
    assert (streamed - audio).abs().mean() <= 0.1 * audio.abs().mean()
    assert (streamed.roll(HOP, -1) - audio).abs().mean() > 0.5 * audio.abs().mean(), (
        "a shift would be noticed"
    )


@pytest.mark.parametrize("frames", [1, 3, 700])
def test_skip_gives_the_state_of_decoding(frames: int) -> None:
    decoder = decoder_stream(Smooth())
    codes = random_codes(2, frames, (16,))
    state = decoder.parallel_forward(random_codes(2, 4, (16,)), decoder.initial_state(2))[1]
    skipped, decoded = skip(decoder, codes, state), decoder.parallel_forward(codes, state)[1]
    for one, other in zip(leaves(skipped), leaves(decoded), strict=True):
        torch.testing.assert_close(one, other)


def test_texts_with_different_prompts_do_not_affect_each_other(voice: Voice) -> None:
    texts = ["hello there", "a", "one more of them", "so"]
    prompts = [prompt(3), None, prompt(8, seed=1), prompt(3, seed=2)]
    choices: list[dict[str, Any]] = [{}, {"guidance": 3.0}]
    for options in choices:
        together = voice.speak(texts, prompt=prompts, temperature=0.0, **options)
        for text, start, speech in zip(texts, prompts, together, strict=True):
            (alone,) = voice.speak([text], prompt=start, temperature=0.0, **options)
            assert torch.equal(alone.codes, speech.codes)
            torch.testing.assert_close(alone.audio, speech.audio)
            assert alone.labels == speech.labels
            assert alone.alignment.stopped == speech.stopped


def test_a_recording_is_encoded_and_cut_to_whole_frames(voice: Voice, tmp_path: Path) -> None:
    path = recording(tmp_path, samples=250 * HOP + 5)
    codes = encode_prompt(Prompt(path, "and so"), voice.codec, 0.2, 20.0).audio
    assert isinstance(codes, Tensor)
    assert codes.shape == (250, 2)
    again = encode(
        voice.codec,
        (torch.rand(1, 1, 250 * HOP + 5, generator=torch.Generator().manual_seed(1)) - 0.5)[..., : 250 * HOP],
    )
    assert (codes == again[0]).float().mean() > 0.95, "but for 16 bits"
    from_file = voice.say("hello", prompt=Prompt(path, "and so"))
    assert torch.equal(from_file, voice.say("hello", prompt=Prompt(codes, "and so")))


def test_one_recording_for_many_texts_is_encoded_once(
    voice: Voice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[object] = []

    def counting_encode(codec: AnyCodec, audio: Tensor) -> Tensor:
        calls.append(codec)
        return encode(codec, audio)

    monkeypatch.setattr("lina.core.audio.codec.encode", counting_encode)
    start = Prompt(str(recording(tmp_path)), "and so")
    voice.speak(["a", "b", "c"], prompt=start)
    voice.speak(["a", "b", "c"], prompt=[start, None, start])
    assert len(calls) == 2


def test_the_ids_of_the_transcript_precede_those_of_the_text(voice: Voice) -> None:
    whole = build_input(" go on", Prompt(random_codes(1, 2, SIZES)[0], " and so "), Letters(), 40, 2)
    assert whole is not None
    assert whole.ids == Letters().parallel_forward("and so go on")
    assert whole.ids[whole.start :] == Letters().parallel_forward("go on")
    alone = build_input("go on", None, Letters(), 40, 2)
    assert alone is not None
    assert alone.start == 0
    with pytest.raises(TypeError, match="not encoded"):
        build_input("go on", Prompt("a.wav", "x"), Letters(), 40, 2)


@pytest.mark.parametrize(
    ("start", "kind", "message"),
    [
        (Prompt("none.wav", "and so"), DataError, "none.wav: no such file"),
        (Prompt(random_codes(1, 3, SIZES)[0], " "), TextError, "the prompt's transcript is blank"),
        (Prompt(random_codes(1, 3, SIZES)[0], "a\0b"), TextError, r"the prompt's transcript has .* U\+0000"),
        (
            Prompt(random_codes(1, 3, SIZES)[0], "x" * 36),
            TextError,
            "the text after it has 42 char.*limit is 40",
        ),
        (Prompt(random_codes(1, 3, (16,))[0], "and so"), DataError, "expects .rows, frames, 2"),
        (Prompt(torch.full((3, 2), 9), "and so"), DataError, "code 9 in codebook 1"),
        (Prompt(torch.zeros(0, 2, dtype=torch.int64), "and so"), DataError, "nothing to decode"),
        ("a.wav", LinaError, "prompt 'a.wav' is not a lina.speech.prompt.Prompt"),
        ([None, None], LinaError, "2 prompts for 1 texts; give one for all, or one for each"),
    ],
)
@pytest.mark.parametrize("face", ["say", "stream"])
def test_bad_prompts(voice: Voice, face: str, start: Any, kind: type[LinaError], message: str) -> None:
    with pytest.raises(kind, match=message) as error:
        getattr(voice, face)("hello", prompt=start)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("samples", "message"), [(1_599, "too short: less than 0.2 s"), (8_000 * 21, "too long: more than 20 s")]
)
def test_a_recording_is_refused_as_in_a_corpus(
    voice: Voice, tmp_path: Path, samples: int, message: str
) -> None:
    path = recording(tmp_path, samples)
    with pytest.raises(DataError, match=message):
        voice.say("hello", prompt=Prompt(path, "and so"))
    write_wav(path, torch.zeros(1, 4_000), RATE)
    with pytest.raises(DataError, match="is silent"):
        voice.say("hello", prompt=Prompt(path, "and so"))


@pytest.mark.parametrize("carry", [False, True])
def test_read_starts_with_the_prompt(voice: Voice, carry: bool) -> None:
    spec = voice.resolved.spec
    train = spec.train.model_copy(update={"consecutive": 2})
    voice.resolved.spec = spec.model_copy(update={"train": train})  # type: ignore[misc]
    settings: dict[str, Any] = {"prompt": prompt(), "guidance": 2.0, "temperature": 0.0}
    first = torch.cat(list(voice.read(["hello"], carry=carry, **settings)), -1)
    torch.testing.assert_close(first, voice.say("hello", **settings), atol=1e-6, rtol=1e-6)
    both = torch.cat(list(voice.read(["hello", "there"], carry=carry, **settings)), -1)
    assert both.shape[1] > first.shape[1]
    # The decoder carries the last frame into the next sentence.
    torch.testing.assert_close(both[:, : first.shape[1] - HOP], first[:, :-HOP], atol=1e-6, rtol=1e-6)


def test_read_takes_one_prompt_and_carries_a_single_candidate(voice: Voice) -> None:
    spec = voice.resolved.spec
    train = spec.train.model_copy(update={"consecutive": 2})
    voice.resolved.spec = spec.model_copy(update={"train": train})  # type: ignore[misc]
    with pytest.raises(LinaError, match="carry: best_of = 2 synthesizes each sentence several times"):
        voice.read(["hello"], carry=True, best_of=2)
    with pytest.raises(LinaError, match="got several prompts; pass a single one"):
        voice.read(["hello"], prompt=[prompt()])


@pytest.mark.parametrize("carry", [False, True])
def test_sentences_too_long_after_the_prompt_are_named_before_synthesis(voice: Voice, carry: bool) -> None:
    """With carry, only the first sentence follows the transcript."""
    spec = voice.resolved.spec
    train = spec.train.model_copy(update={"consecutive": 2})
    voice.resolved.spec = spec.model_copy(update={"train": train})  # type: ignore[misc]
    limit = spec.text.max_characters
    start = Prompt(prompt().audio, "x" * (limit - 10))
    texts = ["hello", "hello there"]
    for sentences in (texts, texts[::-1]):
        if carry and sentences is texts:
            assert list(voice.read(sentences, carry=True, prompt=start))
            continue
        place = sentences.index("hello there") + 1
        with pytest.raises(
            TextError, match=rf"^sentence {place} \('hello there'\): .* with the text after it has"
        ):
            voice.read(sentences, carry=carry, prompt=start)


def test_guidance_with_carry_and_prompt_is_two_streams_of_the_model(voice: Voice) -> None:
    """Greedy: each code is the argmax of the parallel logits with and without the texts, each with its own state."""
    spec = voice.resolved.spec
    train = spec.train.model_copy(update={"consecutive": 2})
    voice.resolved.spec = spec.model_copy(update={"train": train})  # type: ignore[misc]
    texts, scale, start, lm = ["hello there", "a", "one more"], 2.5, prompt(), voice.model
    decoded: list[Tensor] = []
    step = voice.codec.decoder.step  # type: ignore[union-attr]
    voice.codec.decoder.step = lambda codes, state: (decoded.append(codes), step(codes, state))[1]  # type: ignore
    chunks = list(read(voice, texts, carry=True, guidance=scale, prompt=start, temperature=0.0))
    lengths = torch.tensor([one.sentence for one in chunks]).bincount(minlength=len(texts)).tolist()
    states = {with_text: lm.initial_state(1) for with_text in (True, False)}
    book = torch.arange(len(SIZES))
    for place, (text, codes_of_text) in enumerate(zip(texts, torch.cat(decoded).split(lengths), strict=True)):
        before = start if place == 0 else None
        before_codes = start.audio if before else codes_of_text[:0]
        assert isinstance(before_codes, Tensor)
        whole = torch.cat([before_codes, codes_of_text])[None]
        inputs, targets, loss_mask, _ = teacher_forcing(
            whole, torch.tensor([whole.shape[1]]), torch.tensor([len(before_codes)])
        )
        ids = torch.tensor([voice.ids(text, before)])
        logits = {}
        with torch.no_grad():
            for with_text in states:
                without = None if with_text else torch.tensor([True])
                conditions = lm.conditions(ids, torch.ones_like(ids, dtype=torch.bool), None, without)
                logits[with_text], after, _ = lm.parallel_forward(inputs, states[with_text], conditions)
                states[with_text] = next_text(after, lm.initial_state(1))
        guided = (logits[False] + scale * (logits[True] - logits[False])).nan_to_num(nan=-torch.inf)
        frame = torch.arange(inputs.shape[1])[:, None] - book
        codes = loss_mask[0] & (frame < whole.shape[1])
        assert torch.equal(guided[0, ..., MARKS:].argmax(-1)[codes] + MARKS, targets[0][codes])
