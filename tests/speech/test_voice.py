from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lina.config.spec import Spec
from lina.core.audio.codec import AnyCodec
from lina.core.errors import CheckpointError, LinaError, TextError
from lina.runs.layout import build_tokenizer
from lina.speech.voice import Voice
from lina.speech.voice_loading import load
from tests.core.toy_codec import HOP, Levels, ToyStreamingCodec
from tests.core.toy_model import push_stop, toy_lm
from tests.core.toy_tokenizer import Letters

TEXTS = ["hello there", "a", "one more of them"]


class Smooth:
    """Codec without streaming whose frames depend on their neighbors, so that windowed decoding is approximate."""

    sample_rate, hop, channels = 8_000, HOP, 1
    codebook_sizes: tuple[int, ...] = (16,)

    def encode(self, audio: Tensor) -> Tensor:
        return Levels().encode(audio)

    def decode(self, codes: Tensor) -> Tensor:
        steps = Levels().decode(codes)
        return nn.functional.avg_pool1d(steps, 2 * HOP + 1, 1, HOP, count_include_pad=False)


def spec(**synthesize: Any) -> Spec:
    return Spec.model_validate(
        {
            "lina": 1,
            "name": "toy",
            "backbone": {"plugin": "gla"},
            "codec": {"plugin": "toy"},
            "tokenizer": {"plugin": "toy"},
            "text": {"max_characters": 40},
            "data": {"source": "folder"},
            "synthesize": {"max_seconds": 0.03, **synthesize},
        }
    )


def make(
    codec: AnyCodec,
    stop: float = 0.02,
    speakers: tuple[str, ...] = (),
    drop_text: bool = False,
    **synthesize: Any,
) -> Voice:
    lm = toy_lm(sizes=codec.codebook_sizes, vocabulary=28, speakers=len(speakers), drops_text=drop_text)
    push_stop(lm, stop)
    return Voice(SimpleNamespace(spec=spec(**synthesize)), lm, codec, Letters(), speakers)  # type: ignore[arg-type]


@pytest.fixture
def streaming() -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return ToyStreamingCodec.build(config={})


def test_say_returns_whole_frames_of_audio(streaming: Any) -> None:
    voice = make(streaming, stop=-3.0)
    audio = voice.say("hello")
    assert audio.shape == (1, 30 * HOP), "0.03 s at 1000 frames per second"
    assert not audio.requires_grad
    assert voice.sample_rate == 8_000
    audio *= 0.5  # a plain tensor that can be modified


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_stream_equals_say(streaming: Any, temperature: float, seed: int) -> None:
    voice = make(streaming)
    for text in TEXTS:
        audio = voice.say(text, temperature=temperature, seed=seed)
        chunks = list(voice.stream(text, temperature=temperature, seed=seed))
        torch.testing.assert_close(torch.cat(chunks, -1), audio, atol=1e-6, rtol=1e-6)


class Late:
    """A streaming decoder that lags by three frames."""

    latency = 3

    def initial_state(self, batch: int) -> Tensor:
        return torch.zeros(batch, 1, self.latency * HOP)

    def parallel_forward(self, codes: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        audio = torch.cat([state, Levels().decode(codes)], -1)
        return audio[..., : -self.latency * HOP], audio[..., -self.latency * HOP :]

    def step(self, codes: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        return self.parallel_forward(codes[:, None], state)

    def flush(self, state: Tensor) -> Tensor:
        return state


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 9])
def test_speech_shorter_than_the_latency_is_complete(frames: int) -> None:
    codec: Any = SimpleNamespace(
        sample_rate=8_000, hop=HOP, channels=1, codebook_sizes=(16,), encoder=None, decoder=Late()
    )
    voice = make(codec, stop=-3.0, temperature=5.0)
    audio = voice.say("hello", max_seconds=frames / 1000)
    assert audio.shape == (1, frames * HOP)
    assert audio.all(), "no filler samples"
    assert torch.equal(torch.cat(list(voice.stream("hello", max_seconds=frames / 1000)), -1), audio)


def test_chunks_come_frame_by_frame(streaming: Any) -> None:
    voice = make(streaming, stop=-3.0)
    chunks = list(voice.stream("hello"))
    assert [chunk.shape[-1] for chunk in chunks] == [HOP] * 30
    assert not any(chunk.requires_grad for chunk in chunks)
    chunks[0] *= 0.5


