"""Invalid checkpoints are refused in one line with the reason, and nothing is written."""

import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from lina.convert.lina_speech.run import convert
from lina.core.errors import LinaError
from tests.convert.conftest import Written

Tensors = dict[str, Tensor]
Refused = Callable[..., str]
SMALL_BPE = Path(__file__).parents[1] / "tokenizers/fixtures/small_bpe.json"
QKV = "txt_encoder.sa.1.tmix.qkv.weight"
FREQUENCIES = "attentive_rnn.cross_att.rotary.freqs"


@pytest.fixture
def refused(tmp_path: Path) -> Refused:
    def call(path: Path, **options: Any) -> str:
        before = sorted(tmp_path.iterdir())
        with pytest.raises(LinaError) as found:
            convert(path, tmp_path / "runs/out", **options)
        assert found.value.exit_code == 2
        assert [one for one in sorted(tmp_path.iterdir()) if one not in before] == []
        line = str(found.value)
        assert "\n" not in line
        assert line.startswith((str(path), "--"))
        return line

    return call


class Trap:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"hello " * 30, "is no zip file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\n", "pointer of Git LFS"),
        (b"<!DOCTYPE html>", "a web page"),
        (b"PK\x03\x04" + b"\0" * 100, "cut off; download it again"),
        (pickle.dumps({"model": {}}), "a bare pickle"),
    ],
)
def test_files_of_other_kinds(content: bytes, message: str, tmp_path: Path, refused: Refused) -> None:
    path = tmp_path / "lina-speech.pt"
    path.write_bytes(content)
    assert message in refused(path)


def test_no_file_a_folder_a_run_and_a_checkpoint_of_lina(tmp_path: Path, refused: Refused) -> None:
    assert "no such file" in refused(tmp_path / "missing.pt")
    folder = tmp_path / "folder"
    folder.mkdir()
    assert "is a folder" in refused(folder)
    (folder / "checkpoint.json").touch()
    assert "is a checkpoint of lina already" in refused(folder)
    (folder / "spec.yaml").touch()
    assert "is a run of lina already" in refused(folder)
    save_file({"x": torch.zeros(1)}, folder / "model.safetensors")
    assert "is a safetensors file, such as lina itself writes" in refused(folder / "model.safetensors")


def test_code_is_never_run(tmp_path: Path, written: Written, refused: Refused) -> None:
    trap = tmp_path / "sprung"
    line = refused(written({"x": Trap(trap)}))
    assert "Python objects (posix.mkdir)" in line
    assert "torch.save({" in line
    bare = tmp_path / "bare.pt"
    bare.write_bytes(pickle.dumps(Trap(trap)))
    assert "could run any code and is not opened" in refused(bare)
    assert not trap.exists()


def test_a_zip_that_is_not_torchs(tmp_path: Path, refused: Refused) -> None:
    path = tmp_path / "lina-speech.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("hello.txt", "hello")
    assert "cannot be read as weights" in refused(path)
    with zipfile.ZipFile(path, "w") as archive:  # as TorchScript's are
        for name in ("data.pkl", "constants.pkl", "version"):
            archive.writestr(f"archive/{name}", "3")
    assert "cannot be read as weights (" in refused(path)


def test_a_checkpoint_that_is_cut_off(
    checkpoints: dict[str, Tensors], tmp_path: Path, refused: Refused
) -> None:
    content = io.BytesIO()
    torch.save({"model": checkpoints["gla"]}, content)
    path = tmp_path / "lina-speech.pt"
    path.write_bytes(content.getvalue()[: 10**6])
    assert "cut off" in refused(path)


@pytest.mark.parametrize(
    ("content", "key", "message"),
    [
        (torch.zeros(2), None, "holds a Tensor, no dictionary"),
        ({"x": torch.zeros(2), "y": 1}, None, "its keys are x, y; "),
        ({}, "model", "it is empty"),
        ({"x": torch.zeros(2), "y": 3}, "model", "y in it are no tensors of numbers"),
        ({"x": torch.zeros(2, dtype=torch.int64)}, "model", "x in it are no tensors of numbers"),
        ({"x": torch.zeros(1).expand(10**13)}, "model", "x in it are no tensors of numbers"),
        ({"x": torch.eye(2).to_sparse()}, "model", "x in it are no tensors of numbers"),
        ({"x": torch.tensor([0.0, torch.nan])}, "state_dict", "not all numbers of x are finite"),
        (
            {"conv1.weight": torch.zeros(2)},
            "state_dict",
            "no backbone of lina-speech (beta) is in it: missing are ",
        ),
    ],
)
def test_files_of_torch_with_other_content(
    content: Any, key: str | None, message: str, written: Written, refused: Refused
) -> None:
    assert message in refused(written(content, key))


