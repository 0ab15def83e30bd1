"""The decoder's step in NumPy says what the network says, and leaves to it what it cannot do."""

import pytest
import torch

from lina.codecs.lina import LinaCodec, LinaCodecConfig
from lina.codecs.lina.sizes import Sizes
from lina.codecs.lina.stream import CodecState

SMALL = Sizes(
    sample_rate=1000,
    spectrum_hop=8,
    rate_ratio=3,
    encoder_window=32,
    decoder_window=24,
    phase_hz=100.0,
    codebooks=3,
    codebook_size=11,
    latent=4,
    heads=2,
    head_keys=3,
    encoder_fast=8,
    encoder_slow=8,
    decoder_slow=10,
    decoder_fast=6,
    kernel=3,
)


@pytest.mark.parametrize("release", [True, False], ids=["speech-1", "other sizes"])
def test_it_says_what_the_network_says(release: bool) -> None:
    config = LinaCodecConfig() if release else LinaCodecConfig(sizes=SMALL, random_weights=True)
    codec = LinaCodec.build(config=config)
    decoder = codec.decoder
    draw = torch.Generator().manual_seed(0)
    state = decoder.initial_state(1)
    plain = CodecState(tuple(torch.randn(one.shape, generator=draw) for one in state.layers))
    state, kept = plain, [one.clone() for one in plain.layers]
    for _ in range(5):
        codes = torch.randint(0, codec.codebook_sizes[0], (1, len(codec.codebook_sizes)), generator=draw)
        audio, after = decoder.step(codes, state)
        wanted, plain = decoder.parallel_forward(codes[:, None], plain)
        assert audio.dtype == torch.float32
        torch.testing.assert_close(audio, wanted, rtol=1e-4, atol=2e-5)
        for one, other in zip(after.layers, plain.layers, strict=True):
            assert one.shape == other.shape
            torch.testing.assert_close(one, other, rtol=1e-4, atol=2e-5)
        assert all(torch.equal(one, was) for one, was in zip(state.layers, kept, strict=True))
        state, kept = after, [one.clone() for one in after.layers]


def test_gradients_go_through_the_network() -> None:
    decoder = LinaCodec.build(config=LinaCodecConfig(sizes=SMALL, random_weights=True)).decoder
    layers = tuple(one.requires_grad_() for one in decoder.initial_state(1).layers)
    audio, _ = decoder.step(torch.zeros(1, 3, dtype=torch.int64), CodecState(layers))
    assert torch.autograd.grad(audio.sum(), layers, allow_unused=True)[-1] is not None