@pytest.mark.parametrize("frames", [1, 2, 30])
def test_stream_of_a_codec_without_streaming_is_near_say(frames: int) -> None:
    voice = make(Smooth(), stop=-2.0, temperature=8.0)
    seconds = frames / 1000
    audio = voice.say("hello", max_seconds=seconds)
    streamed = torch.cat(list(voice.stream("hello", max_seconds=seconds)), -1)
    assert streamed.shape == audio.shape == (1, frames * HOP)
    if frames > 2:  # the last frame is rendered without an end; with fewer it outweighs the others
        torch.testing.assert_close(streamed[:, :HOP], audio[:, :HOP])
        assert (streamed - audio).abs().mean() <= 0.1 * audio.abs().mean()
        assert (streamed.roll(HOP, -1) - audio).abs().mean() > 0.5 * audio.abs().mean(), (
            "a shift would be noticed"
        )


def test_texts_of_a_batch_do_not_affect_each_other(streaming: Any) -> None:
    voice = make(streaming)
    together = voice.speak(TEXTS)
    for text, speech in zip(TEXTS, together, strict=True):
        (alone,) = voice.speak([text])
        assert torch.equal(alone.codes, speech.codes)
        assert alone.stopped == speech.stopped
        torch.testing.assert_close(alone.audio, speech.audio)
        torch.testing.assert_close(alone.attention, speech.attention, atol=1e-5, rtol=1e-5)
        assert speech.labels == tuple(Letters().labels(Letters().parallel_forward(text)))
        assert speech.attention.shape == (len(speech.codes), len(speech.labels))
        assert speech.audio.shape == (1, len(speech.codes) * HOP)


def test_stopped_is_false_where_the_limit_cut(streaming: Any) -> None:
    assert not make(streaming, stop=-3.0).speak(["a"])[0].stopped
    (ended,) = make(streaming, stop=5.0).speak(["a"])
    assert ended.stopped
    assert len(ended.codes) == 1


def test_options_default_to_the_spec(streaming: Any) -> None:
    sampled = make(streaming, stop=-3.0, temperature=5.0, seed=3)
    plain = make(streaming, stop=-3.0)
    assert torch.equal(sampled.say("hello"), plain.say("hello", temperature=5.0, seed=3))
    assert not torch.equal(sampled.say("hello"), sampled.say("hello", seed=4))
    assert torch.equal(sampled.say("hello", top_k=1), plain.say("hello"))
    assert plain.say("hello", max_seconds=0.005).shape == (1, 5 * HOP)


def test_scale_one_is_the_voice_without_guidance(streaming: Any) -> None:
    voice = make(streaming, drop_text=True, temperature=1.0)
    plain = voice.speak(TEXTS)
    for speech, other in zip(plain, voice.speak(TEXTS, guidance=1.0), strict=True):
        assert torch.equal(speech.audio, other.audio)
        assert torch.equal(speech.attention, other.attention)
    guided = voice.speak(TEXTS, guidance=5.0)
    assert any(not torch.equal(one.audio, other.audio) for one, other in zip(plain, guided, strict=True))
    assert [one.attention.shape[1] for one in guided] == [one.attention.shape[1] for one in plain]


def test_the_best_candidate_is_reproduced_by_its_seed(streaming: Any) -> None:
    voice = make(streaming, temperature=1.0)
    for text in TEXTS:
        (speech,) = voice.speak([text], best_of=5, seed=3)
        (sentence,) = speech.sentences
        assert [one.seed for one in sentence.candidates] == [3, 4, 5, 6, 7]
        alone = [voice.speak([text], seed=seed)[0] for seed in range(3, 8)]
        assert [one.frames for one in sentence.candidates] == [len(one.codes) for one in alone]
        best = min(
            (one.sentences[0].candidate for one in alone),
            key=lambda one: (one.alignment.alignment_cost, one.frames),
        )
        assert sentence.candidate.alignment.alignment_cost == pytest.approx(
            best.alignment.alignment_cost, abs=1e-5
        )
        assert torch.equal(speech.codes, alone[sentence.candidate.seed - 3].codes)
        torch.testing.assert_close(speech.audio, voice.say(text, best_of=5, seed=3), atol=1e-6, rtol=1e-6)


def test_the_best_of_each_text(streaming: Any) -> None:
    voice = make(streaming, temperature=1.0)
    together = voice.speak(TEXTS, best_of=3)
    for place, speech in enumerate(together):
        audio = voice.speak(TEXTS, seed=speech.sentences[0].candidate.seed)[place]
        assert torch.equal(audio.codes, speech.codes)
    assert len(voice.speak(TEXTS)[0].sentences[0].candidates) == 1


