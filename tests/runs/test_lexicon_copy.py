"""Copies of a lexicon in run directories and voices."""

from pathlib import Path

import pytest

from lina.core.errors import CheckpointError, TextError
from lina.runs.lexicon_copy import copy_lexicon, lexicon_of


def test_the_latest_copy_replaces_the_former(tmp_path: Path) -> None:
    source, run = tmp_path / "words.tsv", tmp_path / "run"
    run.mkdir()
    with pytest.raises(CheckpointError, match=r"has no copy of its lexicon words\.tsv; .* --lexicon"):
        lexicon_of(run, source)
    assert lexicon_of(run, run / "words.tsv") == run / "words.tsv", "one within the run is its own"
    source.write_text("Lina\tlˈinə\n")
    first = copy_lexicon(source, run)
    assert first is not None
    assert first.read_text() == source.read_text()
    source.write_text("Lina\tlˈAnə\n")
    second = copy_lexicon(source, run)
    source.unlink()
    assert list(run.iterdir()) == [second]
    assert second != first
    assert lexicon_of(run, source) == second
    assert lexicon_of(run, None) is None
    assert copy_lexicon(None, run) is None
    assert list(run.iterdir()) == []


def test_a_damaged_copy_or_a_missing_source_is_named(tmp_path: Path) -> None:
    source = tmp_path / "words.tsv"
    with pytest.raises(TextError, match=r"synthesize\.lexicon: .*words\.tsv: cannot be read: No such file"):
        copy_lexicon(source, tmp_path)
    source.write_text("Lina\tlˈinə\n")
    copy = copy_lexicon(source, tmp_path)
    assert copy is not None
    copy.write_text("Lina\tlˈOnə\n")
    with pytest.raises(CheckpointError, match=r"lexicon-.*\.tsv: is damaged \(its SHA-256"):
        lexicon_of(tmp_path, source)
