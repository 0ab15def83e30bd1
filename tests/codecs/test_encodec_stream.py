"""The laws of a streaming codec, on EnCodec with a tiny random network."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lina.codecs.encodec import EnCodec, EnCodecConfig
from lina.codecs.encodec.plugin import StreamingEnCodec
from lina.core.audio.codec import AnyCodec, decode, encode
from lina.core.protocols import Codec, DecoderStream, EncoderStream, StreamingCodec, implements
from lina.core.state import leaves, load_state, save_state, take_rows, tree_map

LATENCY = 6
SIDES = ("encoder", "decoder")


def tiny(**changes: Any) -> StreamingEnCodec:
    example = EnCodec.example()["config"]
    codec = EnCodec.build(config=example.model_copy(update=changes))
    assert isinstance(codec, StreamingEnCodec)
    return codec


CODEC = tiny()
HOP = CODEC.hop
CONFIGS: tuple[dict[str, Any], ...] = (
    {},
    {"ratios": (3, 3, 2), "filters": 4},
    {"ratios": (8,)},
    {"kernel": 3},
    {"lstm_layers": 1},
)


def audio(frames: int, rows: int = 2, seed: int = 0, hop: int = HOP) -> Tensor:
    return 0.5 * torch.randn(rows, 1, frames * hop, generator=torch.Generator().manual_seed(seed))


def stretch(side: str, x: Tensor, start: int, end: int) -> Tensor:
    """Frames ``start`` to ``end`` of codes [B, T, Q] or of audio [B, C, samples]."""
    return x[:, start:end] if side == "decoder" else x[..., start * HOP : end * HOP]


def inputs(side: str, frames: int, rows: int = 2, seed: int = 0) -> Tensor:
    if side == "encoder":
        return audio(frames, rows, seed)
    return torch.randint(0, 16, (rows, frames, 3), generator=torch.Generator().manual_seed(seed))


def join(side: str, pieces: list[Tensor]) -> Tensor:
    return torch.cat(pieces, dim=1 if side == "encoder" else 2)


def one_step(stream: Any, side: str, x: Tensor, state: Any) -> tuple[Tensor, Any]:
    y, state = stream.step(x[:, 0] if side == "decoder" else x, state)
    return (y[:, None] if side == "encoder" else y), state


def assert_states_close(a: Any, b: Any) -> None:
    for x, y in zip(leaves(a), leaves(b), strict=True):
        torch.testing.assert_close(x, y, rtol=1e-5, atol=1e-6)


def warmed(side: str, frames: int, rows: int = 2, seed: int = 5) -> Any:
    stream = getattr(CODEC, side)
    return stream.parallel_forward(inputs(side, frames, rows, seed), stream.initial_state(rows))[1]


def test_it_implements_both_contracts() -> None:
    assert implements(CODEC, StreamingCodec)
    assert implements(CODEC, Codec)
    assert (CODEC.encoder.latency, CODEC.decoder.latency) == (LATENCY, LATENCY)


class StreamsOnly:
    """A codec without whole faces, so that core must use the streams."""

    def __init__(self, codec: StreamingEnCodec) -> None:
        self.sample_rate, self.hop, self.channels = codec.sample_rate, codec.hop, codec.channels
        self.codebook_sizes = codec.codebook_sizes
        self.encoder: EncoderStream = codec.encoder
        self.decoder: DecoderStream = codec.decoder


@pytest.mark.parametrize("changes", CONFIGS)
@pytest.mark.parametrize("frames", [1, 2, 5, 6, 7, 8, 20])
def test_streams_equal_the_whole(frames: int, changes: dict[str, Any]) -> None:
    codec = tiny(**changes)
    streams: AnyCodec = StreamsOnly(codec)
    assert not implements(streams, Codec)
    x = audio(frames, hop=codec.hop)
    codes = codec.encode(x)
    assert codes.shape == (2, frames, 3)
    assert torch.equal(encode(streams, x), codes)
    torch.testing.assert_close(decode(streams, codes), codec.decode(codes), rtol=0, atol=1e-5)


def test_no_smaller_latency_would_do() -> None:
    x, codes = audio(9), inputs("decoder", 9)
    sooner = codes.clone()
    sooner[:, LATENCY] = (sooner[:, LATENCY] + 1) % 16
    assert not torch.equal(CODEC.decode(codes)[..., :HOP], CODEC.decode(sooner)[..., :HOP])
    latents = CODEC.network.encoder(x)
    changed = x.clone()
    changed[..., LATENCY * HOP :] = 0
    assert not torch.equal(latents[..., 0], CODEC.network.encoder(changed)[..., 0])


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("before", [0, 1, 3, 6, 7, 11])
@pytest.mark.parametrize("frames", [2, 3, 10])
def test_steps_equal_parallel_from_any_state(side: str, before: int, frames: int) -> None:
    stream, x = getattr(CODEC, side), inputs(side, frames)
    start = warmed(side, before) if before else stream.initial_state(2)
    whole, end = stream.parallel_forward(x, start)
    pieces, state = [], start
    for frame in range(frames):
        y, state = one_step(stream, side, stretch(side, x, frame, frame + 1), state)
        pieces.append(y)
    torch.testing.assert_close(join(side, pieces), whole, rtol=0, atol=1e-5)
    assert_states_close(state, end)
    torch.testing.assert_close(stream.flush(state), stream.flush(end), rtol=0, atol=1e-5)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("cuts", [(1,), (6,), (7,), (2, 3, 4), (1, 8, 9), (5, 12)])
def test_chunks_compose(side: str, cuts: tuple[int, ...]) -> None:
    stream, x = getattr(CODEC, side), inputs(side, 15)
    whole, end = stream.parallel_forward(x, stream.initial_state(2))
    pieces, state, edges = [], stream.initial_state(2), (0, *cuts, 15)
    for start, stop in pairwise(edges):
        y, state = stream.parallel_forward(stretch(side, x, start, stop), state)
        pieces.append(y)
    torch.testing.assert_close(join(side, pieces), whole, rtol=0, atol=1e-5)
    assert_states_close(state, end)


@pytest.mark.parametrize("side", SIDES)
def test_fillers_mean_nothing(side: str) -> None:
    stream = getattr(CODEC, side)
    y, _ = stream.parallel_forward(inputs(side, 8), stream.initial_state(2))
    fillers = y[:, :LATENCY] if side == "encoder" else y[..., : LATENCY * HOP]
    assert not fillers.any()
    assert y.any()


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("before", [0, 3, 9])
def test_input_state_is_untouched_and_shapes_stay(side: str, before: int) -> None:
    stream = getattr(CODEC, side)
    state = warmed(side, before) if before else stream.initial_state(2)
    copy = tree_map(torch.clone, state)
    described = [(leaf.shape, leaf.dtype) for leaf in leaves(stream.initial_state(2))]
    _, after = one_step(stream, side, inputs(side, 1), state)
    _, later = stream.parallel_forward(inputs(side, 9), after)
    stream.flush(state)
    assert all(torch.equal(a, b) for a, b in zip(leaves(state), leaves(copy), strict=True))
    for value in (after, later):
        assert [(leaf.shape, leaf.dtype) for leaf in leaves(value)] == described


@pytest.mark.parametrize("side", SIDES)
def test_rows_may_be_at_different_places(side: str) -> None:
    stream, places = getattr(CODEC, side), (0, 1, 4, 7, 12)
    alone = [warmed(side, n, rows=1, seed=n) if n else stream.initial_state(1) for n in places]
    together = tree_map(lambda *parts: torch.cat(parts), *alone)
    x = inputs(side, 9, rows=len(places), seed=3)
    y, state = stream.parallel_forward(x, together)
    flushed = stream.flush(state)
    for row, start in enumerate(alone):
        expected, end = stream.parallel_forward(x[row : row + 1], start)
        torch.testing.assert_close(y[row : row + 1], expected, rtol=0, atol=1e-5)
        torch.testing.assert_close(flushed[row : row + 1], stream.flush(end), rtol=0, atol=1e-5)
        assert_states_close(take_rows(state, torch.tensor([row])), end)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("before", [0, 2, 9])
def test_nan_in_one_row_stays_there(side: str, before: int) -> None:
    stream = getattr(CODEC, side)
    state = warmed(side, before) if before else stream.initial_state(2)

    def poison(leaf: Tensor) -> Tensor:
        leaf = leaf.clone()
        if leaf.is_floating_point():
            leaf[1] = float("nan")
        return leaf

    x = inputs(side, 9)
    clean, end = stream.parallel_forward(x, state)
    poisoned = x.clone()
    if side == "encoder":
        poisoned[1] = float("nan")
    dirty, dirty_end = stream.parallel_forward(poisoned, tree_map(poison, state))
    assert torch.equal(clean[0], dirty[0])
    for a, b in zip(leaves(end), leaves(dirty_end), strict=True):
        assert torch.equal(a[0], b[0])
    if side == "decoder":
        assert dirty[1].isnan().any()
    else:
        assert ((dirty >= 0) & (dirty < 16)).all()


@pytest.mark.parametrize("side", SIDES)
def test_future_does_not_reach_the_past_beyond_the_latency(side: str) -> None:
    stream, x = getattr(CODEC, side), inputs(side, 14)
    changed = x.clone()
    later = stretch(side, changed, 9, 14)
    later.copy_(inputs(side, 5, seed=9))
    y, state = stream.parallel_forward(x, stream.initial_state(2))
    z, other = stream.parallel_forward(changed, stream.initial_state(2))
    early = slice(0, 9) if side == "encoder" else slice(0, 9 * HOP)
    time = 1 if side == "encoder" else 2
    assert torch.equal(y.movedim(time, 0)[early], z.movedim(time, 0)[early])
    assert not torch.equal(stream.flush(state), stream.flush(other))


@pytest.mark.parametrize("before", [0, 3, 9])
def test_gradients_reach_the_initial_state_and_agree_between_steps_and_parallel(before: int) -> None:
    stream, codes = CODEC.decoder, inputs("decoder", 9)
    start = warmed("decoder", before) if before else stream.initial_state(2)

    def gradients(stepwise: bool) -> list[Tensor]:
        state = tree_map(lambda t: t.clone().requires_grad_(t.is_floating_point()), start)
        parameters = [leaf for leaf in leaves(state) if leaf.requires_grad]
        pieces, current = [], state
        for frame in range(9) if stepwise else ():
            y, current = stream.step(codes[:, frame], current)
            pieces.append(y)
        out = torch.cat(pieces, 2) if stepwise else stream.parallel_forward(codes, state)[0]
        found = torch.autograd.grad(out.pow(2).sum(), parameters, allow_unused=True)
        return [torch.zeros_like(w) if g is None else g for g, w in zip(found, parameters, strict=True)]

    for a, b in zip(gradients(True), gradients(False), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    assert sum(g.abs().sum() for g in gradients(False)) > 0


@pytest.mark.parametrize("side", SIDES)
def test_a_state_survives_a_file(side: str, tmp_path: Path) -> None:
    stream, state = getattr(CODEC, side), warmed(side, 4)
    save_state(tmp_path / "state.safetensors", state)
    back = load_state(tmp_path / "state.safetensors", like=stream.initial_state(2))
    x = inputs(side, 5)
    assert torch.equal(stream.parallel_forward(x, back)[0], stream.parallel_forward(x, state)[0])


@pytest.mark.parametrize("side", SIDES)
def test_work_is_not_issued_frame_by_frame(side: str) -> None:
    from torch.utils._python_dispatch import TorchDispatchMode

    class Counter(TorchDispatchMode):
        def __init__(self) -> None:
            super().__init__()  # type: ignore[no-untyped-call]
            self.count = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            self.count += 1
            return func(*args, **(kwargs or {}))

    stream = getattr(CODEC, side)
    counts = []
    for frames in (16, 256):
        with Counter() as counter, torch.no_grad():
            stream.parallel_forward(inputs(side, frames), stream.initial_state(2))
        counts.append(counter.count)
    assert counts[1] <= 1.5 * counts[0]


def test_float64_streams_equal_the_whole() -> None:
    codec = tiny().double()
    codes = inputs("decoder", 12)
    audio64, state = codec.decoder.parallel_forward(codes, codec.decoder.initial_state(2))
    streamed = torch.cat([audio64, codec.decoder.flush(state)], 2)[..., LATENCY * HOP :]
    assert streamed.dtype == torch.float64
    torch.testing.assert_close(streamed, codec.decode(codes), rtol=0, atol=1e-13)


def test_the_released_sizes_stream_too() -> None:
    codec = EnCodec.build(config=EnCodecConfig(random_weights=True, codebooks=2))
    assert isinstance(codec, StreamingEnCodec)
    assert codec.sample_rate / codec.hop == 75
    streams: AnyCodec = StreamsOnly(codec)
    x = audio(9, rows=1, hop=320)
    assert torch.equal(encode(streams, x), codec.encode(x))
    codes = codec.encode(x)
    torch.testing.assert_close(decode(streams, codes), codec.decode(codes), rtol=0, atol=1e-5)
