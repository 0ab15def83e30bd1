import json
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from lina.codecs.lina import LinaCodec, LinaCodecConfig
from lina.codecs.lina.network import Network
from lina.codecs.lina.plugin import RELEASES
from lina.codecs.lina.quantizer import Quantizer
from lina.codecs.lina.sizes import NetworkSizes
from lina.codecs.lina.weights import load_network
from lina.core.audio.codec import decode, encode
from lina.core.errors import PluginError, SpecError

TINY = LinaCodec.example()["config"].sizes


@pytest.fixture
def network() -> Network:
    torch.manual_seed(0)
    network = Network(TINY)
    network.quantizer.entries.normal_()
    return network


@pytest.fixture
def weights(network: Network, tmp_path: Path) -> Path:
    path = tmp_path / "codec.safetensors"
    LinaCodec.save_trained(network, path)
    return path


def noise(frames: int, rows: int = 1) -> torch.Tensor:
    return 0.1 * torch.randn(rows, 1, frames * TINY.hop, generator=torch.Generator().manual_seed(1))


def test_training_and_use_compute_the_same(network: Network, weights: Path) -> None:
    network.load_state_dict(load_network(weights).state_dict())
    codec = LinaCodec.build(config=LinaCodecConfig(weights=weights))
    audio = noise(12, rows=2)
    reconstruction = network.reconstruct(audio, torch.tensor([3, 3]))
    codes = encode(codec, audio)
    assert torch.equal(reconstruction.codes, codes)
    torch.testing.assert_close(reconstruction.audio, decode(codec, codes))


def test_a_row_uses_its_own_number_of_codebooks(network: Network, weights: Path) -> None:
    network.load_state_dict(load_network(weights).state_dict())
    audio = noise(12).expand(3, -1, -1)
    reconstruction = network.reconstruct(audio, torch.tensor([1, 2, 3]))
    for row, codebooks in enumerate((1, 2, 3)):
        codec = LinaCodec.build(config=LinaCodecConfig(weights=weights, codebooks=codebooks))
        assert codec.codebook_sizes == (16,) * codebooks
        alone = decode(codec, encode(codec, audio[row : row + 1]))
        torch.testing.assert_close(reconstruction.audio[row : row + 1], alone)


def test_gradients_reach_every_weight(network: Network) -> None:
    reconstruction = network.reconstruct(noise(12, rows=2), torch.tensor([3, 2]))
    (reconstruction.audio.square().mean() + reconstruction.commitment).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_the_encoder_waits_for_its_lookahead_and_no_longer(network: Network, weights: Path) -> None:
    codec = LinaCodec.build(config=LinaCodecConfig(weights=weights))
    assert (codec.encoder.latency, codec.decoder.latency) == (1, 0)
    audio = noise(12)
    changed = audio.clone()
    changed[..., 8 * TINY.hop :] += 0.3
    same = (encode(codec, audio) == encode(codec, changed)).all(-1)[0]
    assert same[:7].all()
    assert not same.all()


def test_entries_become_the_means_of_their_vectors() -> None:
    torch.manual_seed(0)
    centres = torch.randn(8, 4) * 5
    quantizer, generator = Quantizer(2, 32, 4), torch.Generator().manual_seed(0)
    for _ in range(600):
        latents = (centres[torch.randint(8, (4, 32))] + 0.01 * torch.randn(4, 32, 4)).requires_grad_()
        found = quantizer.quantize(latents, torch.tensor([2, 2, 2, 1]))
        quantizer.learn(found.rests, found.codes, found.used, generator)
    assert found.codes[..., 0].unique().numel() >= 8
    assert float(found.commitment.detach()) < 0.01
    torch.testing.assert_close(found.latents, latents, atol=0.1, rtol=0.0)


def test_codebooks_that_no_row_goes_through_stay_as_they_are(network: Network) -> None:
    before = network.quantizer.entries.clone()
    reconstruction = network.reconstruct(noise(12, rows=2), torch.tensor([2, 1]))
    network.learn_codebooks(reconstruction, torch.Generator().manual_seed(0))
    after = network.quantizer.entries
    assert not torch.equal(after[:2], before[:2])
    assert torch.equal(after[2], before[2])


def test_learning_is_a_function_of_its_generator(network: Network) -> None:
    reconstruction = network.reconstruct(noise(12, rows=2), torch.tensor([3, 3]))
    results = []
    for seed in (0, 0, 1):
        other = Network(TINY)
        other.load_state_dict(network.state_dict())
        other.learn_codebooks(reconstruction, torch.Generator().manual_seed(seed))
        results.append(other.quantizer.entries)
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_weights_files_are_half_as_wide_and_bring_their_sizes(network: Network, weights: Path) -> None:
    tensors = load_file(weights)
    assert {value.dtype for value in tensors.values()} == {torch.bfloat16}
    assert not [name for name in tensors if name.endswith(("counts", "sums"))]
    assert load_network(weights).sizes == TINY


