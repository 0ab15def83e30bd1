"""Fine-tuning runs: initial weights, trained parameters, resuming."""

import logging
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lina.core.errors import CheckpointError
from lina.core.model.lora import is_adapted, merged
from lina.runs.files import read_init
from lina.runs.layout import read_speakers
from lina.runs.signals import RunStopped
from lina.speech.voice_loading import load
from tests.pipeline.small_run import EVERYTHING, assert_same_training, write_corpus
from tests.training.init.fine_tuning import SPEAKERS, base, initial_state, run, weights
from tests.training.test_trainer import Interrupter

__all__ = ["base"]


@pytest.mark.parametrize(("average", "file"), [("true", "average"), ("false", "model")])
@pytest.mark.parametrize("where", ["run", "checkpoint"])
def test_initial_weights_are_those_of_the_source(
    tmp_path: Path, base: Path, average: str, file: str, where: str
) -> None:
    source = base if where == "run" else base / "checkpoints" / "step-00000003"
    state = initial_state(tmp_path, SPEAKERS, f"init.from={source}", f"init.average={average}")
    expected = weights(base, file)
    assert state.keys() == expected.keys()
    assert all(value.equal(expected[name]) for name, value in state.items())


def test_changed_speakers_codebooks_tokenizer_and_layers(
    tmp_path: Path, base: Path, caplog: pytest.LogCaptureFixture
) -> None:
    manifest = write_corpus(tmp_path / "corpus")
    manifest.write_text(manifest.read_text().replace("bert", "carl"))
    changes = ("codec.config.mode=1300", "tokenizer.plugin=phonemes", "backbone.n_layers=2")
    with caplog.at_level(logging.INFO, "lina"):
        folder = run(tmp_path, SPEAKERS, *changes, "train.steps=1", f"init.from={base}")
    record = read_init(folder)
    assert record is not None
    assert record.source == f"{base}, step 3, averaged weights"
    by_part = {one.part: one for one in record.parts}
    assert by_part["speakers"].how == ("by name: 3 kept", "1 new: carl")
    assert read_speakers(folder) == ["anna", "bert", "carl"]
    row = weights(folder)["speaker_embed.weight"][2]
    kept = weights(base, "average")["speaker_embed.weight"][2]
    torch.testing.assert_close(row, kept, rtol=0.01, atol=0.0)  # of bert, whom only weight decay reaches
    run(tmp_path, SPEAKERS, *changes, "train.steps=1", f"init.from={base}")
    assert read_speakers(folder) == ["anna", "bert", "carl"]
    assert by_part["text embeddings"].how[0].startswith("by label: ")
    assert by_part["heads"].how[0] == "14 codebooks kept, 2 new"
    assert by_part["backbone encoder"].how == ("fresh: encoder.layers.1",)
    assert "differs from the source: codec.config.mode: (nothing) -> 1300" in record.remarks
    table = [line for line in caplog.messages if line.startswith("init: ")]
    assert table[0] == f"init: from {record.source}"
    assert len(table) == len(record.remarks) + len(record.parts) + 4
    assert table[-1] == f"init: trained {record.trained:,}, frozen 0"
    assert len({len(line.split("  unused")[0]) for line in table if "  unused" in line}) == 1


