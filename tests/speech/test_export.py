"""Export of a run, and use of the exported voice as a run."""

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from huggingface_hub import ModelCardData
from safetensors import safe_open
from safetensors.torch import load_file

from lina.config.loader import load_spec
from lina.core.errors import CheckpointError, DataError, LinaError, PluginError
from lina.pipeline.speech_job import run_spec
from lina.pipeline.text_set_job import evaluate_voice
from lina.runs.build_model import sketch_lm
from lina.runs.checkpoint import read_weights
from lina.runs.checkpoint_store import newest_checkpoint
from lina.runs.files import read_init
from lina.runs.weight_files import read_weights_file, write_voice_weights
from lina.speech import export as exporting
from lina.speech.export import export
from lina.speech.voice import Voice
from lina.speech.voice_loading import load
from lina.training.init.initialize import check_init
from tests.pipeline.small_run import hooks_of, small

WIDE = ("backbone.d_model=64", "train.steps=2", "train.ema=0.5", "conditions.speaker=true")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_spec(small(tmp_path_factory.mktemp("export"), *WIDE), hooks_of())


@pytest.fixture(scope="module")
def exported(run: Path) -> Path:
    export(run, run.parent / "voice")
    return run.parent / "voice"


@pytest.fixture
def voice(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "voice"))


def weights(path: Path) -> Path:
    return path / "model.safetensors"


def logits(voice: Voice) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    codes = torch.randint(0, 2, (1, 9, len(voice.codec.codebook_sizes)), generator=generator)
    conditions = voice.encode_conditions(voice.model, [voice.ids("two words")], "anna")
    with torch.no_grad():
        found = voice.model.parallel_forward(codes, voice.model.initial_state(1), conditions)[0]
    return found[found.isfinite()]  # smaller codebooks are filled up with -inf


