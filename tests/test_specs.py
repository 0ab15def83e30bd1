"""The specs that people run: each loads, finds its plugins, and its sizes make a model."""

from pathlib import Path

import pytest
from torch import nn

from lina.config.codec_resolve import resolve_codec
from lina.config.codec_spec import CodecSpec
from lina.config.loader import load_job, load_spec
from lina.config.resolve import resolve
from lina.runs.build_model import build_lm, count_parameters

ROOT = Path(__file__).parents[1]
EVERY = sorted((ROOT / "specs").glob("*.yaml"))
CODECS = [path for path in EVERY if path.stem.startswith("codec")]
SPECS = [path for path in EVERY if path not in CODECS]
LARGEST = 20_000_000
"""Parameters; larger models belong into no spec that claims to run without a cluster."""


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_a_spec_loads_resolves_and_builds(path: Path) -> None:
    resolved = resolve(load_spec(path))
    assert resolved.spec.name == path.stem
    assert resolved.spec.train.out == Path("runs") / path.stem
    codec = resolved.codec.plugin.build(config=resolved.codec.config)
    tokenizer = resolved.tokenizer.plugin.build(config=resolved.tokenizer.config)
    sizes, vocabulary = codec.codebook_sizes, tokenizer.vocab_size
    model = build_lm(resolved, codebook_sizes=sizes, vocab_size=vocabulary, speakers=0, seed=0)
    assert 1_000_000 < count_parameters(model) < LARGEST


@pytest.mark.parametrize("path", CODECS, ids=lambda path: path.stem)
def test_a_spec_of_a_codec_resolves_and_builds(path: Path) -> None:
    spec = load_job(path)
    assert isinstance(spec, CodecSpec)
    assert (spec.name, spec.train.out) == (path.stem, Path("runs") / path.stem)
    resolved = resolve_codec(spec)
    codec = resolved.codec.plugin.build_trainable(config=resolved.codec.config)
    assert isinstance(codec, nn.Module)
    trained = sum(one.numel() for one in codec.parameters() if one.requires_grad)
    assert 10_000 < trained < 4_000_000


def test_there_are_specs_to_check() -> None:
    assert {"first", "asterisk"} <= {path.stem for path in SPECS}
    assert {"codec", "codec-speech-2", "codec-tiny"} == {path.stem for path in CODECS}


@pytest.mark.parametrize("plugin", ["transformer", "gla"])
def test_the_backbone_of_a_spec_is_one_line(plugin: str) -> None:
    """Nothing of one backbone's configuration stands in another's way."""
    assert (
        resolve(load_spec(ROOT / "specs/first.yaml", [f"backbone.plugin={plugin}"])).backbone.record.name
        == plugin
    )


@pytest.mark.parametrize(
    "line",
    [
        ("codec.config.codebooks=4",),
        ("codec.plugin=codec2",),
        ("codec.plugin=encodec", "codec.config.random_weights=true"),
    ],
)
def test_the_codec_of_a_spec_is_one_line(line: tuple[str, ...]) -> None:
    codec = resolve(load_spec(ROOT / "specs/first.yaml", line)).codec
    assert codec.plugin.build(config=codec.config).codebook_sizes
