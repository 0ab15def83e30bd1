"""Weights without hashes, of another dtype or with NaN are refused by name: in say, export, init and resume."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from lina.core.errors import CheckpointError
from lina.core.files.checks import sha256
from lina.runs.weight_quantization import LAYOUTS
from lina.speech.export import export
from lina.speech.voice_loading import load
from lina.training.init.import_backbone import read_foreign_tensors
from lina.training.init.source import open_source
from tests.faults.conftest import change_facts, change_weights, checkpoint, resume


def say(run: Path) -> object:
    return load(run, "cpu")


def export_voice(run: Path) -> object:
    return export(run, run.parent / "voice", "float32")


def initialize(run: Path) -> object:
    return open_source(run, average=True).tensors()


ALL = pytest.mark.parametrize("use", [say, export_voice, initialize, resume])
Use = Callable[[Path], object]


@ALL
@pytest.mark.parametrize(
    "change",
    [
        lambda facts: facts.update(sha256={}, weights="x"),
        lambda facts: facts.pop("sha256"),
        lambda facts: facts["sha256"].pop("average.safetensors"),
        lambda facts: facts["sha256"].pop("model.safetensors"),
    ],
    ids=["none", "no table", "no average", "no model"],
)
def test_a_checkpoint_without_hashes_is_refused(run: Path, use: Use, change: Callable[[Any], object]) -> None:
    change_facts(run, change)
    with pytest.raises(CheckpointError, match=r"so it cannot be checked|no readable checkpoint\.json"):
        use(run)


def some(tensors: dict[str, Tensor]) -> str:
    return next(name for name in sorted(tensors) if name.startswith("encoder.") and tensors[name].dim() == 2)


@ALL
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.int8])
def test_weights_of_another_dtype_are_refused_by_name(run: Path, use: Use, dtype: torch.dtype) -> None:
    names = []

    def change(tensors: dict[str, Tensor]) -> None:
        names.append(some(tensors))
        tensors[names[0]] = tensors[names[0]].to(dtype)

    change_weights(run, change)
    with pytest.raises(CheckpointError) as refused:
        use(run)
    assert f"{names[0]} is {str(dtype).removeprefix('torch.')}" in str(refused.value)


@ALL
@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_not_finite_are_refused_by_name(run: Path, use: Use, number: float) -> None:
    names = []

    def change(tensors: dict[str, Tensor]) -> None:
        names.append(some(tensors))
        tensors[names[0]].view(-1)[3] = number

    change_weights(run, change)
    with pytest.raises(CheckpointError) as refused:
        use(run)
    assert f"{names[0]} holds NaN or infinity" in str(refused.value)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_moments_that_are_not_finite_stop_a_resume(run: Path, number: float) -> None:
    path = checkpoint(run) / "optimizer.safetensors"
    tensors = load_file(path)
    name = next(one for one in sorted(tensors) if one.endswith("exp_avg"))
    tensors[name].view(-1)[0] = number
    path.unlink()
    save_file(tensors, path)
    change_facts(run, lambda facts: facts["sha256"].update({path.name: sha256(path)}))
    with pytest.raises(CheckpointError) as refused:
        resume(run)
    assert f"{name} holds NaN or infinity" in str(refused.value)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_an_exported_voice_of_another_dtype_is_refused(
    run: Path, tmp_path: Path, layout: str, dtype: torch.dtype
) -> None:
    voice = export(run, tmp_path / "voice", layout).path
    path = voice / "model.safetensors"
    tensors = load_file(path)
    name = some(tensors)
    tensors[name] = tensors[name].to(dtype)
    path.unlink()
    save_file(tensors, path)
    facts = json.loads((voice / "config.json").read_text())
    facts["lina"]["sha256"][path.name] = sha256(path)
    (voice / "config.json").write_text(json.dumps(facts))
    with pytest.raises(CheckpointError) as refused:
        load(voice, "cpu")
    assert f"{name} is {str(dtype).removeprefix('torch.')}" in str(refused.value)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_foreign_weights_that_are_not_finite_are_refused_by_name(tmp_path: Path, suffix: str) -> None:
    tensors = {"a": torch.ones(3), "b": torch.tensor([1.0, float("nan")])}
    path = tmp_path / f"weights{suffix}"
    (torch.save if suffix == ".pt" else save_file)(tensors, path)
    with pytest.raises(CheckpointError, match=r"weights\..*: b holds NaN or infinity"):
        read_foreign_tensors(path)