def test_missing_and_extra_tensors_are_named(
    checkpoints: dict[str, Tensors], written: Written, refused: Refused
) -> None:
    less = {
        name: value
        for name, value in checkpoints["gla"].items()
        if not name.startswith("txt_encoder.sa.1.norm")
    }
    line = refused(written(less))
    assert "4 tensors are missing (txt_encoder.sa.1.norm1.weight, " in line
    assert "unknown" not in line
    for name in ("rvq_embed.weight", "txt_embed.weight"):
        rest = {one: value for one, value in checkpoints["gla"].items() if one != name}
        assert f"{name} is missing; there are 122 tensors: " in refused(written(rest))
    added = "attentive_rnn.encoder.0.tmix.q_conv1d.weight"
    line = refused(written(checkpoints["gla"] | {added: torch.zeros(64, 1, 4)}))
    assert f"1 are unknown ({added})" in line
    assert "its successor of November 2024" in line


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        (QKV, (64, 192), f"{QKV} is [64, 192], but by the other tensors' shapes it should be [192, 64]"),
        ("txt_embed.weight", (256, 48), "txt_embed.weight is [256, 48], but by the other tensors' shapes"),
        ("logits_head.weight", (4, 1000, 64), "should be [4108, 64] (codebooks concatenated)"),
        ("rvq_embed.weight", (4108, 64), "rvq_embed.weight is [4108, 64]; it should have 3 dimensions"),
        ("txt_embed.weight", (0, 64), "none of them empty"),
        (FREQUENCIES, (0,), "none of them empty"),
        (FREQUENCIES, (16, 1), "it should have 1 dimensions"),
        (
            "txt_encoder.sa.0.tmix.rotary.freqs",
            (5,),
            "not rotary frequencies of base 10,000",
        ),
    ],
)
def test_shapes_that_do_not_fit(
    name: str,
    shape: tuple[int, ...],
    message: str,
    checkpoints: dict[str, Tensors],
    written: Written,
    refused: Refused,
) -> None:
    assert message in refused(written(checkpoints["gla"] | {name: torch.ones(shape)}))


def test_sizes_that_do_not_fit(checkpoints: dict[str, Tensors], written: Written, refused: Refused) -> None:
    uneven = {name: value for name, value in checkpoints["gla"].items() if ".decoder.1." not in name}
    assert "tensors are missing (attentive_rnn.decoder.1." in refused(written(uneven))
    norm = "attentive_rnn.encoder.0.tmix.g_norm_swish_gate.weight"
    assert "gla: d_model * expand_k = 32 is not a multiple of n_heads = 3" in refused(
        written(checkpoints["gla"] | {norm: torch.ones(42)})
    )
    wide = {"txt_encoder.sa.0.tmix.rotary.freqs": 10000.0 ** (-torch.arange(20) / 20)}
    assert "text.heads: expected a number greater than or equal to 1" in refused(
        written(checkpoints["gla"] | wide)
    )
    plain = {
        name: value
        for name, value in checkpoints["gla"].items()
        if "pos_net" not in name and name != FREQUENCIES
    }
    assert "the number of heads of plain attention" in refused(written(plain))


def test_an_existing_directory_is_not_touched(
    checkpoints: dict[str, Tensors], written: Written, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine").touch()
    with pytest.raises(LinaError, match="out: exists already"):
        convert(written(checkpoints["gla"]), out)
    assert list(out.iterdir()) == [out / "mine"]
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "nowhere")
    with pytest.raises(LinaError, match="link: exists already"):
        convert(written(checkpoints["gla"]), link)


def test_a_check_that_fails_leaves_nothing(
    checkpoints: dict[str, Tensors], written: Written, tmp_path: Path
) -> None:
    def check(model: Any) -> None:
        raise LinaError("not the same")

    with pytest.raises(LinaError, match="not the same"):
        convert(written(checkpoints["gla"]), tmp_path / "out", check=check)
    assert [one.name for one in tmp_path.iterdir()] == ["lina-speech.pt"]


def test_a_tokenizer_of_another_model(
    checkpoints: dict[str, Tensors], written: Written, tmp_path: Path, refused: Refused
) -> None:
    path = written(checkpoints["gla"])
    assert "has 61 ids, but the checkpoint has 256 text ids" in refused(path, tokenizer=SMALL_BPE)
    small = written(checkpoints["gla"] | {"txt_embed.weight": torch.ones(62, 64)})
    swapped = tmp_path / "swapped.json"
    swapped.write_text(SMALL_BPE.read_text().replace("[BOS]", "[BEG]"))
    assert "begins and ends a text with ids [61, 2]" in refused(small, tokenizer=swapped)
    with pytest.raises(LinaError, match=r"missing\.json cannot be read"):
        convert(path, tmp_path / "out", tokenizer=tmp_path / "missing.json")


def test_missing_codec_weights(checkpoints: dict[str, Tensors], written: Written, tmp_path: Path) -> None:
    with pytest.raises(LinaError, match=r"missing\.th: no such file"):
        convert(written(checkpoints["gla"]), tmp_path / "out", codec_weights=tmp_path / "missing.th")
    assert [one.name for one in tmp_path.iterdir()] == ["lina-speech.pt"]
