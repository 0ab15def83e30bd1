"""Files of other projects: tensors or one line, and never code."""

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from lina.backbones.gla import GLA
from lina.core.errors import CheckpointError
from lina.training.init.foreign_tensors import read_tensors

WEIGHTS = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.zeros(2, dtype=torch.bfloat16)}


class Bomb:
    def __reduce__(self) -> Any:
        return os.mkdir, ("exploded",)


@pytest.mark.parametrize("content", [WEIGHTS, {"state_dict": WEIGHTS, "epoch": 3}])
def test_tensors_by_name(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "model.pth")
    save_file(WEIGHTS, tmp_path / "model.safetensors")
    for file in ("model.pth", "model.safetensors"):
        read = read_tensors(tmp_path / file)
        assert read.keys() == WEIGHTS.keys()
        assert all(read[name].equal(value) for name, value in WEIGHTS.items())


def test_nothing_in_a_file_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"a": Bomb()}, "zip.pth")
    Path("plain.pth").write_bytes(pickle.dumps({"a": Bomb()}))
    for file in ("zip.pth", "plain.pth"):
        with pytest.raises(CheckpointError) as refused:
            read_tensors(Path(file))
        assert file in str(refused.value)
        assert "\n" not in str(refused.value)
    assert not Path("exploded").exists()


@pytest.mark.parametrize("file", ["model.pth", "model.safetensors"])
@pytest.mark.parametrize("content", [b"", b"no model", b"PK\x03\x04 half a zip", bytes(1000), None])
def test_what_is_no_file_of_tensors_is_one_line(tmp_path: Path, file: str, content: bytes | None) -> None:
    path = tmp_path / file
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(CheckpointError) as refused:
        read_tensors(path)
    told = str(refused.value)
    assert told.startswith(f"{path}: ")
    assert ("(it is empty)" in told) == (content == b"")
    assert not told.endswith((": ", ":", "()"))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("content", [[torch.zeros(1)], {}, {"epoch": 3}, {1: torch.zeros(1)}])
def test_other_things_than_named_tensors_are_refused(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "model.pth")
    with pytest.raises(CheckpointError, match=r"holds .*tensors by name"):
        read_tensors(tmp_path / "model.pth")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"none\.pth: does not exist; name a file of weights"):
        read_tensors(tmp_path / "none.pth")


def test_a_backbone_without_an_import_says_so() -> None:
    with pytest.raises(
        CheckpointError, match=r"GLA imports no weights of other projects; leave init\.backbone"
    ):
        GLA.import_weights(WEIGHTS, **GLA.example(), half="encoder")
