"""README.md and docs/guide.md are true: their code runs, what is too slow is looked at, their links lead somewhere."""

import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from lina.config.loader import load_spec
from lina.config.resolve import resolve
from lina.core.errors import LinaError
from lina.pipeline.speech_job import FREE_KEYS, run_spec
from lina.runs.hook_manager import build_manager
from tests.cli.conftest import Lina
from tests.docs.look import CHECKS, ROOT, look_at_lina, look_at_make, look_at_pip
from tests.docs.markdown import Reader
from tests.fakes import FakeDistributions

PAGES = [
    ROOT / name
    for name in ("README.md", "CHANGELOG.md", *(f"docs/{page}.md" for page in ("guide", "plugins", "design")))
]
TINY = (
    "backbone.d_model=16",
    "backbone.n_layers=1",
    "train.steps=1",
    "train.batch_seconds=5",
    "train.warmup=1",
    "evaluate.recognizer=null",
    "evaluate.sentences=0",
    "evaluate.unseen=[]",
    "synthesize.texts=[]",
    "synthesize.max_seconds=0.4",
)
LINK = re.compile(r"\[[^\]]+\]\(([^)#]+)(?:#([\w-]+))?\)|\[[^\]]+\]\(#([\w-]+)\)")


@pytest.fixture(scope="session")
def run_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``runs/first`` as a reader has it, but for a model of no worth."""
    directory = tmp_path_factory.mktemp("run") / "first"
    return run_spec(
        resolve(load_spec(ROOT / "specs/first.yaml", (*TINY, f"train.out={directory}"))),
        build_manager(()).hook,
    )


@pytest.fixture
def clone(
    tmp_path: Path, run_directory: Path, monkeypatch: pytest.MonkeyPatch, distributions: FakeDistributions
) -> Path:
    """A clone of the repository with a run in it, as the current folder."""
    folder = tmp_path / "clone"
    folder.mkdir()
    for name in ("data", "specs", "plugins_example"):
        (folder / name).symlink_to(ROOT / name)
    shutil.copytree(run_directory, folder / "runs/first")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setenv("COLUMNS", "100")
    return folder


@pytest.mark.parametrize("page", ["README.md", "docs/guide.md"])
def test_the_page_can_be_followed(
    lina: Lina, clone: Path, distributions: FakeDistributions, page: str
) -> None:
    def lina_tool(arguments: list[str]) -> tuple[int, str]:
        done = lina(*arguments)
        return done.code, done.out or done.err

    def pip_tool(arguments: list[str]) -> tuple[int, str]:
        distributions.install_project(clone / arguments[-1])
        return 0, ""

    Reader(ROOT, {"lina": lina_tool, "pip": pip_tool}, CHECKS).read(ROOT / page)


def test_the_guide_names_every_file_of_a_run(run_directory: Path) -> None:
    text = (ROOT / "docs/guide.md").read_text().partition("### The run directory")[2]
    for path in run_directory.iterdir():
        assert f"`{path.name}" in text, path.name


def test_the_guide_names_every_exit_code_and_free_key() -> None:
    text = (ROOT / "docs/guide.md").read_text()
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)} == {0, 1, 2, 75, 130}
    assert all(f'"{key}",' in text for key in FREE_KEYS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for path, heading, own in LINK.findall(page.read_text()):
        if path.startswith("https://"):
            continue
        target = page.parent / path if path else page
        assert target.exists(), path
        if heading or own:
            titles = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE)
            anchors = [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles]
            assert (heading or own) in anchors, f"{path}#{heading or own}"


def test_every_page_is_linked_from_the_readme() -> None:
    text = (ROOT / "README.md").read_text()
    for page in (ROOT / "docs").glob("*.md"):
        assert f"(docs/{page.name})" in text, page.name


@pytest.mark.parametrize(
    ("look", "arguments"),
    [
        (look_at_make, ["dmeo"]),
        (look_at_pip, ["install", ".[demos]"]),
        (look_at_lina, ["rum", "specs/first.yaml"]),
        (look_at_lina, ["run", str(ROOT / "specs/first.yaml"), "train.stepz=1"]),
        (look_at_lina, ["say", "--rnu", "runs/first", "Hello."]),
        (look_at_lina, ["data", "get", "asterisk-de"]),
    ],
)
def test_a_wrong_command_is_seen(look: Callable[[list[str]], None], arguments: list[str]) -> None:
    with pytest.raises((AssertionError, LinaError, click.ClickException)):
        look(arguments)
