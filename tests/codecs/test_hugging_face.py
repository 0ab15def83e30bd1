"""Mimi and DAC over transformers' classes, on random weights in the layout of the released ones."""

import copy
import logging
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from lina.codecs.encodec import EnCodec, EnCodecConfig
from lina.codecs.hugging_face.config import HuggingFaceConfig
from lina.codecs.hugging_face.dac import DAC
from lina.codecs.hugging_face.mimi import Mimi
from lina.config.source_map import Origin
from lina.config.validation import validate
from lina.core.audio.codec import decode, encode
from lina.core.errors import DataError, PluginError, SpecError
from lina.runs.provenance import files_of

PLUGINS: Any = (DAC, Mimi)


@pytest.fixture(params=PLUGINS, ids=["dac", "mimi"])
def plugin(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def saved(plugin: Any, tmp_path: Path) -> Path:
    """A folder as ``save_pretrained`` writes it."""
    built = plugin.build(**plugin.example())
    built.model.save_pretrained(tmp_path / "weights")
    return tmp_path / "weights"


def speech(codec: Any) -> torch.Tensor:
    return 0.3 * torch.randn(1, 1, 11 * codec.hop, generator=torch.Generator().manual_seed(0))


def test_a_folder_gives_the_same_codes_and_audio(plugin: Any, saved: Path) -> None:
    built = plugin.build(**plugin.example())
    read = plugin.build(config=HuggingFaceConfig(weights=saved))
    codes = encode(built, speech(built))
    assert codes.equal(encode(read, speech(built)))
    assert decode(built, codes).equal(decode(read, codes))
    assert codes.equal(built.model.encode(speech(built)).audio_codes.transpose(1, 2))


@torch.no_grad()
def test_a_copy_uses_its_own_weights(plugin: Any) -> None:
    built = plugin.build(**plugin.example())
    audio = speech(built)
    codes = encode(built, audio)
    expected = decode(built, codes)
    copied = copy.deepcopy(built)
    for parameter in copied.parameters():
        parameter.zero_()
    assert not decode(copied, codes).equal(expected)
    assert not encode(copied, audio).equal(codes)
    assert decode(built, codes).equal(expected)


def test_fewer_codebooks_are_the_first_ones(plugin: Any, saved: Path) -> None:
    full = plugin.build(config=HuggingFaceConfig(weights=saved))
    few = plugin.build(config=HuggingFaceConfig(weights=saved, codebooks=2))
    assert few.codebook_sizes == full.codebook_sizes[:2]
    assert encode(few, speech(full)).equal(encode(full, speech(full))[..., :2])
    with pytest.raises(SpecError, match=r"config\.codebooks is 60; these weights"):
        plugin.build(config=HuggingFaceConfig(weights=saved, codebooks=60))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(plugin: Any, saved: Path, name: str) -> None:
    (saved / name).unlink()
    with pytest.raises(PluginError, match=f"has no {name}; name a folder"):
        plugin.build(config=HuggingFaceConfig(weights=saved))


def test_incomplete_weights_are_refused(plugin: Any, saved: Path, caplog: pytest.LogCaptureFixture) -> None:
    """transformers would draw the missing ones at random."""
    caplog.set_level(logging.CRITICAL)
    tensors = load_file(saved / "model.safetensors")
    name = min(name for name in tensors if name.startswith("decoder"))
    del tensors[name]
    save_file(tensors, saved / "model.safetensors", {"format": "pt"})
    with pytest.raises(PluginError, match="1 tensors are missing or of another shape"):
        plugin.build(config=HuggingFaceConfig(weights=saved))


def test_another_architecture_is_refused(saved: Path, plugin: Any) -> None:
    other = next(one for one in PLUGINS if one is not plugin)
    with pytest.raises(PluginError) as error:
        other.build(config=HuggingFaceConfig(weights=saved))
    assert "\n" not in str(error.value)


class Output:
    """Switches of progress bars and warnings, of transformers and of the hub."""

    def __init__(self) -> None:
        from huggingface_hub import utils
        from transformers.utils import logging as output

        self.own: Any = output
        self.hub: Any = utils

    @property
    def state(self) -> tuple[int, bool, bool]:
        bars = self.own.is_progress_bar_enabled(), not self.hub.are_progress_bars_disabled()
        return self.own.get_verbosity(), *bars

    def switch(self, own: bool, hub: bool) -> None:
        (self.own.enable_progress_bar if own else self.own.disable_progress_bar)()
        (self.hub.enable_progress_bars if hub else self.hub.disable_progress_bars)()


def test_nothing_but_one_line_is_printed_about_wrong_weights(
    plugin: Any, saved: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """transformers would print a progress bar and a table, or a warning about the type of the model."""
    before = Output().state
    tensors = load_file(saved / "model.safetensors")
    del tensors[min(name for name in tensors if name.startswith("decoder"))]
    save_file(tensors, saved / "model.safetensors", {"format": "pt"})
    capfd.readouterr()
    for one in PLUGINS:
        with pytest.raises(PluginError):
            one.build(config=HuggingFaceConfig(weights=saved))
    assert (*capfd.readouterr(), caplog.text) == ("", "", "")
    assert Output().state == before


@pytest.mark.parametrize("bars", [(True, True), (True, False), (False, True), (False, False)])
def test_the_users_choice_of_progress_bars_stays(plugin: Any, saved: Path, bars: tuple[bool, bool]) -> None:
    output = Output()
    _, *before = output.state
    try:
        output.switch(*bars)
        plugin.build(config=HuggingFaceConfig(weights=saved))
        assert output.state[1:] == bars
    finally:
        output.switch(*before)


def test_there_is_one_source_of_weights(plugin: Any, tmp_path: Path) -> None:
    with pytest.raises(
        PluginError, match=r"has no weights; write config\.weights: FOLDER .* or config\.weights: hf://"
    ):
        plugin.build(config=HuggingFaceConfig())
    with pytest.raises(SpecError, match="remove random_weights and sizes"):
        plugin.build(config=HuggingFaceConfig(weights=tmp_path, random_weights=True))
    with pytest.raises(PluginError, match=r"config\.sizes: .*; use keys of config\.json"):
        plugin.build(config=HuggingFaceConfig(random_weights=True, sizes={"codebook_size": "many"}))


def test_without_transformers_it_is_one_line(plugin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(PluginError, match=r"needs transformers .*pip install 'lina\[codecs\]'"):
        plugin.build(**plugin.example())


def test_weights_may_be_on_the_hub(plugin: Any, saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = []

    def fetch(address: str, patterns: tuple[str, ...]) -> Path:
        requests.append((address, patterns))
        return saved

    monkeypatch.setattr("lina.codecs.hugging_face.weights.fetch", fetch)
    config = validate(HuggingFaceConfig, {"weights": "hf://org/name@abc"}, Origin(), ())
    plugin.build(config=config)
    assert requests == [("hf://org/name@abc", ("config.json", "model.safetensors"))]


def test_encodec_takes_an_address_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINA_CACHE", str(tmp_path))
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    config = validate(EnCodecConfig, {"weights": "hf://facebook/encodec_24khz@abc"}, Origin(), ())
    with pytest.raises(DataError, match="cannot be reached, and is not in the cache"):
        EnCodec.build(config=config)


def test_hashes_of_weights_are_recorded(saved: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (name,) = files_of(HuggingFaceConfig(weights=saved))
    assert name == "model.safetensors"
    monkeypatch.setenv("LINA_CACHE", str(tmp_path))
    folder = tmp_path / "hub" / "org--name@abc"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    address = "hf://org/name@abc"
    found = files_of(HuggingFaceConfig(weights=address))
    assert list(found) == [f"{address}/model.safetensors"]
    assert len(found[f"{address}/model.safetensors"]) == 64
