import os
from pathlib import Path
from typing import Any

import pytest
import soundfile
from pydantic import ValidationError

from lina.core.audio.read import AudioError, read_audio
from lina.core.errors import DataError
from lina.core.utterance import Reject, Utterance
from lina.corpora.folder import Folder, FolderConfig
from tests.corpora.entries import reason, utterances


def write(path: Path, text: str | bytes | None = None, suffix: str = ".txt") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, [0.1, -0.1] * 400, 8_000)
    if text is not None:
        path.with_suffix(suffix).write_bytes(text if isinstance(text, bytes) else text.encode())


def read(path: Path, **config: Any) -> list[Utterance | Reject]:
    return list(Folder.read(config=FolderConfig(path=path, **config)))


def test_recordings_with_texts(tmp_path: Path) -> None:
    write(tmp_path / "b" / "two.flac", b"\xef\xbb\xbfsecond\r\nline\r\n")
    write(tmp_path / "b" / "One.WAV", "first", ".lab")
    (tmp_path / "README.txt").write_text("about")
    (tmp_path / "b" / ".hidden.wav").write_bytes(b"")
    (tmp_path / "b" / "notes.pdf").write_bytes(b"")
    assert read(tmp_path, speaker="ann") == [
        Utterance(id="b/One", audio=tmp_path / "b/One.WAV", text="first", speaker="ann"),
        Utterance(id="b/two", audio=tmp_path / "b/two.flac", text="second line", speaker="ann"),
    ]
    assert [item.speaker for item in utterances(read(tmp_path, speakers="folders"))] == ["b", "b"]


def test_unusable_entries_are_rejected(tmp_path: Path) -> None:
    write(tmp_path / "a.wav")
    write(tmp_path / "b.wav", "")
    write(tmp_path / "c.wav", "caf\u00e9".encode("latin-1"))
    write(tmp_path / "d.wav", b"one\ntw\0o")
    write(tmp_path / "e.wav", "fine")
    write(tmp_path / "e.flac", "fine")
    write(tmp_path / "f.wav", "sixteen bits".encode("utf-16"))
    (tmp_path / "lost.txt").write_text("no sound")
    items = read(tmp_path)
    assert [item.id for item in items if isinstance(item, Utterance)] == ["e"]
    assert {item.where: item.reason for item in items if isinstance(item, Reject)} == {
        str(tmp_path / "a.wav"): "no transcript: neither a.txt nor a.lab beside it",
        str(tmp_path / "b.txt"): "empty transcript",
        f"{tmp_path / 'c.txt'}:1": "not UTF-8: byte 0xe9 at column 4; save the file as UTF-8",
        f"{tmp_path / 'd.txt'}:2": "holds a NUL character: column 3",
        str(tmp_path / "e.txt"): f"duplicate id: 'e' is already at {tmp_path / 'e.txt'}",
        str(tmp_path / "f.txt"): "is in UTF-16; save it as UTF-8",
        str(tmp_path / "lost.txt"): "no recording beside this text",
    }


def test_links_out_of_the_folder(tmp_path: Path) -> None:
    write(tmp_path / "secret.wav")
    root = tmp_path / "corpus"
    root.mkdir()
    (root / "a.wav").symlink_to(tmp_path / "secret.wav")
    (root / "a.txt").write_text("hello")
    assert reason(read(root)[0]).startswith("outside the corpus")
    assert isinstance(read(root, allow_outside=True)[0], Utterance)
    os.symlink(tmp_path / "gone.wav", root / "b.wav")
    (root / "b.txt").write_text("hello")
    assert reason(read(root, allow_outside=True)[1]).startswith("no such file")


def test_no_corpus(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"none: no such folder; data\.config\.path must be a folder of recordings"
    ):
        read(tmp_path / "none")
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="is a file, not a folder"):
        read(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: no recordings in it"):
        read(tmp_path / "empty")


def test_unknown_keys_and_values(tmp_path: Path) -> None:
    with pytest.raises(ValidationError):
        FolderConfig(path=tmp_path, speekers="one")  # type: ignore[call-arg]
    with pytest.raises(ValidationError):
        FolderConfig(path=tmp_path, speakers="many")  # type: ignore[arg-type]


@pytest.mark.skipif(os.name != "posix", reason="names that are bytes")
def test_names_that_are_no_text_are_rejected(tmp_path: Path) -> None:
    write(tmp_path / "good.wav", "fine")
    for name in (b"bad\xff.wav", b"speaker\xfe/a.wav"):
        path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
        path.parent.mkdir(exist_ok=True)
        write(tmp_path / "new.wav", "fine")
        (tmp_path / "new.wav").rename(path)
        (tmp_path / "new.txt").rename(path.with_suffix(".txt"))
        with pytest.raises(AudioError, match="its name is no text; rename it"):
            read_audio(path, 8000)
    items = read(tmp_path, speakers="folders")
    assert [item.id for item in items if isinstance(item, Utterance)] == ["good"]
    rejects = [item for item in items if isinstance(item, Reject)]
    assert sorted(item.id for item in rejects) == ["bad\\udcff", "speaker\\udcfe/a"]
    assert all("holds the lone surrogate U+DCF" in item.reason for item in rejects)
    for item in rejects:
        item.model_dump_json().encode()
