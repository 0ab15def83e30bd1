"""A text is spoken sentence by sentence in every way of speaking: none is lost, and all ways agree."""

import logging
from typing import Any

import pytest
import torch
from torch import Tensor

from lina.core.audio.codec import decode
from lina.core.errors import LinaError, TextError
from lina.core.text.pauses import PARAGRAPH_PAUSE
from lina.core.text.sentences import sentences_of_text
from lina.core.text.ssml import strip_ssml
from lina.speech import batch
from lina.speech.prompt import Prompt
from tests.core.toy_codec import HOP
from tests.core.toy_model import random_codes
from tests.speech.test_long_form import streaming, trained_on
from tests.speech.test_voice import make

__all__ = ["streaming"]

TEXT = "Hello there. A b! One more of them? No"
SENTENCES = ["Hello there.", "A b!", "One more of them?", "No"]


def near(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        (TEXT, SENTENCES),
        ("Mr. Smith left. Why?", ["Mr. Smith left.", "Why?"]),
        ("  one \n\n two\twords ", ["one", f"{PARAGRAPH_PAUSE} two words"]),
        ("Yes. ... (No!) * * *", ["Yes. ...", "(No!)"]),
        ("?!", ["?!"]),
        ("", [""]),
        (" ", [" "]),
    ],
)
def test_sentences_of_text(text: str, sentences: list[str]) -> None:
    assert sentences_of_text(text) == sentences


@pytest.mark.parametrize(
    "options", [{}, {"temperature": 1.0, "seed": 3}, {"temperature": 1.0, "best_of": 3}], ids=str
)
def test_all_ways_of_speaking_agree(streaming: Any, options: dict[str, Any]) -> None:
    voice = make(streaming)
    output = voice.say(TEXT, **options)
    assert torch.equal(output, torch.cat(list(voice.stream(TEXT, **options)), 1))
    assert torch.equal(output, torch.cat(list(voice.read(SENTENCES, **options)), 1))
    (speech,) = voice.speak([TEXT], **options)
    near(speech.audio, output)
    assert [one.input.text for one in speech.sentences] == SENTENCES


def test_each_sentence_is_spoken_as_alone(streaming: Any) -> None:
    voice = make(streaming)
    (speech,) = voice.speak([TEXT])
    alone = voice.speak(SENTENCES)
    assert torch.equal(speech.codes, torch.cat([one.codes for one in alone]))
    assert speech.audio.shape == (1, len(speech.codes) * HOP)
    near(speech.attention, torch.block_diag(*(one.attention for one in alone)))
    assert speech.labels == tuple(label for one in alone for label in one.labels)
    assert speech.attention.shape == (len(speech.codes), len(speech.labels))
    assert speech.stopped == all(one.stopped for one in alone)
    positions = [len(one.labels) for one in alone]
    skipped = [one.alignment.skipped for one in alone]
    expected = sum(n * share for n, share in zip(positions, skipped, strict=True)) / sum(positions)
    assert speech.alignment.skipped == pytest.approx(expected)