def test_the_pace_of_a_window_is_per_second(streaming: Any) -> None:
    """500 positions per second are half of one per frame of the toy codec (1,000 Hz)."""
    window = {"ahead": 1, "back": 0, "pace": 500.0, "stop_within": None, "linger": None, "stall": None}
    (speech,) = make(streaming, -3.0, window=window).speak(TEXTS[:1])
    for frame, row in enumerate(speech.attention):
        seen = row.nonzero()[:, 0]
        assert int(seen.max() - seen.min()) <= 1
        assert int(seen.max()) <= 1 + frame // 2
    assert int(speech.attention[-1].argmax()) > 0


def test_a_lingering_row_is_ended_by_all_synthesis_methods(streaming: Any, caplog: Any) -> None:
    """A third of the text counts as its end: synthesis stops after some frames."""
    voice = make(streaming, -3.0, window={"stop_within": 1000, "pace": 1000.0, "linger": 0.01})
    text = TEXTS[1]
    (speech,) = voice.speak([text])
    frames = len(speech.codes)
    assert not speech.stopped
    assert 10 <= frames < 15
    assert torch.cat(list(voice.stream(text)), 1).shape == voice.say(text).shape == (1, frames * HOP)
    with caplog.at_level("WARNING", "lina"):
        assert torch.cat(list(voice.read([text] * 2)), 1).shape == (1, 2 * frames * HOP)
    assert not caplog.records, "all of the text has been spoken"


def test_repetition_comes_from_the_spec(streaming: Any) -> None:
    sampled: dict[str, Any] = {"temperature": 1.0, "top_k": 1}
    usual, other = (
        make(streaming, -3.0, **sampled),
        make(streaming, -3.0, **sampled, repetition={"ratio": 0.0}),
    )
    assert other.resolve_options({}).repetition is not None
    assert usual.resolve_options({}).repetition is None


def test_speakers_by_name(streaming: Any) -> None:
    voice = make(streaming, speakers=("ann", "bob"), stop=-0.5, temperature=3.0)
    ann, bob, default = (voice.say("hello", speaker=name) for name in ("ann", "bob", None))
    assert not torch.equal(ann, bob)
    assert torch.equal(ann, default), "no speaker has not been trained"
    left_out = voice.resolved.spec.conditions.model_copy(update={"drop_speaker": 0.1})
    resolved: Any = voice.resolved
    resolved.spec = voice.resolved.spec.model_copy(update={"conditions": left_out})
    assert not torch.equal(voice.say("hello"), ann)


@pytest.mark.parametrize(
    ("text", "options", "kind", "message"),
    [
        ("hello", {"temperatur": 1.0}, LinaError, "unknown option 'temperatur'; did you mean 'temperature'?"),
        ("hello", {"speed": 2}, LinaError, "unknown option 'speed'; .*max_seconds"),
        ("hello", {"temperature": -1.0}, LinaError, "temperature = -1.0"),
        ("hello", {"top_k": [1]}, LinaError, "top_k has 1 values, but the codec has 2 codebooks"),
        ("hello", {"guidance": 2.0}, LinaError, "guidance = 2.0, but this model was trained with its text"),
        ("hello", {"guidance": -1.0}, LinaError, "guidance = -1.0 is not in 0 .. 100"),
        ("hello", {"guidance": float("nan")}, LinaError, "guidance = nan"),
        ("hello", {"best_of": 0}, LinaError, "best_of = 0 is not a whole number in 1 .. 64"),
        ("hello", {"best_of": 1.5, "temperature": 1.0}, LinaError, "best_of = 1.5 is not a whole number"),
        (
            "hello",
            {"best_of": 2},
            LinaError,
            "best_of = 2, but at temperature 0 all candidates are identical",
        ),
        ("hello", {"best_of": 2, "temperature": [0, 0.0]}, LinaError, "set a temperature above 0"),
        ("hello", {"max_seconds": 0.0}, LinaError, "max_seconds = 0.0 is not in 0 .. 3600"),
        ("hello", {"max_seconds": float("nan")}, LinaError, "max_seconds = nan"),
        ("hello", {"max_seconds": float("inf")}, LinaError, "max_seconds = inf"),
        ("hello", {"max_seconds": "3"}, LinaError, "max_seconds = '3' is not a number"),
        ("hello", {"guidance": [2.0]}, LinaError, r"guidance = \[2.0\] is not a number"),
        ("hello", {"seed": 1.5}, LinaError, "seed = 1.5 is not a whole number in 0 .. 9223372036854775807"),
        ("hello", {"seed": -1}, LinaError, "seed = -1 is not"),
        ("hello", {"speaker": 1}, LinaError, "speaker = 1 is not a name"),
        ("hello", {"speaker": "an"}, LinaError, "unknown speaker 'an'; did you mean 'ann'"),
        ("", {}, TextError, "empty"),
        ("x" * 41, {}, TextError, "41 characters, the limit is 40"),
        ("\0", {}, TextError, r"U\+0000"),
    ],
)
@pytest.mark.parametrize("face", ["say", "stream"])
def test_wrong_requests_are_refused(
    streaming: Any, face: str, text: str, options: dict[str, Any], kind: type[LinaError], message: str
) -> None:
    voice = make(streaming, speakers=("ann", "bob"))
    with pytest.raises(kind, match=message) as error:
        list(getattr(voice, face)(text, **options))
    assert "\n" not in str(error.value)


