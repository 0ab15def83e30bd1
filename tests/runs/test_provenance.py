"""Provenance of a run: machine, versions and commit of lina."""

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from lina.runs import provenance
from lina.runs.provenance import lina_commit


def test_the_commit_of_a_checkout(tmp_path: Path) -> None:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    for command in (("init", "-q"), (*identity, "commit", "-q", "--allow-empty", "-m", "one")):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    commit = lina_commit(tmp_path)
    assert commit is not None
    assert len(commit) == 40
    assert set(commit) <= set("0123456789abcdef")


@pytest.mark.parametrize(
    ("noted", "commit"),
    [
        (json.dumps({"url": "u", "vcs_info": {"vcs": "git", "commit_id": "abc"}}), "abc"),
        (json.dumps({"url": "u", "dir_info": {}}), None),
        ("no json", None),
        (None, None),
    ],
)
def test_the_commit_that_pip_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, noted: str | None, commit: str | None
) -> None:
    installed = SimpleNamespace(read_text=lambda name: noted if name == "direct_url.json" else None)
    monkeypatch.setattr(provenance, "distribution", lambda name: installed)
    assert lina_commit(tmp_path) == commit


def test_a_checkout_that_git_cannot_read_has_no_commit(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    assert lina_commit(tmp_path) is None