def test_sentences_draw_by_their_place_and_not_by_their_company(
    streaming: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    voice = make(streaming, temperature=1.0)
    texts = [TEXT, "A b. A b.", "Last."]
    together = voice.speak(texts, seed=5)
    first, second = together[1].sentences
    assert first.codes.shape != second.codes.shape or not torch.equal(first.codes, second.codes)
    monkeypatch.setattr(batch, "SLOTS", 3)
    for one, other in zip(together, voice.speak(texts, seed=5), strict=True):
        assert torch.equal(one.codes, other.codes)
        assert one.labels == other.labels


def test_each_sentence_begins_with_the_prompt(streaming: Any) -> None:
    voice = make(streaming, temperature=0.0)
    prompt = Prompt(random_codes(1, 4, streaming.codebook_sizes)[0], "and so")
    (speech,) = voice.speak(["Hello there. A b."], prompt=prompt)
    alone = voice.speak(["Hello there.", "A b."], prompt=prompt)
    assert torch.equal(speech.codes, torch.cat([one.codes for one in alone]))
    near(speech.audio, voice.say("Hello there. A b.", prompt=prompt))
    near(speech.audio, voice.say("Hello there. A b.", prompt=[prompt]))
    assert all(one.input.start > 0 for one in speech.sentences)


def test_a_text_goes_on_in_one_state_with_carry(streaming: Any) -> None:
    voice = trained_on(make(streaming, temperature=0.0), 2)
    carried = voice.say(TEXT, carry=True)
    assert torch.equal(carried, torch.cat(list(voice.read(SENTENCES, carry=True)), 1))
    assert carried.shape != voice.say(TEXT).shape or not torch.equal(carried, voice.say(TEXT))
    with pytest.raises(LinaError, match="unknown option 'carry'"):
        voice.speak([TEXT], carry=True)


@pytest.mark.parametrize("face", ["say", "stream", "speak"])
def test_cut_speech_is_logged_in_every_way(streaming: Any, face: str, caplog: Any) -> None:
    voice = make(streaming, -3.0)
    with caplog.at_level(logging.WARNING, "lina"):
        list(getattr(voice, face)(["Hello there. A b."] if face == "speak" else "Hello there. A b."))
    assert [record.getMessage() for record in caplog.records] == [
        "sentence 1 was cut at 0.0 s: 'Hello there.'",
        "sentence 2 was cut at 0.0 s: 'A b.'",
    ]
    caplog.clear()
    list(getattr(make(streaming, 5.0), face)([TEXT] if face == "speak" else TEXT))
    assert not caplog.records


def test_limits_are_of_a_sentence(streaming: Any) -> None:
    """40 characters and 30 frames in this voice's spec."""
    voice = make(streaming, -3.0)
    text = "Hello there. " * 10
    assert len(text) > voice.resolved.spec.text.max_characters
    assert voice.say(text).shape == (1, 10 * 30 * HOP)
    assert voice.say(text, max_seconds=0.005).shape == (1, 10 * 5 * HOP)


@pytest.mark.parametrize("face", ["say", "stream", "speak"])
def test_a_wrong_sentence_is_named_before_anything_is_spoken(
    streaming: Any, face: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    voice = make(streaming)
    monkeypatch.setattr(voice.engines, "borrow", lambda *_: pytest.fail("it speaks"))
    text = "Hello there. One more \0."
    with pytest.raises(TextError, match=r"^sentence 2 \('One more \\x00\.'\): text has .* U\+0000"):
        getattr(voice, face)([text] if face == "speak" else text)


@pytest.mark.parametrize("face", ["say", "speak"])
def test_unknown_characters_are_left_out_and_logged(
    streaming: Any, face: str, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    voice = make(streaming)
    forward = voice.tokenizer.parallel_forward
    monkeypatch.setattr(
        voice.tokenizer, "parallel_forward", lambda text: forward(text) if "5" not in text else []
    )

    def audio_out(text: str) -> Tensor:
        return voice.speak([text])[0].audio if face == "speak" else voice.say(text)

    assert torch.equal(audio_out("Hello. 5! No."), audio_out("Hello. No."))
    assert "sentence 2 is left out: this run's tokenizer reads nothing of '5!'" in caplog.text
    with pytest.raises(TextError, match=r"^text '5!' has nothing that this run's tokenizer reads"):
        audio_out("5! 5!")


@pytest.mark.parametrize("rate", [0.5, 0.8, 1.6])
def test_a_rate_changes_the_duration_in_every_way_of_speaking(streaming: Any, rate: float) -> None:
    voice = make(streaming, -3.0)
    usual = voice.say(TEXT)
    slowed = f'<speak><prosody rate="{rate:.0%}">{TEXT}</prosody></speak>'
    output = voice.say(slowed)
    assert output.shape[1] == round(usual.shape[1] / rate)
    assert torch.equal(output, torch.cat(list(voice.stream(slowed)), 1))
    assert torch.equal(output, torch.cat(list(voice.read(sentences_of_text(strip_ssml(slowed, False)))), 1))
    (speech,) = voice.speak([slowed])
    near(speech.audio, output)
    assert [one.input.text for one in speech.sentences] == SENTENCES
    assert torch.equal(speech.codes, voice.speak([TEXT])[0].codes), "the model speaks as ever"
    assert all(chunk.shape[1] <= HOP for chunk in voice.stream(slowed))


def test_a_rate_ends_where_its_element_does(streaming: Any) -> None:
    voice = make(streaming, -3.0)
    first, second = (voice.say(text).shape[1] for text in ("Hello there.", "A b!"))
    text = '<prosody rate="50%">Hello there.</prosody> <break time="10ms"/> A b!'
    silence = round(0.01 * voice.sample_rate)
    assert voice.say(text).shape[1] == 2 * first + silence + second
    assert voice.say('<prosody rate="2"/>Hello there. A b!').shape[1] == round((first + second) / 2)


def test_paragraphs_are_apart(streaming: Any) -> None:
    voice = make(streaming, -3.0)
    apart, together = voice.say("Hello there.\n\nA b!"), voice.say("Hello there. A b!")
    assert apart.shape[1] - together.shape[1] == round(0.4 * voice.sample_rate)


def test_speech_that_is_cut_fades_out(streaming: Any) -> None:
    voice = make(streaming, -3.0)
    all_options: list[dict[str, Any]] = [{}, {"temperature": 1.0, "best_of": 2}]
    for options in all_options:
        (speech,) = voice.speak(["Hello there."], **options)
        fade = torch.arange(HOP, 0, -1) / HOP
        whole = decode(streaming, speech.codes[None])[0]
        near(speech.audio[:, -HOP:], whole[:, -HOP:] * fade)
        near(speech.audio[:, :-HOP], whole[:, :-HOP])
        near(speech.audio, voice.say("Hello there.", **options))
