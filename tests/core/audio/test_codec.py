"""Operations on codecs, tested on toy codecs."""

from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from lina.core.audio.codec import decode, decoder_stream, encode, frame_rate, validate_audio, validate_codes
from lina.core.audio.windowed_decoder import WindowedDecoder
from lina.core.errors import DataError
from lina.core.protocols import Codec, DecoderStream, StreamingCodec, implements
from lina.core.state import leaves, tree_map

HOP = 8


class Levels:
    """A whole codec: each code is the level of a frame; a frame slides there from the level before it."""

    sample_rate, hop, channels = 80, HOP, 1
    codebook_sizes: tuple[int, ...] = (10, 3)

    def encode(self, audio: Tensor) -> Tensor:
        level = audio[:, 0].unflatten(1, (-1, HOP))[..., -1].mul(10).round().long().clamp(0, 9)
        return torch.stack([level, torch.zeros_like(level)], 2)

    def decode(self, codes: Tensor) -> Tensor:
        level = codes[..., 0].float() / 10
        before = torch.cat([torch.zeros_like(level[:, :1]), level[:, :-1]], 1)
        ramp = (torch.arange(HOP) + 1) / HOP
        return (before[..., None] + (level - before)[..., None] * ramp).flatten(1)[:, None]


class Late(NamedTuple):
    position: Tensor
    codes: Tensor


class LateStream:
    """Two frames late: levels in, or codes in, nothing else."""

    latency = 2

    def __init__(self, encodes: bool) -> None:
        self.encodes = encodes

    def initial_state(self, batch: int) -> Late:
        return Late(torch.zeros(batch, dtype=torch.int64), torch.zeros(batch, 2, dtype=torch.int64))

    def _shift(self, codes: Tensor, state: Late) -> tuple[Tensor, Late]:
        seen = torch.cat([state.codes, codes], 1)
        return seen[:, :-2], Late(state.position + codes.shape[1], seen[:, -2:])

    def parallel_forward(self, x: Tensor, state: Late) -> tuple[Tensor, Late]:
        if self.encodes:
            codes, state = self._shift(x[:, 0, ::HOP].mul(10).round().long(), state)
            return codes[..., None], state
        codes, state = self._shift(x[..., 0], state)
        return (codes / 10).repeat_interleave(HOP, 1)[:, None], state

    def step(self, x: Tensor, state: Late) -> tuple[Tensor, Late]:
        raise NotImplementedError

    def flush(self, state: Late) -> Tensor:
        if self.encodes:
            return state.codes[..., None]
        return (state.codes / 10).repeat_interleave(HOP, 1)[:, None]


class Stairs:
    """A streaming codec: constant frames."""

    sample_rate, hop, channels = 80, HOP, 1
    codebook_sizes: tuple[int, ...] = (10,)

    def __init__(self) -> None:
        self.encoder: Any = LateStream(True)
        self.decoder: Any = LateStream(False)


def codes_for(frames: int, rows: int = 1, seed: int = 0) -> Tensor:
    return torch.randint(0, 3, (rows, frames, 2), generator=torch.Generator().manual_seed(seed))


def test_contracts_of_the_examples() -> None:
    assert implements(Levels(), Codec)
    assert implements(Stairs(), StreamingCodec)
    assert not implements(Stairs(), Codec)
    assert implements(decoder_stream(Levels()), DecoderStream)


def test_frame_rate_is_in_frames_a_second() -> None:
    assert frame_rate(Levels()) == 10.0


@pytest.mark.parametrize("codec", [Levels(), Stairs()])
@pytest.mark.parametrize(("samples", "frames"), [(1, 1), (8, 1), (9, 2), (24, 3), (80, 10)])
def test_audio_is_filled_up_to_whole_frames(codec: Any, samples: int, frames: int) -> None:
    codes = encode(codec, torch.full((2, 1, samples), 0.5))
    assert codes.shape == (2, frames, len(codec.codebook_sizes))
    assert decode(codec, codes).shape == (2, 1, frames * HOP)


def test_fillers_are_dropped_and_the_end_is_flushed() -> None:
    codec, levels = Stairs(), torch.tensor([1, 5, 2, 8, 3])
    audio = (levels / 10).repeat_interleave(HOP)[None, None]
    assert encode(codec, audio)[0, :, 0].tolist() == levels.tolist()
    torch.testing.assert_close(decode(codec, levels[None, :, None]), audio)


def test_a_streaming_codec_gives_its_own_stream() -> None:
    codec = Stairs()
    assert decoder_stream(codec) is codec.decoder


def stream_of(
    codec: Any, frames: int, pieces: list[int], block: float, context: float
) -> tuple[Tensor, Tensor]:
    stream, codes = decoder_stream(codec, block=block, context=context), codes_for(frames, rows=2)
    state, out, start = stream.initial_state(2), [], 0
    for piece in pieces:
        audio, state = stream.parallel_forward(codes[:, start : start + piece], state)
        out.append(audio)
        start += piece
    out.append(stream.flush(state))
    return torch.cat(out, 2)[..., stream.latency * HOP :], codec.decode(codes)


@pytest.mark.parametrize("frames", [1, 2, 3, 9, 10, 31])
@pytest.mark.parametrize(("block", "context"), [(0.1, 0.1), (0.4, 0.2), (1.0, 0.1)])
def test_windows_give_the_whole_where_the_codec_remembers_no_longer_than_the_context(
    frames: int, block: float, context: float
) -> None:
    streamed, whole = stream_of(Levels(), frames, [frames], block, context)
    torch.testing.assert_close(streamed, whole)