def test_training_goes_on_from_weights(weights: Path) -> None:
    network = LinaCodec.build_trainable(config=LinaCodecConfig(weights=weights))
    assert network.sizes == TINY
    assert all(parameter.requires_grad for parameter in network.parameters())
    before = network.quantizer.entries.clone()
    network.learn_codebooks(network.reconstruct(noise(12), torch.tensor([3])), torch.Generator())
    assert float((network.quantizer.entries - before).abs().max()) < 0.1


def test_codes_stay_when_the_decoder_alone_is_trained(weights: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "weights": weights,
        "freeze_codes": True,
        "decoder_slow_blocks": 2,
        "decoder_fast_blocks": 4,
    }
    network = LinaCodec.build_trainable(config=LinaCodecConfig(**settings))
    before = LinaCodec.build(config=LinaCodecConfig(weights=weights))
    audio = noise(12, rows=2)
    reconstruction = network.reconstruct(audio, torch.tensor([3, 2]))
    expected = load_network(weights).reconstruct(audio, torch.tensor([3, 2]))
    assert torch.equal(reconstruction.audio, expected.audio), "added blocks are identities"
    optimizer = torch.optim.Adam((one for one in network.parameters() if one.requires_grad), 1e-2)
    for _ in range(2):
        optimizer.zero_grad()
        reconstruction = network.reconstruct(audio, torch.tensor([3, 2]))
        reconstruction.audio.square().mean().backward()
        optimizer.step()
        network.learn_codebooks(reconstruction, torch.Generator().manual_seed(0))
    for name, parameter in network.named_parameters():
        assert (parameter.grad is not None) == name.startswith("decoder."), name
        assert parameter.grad is None or float(parameter.grad.abs().sum()) > 0, name
    LinaCodec.save_trained(network, tmp_path / "next.safetensors")
    after = LinaCodec.build(config=LinaCodecConfig(weights=tmp_path / "next.safetensors"))
    codes = encode(before, audio)
    assert torch.equal(encode(after, audio), codes)
    assert not torch.equal(decode(after, codes), decode(before, codes))
    sizes = load_network(tmp_path / "next.safetensors").sizes
    assert sizes == TINY.model_copy(update={"decoder_slow_blocks": 2, "decoder_fast_blocks": 4})


def test_a_fresh_codec_has_the_default_sizes() -> None:
    network = LinaCodec.build_trainable(config=LinaCodecConfig())
    assert (network.sample_rate, network.hop, network.codebook_sizes) == (24_000, 960, (1024,) * 8)
    assert sum(value.numel() for value in network.codec_weights().values()) * 2 <= 8_000_000


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"weights": "w", "random_weights": True}, "both weights and random_weights"),
        ({"sizes": {}}, "describe a codec to be trained"),
        ({"sizes": {"codebooks": 4}, "random_weights": True, "codebooks": 5}, "these weights have 4"),
        ({"freeze_codes": True}, "config.freeze_codes is for training"),
        ({"decoder_fast_blocks": 9}, "config.decoder_fast_blocks is for training"),
    ],
)
def test_keys_that_do_not_go_together(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(SpecError, match=reason):
        LinaCodec.build(config=LinaCodecConfig(**changes))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"weights": "w", "sizes": {}}, "both weights and sizes"),
        ({"codebooks": 4}, "remove config.codebooks"),
        ({"random_weights": True}, "remove config.codebooks"),
        ({"freeze_codes": True}, "config.freeze_codes needs weights"),
        ({"decoder_slow_blocks": 2}, "config.decoder_slow_blocks needs weights"),
        ({"weights": RELEASES / "speech-1.safetensors", "decoder_fast_blocks": 3}, "these weights have 4"),
    ],
)
def test_configurations_that_cannot_be_trained(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(SpecError, match=reason):
        LinaCodec.build_trainable(config=LinaCodecConfig(**changes))


@pytest.mark.parametrize(
    ("sizes", "reason"),
    [
        ({"decoder_window": 250}, "multiple of it"),
        ({"decoder_window": 240}, "at least twice"),
        ({"encoder_window": 100}, "at least spectrum_hop"),
        ({"decoder_slow": 30}, "multiple of heads"),
    ],
)
def test_sizes_that_cannot_be(sizes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        NetworkSizes(**sizes)


def test_missing_and_damaged_weights(weights: Path, tmp_path: Path) -> None:
    def refused(reason: str) -> None:
        with pytest.raises(PluginError, match=reason):
            LinaCodec.build(config=LinaCodecConfig(weights=weights))

    tensors = load_file(weights)
    sizes = TINY.model_dump()
    for metadata, reason in (
        ({}, "its format is None"),
        ({"format": "lina-codec-1"}, "its sizes cannot be used"),
        ({"format": "lina-codec-1", "sizes": "{"}, "its sizes cannot be used"),
        ({"format": "lina-codec-1", "sizes": json.dumps({**sizes, "depth": 3})}, "depth: Extra inputs"),
        ({"format": "lina-codec-1", "sizes": json.dumps({**sizes, "latent": 5})}, "file is damaged"),
    ):
        save_file(tensors, weights, metadata)
        refused(reason)
    weights.write_bytes(b"no tensors")
    refused("cannot be read")
    weights.unlink()
    refused("no such weights file")
