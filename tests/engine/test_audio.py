"""Audio beside the slots: the codec's decoder gives each stream the audio that it would give alone."""

from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from lina.codecs.lina import LinaCodec
from lina.core.audio.codec import decode_stream
from lina.core.errors import LinaError
from lina.core.protocols import DecoderStream, DecodesOnDevice, implements
from lina.core.state import State, leaves
from lina.engine.audio import AudioDecoder, OnHost, samples_of
from lina.engine.captured_audio import CapturedAudioDecoder
from lina.engine.engine import Engine
from lina.engine.memory import check_bytes
from lina.engine.request import RowResult
from lina.engine.stream import Stream
from tests.core.toy_codec import Decoder
from tests.core.toy_model import push_stop, toy_conditions, toy_lm
from tests.engine.decoding import TEXTS, requests

FRAMES = (1, 4)
"""Frames per call: as on a CPU, and as on a GPU."""


def decoders() -> dict[str, DecoderStream]:
    """One without latency, and one that lags a frame."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return {"lina": LinaCodec.build(**LinaCodec.example()).decoder, "lags": Decoder()}


@pytest.fixture(params=FRAMES)
def frames(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    def build(decoder: DecoderStream, rows: int, codebooks: int, frames: int) -> AudioDecoder:
        return AudioDecoder(decoder, rows, codebooks, request.param)

    monkeypatch.setattr("lina.engine.engine.build_audio_decoder", build)
    return int(request.param)


@torch.no_grad()
def expected(decoder: DecoderStream, *codes: Tensor) -> Tensor:
    return decode_stream(decoder, torch.cat(codes)[None])[0]


def audio_samples(stream: Stream) -> Tensor:
    return torch.cat([torch.zeros(1, 0), *stream.audio()], 1)


@pytest.mark.parametrize("name", ["lina", "lags"])
def test_streams_have_their_own_audio_in_any_company(name: str, frames: int) -> None:
    """Twelve streams of different length share three rows; each ends with the samples that its decoder still holds."""
    lm, decoder = push_stop(toy_lm(), 0.02), decoders()[name]
    engine = Engine(lm, 3, decoder=decoder)
    many = [
        one for seed in range(3) for one in requests(toy_conditions(lm, *TEXTS), seed=seed, max_frames=11)
    ]
    results: list[tuple[Tensor, RowResult]] = []
    for first in range(0, len(many), 3):
        group = [replace(one, audio=engine.open_audio()) for one in many[first : first + 3]]
        streams = [engine.submit(one) for one in group]
        results += [(audio_samples(stream), stream.result()) for stream in streams]
    lengths = {len(result.codes) for _, result in results}
    assert len(lengths) > 3
    for audio, result in results:
        torch.testing.assert_close(audio, expected(decoder, result.codes), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["lina", "lags"])
def test_audio_goes_on_over_several_requests_after_a_prompt(name: str, frames: int) -> None:
    lm, decoder = push_stop(toy_lm(), 0.02), decoders()[name]
    prompt = torch.randint(0, 4, (5, 3), generator=torch.Generator().manual_seed(1))
    engine = Engine(lm, 2, decoder=decoder)
    audio = engine.open_audio(prompt, continues=True)
    pieces, codes = [], []
    for one in requests(toy_conditions(lm, *TEXTS), seed=5):
        stream = engine.submit(replace(one, audio=audio))
        pieces.append(audio_samples(stream))
        codes.append(stream.result().codes)
    other = torch.randint(0, 4, (6, 3), generator=torch.Generator().manual_seed(2))
    pieces += [*engine.decode_audio(audio, other), *engine.finish_audio(audio)]
    whole = expected(decoder, prompt, *codes, other)
    hop = whole.shape[1] // (len(prompt) + sum(map(len, codes)) + len(other))
    torch.testing.assert_close(torch.cat(pieces, 1), whole[:, len(prompt) * hop :], atol=1e-5, rtol=1e-5)
    lags = decoder.latency * hop
    assert pieces[0].shape[1] == len(codes[0]) * hop - lags, "all codes of a request are decoded at its end"


def test_a_row_of_audio_is_given_back(frames: int) -> None:
    lm, decoder = push_stop(toy_lm(), -3.0), decoders()["lina"]
    engine = Engine(lm, 1, decoder=decoder)
    (endless,) = requests(toy_conditions(lm, TEXTS[0]), max_frames=10_000)
    audio = engine.open_audio()
    with pytest.raises(LinaError, match=r"all 1 rows of audio are taken; close a stream, or use more slots"):
        engine.open_audio()
    reading = engine.submit(replace(endless, audio=audio)).audio()
    next(reading)
    reading.close()  # type: ignore[attr-defined]
    engine.close_audio(audio)
    assert engine.idle
    stream = engine.submit(replace(endless, max_frames=6, audio=engine.open_audio()))
    found = audio_samples(stream)
    torch.testing.assert_close(found, expected(decoder, stream.result().codes), atol=1e-5, rtol=1e-5)


class OnTheHost(CapturedAudioDecoder):
    """Captured rows without a graph, on a CPU."""

    def __init__(self, decoder: DecoderStream, rows: int, codebooks: int, frames: int) -> None:
        self._fresh = set()
        AudioDecoder.__init__(self, decoder, rows, codebooks, frames)
        self._graph: Any = self

    def _context(self) -> Any:
        return nullcontext()

    def _put(self, rows: Tensor, state: State) -> None:
        for buffer, new in zip(leaves(self.state), leaves(state), strict=True):
            buffer.index_copy_(0, rows, new.expand(len(rows), *new.shape[1:]))

    def run(self, active: Any, codes: Any) -> OnHost:
        audio, after = self.decoder.parallel_forward(torch.from_numpy(codes), self.state)
        for buffer, leaf in zip(leaves(self.state), leaves(after), strict=True):
            buffer.copy_(leaf)
        return OnHost(samples_of(audio))


def test_a_prompt_stays_in_a_captured_row_that_was_never_used() -> None:
    decoder, generator = decoders()["lina"], torch.Generator().manual_seed(1)
    prompt, codes = (torch.randint(0, 4, (frames, 3), generator=generator) for frames in (5, 4))
    rows = OnTheHost(decoder, 1, 3, 4)
    rows.close(rows.open())
    audio = torch.cat([*rows.decode_now(rows.open(prompt), codes)], 1)
    hop = audio.shape[1] // len(codes)
    whole = expected(decoder, prompt, codes)
    torch.testing.assert_close(audio, whole[:, len(prompt) * hop :], atol=1e-5, rtol=1e-5)


def test_an_engine_without_a_decoder_has_no_audio() -> None:
    with pytest.raises(ValueError, match="no decoder of audio"):
        Engine(toy_lm(), 1).open_audio()


def test_too_many_rows_are_refused_with_the_number_that_fits(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "lina"):
        check_bytes(2_000_000, 10, 100_000_000, "slots")
    assert "10 slots of 2.00 MB, 0.020 GB" in caplog.text
    with pytest.raises(
        LinaError, match=r"50 rows of audio of 2.00 MB take 0.1 GB.*use at most 42 rows of audio"
    ):
        check_bytes(2_000_000, 50, 100_000_000, "rows of audio")


@torch.no_grad()
def test_the_codec_decodes_on_another_device() -> None:
    codec: Any = LinaCodec.build(**LinaCodec.example())
    assert implements(codec, DecodesOnDevice)
    copied = codec.decoder_on(torch.device("cpu"))
    codes = torch.randint(0, 16, (2, 9, 3), generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(
        decode_stream(copied, codes), decode_stream(codec.decoder, codes), atol=1e-5, rtol=1e-5
    )
    weights = [next(iter(part.parameters())).data_ptr() for part in (copied, codec.decoder)]
    assert weights[0] != weights[1]
