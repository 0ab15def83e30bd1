"""Mimi's streams against transformers' whole encode and decode, on random weights in the released proportions."""

import copy
from math import prod
from typing import Any

import pytest
import torch
from torch import Tensor

from lina.codecs.hugging_face.config import HuggingFaceConfig
from lina.codecs.hugging_face.mimi import Mimi
from lina.codecs.hugging_face.mimi_stream import MimiState, StreamingMimi
from lina.codecs.hugging_face.whole import WholeCodec
from lina.core.audio.codec import decoder_stream
from lina.core.protocols import Codec, StreamingCodec, implements
from lina.core.state import join_rows, leaves, named_leaves, state_bytes, take_rows, tree_map

FRAMES = 37


def build(ratios: tuple[int, ...] = (4, 2), **changes: Any) -> WholeCodec:
    """The example with other sizes.

    Sharp attention, in layers scaled by 1 instead of 0.01, so that a wrong key or position shows in the audio.
    """
    sizes = Mimi.example()["config"].sizes | {
        "upsampling_ratios": list(ratios),
        "sampling_rate": 100 * 2 * prod(ratios),
        "frame_rate": 100,
        "layer_scale_initial_scale": 1.0,
        "initializer_range": 0.3,
    }
    return Mimi.build(config=HuggingFaceConfig(random_weights=True, sizes=sizes | changes))


def build_streaming(**changes: Any) -> StreamingMimi:
    codec = build(**changes)
    assert isinstance(codec, StreamingMimi)
    return codec


CONFIGS: dict[str, dict[str, Any]] = {
    "released-ratios": {"ratios": (8, 6, 5, 4), "sliding_window": 25},
    "odd-ratios": {"ratios": (5, 3), "sliding_window": 7},
    "other-kernels": {"ratios": (3,), "kernel_size": 3, "last_kernel_size": 5},
    "dilations": {"num_residual_layers": 3, "dilation_growth_rate": 3, "residual_kernel_size": 5},
    "conv-shortcut": {"use_conv_shortcut": True, "compress": 1},
    "replicate": {"pad_mode": "replicate"},
    "shared-heads": {"num_attention_heads": 4, "num_key_value_heads": 2, "attention_bias": True},
    "wide-heads": {"head_dim": 10, "hidden_act": "relu"},
    "window-1": {"sliding_window": 1},
    "window-2": {"sliding_window": 2},
    "window-beyond-the-end": {"sliding_window": 500},
    "no-projection": {"vector_quantization_hidden_dimension": 16, "codebook_dim": 16},
}


@pytest.fixture(params=CONFIGS.values(), ids=list(CONFIGS))
def codec(request: pytest.FixtureRequest) -> StreamingMimi:
    return build_streaming(**request.param)


def random_codes(rows: int, frames: int = FRAMES, seed: int = 0) -> Tensor:
    return torch.randint(0, 16, (rows, frames, 4), generator=torch.Generator().manual_seed(seed))


def random_audio(codec: WholeCodec, rows: int, frames: int = FRAMES) -> Tensor:
    return 0.3 * torch.randn(rows, 1, frames * codec.hop, generator=torch.Generator().manual_seed(1))


def decode_pieces(codec: StreamingMimi, codes: Tensor, size: int) -> tuple[Tensor, MimiState]:
    state = codec.decoder.initial_state(codes.shape[0])
    pieces = []
    for piece in codes.split(size, dim=1):
        audio, state = codec.decoder.parallel_forward(piece, state)
        pieces.append(audio)
    return torch.cat([*pieces, codec.decoder.flush(state)], dim=2), state


def assert_near(found: Tensor, expected: Tensor) -> None:
    """Within 1e-5 of the size of the numbers."""
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("size", [1, 2, 5, 16, FRAMES])
def test_decoding_in_pieces_is_the_whole_decode(codec: StreamingMimi, rows: int, size: int) -> None:
    codes = random_codes(rows)
    assert_near(decode_pieces(codec, codes, size)[0], codec.decode(codes))


@pytest.mark.parametrize("size", [1, 3, FRAMES])
def test_encoding_in_pieces_is_the_whole_encode(codec: StreamingMimi, size: int) -> None:
    audio = random_audio(codec, rows=3)
    state, pieces = codec.encoder.initial_state(3), []
    for piece in audio.split(size * codec.hop, dim=2):
        codes, state = codec.encoder.parallel_forward(piece, state)
        pieces.append(codes)
    codes = torch.cat([*pieces, codec.encoder.flush(state)], dim=1)
    assert codes.dtype == torch.int64
    assert codes.equal(codec.encode(audio))


def test_it_implements_both_contracts() -> None:
    codec = build_streaming()
    assert implements(codec, Codec)
    assert implements(codec, StreamingCodec)
    assert decoder_stream(codec) is codec.decoder
    assert (codec.encoder.latency, codec.decoder.latency) == (0, 0)


def test_fewer_codebooks_stream_too() -> None:
    sizes = Mimi.example()["config"].sizes
    codec = Mimi.build(config=HuggingFaceConfig(random_weights=True, sizes=sizes, codebooks=2))
    assert isinstance(codec, StreamingMimi)
    codes, _ = codec.encoder.parallel_forward(random_audio(codec, 1), codec.encoder.initial_state(1))
    assert codes.equal(codec.encode(random_audio(codec, 1)))
    assert_near(decode_pieces(codec, codes, 3)[0], codec.decode(codes))


