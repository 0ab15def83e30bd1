import json
from pathlib import Path
from typing import Any

import pytest
import soundfile

from lina.core.errors import DataError
from lina.core.utterance import Reject, Utterance
from lina.corpora.jsonl import JSONL, JSONLConfig
from tests.corpora.entries import utterances

GOOD: dict[str, Any] = {"id": "a", "audio": "a.wav", "text": "hello"}


def read(tmp_path: Path, *lines: bytes | dict[str, Any], **config: Any) -> list[Utterance | Reject]:
    soundfile.write(tmp_path / "a.wav", [0.1, -0.1] * 400, 8_000)
    manifest = tmp_path / "manifest.jsonl"
    parts = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    manifest.write_bytes(b"\n".join(parts))
    return list(JSONL.read(config=JSONLConfig(path=manifest, **config)))


def test_speakers_and_other_keys(tmp_path: Path) -> None:
    lines = (
        GOOD | {"speaker": "ann", "duration": 0.1},
        GOOD | {"id": "b"},
        GOOD | {"id": "c", "speaker": None},
    )
    first, second, third = utterances(read(tmp_path, *lines, speaker="someone"))
    assert first == Utterance(id="a", audio=tmp_path / "a.wav", text="hello", speaker="ann")
    assert (second.speaker, third.speaker) == ("someone", "someone")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "not JSON: "),
        (b"[" * 200_000, "not JSON: "),
        (b'"text"', "not a JSON object: write {"),
        (b"\xff\xe9", "not UTF-8: byte 0xff at column 1"),
        (b'{"id": "\0"}', "holds a NUL character: column 9"),
        ({"id": "a", "audio": "a.wav", "txt": "x"}, "missing key: 'text'; did you mean 'txt'?"),
        (GOOD | {"text": ""}, "empty transcript"),
        (GOOD | {"text": "a\u0000b"}, "control character in the transcript: U+0000"),
        (GOOD | {"text": "a\ud800b"}, "text is not Unicode: it holds the lone surrogate U+D800"),
        (GOOD | {"text": 5}, "text is not a string: 5"),
        (GOOD | {"speaker": 5}, "speaker is not a string: 5"),
        (GOOD | {"id": ""}, "unusable id: ''"),
        (GOOD | {"audio": "../../etc/passwd"}, "outside the corpus: '../../etc/passwd'"),
        (GOOD | {"audio": "/etc/passwd"}, "outside the corpus: '/etc/passwd'"),
        (GOOD | {"id": "b", "audio": "none.wav"}, "no such file: "),
        (GOOD | {"audio": "a\u0000.wav"}, "not a path: "),
        (GOOD, "duplicate id: 'a' is already at "),
    ],
)
def test_bad_lines(tmp_path: Path, line: bytes | dict[str, Any], reason: str) -> None:
    good, bad = read(tmp_path, GOOD, line)
    assert isinstance(good, Utterance)
    assert isinstance(bad, Reject)
    assert bad.reason.startswith(reason)
    assert bad.where == f"{tmp_path / 'manifest.jsonl'}:2"


def test_outside_if_it_is_meant(tmp_path: Path) -> None:
    folder = tmp_path / "lists"
    folder.mkdir()
    soundfile.write(tmp_path / "b.wav", [0.1, -0.1] * 400, 8_000)
    found = read(
        folder,
        GOOD | {"audio": "../b.wav"},
        GOOD | {"id": "b", "audio": str(tmp_path / "b.wav")},
        allow_outside=True,
    )
    assert [item.audio for item in utterances(found)] == [folder / "../b.wav", tmp_path / "b.wav"]


def test_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none: no such file"):
        list(JSONL.read(config=JSONLConfig(path=tmp_path / "none")))
    with pytest.raises(DataError, match="nothing to fetch"):
        JSONL.get(tmp_path)
