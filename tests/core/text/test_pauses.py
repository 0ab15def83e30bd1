from typing import Any

import pytest
import torch

from lina.core.errors import TextError
from lina.core.text.pauses import TextPart, literal, parts
from lina.speech.segments import count_sentences
from tests.core.toy_codec import HOP
from tests.speech.test_long_form import streaming, trained_on
from tests.speech.test_voice import make

__all__ = ["streaming"]

PAUSE = '<break time="50ms"/>'
SAMPLES = 400
"""50 ms at 8 kHz."""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no pause", [(0.0, "no pause")]),
        ("...", [(0.0, "...")]),
        ('one <break time="300ms"/> two', [(0.0, "one"), (0.3, "two")]),
        ("one<break  time = '1.5s' />two", [(0.0, "one"), (1.5, "two")]),
        ('<break time="1s"/>one<break time="0ms"/>', [(1.0, "one"), (0.0, "")]),
        ('a<break time="1s"/> . <break time="1s"/>b', [(0.0, "a"), (2.0, "b")]),
        ('<break time="2s"/>', [(2.0, "")]),
        ("a <breakfast> b <b>", [(0.0, "a <breakfast> b <b>")]),
    ],
)
def test_parts(text: str, expected: list[tuple[float, str]]) -> None:
    assert [(seconds, part) for seconds, _, part in parts(text)] == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "one <break s/> two",
            r"pause '<break s/> two' at character 4 is not understood; write <break time=",
        ),
        ('<break strength="storng"/>', "unknown strength 'storng'; did you mean 'strong'"),
        ('<break strength=""/>', "is not understood"),
        ('<break time="300"/>', "at character 0 is not understood"),
        ("<break time=\"300ms'/>", "is not understood"),
        ('<break time="-1s"/>', "is not understood"),
        ('<break time="1s">', "is not understood"),
        ("ends in <break", "at character 8 is not understood"),
        ('a <break time="10.1s"/>', "at character 2 lasts over 10 s; write several"),
    ],
)
def test_marks_that_are_no_pause(text: str, message: str) -> None:
    with pytest.raises(TextError, match=message):
        list(parts(text))


@pytest.mark.parametrize("carry", [False, True])
def test_silence_is_put_between_and_changes_nothing_else(streaming: Any, carry: bool) -> None:
    voice = trained_on(make(streaming, -0.5), 2)
    plain = list(voice.read(["hello there", "a"], carry=carry))
    with_pauses = torch.cat(list(voice.read([f"hello there {PAUSE} a{PAUSE}"], carry=carry)), -1)
    audio = torch.cat(plain, -1)
    silent = [n for n in range(audio.shape[1] + 1) if torch.equal(with_pauses[:, :n], audio[:, :n])][-1]
    assert with_pauses.shape[1] == audio.shape[1] + 2 * SAMPLES
    assert not with_pauses[:, silent : silent + SAMPLES].any()
    assert torch.equal(with_pauses[:, silent + SAMPLES : -SAMPLES], audio[:, silent:])
    assert not with_pauses[:, -SAMPLES:].any()


def test_say_gives_what_stream_gives_and_options_hold(streaming: Any) -> None:
    voice = make(streaming, 0.02)
    text = f"{PAUSE}hello {PAUSE} there"
    audio = voice.say(text, temperature=1.0, seed=3)
    assert torch.equal(audio, torch.cat(list(voice.stream(text, temperature=1.0, seed=3)), -1))
    assert not audio[:, :SAMPLES].any()
    assert voice.say(PAUSE).shape == (1, SAMPLES)
    assert voice.say('<break time="0ms"/>a').shape[1] > 0


def test_texts_with_pauses_are_spoken_side_by_side(streaming: Any) -> None:
    voice = make(streaming, 0.02, temperature=1.0)
    texts = [f"{PAUSE}hello {PAUSE} there. One{PAUSE}", PAUSE, "a"]
    with_pauses, silence, plain = voice.speak(texts)
    torch.testing.assert_close(with_pauses.audio, voice.say(texts[0]), atol=1e-6, rtol=1e-6)
    assert [one.input.text for one in with_pauses.sentences] == ["hello", "there.", "One"]
    assert with_pauses.audio.shape[1] == len(with_pauses.codes) * HOP + 3 * SAMPLES
    assert silence.audio.shape == (1, SAMPLES)
    assert not silence.audio.any()
    assert silence.codes.shape == (0, 2)
    assert silence.attention.shape == (0, 0)
    assert plain.audio.shape[1] == len(plain.codes) * HOP


def test_the_best_of_several_goes_with_pauses(streaming: Any) -> None:
    voice = make(streaming, 0.02, temperature=1.0)
    text = f"hello {PAUSE} there"
    (speech,) = voice.speak([text], best_of=3, seed=4)
    torch.testing.assert_close(speech.audio, voice.say(text, best_of=3, seed=4), atol=1e-6, rtol=1e-6)
    assert [len(one.candidates) for one in speech.sentences] == [3, 3]


def test_a_wrong_pause_is_refused(streaming: Any) -> None:
    voice = make(streaming, 0.02)
    with pytest.raises(TextError, match=r"at character 2 is not understood"):
        voice.speak(["a <break> c"])
    with pytest.raises(TextError, match=r"sentence 2 .*at character 2 is not understood"):
        count_sentences(voice, ["a", "b <break> c"])


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("say &lt;break/> now", "say <break/> now"),
        ('&lt;break time="1s"/&gt;', '<break time="1s"/&gt;'),
        ("ends in &lt;break", "ends in <break"),
        ("a &lt;breakfast> &lt;b>", "a &lt;breakfast> &lt;b>"),
    ],
)
def test_an_escaped_mark_is_no_pause(text: str, meant: str) -> None:
    assert list(parts(text)) == [TextPart(0.0, None, text)]
    assert literal(text) == meant


def test_an_escaped_pause_is_read_as_text_beside_a_real_one(
    streaming: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    voice = make(streaming, 0.02)
    read: list[str] = []
    forward = voice.tokenizer.parallel_forward

    def overheard(text: str) -> list[int]:
        read.append(text)
        return forward(text)

    monkeypatch.setattr(voice.tokenizer, "parallel_forward", overheard)
    voice.say(f"a {PAUSE} &lt;break/> b")
    assert {"a", "<break/> b"} == set(read)
    read.clear()
    voice.speak(["&lt;break/> b"])
    assert set(read) == {"<break/> b"}
