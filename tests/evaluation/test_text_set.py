from pathlib import Path

import pytest

from lina.core.errors import DataError
from lina.evaluation.text_set import read_text_set
from tests.pipeline.small_run import TEXTS, write_corpus


def test_one_text_per_line(tmp_path: Path) -> None:
    file = tmp_path / "texts.txt"
    file.write_bytes("\ufeffOne  two.\r\n\n Ünd drei!\n".encode())
    found = read_text_set(file)
    assert [(one.id, one.text, one.recording) for one in found] == [
        ("0001", "One two.", None),
        ("0002", "Ünd drei!", None),
    ]
    assert found[1].where == f"{file}:3"


def test_a_manifest_names_recordings(tmp_path: Path) -> None:
    found = read_text_set(write_corpus(tmp_path / "corpus"))
    assert [one.text for one in found] == list(TEXTS)
    assert (found[1].id, found[1].recording) == ("tone-1", tmp_path / "corpus/1.wav")
    assert found[1].speaker == "bert"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file; name the texts"),
        (b"", "holds no text; write one text per line"),
        (b"\n \n", "holds no text"),
        (b"fine\n...\n", r"t.txt:2: empty transcript: no letter or digit; fix the line"),
        (b"fine\n\xff\n", r"t.txt:2: not UTF-8"),
        (b"a\x07b\n", r"t.txt:1: control character"),
        ("one\n".encode("utf-16"), "is in UTF-16; save it as UTF-8"),
    ],
)
def test_bad_files_of_texts(tmp_path: Path, content: bytes | None, message: str) -> None:
    file = tmp_path / "t.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_text_set(file)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id": "a", "audio": "none.wav", "text": "x"}', "no such file: .*none.wav"),
        ('{"id": "a", "text": "x"}', "missing key: 'audio'"),
        ("not json", "m.jsonl:1: not JSON"),
    ],
)
def test_bad_manifests(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "m.jsonl").write_text(line + "\n")
    with pytest.raises(DataError, match=message):
        read_text_set(tmp_path / "m.jsonl")
