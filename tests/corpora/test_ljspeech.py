from pathlib import Path
from typing import Any

import pytest
import soundfile

from lina.core.errors import DataError
from lina.core.utterance import Reject, Utterance
from lina.corpora.ljspeech import LJSpeech, LJSpeechConfig
from tests.corpora.entries import utterances


def write(tmp_path: Path, metadata: bytes, names: tuple[str, ...] = ("a", "b", "c")) -> None:
    (tmp_path / "wavs").mkdir()
    for name in names:
        soundfile.write(tmp_path / "wavs" / f"{name}.wav", [0.1, -0.1] * 400, 8_000)
    (tmp_path / "metadata.csv").write_bytes(metadata)


def read(path: Path, **config: Any) -> list[Utterance | Reject]:
    return list(LJSpeech.read(config=LJSpeechConfig(path=path, **config)))


def test_normalized_and_raw(tmp_path: Path) -> None:
    write(tmp_path, b'\xef\xbb\xbfa|Dr. "X"|Doctor "X"\r\nb|only raw\r\n')
    assert read(tmp_path, speaker="linda") == [
        Utterance(id="a", audio=tmp_path / "wavs/a.wav", text='Doctor "X"', speaker="linda"),
        Utterance(id="b", audio=tmp_path / "wavs/b.wav", text="only raw", speaker="linda"),
    ]
    assert [item.text for item in utterances(read(tmp_path, text="raw"))] == ['Dr. "X"', "only raw"]


def test_bad_lines_are_rejected_by_number(tmp_path: Path) -> None:
    lines = ["a|one|one", "b", "b|x|y|z", "a|again|again", "c||", "d|no file|no file", "../wavs/b|out|fine"]
    lines += ["../../b|out|out", "|x|y"]
    write(tmp_path, "\n".join(lines).encode() + b"\ne|\xe9|\xe9\nf|\0|\0\n")
    metadata = tmp_path / "metadata.csv"
    items = read(tmp_path)
    assert [item.id for item in items if isinstance(item, Utterance)] == ["a", "../wavs/b"]
    reasons = {
        item.where.removeprefix(f"{metadata}:"): item.reason for item in items if isinstance(item, Reject)
    }
    assert reasons == {
        "2": "not id|text|normalized text: 1 columns",
        "3": "not id|text|normalized text: 4 columns",
        "4": f"duplicate id: 'a' is already at {metadata}:1",
        "5": "empty transcript",
        "6": f"no such file: {tmp_path / 'wavs/d.wav'}",
        "8": f"outside the corpus: 'wavs/../../b.wav' leaves {tmp_path}; "
        "set allow_outside: true to allow this",
        "9": "unusable id: '' (1 to 200 printable characters)",
        "10": "not UTF-8: byte 0xe9 at column 3; save the file as UTF-8",
        "11": "holds a NUL character: column 3",
    }


def test_no_corpus(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"none: no such folder; data\.config\.path must be a folder with metadata\.csv"
    ):
        read(tmp_path / "none")
    with pytest.raises(DataError, match=r"metadata\.csv: no such file"):
        read(tmp_path)
