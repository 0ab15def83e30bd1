"""Fine-tuning as a run: where it begins, what it trains, how it is resumed, and what is refused before any work."""

import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from lina.core import device
from lina.core.checkpoint import newest_checkpoint
from lina.core.errors import CheckpointError, LinaError, PluginError, SpecError
from lina.core.initialise import initialise
from lina.core.lora import is_adapted, merged
from lina.core.model import build_lm
from lina.core.prepare import prepare
from lina.core.run import run_spec
from lina.core.run_files import read_init
from lina.core.signals import Stopped
from lina.core.spec_load import load_spec
from lina.core.voice import load
from tests.core.small_run import (
    EVERYTHING,
    assert_same_training,
    hooks_of,
    small,
    stored,
    write_corpus,
    write_spec,
)
from tests.core.test_train import Interrupter
from tests.fakes import FakeDistributions

SPEAKERS = "conditions.speaker=true"


def run(folder: Path, *overrides: str, out: str = "run", plugins: tuple[object, ...] = ()) -> Path:
    run_spec(small(folder, *overrides, out=out), hooks_of(*plugins))
    return folder / out


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with speakers anna and bert and averaged weights."""
    return run(tmp_path_factory.mktemp("base"), SPEAKERS, "train.ema=0.5", "train.steps=3", out="base")


def begun(folder: Path, *overrides: str) -> dict[str, Tensor]:
    """The weights with which such a run would begin."""
    resolved = small(folder, *overrides, out="begun")
    hooks = hooks_of()
    from lina.core.hooks import Run

    asked = Run(resolved.spec.train.out, resolved.spec)
    asked.directory.mkdir()
    prepared = prepare(asked, resolved, hooks)
    model = build_lm(
        resolved,
        codebook_sizes=prepared.codec.codebook_sizes,
        vocab_size=prepared.frontend.vocab_size,
        speakers=len(prepared.speakers),
        seed=resolved.spec.seed,
    )
    initialise(asked, resolved, model, prepared)
    return model.state_dict()


def weights(directory: Path, file: str = "model") -> dict[str, Tensor]:
    return {
        name.removeprefix(f"{file}.safetensors "): value
        for name, value in stored(directory).items()
        if name.startswith(f"{file}.safetensors ")
    }


@pytest.mark.parametrize(("average", "file"), [("true", "average"), ("false", "model")])
@pytest.mark.parametrize("where", ["run", "checkpoint"])
def test_a_run_begins_with_the_weights_of_another(
    tmp_path: Path, base: Path, average: str, file: str, where: str
) -> None:
    source = base if where == "run" else base / "checkpoints" / "step-00000003"
    state = begun(tmp_path, SPEAKERS, f"init.from={source}", f"init.average={average}")
    expected = weights(base, file)
    assert state.keys() == expected.keys()
    assert all(value.equal(expected[name]) for name, value in state.items())


def test_other_speakers_codebooks_letters_and_layers(
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
    assert by_part["speakers"].how == ("by name: 2 kept", "1 new: carl", "1 left behind: bert")
    assert by_part["text embeddings"].how[0].startswith("by label: ")
    assert by_part["heads"].how[0] == "14 codebooks kept, 2 new"
    assert by_part["backbone before the text"].how == ("fresh: encoder.layers.1",)
    assert "differs from the source: codec.config.mode: (nothing) -> 1300" in record.remarks
    table = [line for line in caplog.messages if line.startswith("init: ")]
    assert table[0] == f"init: from {record.source}"
    assert len(table) == len(record.remarks) + len(record.parts) + 4
    assert table[-1] == f"init: trained {record.trained:,}, frozen 0"
    assert len({len(line.split("  left")[0]) for line in table if "  left" in line}) == 1


def test_a_tokenizer_that_is_not_here_is_told_and_ids_go_by_number(tmp_path: Path, base: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(base, source)
    spec = source / "spec.yaml"
    spec.write_text(spec.read_text().replace("plugin: bytes", "plugin: gone"))
    state = begun(tmp_path, SPEAKERS, f"init.from={source}")
    assert state["txt_embed.weight"].equal(weights(base, "average")["txt_embed.weight"])
    record = read_init(tmp_path / "begun")
    assert record is not None
    assert any("no tokenizer named 'gone' is installed" in remark for remark in record.remarks)
    assert record.parts[0].how == ("by number: 258 ids kept",)


def test_another_backbone_is_said_in_one_line(tmp_path: Path, base: Path) -> None:
    begun(tmp_path, "backbone.plugin=transformer", "backbone.config={n_heads: 2}", f"init.from={base}")
    record = read_init(tmp_path / "begun")
    assert record is not None
    assert record.remarks == (
        "the backbone was gla and is transformer now: of it only tensors of the same name and shape are loaded",
    )
    half = next(one for one in record.parts if one.part == "backbone before the text")
    assert min(half.loaded, half.fresh, half.left) > 0


LORA = (SPEAKERS, "init.lora.rank=2", "train.ema=0.8", "train.dropout=0.2", "conditions.drop_speaker=0.3")


def test_low_rank_matrices_are_all_that_changes_and_the_voice_speaks_merged(
    tmp_path: Path, base: Path
) -> None:
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


def test_with_low_rank_matrices_what_is_new_is_trained_whole(tmp_path: Path, base: Path) -> None:
    manifest = write_corpus(tmp_path / "corpus")
    manifest.write_text(manifest.read_text().replace("bert", "carl"))
    folder = run(tmp_path, *LORA, "backbone.n_layers=2", f"init.from={base}", "train.steps=2")
    record = read_init(folder)
    assert record is not None
    assert "speaker_embed.weight" in record.whole
    assert all("layers.1." in name for name in record.whole if name != "speaker_embed.weight")
    assert all("layers.0." in name for name in record.targets)


def test_a_fine_tuned_run_is_a_source_itself(tmp_path: Path, base: Path) -> None:
    folder = run(tmp_path, *LORA, f"init.from={base}", "train.steps=2")
    state = begun(tmp_path, SPEAKERS, f"init.from={folder}")
    expected = merged(weights(folder, "average"))
    assert all(value.equal(expected[name]) for name, value in state.items())


@pytest.mark.parametrize("lora", [(), ("init.lora.rank=2",)])
def test_a_stopped_run_goes_on_bit_for_bit_without_its_source(
    tmp_path: Path, base: Path, lora: tuple[str, ...]
) -> None:
    source = tmp_path / "source"
    shutil.copytree(base, source)
    asked = (*EVERYTHING, f"init.from={source}", *lora)
    whole = run(tmp_path, *asked, out="whole")
    with pytest.raises(Stopped):
        run(tmp_path, *asked, plugins=(Interrupter(3),))
    shutil.rmtree(source)
    assert_same_training(whole, run(tmp_path, *asked))


def test_the_source_is_read_again_if_nothing_was_trained_yet(tmp_path: Path, base: Path) -> None:
    asked = (SPEAKERS, f"init.from={base}", "train.steps=1")
    folder = run(tmp_path, *asked)
    before = weights(folder)
    shutil.rmtree(folder / "checkpoints")
    assert all(value.equal(before[name]) for name, value in weights(run(tmp_path, *asked)).items())


def test_a_resumed_run_without_its_record_is_refused(tmp_path: Path, base: Path) -> None:
    asked = (*LORA, f"init.from={base}", "train.steps=1")
    folder = run(tmp_path, *asked)
    (folder / "init.json").unlink()
    with pytest.raises(
        CheckpointError, match=r"run: has no init\.json, which says what of this run is trained"
    ):
        run(tmp_path, *asked)


def damaged(base: Path, folder: Path) -> Path:
    shutil.copytree(base, folder / "damaged")
    for file in (folder / "damaged" / "checkpoints").glob("*/average.safetensors"):
        file.write_bytes(file.read_bytes()[:-1])
    return folder / "damaged"


def emptied(base: Path, folder: Path, name: str) -> Path:
    shutil.copytree(base, folder / "emptied")
    there = folder / "emptied" / name
    shutil.rmtree(there) if there.is_dir() else there.unlink()
    return folder / "emptied"


def refused(folder: Path, *overrides: str) -> str:
    """The one line with which such a run is refused before any work."""
    with pytest.raises(LinaError) as error:
        run(folder, *overrides, out="refused")
    assert not (folder / "refused").exists()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_sources_that_are_none(tmp_path: Path, base: Path) -> None:
    told = refused(tmp_path, f"init.from={base.parent / 'bose'}")
    assert (
        told == f"init.from: {base.parent / 'bose'}: does not exist; did you mean '{base}'? (known: {base})"
    )
    (tmp_path / "empty").mkdir()
    assert "empty: is not a run (no " in refused(tmp_path, f"init.from={tmp_path / 'empty'}")
    told = refused(tmp_path, f"init.from={base / 'spec.yaml'}")
    assert "is a file; name the directory of a run, or say init.backbone" in told
    shutil.copytree(base / "checkpoints" / "step-00000003", tmp_path / "lonely" / "step-00000003")
    told = refused(tmp_path, f"init.from={tmp_path / 'lonely' / 'step-00000003'}")
    assert "is a checkpoint outside of its run" in told


def test_sources_that_are_damaged(tmp_path: Path, base: Path) -> None:
    told = refused(tmp_path, f"init.from={damaged(base, tmp_path)}")
    assert told.endswith(
        "damaged/checkpoints: none of its 2 checkpoints is whole; name another run or checkpoint"
    )
    told = refused(tmp_path, f"init.from={tmp_path / 'damaged' / 'checkpoints' / 'step-00000003'}")
    assert "average.safetensors: is damaged (its SHA-256 is not the one in checkpoint.json)" in told
    told = refused(tmp_path, f"init.from={emptied(base, tmp_path, 'checkpoints')}")
    assert "has no checkpoint yet; train it first" in told


def test_codebooks_that_nobody_knows(tmp_path: Path, base: Path) -> None:
    source = emptied(base, tmp_path, "data/summary.json")
    begun(tmp_path, f"init.from={source}")
    spec = source / "spec.yaml"
    spec.write_text(spec.read_text().replace("plugin: codec2", "plugin: gone"))
    with pytest.raises(PluginError, match="no codec named 'gone' is installed"):
        run(tmp_path, f"init.from={source}")


def test_another_width_and_unknown_targets(tmp_path: Path, base: Path) -> None:
    told = refused(tmp_path, "backbone.d_model=32", f"init.from={base}")
    assert told == (
        f"init.from: {base}: is a model of width 16, but backbone.d_model is 32, "
        "so that nothing of it would fit; say d_model: 16"
    )
    told = refused(tmp_path, f"init.from={base}", "init.lora.targets=[q_porj]")
    assert "no linear layer is named 'q_porj'; did you mean 'q_proj'?" in told


@pytest.mark.parametrize(
    ("wrong", "told"),
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
def test_keys_that_are_wrong(tmp_path: Path, base: Path, wrong: str, told: str) -> None:
    assert told in refused(tmp_path, f"init.from={base}", wrong)


def test_low_rank_matrices_need_something_to_adapt(tmp_path: Path, base: Path) -> None:
    assert "lora adapts loaded weights; say where they are: from, or backbone" in refused(
        tmp_path, "init.lora.rank=2"
    )
    shutil.copytree(base, tmp_path / "source")
    path = tmp_path / "source" / "checkpoints" / "step-00000003" / "average.safetensors"
    kept = {name: value for name, value in load_file(path).items() if "coder.layers" not in name}
    save_file(kept, path)
    facts = json.loads((path.parent / "checkpoint.json").read_text())
    del facts["sha256"]["average.safetensors"]
    (path.parent / "checkpoint.json").write_text(json.dumps(facts))
    with pytest.raises(
        SpecError, match=r"init\.lora: none of its 18 layers was loaded from .*; leave lora out"
    ):
        run(tmp_path, f"init.from={tmp_path / 'source'}", "init.lora.rank=2")


def test_a_relative_source_is_relative_to_its_spec(tmp_path: Path, base: Path) -> None:
    shutil.copytree(base, tmp_path / "source")
    path = write_spec(tmp_path)
    path.write_text(path.read_text() + "init: {from: source}\n")
    from lina.core.resolve import resolve

    spec = resolve(load_spec(path, [f"train.out={tmp_path / 'run'}"])).spec
    assert spec.init.source == tmp_path / "source"
    assert f"from: {tmp_path / 'source'}" in spec.to_yaml()


def test_sizes_that_do_not_fit_are_refused_before_any_work(tmp_path: Path) -> None:
    assert "is not a multiple of n_heads = 3" in refused(tmp_path, "backbone.config.n_heads=3")
    assert "is not a multiple of n_heads = 2" in refused(tmp_path, "text.position_dim=9")


def test_precision_auto_is_kept_over_a_resumption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(device, "_cpu_multiplies_bfloat16", lambda: False)
    auto = "train.precision=auto"
    whole = run(tmp_path, auto, out="whole")
    with pytest.raises(Stopped):
        run(tmp_path, auto, plugins=(Interrupter(2),))
    monkeypatch.setattr(device, "_cpu_multiplies_bfloat16", lambda: True)
    assert_same_training(whole, run(tmp_path, auto))
    assert any("was trained in float32 and goes on in it" in line for line in caplog.messages)
    last = newest_checkpoint(tmp_path / "run" / "checkpoints")
    assert last is not None
    assert last.precision == "float32"


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
    assert f"{path}: does not exist" in refused(tmp_path, importing, f"init.backbone={path}")
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
