"""Backbone weights imported from another project."""

import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from lina.backbones.gla import GLA
from lina.core.errors import CheckpointError
from lina.runs.files import read_init
from lina.training.init.import_backbone import read_foreign_tensors
from tests.fakes import FakeDistributions
from tests.training.init.fine_tuning import initial_state, rejection, run, weights

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


def test_imported_weights_fill_the_backbone(tmp_path: Path, importing: str) -> None:
    tensors = foreign(tmp_path / "model.pth")
    state = initial_state(tmp_path, importing, f"init.backbone={tmp_path / 'model.pth'}")
    assert state["encoder.layers.0.tmix.q_proj.weight"].equal(tensors["blocks.0.query"].float())
    assert state["decoder.layers.0.tmix.q_proj.weight"].equal(tensors["blocks.1.query"].float())
    record = read_init(tmp_path / "initial")
    assert record is not None
    assert record.source == f"{tmp_path / 'model.pth'}, imported by backbone:importing"
    assert sum(one.loaded for one in record.parts) == 2 * 16 * 16
    assert (record.parts[-1].part, record.parts[-1].left) == ("rest of the file", 10)


def test_lora_adapts_imported_layers_and_the_rest_is_trained(tmp_path: Path, importing: str) -> None:
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


def test_invalid_imports_are_rejected(tmp_path: Path, importing: str) -> None:
    path = tmp_path / "model.pth"
    assert f"init.backbone: {path}: does not exist" in rejection(tmp_path, importing, f"init.backbone={path}")
    torch.save({"other": torch.zeros(1)}, path)
    message = rejection(tmp_path, importing, f"init.backbone={path}")
    assert message == f"init.backbone: {path}: is no such model; it lacks blocks.0.query"
    foreign(path, misnamed=torch.zeros(1))
    message = rejection(tmp_path, importing, f"init.backbone={path}")
    assert (
        "import_weights returned encoder.layers.0.query of shape [16, 16], but the model has no such tensor"
        in message
    )
    message = rejection(tmp_path, f"init.backbone={path}")
    assert "GLA imports no weights of other projects" in message


WEIGHTS = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.zeros(2, dtype=torch.bfloat16)}


class Bomb:
    def __reduce__(self) -> Any:
        return os.mkdir, ("exploded",)


@pytest.mark.parametrize("content", [WEIGHTS, {"state_dict": WEIGHTS, "epoch": 3}])
def test_state_dicts_are_read(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "model.pth")
    save_file(WEIGHTS, tmp_path / "model.safetensors")
    for file in ("model.pth", "model.safetensors"):
        read = read_foreign_tensors(tmp_path / file)
        assert read.keys() == WEIGHTS.keys()
        assert all(read[name].equal(value) for name, value in WEIGHTS.items())


def test_pickled_code_is_not_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"a": Bomb()}, "zip.pth")
    Path("plain.pth").write_bytes(pickle.dumps({"a": Bomb()}))
    for file in ("zip.pth", "plain.pth"):
        with pytest.raises(CheckpointError) as error:
            read_foreign_tensors(Path(file))
        assert file in str(error.value)
        assert "\n" not in str(error.value)
    assert not Path("exploded").exists()


@pytest.mark.parametrize("file", ["model.pth", "model.safetensors"])
@pytest.mark.parametrize("content", [b"", b"no model", b"PK\x03\x04 half a zip", bytes(1000), None])
def test_unreadable_file_is_reported_in_one_line(tmp_path: Path, file: str, content: bytes | None) -> None:
    path = tmp_path / file
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(CheckpointError) as error:
        read_foreign_tensors(path)
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    assert ("(it is empty)" in message) == (content == b"")
    assert not message.endswith((": ", ":", "()"))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [[torch.zeros(1)], {}, {"epoch": 3}, {1: torch.zeros(1)}])
def test_other_content_than_named_tensors_is_rejected(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "model.pth")
    with pytest.raises(CheckpointError, match=r"holds .*tensors by name"):
        read_foreign_tensors(tmp_path / "model.pth")


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"none\.pth: does not exist; name a file of weights"):
        read_foreign_tensors(tmp_path / "none.pth")


def test_backbone_without_import_weights_is_named() -> None:
    with pytest.raises(
        CheckpointError, match=r"GLA imports no weights of other projects; leave init\.backbone"
    ):
        GLA.import_weights(WEIGHTS, **GLA.example(), half="encoder")
