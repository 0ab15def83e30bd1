from typing import Any

import pytest
import torch

from lina.core.errors import LinaError, TextError
from lina.core.pauses import literal, parts
from lina.core.reading import check
from tests.core.test_reading import streaming, trained_on
from tests.core.test_voice import make

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
    assert list(parts(text)) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("one <break/> two", r"pause '<break/> two' at character 4 is not understood; write <break time="),
        ('<break time="300"/>', "at character 0 is not understood"),
        ("<break time=\"300ms'/>", "is not understood"),
        ('<break time="-1s"/>', "is not understood"),
        ('<break time="1s">', "is not understood"),
        ("ends in <break", "at character 8 is not understood"),
        ('a <break time="10.1s"/>', "at character 2 lasts over 10 s; write several"),
    ],
)
def test_what_is_no_pause(text: str, message: str) -> None:
    with pytest.raises(TextError, match=message):
        list(parts(text))


@pytest.mark.parametrize("carry", [False, True])
def test_silence_is_put_between_and_changes_nothing_else(streaming: Any, carry: bool) -> None:
    voice = trained_on(make(streaming, -0.5), 2)
    plain = list(voice.read(["hello there", "a"], carry=carry))
    spoken = torch.cat(list(voice.read([f"hello there {PAUSE} a{PAUSE}"], carry=carry)), -1)
    said = torch.cat(plain, -1)
    silent = [n for n in range(said.shape[1] + 1) if torch.equal(spoken[:, :n], said[:, :n])][-1]
    assert spoken.shape[1] == said.shape[1] + 2 * SAMPLES
    assert not spoken[:, silent : silent + SAMPLES].any()
    assert torch.equal(spoken[:, silent + SAMPLES : -SAMPLES], said[:, silent:])
    assert not spoken[:, -SAMPLES:].any()


def test_say_gives_what_stream_gives_and_options_hold(streaming: Any) -> None:
    voice = make(streaming, 0.02)
    text = f"{PAUSE}hello {PAUSE} there"
    said = voice.say(text, temperature=1.0, seed=3)
    assert torch.equal(said, torch.cat(list(voice.stream(text, temperature=1.0, seed=3)), -1))
    assert not said[:, :SAMPLES].any()
    assert voice.say(PAUSE).shape == (1, SAMPLES)


def test_where_pauses_cannot_be_it_is_said(streaming: Any) -> None:
    voice = make(streaming, 0.02)
    with pytest.raises(TextError, match="has a pause: only say, stream and read"):
        voice.speak([f"a {PAUSE} b"])
    with pytest.raises(LinaError, match="best_of"):
        voice.say(f"a {PAUSE} b", best_of=2)
    with pytest.raises(TextError, match=r"sentence 2 .*at character 2 is not understood"):
        check(voice, ["a", "b <break> c"])


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("say &lt;break/> now", "say <break/> now"),
        ('&lt;break time="1s"/&gt;', '<break time="1s"/&gt;'),
        ("ends in &lt;break", "ends in <break"),
        ("a &lt;breakfast> &lt;b>", "a &lt;breakfast> &lt;b>"),
    ],
)
def test_what_is_escaped_is_no_pause(text: str, meant: str) -> None:
    assert list(parts(text)) == [(0.0, text)]
    assert literal(text) == meant


def test_an_escaped_pause_is_read_as_text_beside_a_real_one(
    streaming: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    voice = make(streaming, 0.02)
    read: list[str] = []
    forward = voice.frontend.parallel_forward

    def overheard(text: str) -> list[int]:
        read.append(text)
        return forward(text)

    monkeypatch.setattr(voice.frontend, "parallel_forward", overheard)
    voice.say(f"a {PAUSE} &lt;break/> b")
    assert {"a", "<break/> b"} == set(read)
    read.clear()
    voice.speak(["&lt;break/> b"])
    assert set(read) == {"<break/> b"}