def test_missing_tokenizer_is_reported_and_ids_are_matched_by_number(tmp_path: Path, base: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(base, source)
    spec = source / "spec.yaml"
    spec.write_text(spec.read_text().replace("plugin: bytes", "plugin: gone"))
    state = initial_state(tmp_path, SPEAKERS, f"init.from={source}")
    assert state["txt_embed.weight"].equal(weights(base, "average")["txt_embed.weight"])
    record = read_init(tmp_path / "initial")
    assert record is not None
    assert any("no tokenizer named 'gone' is installed" in remark for remark in record.remarks)
    assert record.parts[0].how == ("by number: 258 ids kept",)


def test_changed_backbone_is_reported_in_one_line(tmp_path: Path, base: Path) -> None:
    initial_state(
        tmp_path, "backbone.plugin=transformer", "backbone.config={n_heads: 2}", f"init.from={base}"
    )
    record = read_init(tmp_path / "initial")
    assert record is not None
    assert record.remarks == (
        "the backbone is transformer and was gla in the source: of its tensors, only those of the same name and shape "
        "are loaded",
    )
    half = next(one for one in record.parts if one.part == "backbone encoder")
    assert min(half.loaded, half.fresh, half.left) > 0


LORA = (SPEAKERS, "init.lora.rank=2", "train.ema=0.8", "train.dropout=0.2", "conditions.drop_speaker=0.3")


def test_lora_trains_only_its_matrices_and_the_voice_merges_them(tmp_path: Path, base: Path) -> None:
    folder = run(tmp_path, *LORA, f"init.from={base}", "train.steps=2")
    state, source = weights(folder, "average"), weights(base, "average")
    whole = merged(state)
    assert whole.keys() == source.keys()
    changed = {name for name in whole if not whole[name].equal(source[name])}
    record = read_init(folder)
    assert record is not None
    assert changed == {f"{name}.weight" for name in record.targets}
    assert len(record.targets) == 18
    assert record.trained == sum(
        value.numel() for name, value in state.items() if name.endswith(("up", "down"))
    )
    assert record.frozen == sum(value.numel() for value in source.values())
    moments = load_file(folder / "checkpoints" / "step-00000002" / "optimizer.safetensors")
    assert all(".parametrizations.weight.0." in name for name in moments)
    voice = load(folder, device="cpu")
    assert not is_adapted(voice.model.state_dict())
    assert all(value.equal(whole[name]) for name, value in voice.model.state_dict().items())


def test_lora_trains_new_layers_in_full(tmp_path: Path, base: Path) -> None:
    manifest = write_corpus(tmp_path / "corpus")
    manifest.write_text(manifest.read_text().replace("bert", "carl"))
    folder = run(tmp_path, *LORA, "backbone.n_layers=2", f"init.from={base}", "train.steps=2")
    record = read_init(folder)
    assert record is not None
    assert "speaker_embed.weight" in record.whole
    assert all("layers.1." in name for name in record.whole if name != "speaker_embed.weight")
    assert all("layers.0." in name for name in record.targets)


def test_fine_tuned_run_can_be_a_source(tmp_path: Path, base: Path) -> None:
    folder = run(tmp_path, *LORA, f"init.from={base}", "train.steps=2")
    state = initial_state(tmp_path, SPEAKERS, f"init.from={folder}")
    expected = merged(weights(folder, "average"))
    assert all(value.equal(expected[name]) for name, value in state.items())


@pytest.mark.parametrize("lora", [(), ("init.lora.rank=2",)])
def test_stopped_run_resumes_bit_for_bit_without_its_source(
    tmp_path: Path, base: Path, lora: tuple[str, ...]
) -> None:
    source = tmp_path / "source"
    shutil.copytree(base, source)
    overrides = (*EVERYTHING, f"init.from={source}", *lora)
    whole = run(tmp_path, *overrides, out="whole")
    with pytest.raises(RunStopped):
        run(tmp_path, *overrides, plugins=(Interrupter(3),))
    shutil.rmtree(source)
    assert_same_training(whole, run(tmp_path, *overrides))


def test_source_is_read_again_if_there_is_no_checkpoint(tmp_path: Path, base: Path) -> None:
    overrides = (SPEAKERS, f"init.from={base}", "train.steps=1")
    folder = run(tmp_path, *overrides)
    before = weights(folder)
    shutil.rmtree(folder / "checkpoints")
    assert all(value.equal(before[name]) for name, value in weights(run(tmp_path, *overrides)).items())


def test_the_record_goes_with_an_init_that_the_spec_no_longer_has(tmp_path: Path, base: Path) -> None:
    """Before the first checkpoint a changed spec replaces the old one: the weights are new then."""
    initial_state(tmp_path, SPEAKERS, f"init.from={base}")
    assert read_init(tmp_path / "initial") is not None
    initial_state(tmp_path, SPEAKERS)
    assert read_init(tmp_path / "initial") is None


def test_resuming_without_init_json_is_rejected(tmp_path: Path, base: Path) -> None:
    overrides = (*LORA, f"init.from={base}", "train.steps=1")
    folder = run(tmp_path, *overrides)
    (folder / "init.json").unlink()
    with pytest.raises(CheckpointError, match=r"run: has no init\.json, which lists the trained parameters"):
        run(tmp_path, *overrides)