def test_sums_are_of_the_graphs_too(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(directory: Path) -> None:
        (directory / "onnx").mkdir()
        (directory / "onnx" / "step.onnx").write_bytes(b"graph")

    monkeypatch.setattr("lina.speech.graph_export.write_voice_graphs", write)
    done = export(run, tmp_path / "voice", graphs=True)
    listed = [line.split("  ")[1] for line in (done.path / exporting.SUMS).read_text().splitlines()]
    assert "onnx/step.onnx" in listed
    assert "onnx/step.onnx" not in exporting.sums_of(export(run, tmp_path / "plain").path)


def test_it_has_only_the_files_that_synthesis_needs(exported: Path, run: Path) -> None:
    files = sorted(str(path.relative_to(exported)) for path in exported.rglob("*") if path.is_file())
    assert files == [
        "README.md",
        "SHA256SUMS",
        "config.json",
        "model.safetensors",
        "run.json",
        "speakers.json",
        "spec.yaml",
        "tokenizer.json",
    ]
    for path in exported.rglob("*"):
        if path.suffix in (".json", ".yaml", ".md"):
            assert str(run.parent) not in path.read_text(), "a path of the training machine"
    assert weights(exported).stat().st_mode & 0o777 == 0o644
    matrices = sum(value.numel() for value in load(run, "cpu").model.state_dict().values())
    assert weights(exported).stat().st_size < 2 * matrices


@pytest.mark.parametrize(("layout", "error"), [("float32", 0.0), ("bfloat16", 0.02), ("int8", 0.02)])
def test_it_speaks_like_the_averaged_weights_of_the_run(
    run: Path, tmp_path: Path, layout: str, error: float
) -> None:
    done = export(run, tmp_path / "voice", layout)
    there, here = load(run, "cpu"), load(tmp_path / "voice", "cpu")
    assert done.step == 2
    assert done.parameters == sum(value.numel() for value in there.model.state_dict().values())
    assert done.size == sum(path.stat().st_size for path in done.path.rglob("*") if path.is_file())
    assert here.speakers == there.speakers == ("anna", "bert")
    expected, found = logits(there), logits(here)
    assert float((found - expected).norm() / expected.norm()) <= error
    assert found.equal(expected) == (error == 0.0)
    assert torch.isfinite(here.say("one", speaker="bert")).all()


def test_a_run_may_start_from_it(voice: Path, tmp_path: Path) -> None:
    resolved = small(tmp_path, *WIDE, f"init.from={voice}")
    check_init(resolved, sketch_lm(resolved))
    record = read_init(run_spec(resolved, hooks_of()))
    assert record is not None
    assert not any(part.fresh or part.left for part in record.parts)
    assert record.remarks == ()


def test_an_exported_voice_is_exported_again(voice: Path, tmp_path: Path) -> None:
    export(voice, tmp_path / "again")
    assert weights(tmp_path / "again").read_bytes() == weights(voice).read_bytes()


def test_large_weights_are_several_files_with_an_index(
    run: Path, voice: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The layout of the hub: any reader of it finds each tensor, and the voice speaks the same codes."""
    monkeypatch.setattr(exporting, "write_voice_weights", partial(write_voice_weights, largest=100_000))
    done = export(run, tmp_path / "large")
    index = json.loads((done.path / "model.safetensors.index.json").read_text())
    files = sorted(path.name for path in done.path.glob("*.safetensors"))
    assert len(files) > 2
    assert files[0] == f"model-00001-of-{len(files):05d}.safetensors"
    assert set(index["weight_map"].values()) == set(files)
    stored = {name: load_file(done.path / file)[name] for name, file in index["weight_map"].items()}
    assert index["metadata"]["total_size"] == sum(value.nbytes for value in stored.values())
    one, several = load(voice, "cpu"), load(done.path, "cpu")
    assert several.speak(["a text"], seed=1, temperature=1.0)[0].codes.equal(
        one.speak(["a text"], seed=1, temperature=1.0)[0].codes
    )
    config = json.loads((done.path / "config.json").read_text())
    assert config["model_type"] == "lina"
    assert config["lina"]["sha256"].keys() == {*files, "model.safetensors.index.json"}
    (done.path / files[0]).unlink()
    with pytest.raises(
        CheckpointError, match=r"model-00001.*is missing; put it back, or export the voice again"
    ):
        load(done.path, "cpu")


def test_an_index_that_does_not_fit_its_files_is_refused(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "write_voice_weights", partial(write_voice_weights, largest=100_000))
    path = export(run, tmp_path / "large").path / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    name = min(index["weight_map"])
    for harm, message in (
        ({name: "../outside.safetensors"}, "is no name of a file in this folder"),
        ({"more": index["weight_map"][name]}, "its files and it differ in more"),
    ):
        path.write_text(json.dumps(index | {"weight_map": index["weight_map"] | harm}))
        with pytest.raises(CheckpointError, match=message):
            read_weights_file(path)


def test_the_card_has_a_license_of_the_hub(run: Path, tmp_path: Path) -> None:
    done = export(run, tmp_path / "voice", license_id="cc0-1.0", language="en")
    head = yaml.safe_load((done.path / "README.md").read_text().split("---\n")[1])
    assert head["license"] == "cc0-1.0"
    assert head["language"] == ["en"]
    card: Any = ModelCardData(**head)  # the hub's own reader
    assert card.to_dict()["pipeline_tag"] == "text-to-speech"
    with pytest.raises(
        DataError, match=r"license: 'apache' is none that lina knows; did you mean 'apache-2\.0'"
    ):
        export(run, tmp_path / "other", license_id="apache")
    with pytest.raises(DataError, match="is no code of ISO 639"):
        export(run, tmp_path / "other", language="English")


def test_the_card_has_the_facts_of_the_run(exported: Path) -> None:
    _, head, text = (exported / "README.md").read_text().split("---\n", 2)
    assert yaml.safe_load(head)["license"] == "unknown"
    assert "stored as int8. Speakers: `anna`, `bert`." in text
    assert "Corpus `jsonl`: 6 utterances, 0 minutes." in text
    assert "2 steps in " in text
    assert "backbone `gla`, codec `codec2`, tokenizer `bytes`" in text


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(bytes(content))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def other_layout(path: Path) -> None:
    facts = path.with_name("config.json")
    facts.write_text(facts.read_text().replace('"int8"', '"int3"'))


def other_format(path: Path) -> None:
    facts = path.with_name("config.json")
    facts.write_text(facts.read_text().replace('"format": 1', '"format": 7'))


def no_scales(path: Path) -> None:
    """Remove the scales and seal again, like a faulty writer."""
    with safe_open(path, "pt") as file:
        names = [name for name in file.keys() if "|" not in name]  # noqa: SIM118 (no mapping)
        kept = {name: file.get_tensor(name) for name in names}
    facts = {"format": 1, "layout": "int8", "step": 2, "seconds": 1.0, "corpus": ""}
    write_voice_weights(path.parent, kept, facts)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (
            damage,
            r"model\.safetensors: is damaged \(its SHA-256 is not the one in config\.json\); put it back",
        ),
        (truncate, r"model\.safetensors: is damaged .*; put it back"),
        (Path.unlink, r"model\.safetensors: is missing; put it back"),
        (other_layout, "its weights are stored as 'int3', this lina reads int8, bfloat16, float32"),
        (other_format, "is in format 7, this lina reads format 1"),
        (no_scales, r"model\.safetensors: .* has no scales; one per row is needed"),
    ],
)
def test_damaged_and_unknown_weights_are_refused(
    voice: Path, harm: Callable[[Path], None], message: str, caplog: pytest.LogCaptureFixture
) -> None:
    harm(weights(voice))
    with pytest.raises(CheckpointError, match=message):
        load(voice)
    assert not caplog.records, "no log line beside the error"


@pytest.mark.parametrize("name", ["tokenizer.json", "speakers.json"])
def test_a_missing_small_file_is_named(voice: Path, name: str) -> None:
    (voice / name).unlink()
    with pytest.raises(CheckpointError, match=name):
        load(voice)


def test_an_unavailable_codec_is_named(voice: Path) -> None:
    spec = voice / "spec.yaml"
    spec.write_text(
        spec.read_text().replace("plugin: codec2", "plugin: lina\n  config: {release: speech-9}", 1)
    )
    spec.write_text(spec.read_text().replace("  config: {}\ntokenizer", "tokenizer", 1))
    with pytest.raises(LinaError, match="release: expected 'speech-1'"):
        load(voice)
    spec.write_text(spec.read_text().replace("plugin: lina", "plugin: gone", 1))
    with pytest.raises(PluginError, match="gone"):
        load(voice)


def test_files_of_the_codec_are_copied(run: Path, tmp_path: Path) -> None:
    from lina.codecs.lina import LinaCodec
    from lina.codecs.lina.weights import save_weights

    example = LinaCodec.example()["config"]
    network = LinaCodec.build_trainable(config=example.model_copy(update={"random_weights": False}))
    (tmp_path / "run").mkdir()
    save_weights(network, tmp_path / "own.safetensors")
    overrides = ("codec.plugin=lina", f"codec.config.weights={tmp_path / 'own.safetensors'}", "train.steps=1")
    other = run_spec(small(tmp_path / "run", *overrides, "backbone.d_model=16"), hooks_of())
    with pytest.raises(CheckpointError, match=r"outside of the run; .* export again with --file .*own\.safe"):
        export(other, tmp_path / "voice")
    assert not list(tmp_path.glob("*voice*"))
    done = export(other, tmp_path / "voice", files=[tmp_path / "own.safetensors"])
    (tmp_path / "own.safetensors").unlink()
    moved = Path(shutil.move(done.path, tmp_path / "elsewhere"))
    assert load_spec(moved / "spec.yaml").codec.config == {"weights": "codec/own.safetensors"}
    assert load(moved, "cpu").say("one").shape[1] > 0
    with pytest.raises(CheckpointError, match=r"own\.safetensors: does not exist, and the voice needs it"):
        export(other, tmp_path / "second")
    assert not list(tmp_path.glob("*second*"))


def test_an_unusable_destination_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="exists already; name a new directory"):
        export(run, tmp_path)
    with pytest.raises(DataError, match=r"there is no folder .*/no; create it first"):
        export(run, tmp_path / "no" / "voice")


def test_a_folder_that_is_no_run_or_has_no_checkpoint_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is not a run"):
        export(tmp_path, tmp_path / "voice")
    (tmp_path / "young").mkdir()
    shutil.copy(run / "spec.yaml", tmp_path / "young")
    with pytest.raises(CheckpointError, match="has no complete checkpoint yet"):
        export(tmp_path / "young", tmp_path / "voice")


def test_weights_that_are_not_finite_are_refused(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = read_weights

    def broken(*arguments: Any, **options: Any) -> dict[str, torch.Tensor]:
        tensors = real(*arguments, **options)
        tensors["rvq_embed.weight"][0, 0] = float("nan")
        return tensors

    monkeypatch.setattr(exporting, "read_weights", broken)
    with pytest.raises(CheckpointError, match=r"step-00000002: rvq_embed\.weight: holds NaN"):
        export(run, tmp_path / "voice")
    assert list(tmp_path.iterdir()) == []


def test_the_run_is_unchanged(run: Path) -> None:
    checkpoint = newest_checkpoint(run / "checkpoints")
    assert checkpoint is not None
    assert (checkpoint.path / "average.safetensors").is_file()


def test_the_lexicon_goes_with_the_run_and_the_voice(tmp_path: Path) -> None:
    source = tmp_path / "words.tsv"
    source.write_text("one\tˈzu\n")
    texts = 'synthesize.texts=["<speak>One <sub alias=\\"two\\">2</sub> 日 three.</speak>"]'
    settings = (f"synthesize.lexicon={source}", texts, "tokenizer.plugin=phonemes", "train.steps=1")
    own = run_spec(small(tmp_path, *settings, "backbone.d_model=16"), hooks_of())
    source.unlink()
    voice = Path(shutil.move(export(own, tmp_path / "voice").path, tmp_path / "elsewhere"))
    assert load_spec(voice / "spec.yaml").synthesize.lexicon == next(own.glob("lexicon-*.tsv")).relative_to(
        own
    )
    with_lexicon, exported = load(own, "cpu").ids("one"), load(voice, "cpu").ids("one")
    assert with_lexicon == exported
    assert with_lexicon != load(own, "cpu", ["synthesize.lexicon=null"]).ids("one")
    (tmp_path / "other.tsv").write_text("one\tˈtu\n")
    (tmp_path / "texts.txt").write_text("one\n")
    stages = []
    for other in ([], [], [f"synthesize.lexicon={tmp_path / 'other.tsv'}"]):
        kept = tmp_path / "kept"
        evaluate_voice(voice, tmp_path / "texts.txt", out=kept, recognizer=None, settings=other, floor=False)
        stages.append([file.read_text() for file in sorted(kept.rglob("stages.json"))])
    assert stages[0] == stages[1] != stages[2], "the voice's own lexicon, and another"
