"""Fine-tuning mistakes that are rejected in one line before any work."""

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from lina.config.loader import load_spec
from lina.config.resolve import resolve
from lina.core.errors import SpecError
from lina.core.files.checks import sha256
from lina.runs.files import read_init
from lina.speech.default_voice import voice_or_path
from lina.training.init.source import _assume_sizes, open_source
from tests.pipeline.small_run import (
    small,
    write_spec,
)
from tests.training.init.fine_tuning import base, initial_state, rejection, run, weights

__all__ = ["base"]


def copy_with_damaged_average(base: Path, folder: Path) -> Path:
    shutil.copytree(base, folder / "damaged")
    for file in (folder / "damaged" / "checkpoints").glob("*/average.safetensors"):
        file.write_bytes(file.read_bytes()[:-1])
    return folder / "damaged"


def copy_without(base: Path, folder: Path, name: str) -> Path:
    shutil.copytree(base, folder / "incomplete")
    path = folder / "incomplete" / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    return folder / "incomplete"


def test_missing_sources_are_rejected(tmp_path: Path, base: Path) -> None:
    message = rejection(tmp_path, f"init.from={base.parent / 'bose'}")
    assert (
        message
        == f"init.from: {base.parent / 'bose'}: does not exist; did you mean '{base}'? (known: {base})"
    )
    message = rejection(tmp_path, f"init.from={tmp_path / 'none'}")
    assert message == f"init.from: {tmp_path / 'none'}: does not exist; name a run"
    (tmp_path / "empty").mkdir()
    assert "empty: is not a run (no " in rejection(tmp_path, f"init.from={tmp_path / 'empty'}")
    message = rejection(tmp_path, f"init.from={base / 'spec.yaml'}")
    assert "is a file; name the directory of a run, or use init.backbone" in message
    shutil.copytree(base / "checkpoints" / "step-00000003", tmp_path / "lonely" / "step-00000003")
    message = rejection(tmp_path, f"init.from={tmp_path / 'lonely' / 'step-00000003'}")
    assert "is a checkpoint outside of its run" in message


def test_damaged_sources_are_rejected(tmp_path: Path, base: Path) -> None:
    message = rejection(tmp_path, f"init.from={copy_with_damaged_average(base, tmp_path)}")
    assert message.endswith(
        "damaged/checkpoints: none of its 2 checkpoints is whole; name another run or checkpoint"
    )
    message = rejection(tmp_path, f"init.from={tmp_path / 'damaged' / 'checkpoints' / 'step-00000003'}")
    assert "average.safetensors: is damaged (its SHA-256 is not the one in checkpoint.json)" in message
    message = rejection(tmp_path, f"init.from={copy_without(base, tmp_path, 'checkpoints')}")
    assert "has no checkpoint yet; train it first" in message


def test_unknown_codebooks_are_those_of_the_codec_or_assumed(tmp_path: Path, base: Path) -> None:
    source = copy_without(base, tmp_path, "data/summary.json")
    expected = weights(base, "average")["rvq_embed.weight"]
    assert initial_state(tmp_path, f"init.from={source}")["rvq_embed.weight"].equal(expected)
    spec = source / "spec.yaml"
    spec.write_text(spec.read_text().replace("plugin: codec2", "plugin: gone"))
    shutil.rmtree(tmp_path / "initial")
    assert initial_state(tmp_path, f"init.from={source}")["rvq_embed.weight"].equal(expected)
    record = read_init(tmp_path / "initial")
    assert record is not None
    [remark] = [one for one in record.remarks if "codebooks" in one]
    assert remark.startswith("the source's codebooks are assumed to be 14 of 2 to 128 codes: ")
    assert "no codec named 'gone' is installed" in remark
    shutil.rmtree(tmp_path / "initial")
    assert not initial_state(tmp_path, f"init.from={source}", "codec.config.mode=1300")["rvq_embed.weight"][
        :5
    ].equal(expected[:5])
    record = read_init(tmp_path / "initial")
    assert record is not None
    [remark] = [one for one in record.remarks if "codebooks" in one]
    assert remark.startswith("the source's codebooks are unknown: ")
    heads = next(one for one in record.parts if one.part == "heads")
    assert (heads.loaded, heads.how) == (0, ("the source's codebooks are unknown",))


