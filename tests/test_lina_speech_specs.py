"""specs/lina_speech: the models of lina-speech, parameter for parameter."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lina.config.loader import load_spec
from lina.config.resolve import ResolvedSpec, resolve
from lina.config.spec import Spec
from lina.convert.lina_speech.names import lina_speech_name
from lina.convert.lina_speech.sizes import read_sizes
from lina.convert.lina_speech.spec import spec_of
from lina.core.errors import SpecError
from lina.core.model.delay_lm import DelayLM
from lina.runs.build_model import build_lm, count_parameters

FOLDER = Path(__file__).parents[1] / "specs/lina_speech"
NAMED = ("data.config.path=corpus", "codec.config.weights=weights.th", "tokenizer.config.file=bpe256.json")
VOCABULARY = {"rwkv6-60m": 180}
"""Text ids; all others had 256."""
MODELS = ["gla-60m", "gla-130m", "gla-230m", "mamba-60m", "rwkv6-60m"]


def resolved(name: str, *overrides: str) -> ResolvedSpec:
    return resolve(load_spec(FOLDER / f"{name}.yaml", [*NAMED, *overrides]))


def build(name: str) -> DelayLM:
    with torch.device("meta"):
        vocabulary = VOCABULARY.get(name, 256)
        return build_lm(resolved(name), codebook_sizes=(1024,) * 4, vocab_size=vocabulary, speakers=0, seed=0)


def stored(name: str) -> dict[str, Tensor]:
    """A checkpoint of lina-speech of that size, without its numbers."""
    spec, model = resolved(name).spec, build(name)
    tensors = {
        lina_speech_name(key, spec.backbone.plugin): value for key, value in model.state_dict().items()
    }
    for joined in ("rvq_embed.weight", "logits_head.weight"):
        tensors[joined] = tensors[joined].unflatten(0, (4, -1))
    width = spec.backbone.d_model
    text = width // spec.text.heads // 4
    lengths = {f"txt_encoder.sa.{layer}.tmix.rotary.freqs": text for layer in range(spec.text.layers)}
    lengths["attentive_rnn.cross_att.rotary.freqs"] = width // 4
    return tensors | {key: 10000.0 ** (-torch.arange(n) / n) for key, n in lengths.items()}


def frequencies(spec: Spec) -> int:
    """Lina-speech counted and stored rotary frequencies, which lina computes: of the attention, of each text layer."""
    width = spec.backbone.d_model
    return width // 4 + spec.text.layers * (width // spec.text.heads // 4)


@pytest.mark.parametrize(
    ("name", "numbers", "tensors"),
    [("gla-60m", 59_874_952, 336), ("gla-130m", 131_031_596, 336), ("mamba-60m", 62_617_604, 407)],
)
def test_parameter_count_equals_that_of_lina_speech(name: str, numbers: int, tensors: int) -> None:
    model, spec = build(name), resolved(name).spec
    assert count_parameters(model) + frequencies(spec) == numbers
    assert len(model.state_dict()) + 1 + spec.text.layers == tensors


@pytest.mark.parametrize(("name", "millions", "digits"), [("gla-230m", 232.6, 1), ("rwkv6-60m", 65.66, 2)])
def test_parameter_count_rounds_to_the_published_figure(name: str, millions: float, digits: int) -> None:
    numbers = count_parameters(build(name)) + frequencies(resolved(name).spec)
    assert round(numbers / 1e6, digits) == millions


def test_rwkv6_has_the_size_of_its_checkpoint() -> None:
    """263 MB; torch's zip format takes 392 bytes more a tensor."""
    model, spec = build("rwkv6-60m"), resolved("rwkv6-60m").spec
    tensors = len(model.state_dict()) + 1 + spec.text.layers
    assert tensors == 479
    assert round((4 * (count_parameters(model) + frequencies(spec)) + 392 * tensors) / 1e6) == 263


@pytest.mark.parametrize("name", MODELS)
def test_a_checkpoint_of_that_size_is_read_as_that_spec(name: str) -> None:
    ours, tensors = resolved(name), stored(name)
    read = resolve(spec_of(read_sizes(tensors), Path("lina-speech.pt"), Path("run"), None))
    assert read.backbone.config == ours.backbone.config
    without_config: dict[str, Any] = {"config": {}}
    assert read.spec.backbone.model_copy(update=without_config) == ours.spec.backbone.model_copy(
        update=without_config
    )
    written = {"dropout": ours.spec.text.dropout, "rotary_channels": None}
    assert read.spec.text.rotary_channels == ours.spec.backbone.d_model // 2, "half, which is the default"
    assert read.spec.text.model_copy(update=written) == ours.spec.text
    assert read.spec.synthesize.temperature == ours.spec.synthesize.temperature
    assert sum(tensor.numel() for tensor in tensors.values()) == count_parameters(build(name)) + frequencies(
        ours.spec
    )


@pytest.mark.parametrize("name", MODELS)
def test_training_settings_are_those_of_lina_speech(name: str) -> None:
    spec = resolved(name).spec
    assert spec.name == name
    assert spec.codec.config["codebooks"] == 4
    train = spec.train
    assert (train.lr, train.weight_decay, train.warmup, train.betas) == (5e-4, 0.1, 500, (0.9, 0.999))
    assert train.precision == "bfloat16"
    assert int(train.batch_seconds * 75) // 2000 == 8


@pytest.mark.parametrize("name", MODELS)
def test_missing_names_are_requested(name: str) -> None:
    for missing in range(len(NAMED)):
        inputs = [one for place, one in enumerate(NAMED) if place != missing]
        key = NAMED[missing].partition("=")[0]
        with pytest.raises(SpecError, match=rf"{key}: has no value yet"):
            load_spec(FOLDER / f"{name}.yaml", inputs)
    bytes_instead = load_spec(FOLDER / f"{name}.yaml", [*NAMED[:2], "tokenizer.plugin=bytes"])
    assert resolve(bytes_instead).tokenizer.record.name == "bytes"


def test_there_is_no_other_spec() -> None:
    assert {path.stem for path in FOLDER.glob("*.yaml")} == {*MODELS, "common"}
