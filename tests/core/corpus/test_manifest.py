from pathlib import Path
from typing import Any

import pytest

from lina.core.corpus.manifest import EntryChecker, clean_text, inside, read_lines, without_duplicates
from lina.core.errors import DataError
from lina.core.utterance import Reject, Utterance


def lines(tmp_path: Path, content: bytes) -> list[tuple[int, str, str]]:
    path = tmp_path / "list.txt"
    path.write_bytes(content)
    return [(line.number, line.text, line.complaint) for line in read_lines(path)]


def test_bom_crlf_and_blank_lines(tmp_path: Path) -> None:
    content = b"\xef\xbb\xbfone\r\n\r\n  \n\xc3\xa9t\xc3\xa9\r\nlast"
    assert lines(tmp_path, content) == [(1, "one", ""), (4, "été", ""), (5, "last", "")]


def test_latin_1_and_nul_are_named_by_line(tmp_path: Path) -> None:
    found = lines(tmp_path, "good\nété\n".encode("latin-1") + b"a\0b\n")
    assert found[0] == (1, "good", "")
    assert found[1][0] == 2
    assert found[1][2] == "not UTF-8: byte 0xe9 at column 1; save the file as UTF-8"
    assert found[2] == (3, "a\0b", "holds a NUL character: column 2")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-16-le"])
def test_utf_16(tmp_path: Path, encoding: str) -> None:
    bom = {"utf-16": b"", "utf-16-be": b"\xfe\xff", "utf-16-le": b"\xff\xfe"}[encoding]
    with pytest.raises(DataError, match="is in UTF-16; save it as UTF-8"):
        lines(tmp_path, bom + "hello".encode(encoding))


def test_missing_list(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        list(read_lines(tmp_path / "none"))
    with pytest.raises(DataError, match="is not a file"):
        list(read_lines(tmp_path))


def test_unicode_line_separators_do_not_split_lines(tmp_path: Path) -> None:
    assert lines(tmp_path, "a\u2028b\u0085c\n".encode()) == [(1, "a\u2028b\u0085c", "")]


def test_clean_text() -> None:
    assert clean_text("  Hello,\t world \n again ") == "Hello, world again"
    assert clean_text("नमस्ते 你好") == "नमस्ते 你好"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty transcript"),
        (" \t\n", "empty transcript"),
        ("... !?", "empty transcript: no letter or digit"),
        ("a\0b", "control character in the transcript: U+0000"),
        ("a\x1bb", "control character in the transcript: U+001B"),
        ("a\ud800b", "control character in the transcript: U+D800"),
    ],
)
def test_unusable_texts(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match="transcript") as caught:
        clean_text(text)
    assert str(caught.value) == reason


@pytest.mark.parametrize("name", ["../a.wav", "/etc/passwd", "b/../../a.wav", "../../../etc/passwd"])
def test_paths_that_leave_the_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    with pytest.raises(ValueError, match=r"outside the corpus: .* set allow_outside: true"):
        inside(folder, name, allow_outside=False)
    assert inside(folder, name, allow_outside=True) == folder / name


def test_links_that_leave_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    (tmp_path / "secret.wav").write_bytes(b"x")
    (folder / "a.wav").symlink_to(tmp_path / "secret.wav")
    (folder / "real.wav").write_bytes(b"x")
    (folder / "b.wav").symlink_to(folder / "real.wav")
    (folder / "loop.wav").symlink_to(folder / "loop.wav")
    with pytest.raises(ValueError, match="outside the corpus"):
        inside(folder, "a.wav", allow_outside=False)
    assert inside(folder, "b.wav", allow_outside=False) == folder / "b.wav"
    looped = EntryChecker(folder).entry(id="a", audio="loop.wav", text="hello", where="list:1")
    assert isinstance(looped, Reject)


@pytest.mark.parametrize("name", ["", "  ", "a\0.wav"])
def test_names_that_are_no_paths(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="not a path"):
        inside(tmp_path, name, allow_outside=True)


def entry(tmp_path: Path, **changed: Any) -> Utterance | Reject:
    (tmp_path / "a.wav").write_bytes(b"x")
    fields = {"id": "a", "audio": "a.wav", "text": "hello", "where": "list:1", "speaker": " ann "} | changed
    return EntryChecker(tmp_path).entry(**fields)


def test_a_good_entry(tmp_path: Path) -> None:
    assert entry(tmp_path) == Utterance(id="a", audio=tmp_path / "a.wav", text="hello", speaker="ann")


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"id": 3}, "id is not a string: 3"),
        ({"text": None}, "text is not a string: None"),
        ({"audio": ["a.wav"]}, "audio is not a string: ['a.wav']"),
        ({"speaker": {}}, "speaker is not a string: {}"),
        ({"id": " "}, "unusable id: ' ' (1 to 200 printable characters)"),
        ({"id": "a\nb"}, r"unusable id: 'a\nb' (1 to 200 printable characters)"),
        ({"text": ""}, "empty transcript"),
    ],
)
def test_bad_entries(tmp_path: Path, changed: dict[str, Any], reason: str) -> None:
    found = entry(tmp_path, **changed)
    assert isinstance(found, Reject)
    assert found.reason == reason
    assert found.where == "list:1"


def test_long_ids_and_names(tmp_path: Path) -> None:
    found = entry(tmp_path, id="x" * 201)
    assert isinstance(found, Reject)
    assert found.reason.startswith("unusable id")
    assert isinstance(entry(tmp_path, audio="x" * 5_000), Reject)


def test_missing_recording(tmp_path: Path) -> None:
    found = entry(tmp_path, audio="b.wav")
    assert isinstance(found, Reject)
    assert found.reason == f"no such file: {tmp_path / 'b.wav'}"


def test_duplicate_ids(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"x")
    checker = EntryChecker(tmp_path)
    first = checker.entry(id="a", audio="a.wav", text="one", where="list:1")
    second = checker.entry(id="a", audio="a.wav", text="two", where="list:2")
    assert isinstance(first, Utterance)
    assert second == Reject(id="a", where="list:2", reason="duplicate id: 'a' is already at list:1")
    items: list[Utterance | Reject] = [first, first, second]
    assert [type(item) for item in without_duplicates(items)] == [Utterance, Reject, Reject]


def test_unreadable_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path) -> None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "list").write_text("x")
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(DataError, match="list: cannot be read: Permission denied"):
        list(read_lines(tmp_path / "list"))


@pytest.mark.parametrize("key", ["id", "audio", "text", "speaker"])
def test_lone_surrogates_are_rejected(tmp_path: Path, key: str) -> None:
    found = entry(tmp_path, **{key: "a\ud800b"})
    assert isinstance(found, Reject)
    assert found.reason == f"{key} is not Unicode: it holds the lone surrogate U+D800; rename it"
    assert found.id in ("a", "a\\ud800b")