def test_number_of_codebooks_is_assumed_from_the_rows() -> None:
    assert _assume_sizes((7, 7), 10 * 4) == (7, 7, 7, 7)
    assert _assume_sizes((7, 7), 41) == ()
    assert _assume_sizes((7, 4), 17) == (7, 4)
    assert _assume_sizes((7, 4), 20) == ()


def test_other_width_and_unknown_targets_are_rejected(tmp_path: Path, base: Path) -> None:
    message = rejection(tmp_path, "backbone.d_model=32", f"init.from={base}")
    assert message == (
        f"init.from: {base}: is a model of width 16, but backbone.d_model is 32, "
        "so no tensor would fit; set d_model: 16"
    )
    message = rejection(tmp_path, f"init.from={base}", "init.lora.targets=[q_porj]")
    assert "no linear layer is named 'q_porj'; did you mean 'q_proj'?" in message


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            "init.lora.rank=0",
            "command line: init.lora.rank: expected a number greater than or equal to 1, found 0",
        ),
        ("init.lora.alpha=0", "command line: init.lora.alpha: expected a number greater than 0, found 0"),
        (
            "init.lora.rnak=4",
            "init.lora.rnak: unknown key; did you mean 'rank'? (known: alpha, rank, targets)",
        ),
        ("init.lora.targets=[]", "command line: init.lora.targets: "),
        (
            "init.form=x",
            "init.form: unknown key; did you mean 'from'? (known: average, backbone, from, lora)",
        ),
        ("init.source=x", "init.source: unknown key"),
        ("init.backbone=x", "from and backbone are two sources; leave one out"),
    ],
)
def test_wrong_keys_are_rejected(tmp_path: Path, base: Path, wrong: str, message: str) -> None:
    assert message in rejection(tmp_path, f"init.from={base}", wrong)


def test_lora_needs_loaded_layers(tmp_path: Path, base: Path) -> None:
    assert "lora adapts loaded weights; set from or backbone" in rejection(tmp_path, "init.lora.rank=2")
    shutil.copytree(base, tmp_path / "source")
    path = tmp_path / "source" / "checkpoints" / "step-00000003" / "average.safetensors"
    kept = {name: value for name, value in load_file(path).items() if "coder.layers" not in name}
    save_file(kept, path)
    facts = json.loads((path.parent / "checkpoint.json").read_text())
    facts["sha256"]["average.safetensors"] = sha256(path)
    (path.parent / "checkpoint.json").write_text(json.dumps(facts))
    with pytest.raises(
        SpecError, match=r"init\.lora: none of its 18 layers was loaded from .*; leave lora out"
    ):
        run(tmp_path, f"init.from={tmp_path / 'source'}", "init.lora.rank=2")


def test_relative_source_is_relative_to_its_spec(tmp_path: Path, base: Path) -> None:
    shutil.copytree(base, tmp_path / "source")
    path = write_spec(tmp_path)
    path.write_text(path.read_text() + "init: {from: source}\n")
    spec = resolve(load_spec(path, [f"train.out={tmp_path / 'run'}"])).spec
    assert spec.init.source == tmp_path / "source"
    assert f"from: {tmp_path / 'source'}" in spec.to_yaml()


def test_invalid_sizes_are_rejected_before_any_work(tmp_path: Path) -> None:
    assert "is not a multiple of n_heads = 3" in rejection(tmp_path, "backbone.config.n_heads=3")
    assert "is not a multiple of n_heads = 2" in rejection(tmp_path, "text.position_dim=9")


def test_a_voice_that_comes_with_lina_is_a_source_by_its_name(tmp_path: Path) -> None:
    resolved = small(tmp_path, "init.from=english")
    assert resolved.spec.init.source == Path("english")
    voice = voice_or_path(Path("english"))
    assert voice == voice_or_path(voice) == voice_or_path(Path("english-1"))
    width = open_source(voice, average=True).width
    assert f"is a model of width {width}" in rejection(tmp_path, "init.from=english")
    for misspelled, meant in (("englsh", "english"), ("englsh-1", "english-1")):
        reason = rejection(tmp_path, f"init.from={misspelled}")
        assert f"no voice that comes with lina; did you mean '{meant}'? (known: english, english-1)" in reason
