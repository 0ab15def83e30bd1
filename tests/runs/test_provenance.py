"""Provenance of a run: machine, versions and commit of lina."""

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from lina.config.resolve import resolve
from lina.config.stored import load_run_spec
from lina.core.errors import PluginError
from lina.core.registry import MadeWith, find
from lina.runs import code_fingerprint, provenance
from lina.runs.files import read_run_info
from lina.runs.made_with import made_with
from lina.runs.provenance import exported, lina_commit, write_info
from lina.runs.records import ModelInfo
from lina.speech.default_voice import shipped_voice
from tests.fakes import FakeDistributions


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


BACKBONE = """
from lina.core import BackbonePlugin

def mathematics(x):
    \"\"\"Docs.\"\"\"
    return x + 1

class Mine(BackbonePlugin):
    @classmethod
    def example(cls): return {}
    @classmethod
    def build(cls, *, d_model, n_layers, config): return mathematics(d_model)
"""


def start(directory: Path) -> None:
    code_fingerprint._parsed.cache_clear()
    code_fingerprint._root.cache_clear()
    write_info(directory, [find("backbone", "mine")], ModelInfo(parameters=1))


def test_a_change_of_a_plugins_mathematics_is_reported_and_recorded(
    tmp_path: Path, distributions: FakeDistributions, caplog: pytest.LogCaptureFixture
) -> None:
    site = distributions.install(
        "lina-mine", {"lina.backbones": {"mine": "mine_mod:Mine"}}, mine_mod=BACKBONE
    )
    start(tmp_path)
    first = read_run_info(tmp_path)
    assert first is not None
    assert len(first.plugins[0].source) == 64
    (site / "mine_mod.py").write_text(BACKBONE.replace('"""Docs."""', "# why"))
    start(tmp_path)
    assert read_run_info(tmp_path) == first
    assert caplog.text == ""
    (site / "mine_mod.py").write_text(BACKBONE.replace("x + 1", "x + 2"))
    start(tmp_path)
    start(tmp_path)
    assert (
        caplog.text.count("the code of backbone:mine (lina-mine 1.0) has changed since this run used it") == 1
    )
    info = read_run_info(tmp_path)
    assert info is not None
    assert info.plugins == first.plugins
    assert [one.plugins[0].source == first.plugins[0].source for one in info.later] == [False]


def test_the_versions_that_trained_a_run_stay(
    tmp_path: Path, distributions: FakeDistributions, monkeypatch: pytest.MonkeyPatch
) -> None:
    distributions.install(
        "lina-mine", {"lina.backbones": {"mine": "mine_mod:Mine"}}, "0.2.0", mine_mod=BACKBONE
    )
    start(tmp_path)
    first = read_run_info(tmp_path)
    monkeypatch.setattr(provenance, "_versions", lambda: {"torch": "99"})
    start(tmp_path)
    info = read_run_info(tmp_path)
    assert first is not None
    assert info is not None
    assert info.versions == first.versions
    assert info.later[0].versions == {"torch": "99"}
    assert made_with(tmp_path) == {("backbone", "mine"): MadeWith("lina-mine", "0.2.0")}
    voice = exported(info)
    assert (voice.plugins[0].source, voice.machine.cpu, voice.later) == ("", "", ())


def test_a_run_that_has_trained_nothing_names_the_plugins_of_its_spec_alone(
    tmp_path: Path, distributions: FakeDistributions
) -> None:
    distributions.install(
        "lina-mine",
        {"lina.backbones": {"mine": "mine_mod:Mine", "other": "mine_mod:Mine"}},
        mine_mod=BACKBONE,
    )

    def names(backbone: str) -> list[list[str]]:
        write_info(tmp_path, [find("backbone", backbone)], ModelInfo(parameters=1))
        info = read_run_info(tmp_path)
        assert info is not None
        starts = [info.plugins, *(one.plugins for one in info.later)]
        return [[one.name for one in plugins] for plugins in starts]

    assert names("mine") == [["mine"]]
    assert names("other") == [["other"]]
    (tmp_path / "checkpoints/step-00000001").mkdir(parents=True)
    assert names("mine") == [["other"], ["mine"]]


def test_the_voice_of_lina_takes_the_plugins_of_lina(distributions: FakeDistributions) -> None:
    """A package whose entry point is named as one of lina's breaks specs that do not say which, and no voice."""
    distributions.install("lina-mine", {"lina.backbones": {"gla": "mine_mod:Mine"}}, mine_mod=BACKBONE)
    voice = shipped_voice()
    resolved = resolve(load_run_spec(voice), made_with(voice))
    assert resolved.backbone.record.distribution == "lina"
    with pytest.raises(PluginError, match="write lina:gla or lina-mine:gla instead of gla"):
        resolve(load_run_spec(voice))
    chosen = resolve(load_run_spec(voice, ["backbone={plugin: 'lina:gla'}"]))
    assert (chosen.backbone.record.distribution, chosen.spec.backbone.plugin) == ("lina", "gla")