def test_a_single_text_is_no_list_of_texts(streaming: Any) -> None:
    """Otherwise its letters would be synthesized one by one."""
    voice = make(streaming)
    with pytest.raises(LinaError, match="speak: expects a list of texts"):
        voice.speak("hello")
    with pytest.raises(LinaError, match="read: expects an iterable of sentences"):
        voice.read("hello")
    assert voice.speak([]) == []


def test_stream_validates_its_text_before_the_first_chunk(streaming: Any) -> None:
    with pytest.raises(TextError):
        make(streaming).stream("")


@pytest.mark.parametrize(
    "options", [{"temperature": [0.5] * 9}, {"guidance": 2.0}, {"speaker": "ann"}, {"top_k": 0}], ids=str
)
def test_wrong_options_are_refused_before_the_first_chunk(streaming: Any, options: dict[str, Any]) -> None:
    voice = make(streaming)
    with pytest.raises(LinaError):
        voice.stream("hello", **options)
    with pytest.raises(LinaError):
        voice.read(iter(["hello"]), **options)


def test_a_speaker_of_a_run_without_speakers(streaming: Any) -> None:
    voice = make(streaming)
    voice.speakers = ("ann",)  # in the corpus, but not trained
    with pytest.raises(
        LinaError, match=r"'ann', but this run was trained without speakers.*conditions.speaker"
    ):
        voice.say("hello", speaker="ann")


def test_a_text_without_any_ids_is_refused(streaming: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    voice = make(streaming)
    monkeypatch.setattr(voice.tokenizer, "parallel_forward", lambda text: [])
    with pytest.raises(TextError, match="'5' has nothing that this run's tokenizer reads"):
        voice.say("5")


def test_a_whole_text_is_one_utterance(streaming: Any) -> None:
    voice = make(streaming)
    (cut,), (whole,) = voice.speak(["A b. A b."]), voice.speak(["A b. A b."], whole=True)
    assert [sentence.input.text for sentence in cut.sentences] == ["A b.", "A b."]
    assert [sentence.input.text for sentence in whole.sentences] == ["A b. A b."]


@pytest.mark.parametrize("text", ["?!", "...", '"', "—", "* * *"])
def test_a_text_without_a_letter_or_digit(streaming: Any, text: str) -> None:
    voice = make(streaming)
    for speak in (voice.say, lambda one: list(voice.stream(one)), lambda one: voice.speak([one])):
        with pytest.raises(TextError, match="has no letter or digit; write at least one word"):
            speak(text)


def test_load_refuses_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is not a run"):
        load(tmp_path)
    with pytest.raises(CheckpointError, match="is not a run"):
        load(tmp_path / "nowhere")
    (tmp_path / "spec.yaml").write_text("lina: 1\n")
    with pytest.raises(CheckpointError, match="no complete checkpoint"):
        load(tmp_path)


@pytest.mark.parametrize("setting", ["train.lr=1", "synthesize", "synthesizer.seed=1", "seed=2"])
def test_only_synthesize_keys_can_be_overridden(tmp_path: Path, setting: str) -> None:
    with pytest.raises(LinaError, match=r"only synthesize\.\* keys can be overridden for a finished run"):
        load(tmp_path, settings=["synthesize.seed=1", setting])


@pytest.mark.parametrize("content", [None, "{", "[]", "{}"])
def test_a_damaged_tokenizer_file_is_named(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"tokenizer\.json: .*run the spec again"):
        build_tokenizer(SimpleNamespace(tokenizer=None), tmp_path)  # type: ignore[arg-type]
