"""A trained run, from which each test damages a copy."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file
from torch import Tensor

from lina.core.files.checks import sha256
from lina.pipeline.speech_job import run_spec
from tests.cli.conftest import lina, refused
from tests.pipeline.small_run import hooks_of, small

__all__ = ["lina", "refused"]  # fixtures

OVERRIDES = ("train.ema=0.5", "train.steps=4", "train.checkpoint_every=2")


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of a small run after two of four steps, beside its corpus and spec."""
    run = run_spec(small(tmp_path_factory.mktemp("trained"), *OVERRIDES), hooks_of())
    shutil.rmtree(run / "checkpoints" / "step-00000004")
    return run


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of the run and its corpus in another place."""
    return Path(shutil.copytree(trained.parent, tmp_path / "copied")) / trained.name


def resume(run: Path, *overrides: str) -> Path:
    """Resume the run where it is."""
    return run_spec(small(run.parent, *OVERRIDES, *overrides, out=run.name), hooks_of())


def checkpoint(run: Path) -> Path:
    return run / "checkpoints" / "step-00000002"


def change_facts(run: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change ``checkpoint.json``."""
    path = checkpoint(run) / "checkpoint.json"
    facts = json.loads(path.read_text())
    change(facts)
    path.write_text(json.dumps(facts))


def change_weights(run: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    """Change the weights, raw and averaged, and their hashes with them, as an attacker would."""
    for name in ("model.safetensors", "average.safetensors"):
        path = checkpoint(run) / name
        tensors = load_file(path)
        change(tensors)
        path.unlink()
        save_file(tensors, path)
        sums = {path.name: sha256(path)}
        change_facts(run, lambda facts, sums=sums: facts["sha256"].update(sums))  # type: ignore[misc]


def change_spec(run: Path, old: str, new: str) -> None:
    path = run / "spec.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