def test_the_window_has_the_length_of_the_whole_decode() -> None:
    """The comparison can tell a window from one that is longer by a frame of the transformer."""
    codes = random_codes(1)
    shorter, longer = (build(sliding_window=window).decode(codes) for window in (8, 9))
    assert (shorter - longer).abs().max() > 1e-3 * shorter.abs().max()


def test_the_state_does_not_grow() -> None:
    codec = build_streaming()
    for stream in (codec.decoder, codec.encoder):
        state = stream.initial_state(2)
        shapes = {name: leaf.shape for name, leaf in named_leaves(state).items()}
        size = state_bytes(state)
        for frame in range(500):
            if stream is codec.decoder:
                _, state = codec.decoder.step(random_codes(2, 1, seed=frame)[:, 0], state)
            else:
                _, state = codec.encoder.step(random_audio(codec, 2, 1), state)
        assert {name: leaf.shape for name, leaf in named_leaves(state).items()} == shapes
        assert state_bytes(state) == size
        assert sum(leaf.untyped_storage().nbytes() for leaf in leaves(state)) == size  # no views of more
        assert state.position.tolist() == [500, 500]


def test_500_frames_by_steps_are_the_whole_decode() -> None:
    codec, codes = build_streaming(), random_codes(1, 500)
    assert_near(decode_pieces(codec, codes, 1)[0], codec.decode(codes))


def test_rows_may_be_of_different_ages() -> None:
    codec = build_streaming(pad_mode="replicate")
    codes = random_codes(3)
    ages = (0, 2, 21)
    states = []
    for row, age in enumerate(ages):
        state = codec.decoder.initial_state(1)
        if age:
            _, state = codec.decoder.parallel_forward(codes[row : row + 1, :age], state)
        states.append(state)
    following = torch.stack([codes[row, age : age + 9] for row, age in enumerate(ages)])
    audio, after = codec.decoder.parallel_forward(following, join_rows(states))
    whole = codec.decode(codes)
    for row, age in enumerate(ages):
        expected = whole[row, :, age * codec.hop : (age + 9) * codec.hop]
        torch.testing.assert_close(audio[row], expected, rtol=0, atol=1e-5 * float(whole.abs().max()))
    assert take_rows(after, torch.tensor([2])).position.tolist() == [30]


def test_positions_have_no_end() -> None:
    """After a billion frames attention is as exact as after a hundred: it depends on distances only."""
    codec = build_streaming()
    codes = random_codes(1)
    early, late = (
        codec.decoder.initial_state(1)._replace(position=torch.tensor([frames])) for frames in (100, 10**9)
    )
    expected, _ = codec.decoder.parallel_forward(codes, early)
    audio, state = codec.decoder.parallel_forward(codes, late)
    assert_near(audio, expected)
    assert state.position.tolist() == [10**9 + FRAMES]


def test_it_is_pure() -> None:
    codec, codes = build_streaming(), random_codes(2)
    _, state = codec.decoder.parallel_forward(codes[:, :10], codec.decoder.initial_state(2))
    before = tree_map(torch.clone, state)
    first, _ = codec.decoder.parallel_forward(codes[:, 10:], state)
    codec.decoder.step(codes[:, 0], state)
    again, _ = codec.decoder.parallel_forward(codes[:, 10:], state)
    assert first.equal(again)
    assert all(one.equal(other) for one, other in zip(leaves(state), leaves(before), strict=True))


def test_a_cast_after_the_first_use_reaches_the_codebooks() -> None:
    codec, codes = build_streaming(), random_codes(1)
    codec.decode(codes)
    whole = codec.double().decode(codes)
    assert whole.dtype == torch.float64
    streamed, state = decode_pieces(codec, codes, 4)
    torch.testing.assert_close(streamed, whole, rtol=0, atol=1e-4 * float(whole.abs().max()))
    assert state.outer[0].dtype == torch.float64


@torch.no_grad()
def test_streams_of_a_copy_use_its_weights() -> None:
    codec, codes = build_streaming(), random_codes(1)
    copied = copy.deepcopy(codec)
    for parameter in copied.model.parameters():
        parameter.zero_()
    assert not decode_pieces(copied, codes, 5)[0].any()
    assert decode_pieces(codec, codes, 5)[0].any()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"use_causal_conv": False}, "use_causal_conv is false"),
        ({"pad_mode": "reflect"}, "pad_mode is 'reflect'"),
        ({"trim_right_ratio": 0.5}, "trim_right_ratio is 0.5"),
        ({"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}}, "rope_type is 'dynamic'"),
        ({"frame_rate": 75}, "do not upsample by 21"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)  # fmt: skip
def test_what_has_no_exact_stream_goes_through_windows(
    changes: dict[str, Any], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    codec = build(**changes)
    assert not isinstance(codec, StreamingMimi)
    assert getattr(decoder_stream(codec), "exact", True) is False
    assert reason in caplog.text
    assert "through windows of whole decodes" in caplog.text
