"""Layers by pattern in a spec: trained, spoken, resumed; mistakes in one line."""

from pathlib import Path

import pytest

from lina.config.loader import load_spec
from lina.config.resolve import resolve
from lina.config.stored import load_run_spec
from lina.core.errors import LinaError
from lina.core.model.stack import Block, MixerStack
from lina.pipeline.speech_job import run_spec
from lina.runs.build_model import sketch_lm
from lina.runs.files import read_run_info
from lina.speech.voice_loading import load
from tests.pipeline.small_run import hooks_of, small

LAYERS = "backbone.layers=[{gla: {n_heads: 2}}, mamba]"


def test_a_stack_of_two_kinds_trains_and_speaks(tmp_path: Path) -> None:
    options = (LAYERS, "backbone.after=[{gla: {n_heads: 4}}]", "backbone.n_layers=2", "train.steps=1")
    resolved = small(tmp_path, *options)
    run_spec(resolved, hooks_of())
    voice = load(tmp_path / "run", device="cpu")
    assert [type(one) for one in voice.model.encoder.layers] == [Block, MixerStack]
    assert [one.tmix.n_heads for one in voice.model.decoder.layers] == [4, 4]
    assert voice.say("one").shape[0] == 1
    info = read_run_info(tmp_path / "run")
    assert info is not None
    assert {one.name for one in info.plugins if one.role == "backbone"} == {"gla", "mamba"}
    again = resolve(load_run_spec(tmp_path / "run"))
    assert again.spec.backbone == resolved.spec.backbone
    run_spec(small(tmp_path, *options), hooks_of())


def test_the_pattern_is_that_of_both_parts_and_repeats(tmp_path: Path) -> None:
    spec = tmp_path / "small.yaml"
    small(tmp_path)
    named = "backbone: {plugin: gla, d_model: 16, n_layers: 1, config: {n_heads: 2}}"
    spec.write_text(
        spec.read_text().replace(
            named, "backbone: {layers: [{gla: {n_heads: 2}}, mamba], d_model: 16, n_layers: 3}"
        )
    )
    resolved = resolve(load_spec(spec))
    assert (resolved.spec.backbone.plugin, resolved.spec.backbone.config) == ("gla", {"n_heads": 2})
    model = sketch_lm(resolved)
    for part in (model.encoder, model.decoder):
        assert [type(one) for one in part.layers] == [Block, MixerStack, Block]


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        (
            "backbone.layers=[mamb]",
            "backbone.layers.0: no backbone named 'mamb' is installed; did you mean 'mamba'",
        ),
        (
            "backbone.layers=[{gla: {heads: 2}}]",
            "backbone.layers.0.gla.heads: unknown key; did you mean 'n_heads'",
        ),
        ("backbone.layers=[]", "backbone.layers: expected"),
    ],
)
def test_mistakes_name_their_place(tmp_path: Path, override: str, reason: str) -> None:
    with pytest.raises(LinaError, match=reason) as refused:
        small(tmp_path, override)
    assert "\n" not in str(refused.value)


def test_imported_weights_are_of_one_backbone(tmp_path: Path) -> None:
    with pytest.raises(LinaError, match=r"init\.backbone imports weights of one backbone"):
        small(tmp_path, LAYERS, "backbone.n_layers=2", "init.backbone=model.pth")


def test_neither_plugin_nor_layers(tmp_path: Path) -> None:
    spec = tmp_path / "small.yaml"
    small(tmp_path)
    spec.write_text(spec.read_text().replace("plugin: gla, d_model", "d_model"))
    with pytest.raises(LinaError, match="backbone: plugin is missing; add it, or layers"):
        load_spec(spec)