class Forgetful(Levels):
    """Remembers everything since its start, so that windows cannot be exact."""

    def decode(self, codes: Tensor) -> Tensor:
        return super().decode(codes) + codes[..., 1].cumsum(1).repeat_interleave(HOP, 1)[:, None]


def test_windows_begin_with_silence() -> None:
    stream = decoder_stream(Levels())
    audio, _ = stream.parallel_forward(torch.full((2, 3, 2), 2), stream.initial_state(2))
    assert not audio[..., :HOP].any()
    assert audio[..., HOP:].all()


@pytest.mark.parametrize("codec", [Levels(), Forgetful()])
@pytest.mark.parametrize("pieces", [[1] * 17, [5, 12], [2, 1, 14]])
def test_windows_do_not_depend_on_how_time_is_cut(codec: Any, pieces: list[int]) -> None:
    cut, _ = stream_of(codec, 17, pieces, 0.4, 0.2)
    at_once, _ = stream_of(codec, 17, [17], 0.4, 0.2)
    torch.testing.assert_close(cut, at_once)


def test_windows_say_that_they_are_approximate_and_they_are() -> None:
    assert decoder_stream(Forgetful()).exact is False  # type: ignore[attr-defined]
    streamed, whole = stream_of(Forgetful(), 31, [31], 0.4, 0.2)
    torch.testing.assert_close(streamed[..., : 4 * HOP], whole[..., : 4 * HOP])
    assert not torch.allclose(streamed, whole)


def test_windows_fade_over_a_whole_frame_where_blocks_meet() -> None:
    class Offset(Levels):
        """Says in its samples at which frame decoding began, by the length of time since."""

        def decode(self, codes: Tensor) -> Tensor:
            return torch.arange(codes.shape[1]).repeat_interleave(HOP).float().expand(len(codes), 1, -1)

    stream = WindowedDecoder(Offset(), block=4, context=2)
    audio, _ = stream.parallel_forward(codes_for(12), stream.initial_state(1))
    frames = audio[0, 0, HOP:].unflatten(0, (-1, HOP))
    assert frames[:4].eq(torch.arange(4.0)[:, None]).all()
    # Frame 4 would go on with 4, but its own block begins at frame 2.
    torch.testing.assert_close(frames[4], 4 + (2 - 4) * (torch.arange(HOP) + 0.5) / HOP)
    assert frames[5:8].eq(torch.tensor([3.0, 4.0, 5.0])[:, None]).all()


def test_rows_at_different_places_stream_as_if_alone() -> None:
    stream = decoder_stream(Forgetful(), block=0.3, context=0.2)
    states = [stream.initial_state(1)]
    for frames in (1, 5, 9):
        states.append(stream.parallel_forward(codes_for(frames, seed=frames), stream.initial_state(1))[1])
    together = tree_map(lambda *parts: torch.cat(parts), *states)
    described = [(leaf.shape, leaf.dtype) for leaf in leaves(together)]
    codes = codes_for(7, rows=4, seed=2)
    audio, after = stream.parallel_forward(codes, together)
    assert [(leaf.shape, leaf.dtype) for leaf in leaves(after)] == described
    for row, state in enumerate(states):
        expected, _ = stream.parallel_forward(codes[row : row + 1], state)
        torch.testing.assert_close(audio[row : row + 1], expected)


def test_window_state_lives_where_the_codec_lives() -> None:
    class Module(nn.Module, Levels):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("weight", torch.zeros(1, device="meta"))

    state = decoder_stream(Module()).initial_state(2)
    assert {leaf.device.type for leaf in leaves(state)} == {"meta"}


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (torch.zeros(1, 4, 3, dtype=torch.int64), r"codes of shape \[1, 4, 3\]: this codec expects .*, 2\]"),
        pytest.param(
            torch.zeros(4, 2, dtype=torch.int64),
            r"codes of shape \[4, 2\]",
            marks=pytest.mark.no_shape_checks,
        ),
        (torch.zeros(1, 0, 2, dtype=torch.int64), "nothing to decode"),
        pytest.param(torch.zeros(1, 4, 2), "type torch.float32", marks=pytest.mark.no_shape_checks),
        (torch.tensor([[[0, 0], [9, 3]]]), "code 3 in codebook 1: codes there are 0 to 2"),
        (torch.tensor([[[10, 0], [9, 1]]]), "code 10 in codebook 0: codes there are 0 to 9"),
        (torch.tensor([[[0, -1]]]), "code -1 in codebook 1"),
    ],
)
def test_bad_codes_are_named(codes: Tensor, message: str) -> None:
    for check in (validate_codes, decode):
        with pytest.raises(DataError, match=message):
            check(Levels(), codes)


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        (torch.zeros(1, 2, 8), r"audio of shape \[1, 2, 8\].*1 channel"),
        pytest.param(torch.zeros(1, 8), r"audio of shape \[1, 8\]", marks=pytest.mark.no_shape_checks),
        (torch.zeros(1, 1, 0), "nothing to encode"),
        (torch.full((1, 1, 8), float("inf")), "NaN or infinity"),
    ],
)
def test_bad_audio_is_named(audio: Tensor, message: str) -> None:
    for check in (validate_audio, encode):
        with pytest.raises(DataError, match=message):
            check(Levels(), audio)


def test_good_audio_and_codes_pass() -> None:
    validate_audio(Levels(), torch.zeros(2, 1, 16))
    validate_codes(Levels(), torch.tensor([[[9, 2], [0, 0]]]))
    with pytest.raises(DataError, match="multiple of 8"):
        validate_audio(Levels(), torch.zeros(2, 1, 17))
