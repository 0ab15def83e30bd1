"""The decoder's step in NumPy says what the network says, and leaves to it what it cannot do."""

import pytest
import torch

from lina.codecs.lina import LinaCodec, LinaCodecConfig
from lina.codecs.lina.stream import CodecState

SMALL: LinaCodecConfig = LinaCodec.example()["config"]


@pytest.mark.parametrize("release", [True, False], ids=["speech-1", "other sizes"])
def test_it_equals_the_network(release: bool) -> None:
    codec = LinaCodec.build(config=LinaCodecConfig() if release else SMALL)
    decoder = codec.decoder
    draw = torch.Generator().manual_seed(0)
    state = decoder.initial_state(1)
    plain = CodecState(tuple(torch.randn(one.shape, generator=draw) for one in state.layers))
    state, kept = plain, [one.clone() for one in plain.layers]
    for _ in range(5):
        codes = torch.randint(0, codec.codebook_sizes[0], (1, len(codec.codebook_sizes)), generator=draw)
        audio, after = decoder.step(codes, state)
        expected, plain = decoder.parallel_forward(codes[:, None], plain)
        assert audio.dtype == torch.float32
        assert float((audio - expected).abs().max()) < 2e-5
        for one, other in zip(after.layers, plain.layers, strict=True):
            assert one.shape == other.shape
            # Rounding of the largest numbers in a sum is left in the smallest results.
            assert float((one - other).abs().max()) < 2e-5 * float(other.abs().max())
        assert all(torch.equal(one, was) for one, was in zip(state.layers, kept, strict=True))
        state, kept = after, [one.clone() for one in after.layers]


def test_gradients_go_through_the_network() -> None:
    codec = LinaCodec.build(config=SMALL)
    decoder = codec.decoder
    layers = tuple(one.requires_grad_() for one in decoder.initial_state(1).layers)
    audio, _ = decoder.step(torch.zeros(1, len(codec.codebook_sizes), dtype=torch.int64), CodecState(layers))
    assert torch.autograd.grad(audio.sum(), layers, allow_unused=True)[-1] is not None
