from pathlib import Path

import pytest

from lina.core.errors import DataError
from lina.corpora import debian, wordnet

from .packages import package

NOUNS = """  1 This software and database is "being provided to you" by Princeton
00001740 03 n 01 entity 0 003 ~ 00001930 n 0000 | that which is; "all of it is there"; "it is, of course, there"
00001930 03 n 01 thing 0 000 | a thing; "too few words"; "it cost 12 dollars then"; "the BBC said it twice"
"""
VERBS = '00001740 29 v 01 breathe 0 000 | draw air in; "He breathes when he can!"; "all of it is there"\n'


def database(folder: Path, **parts: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    files = {"data.noun": NOUNS, "data.verb": VERBS, "data.adj": "", "data.adv": ""} | parts
    for name, content in files.items():
        (folder / name).write_text(content)
    return folder


def test_examples_that_everyone_reads_the_same_way(tmp_path: Path) -> None:
    found = wordnet.sentences(database(tmp_path))
    expected = {"All of it is there.", "It is, of course, there.", "He breathes when he can!"}
    assert set(found) == expected
    assert len(found) == len(expected)


def test_the_order_is_that_of_the_texts_alone(tmp_path: Path) -> None:
    swapped = database(tmp_path / "b", **{"data.noun": VERBS, "data.verb": NOUNS})
    assert wordnet.sentences(database(tmp_path / "a")) == wordnet.sentences(swapped)


def test_fetch_leaves_only_the_sentences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(names: tuple[str, ...], folder: Path) -> list[Path]:
        assert names == ("wordnet-base",)
        files = {f"./usr/share/wordnet/{path.name}": path.read_bytes() for path in wordnet_folder.iterdir()}
        (folder / "w.deb").write_bytes(package(files))
        return [folder / "w.deb"]

    wordnet_folder = database(tmp_path / "wordnet_folder")
    monkeypatch.setattr(debian, "download", download)
    assert wordnet.fetch(tmp_path / "out") == wordnet.sentences(wordnet_folder)
    assert not list((tmp_path / "out").iterdir())


def test_files_other_than_wordnets(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.noun: is no part of WordNet's database"):
        wordnet.sentences(tmp_path)
    empty = database(tmp_path / "empty", **{"data.noun": "", "data.verb": ""})
    with pytest.raises(DataError, match="holds no example sentences"):
        wordnet.sentences(empty)
