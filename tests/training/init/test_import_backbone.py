"""A backbone that begins with the weights of another project."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lina.runs.files import read_init
from tests.fakes import FakeDistributions
from tests.training.init.fine_tuning import begun, refused, run, weights

IMPORTING = """
import torch
from lina.backbones.gla import GLA
from lina.core.errors import CheckpointError

class Importing(GLA):
    @classmethod
    def import_weights(cls, tensors, *, d_model, n_layers, config, half):
        if "blocks.0.query" not in tensors:
            raise CheckpointError("is no such model; it lacks blocks.0.query")
        layer = 0 if half == "encoder" else n_layers
        name = "layers.0.tmix.q_proj.weight" if "misnamed" not in tensors else "layers.0.query"
        return {name: tensors[f"blocks.{layer}.query"]}
"""


@pytest.fixture
def importing(distributions: FakeDistributions) -> str:
    distributions.install(
        "fake-importing",
        {"lina.backbones": {"importing": "fake_importing:Importing"}},
        fake_importing=IMPORTING,
    )
    return "backbone={plugin: importing, d_model: 16, n_layers: 1, config: {n_heads: 2}}"


def foreign(path: Path, **more: Tensor) -> Mapping[str, Any]:
    tensors = {f"blocks.{layer}.query": torch.randn(16, 16).bfloat16() for layer in (0, 1)}
    torch.save({**tensors, "emb": torch.zeros(10), **more}, path)
    return tensors


def test_another_projects_weights_fill_the_backbone(tmp_path: Path, importing: str) -> None:
    tensors = foreign(tmp_path / "model.pth")
    state = begun(tmp_path, importing, f"init.backbone={tmp_path / 'model.pth'}")
    assert state["encoder.layers.0.tmix.q_proj.weight"].equal(tensors["blocks.0.query"].float())
    assert state["decoder.layers.0.tmix.q_proj.weight"].equal(tensors["blocks.1.query"].float())
    record = read_init(tmp_path / "begun")
    assert record is not None
    assert record.source == f"{tmp_path / 'model.pth'}, imported by backbone:importing"
    assert sum(one.loaded for one in record.parts) == 2 * 16 * 16
    assert (record.parts[-1].part, record.parts[-1].left) == ("the rest of the file", 10)


def test_imported_layers_are_adapted_and_all_else_is_trained(tmp_path: Path, importing: str) -> None:
    tensors = foreign(tmp_path / "model.pth")
    folder = run(
        tmp_path, importing, f"init.backbone={tmp_path / 'model.pth'}", "init.lora={}", "train.steps=1"
    )
    record = read_init(folder)
    assert record is not None
    assert record.targets == ("encoder.layers.0.tmix.q_proj", "decoder.layers.0.tmix.q_proj")
    original = weights(folder)["encoder.layers.0.tmix.q_proj.parametrizations.weight.original"]
    assert original.equal(tensors["blocks.0.query"].float())
    assert record.frozen == 2 * 16 * 16


def test_imports_that_cannot_be(tmp_path: Path, importing: str) -> None:
    path = tmp_path / "model.pth"
    assert f"init.backbone: {path}: does not exist" in refused(tmp_path, importing, f"init.backbone={path}")
    torch.save({"other": torch.zeros(1)}, path)
    told = refused(tmp_path, importing, f"init.backbone={path}")
    assert told == f"init.backbone: {path}: is no such model; it lacks blocks.0.query"
    foreign(path, misnamed=torch.zeros(1))
    told = refused(tmp_path, importing, f"init.backbone={path}")
    assert (
        "import_weights gives encoder.layers.0.query of shape [16, 16], where the model has nothing" in told
    )
    told = refused(tmp_path, f"init.backbone={path}")
    assert "GLA imports no weights of other projects" in told
