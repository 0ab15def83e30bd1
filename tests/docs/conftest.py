import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from lina.config.loader import load_spec
from lina.config.resolve import resolve
from lina.pipeline.speech_job import run_spec
from lina.runs.hook_manager import build_manager
from tests.cli.conftest import Lina, lina
from tests.docs.command_checks import CHECKS, ROOT
from tests.docs.markdown import Reader, run_pytest
from tests.docs.notebooks import Tool
from tests.fakes import FakeDistributions

__all__ = ["lina"]

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


@pytest.fixture(scope="session")
def run_directory(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """``runs/first`` of a tiny untrained model, built once for all workers of pytest-xdist."""
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent
    directory = shared / "docs-run" / "first"
    with FileLock(shared / "docs-run.lock"):
        if not (directory / "report.html").is_file():
            spec = load_spec(ROOT / "specs/first.yaml", (*TINY, f"train.out={directory}"))
            run_spec(resolve(spec), build_manager(()).hook)
    return directory


@pytest.fixture
def clone(tmp_path: Path, run_directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone of the repository with a run in it, as the current folder."""
    folder = tmp_path / "clone"
    folder.mkdir()
    (folder / ".git").mkdir()
    shutil.copytree(ROOT / "specs", folder / "specs")
    for name in ("data", "plugins_example"):
        (folder / name).symlink_to(ROOT / name)
    shutil.copytree(run_directory, folder / "runs/first")
    monkeypatch.chdir(folder)
    # Files that change within a second would be read from their old bytecode.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("COLUMNS", "100")
    return folder


@pytest.fixture
def tools(
    lina: Lina, clone: Path, distributions: FakeDistributions, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Tool]:
    """Programs that pages and notebooks call, run in this process where they can be."""

    def lina_tool(arguments: list[str]) -> tuple[int, str]:
        for name in [name for name in sys.modules if name.startswith("lina_")]:
            monkeypatch.delitem(sys.modules, name)
        done = lina(*arguments)
        return done.code, done.out or done.err

    def pip_tool(arguments: list[str]) -> tuple[int, str]:
        for package in arguments[arguments.index("install") + 1 :]:
            if not package.startswith("-"):
                distributions.install_project(Path(package).absolute())
        return 0, ""

    return {"lina": lina_tool, "pip": pip_tool, "python": run_pytest}


@pytest.fixture
def follow(tools: dict[str, Tool]) -> Callable[[Path], None]:
    """Run the code and commands of a page in the clone; each page has Python names of its own."""
    return lambda page: Reader(ROOT, tools, CHECKS).read(page)
