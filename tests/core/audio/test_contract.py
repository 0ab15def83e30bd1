"""Codecs that return something else than their protocol says are one line with plugin, distribution and file."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lina.core.audio.codec import decode, decoder_stream, encode
from lina.core.audio.contract import check_codec, require_frames, stream_result
from lina.core.entry_points import Record
from lina.core.errors import ContractError
from lina.core.registry import origin
from lina.engine.audio import AudioDecoder
from tests.core.toy_codec import HOP, Decoder, Encoder, Levels, ToyStreaming

RECORD = Record("codec", "toy", "lina-toy", "0.2", "toy_mod:Toy")
AUDIO = torch.zeros(1, 1, 4 * HOP)


class ReturnsInstead(Levels):
    """A whole codec whose two methods return ``answer``."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def encode(self, audio: Tensor) -> Tensor:
        return self.answer(super().encode(audio))  # type: ignore[no-any-return]

    def decode(self, codes: Tensor) -> Tensor:
        return self.answer(super().decode(codes))  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (lambda codes: None, "ReturnsInstead.encode returned None, expected codes int64 [1, 4, 1]"),
        (lambda codes: codes[:, 1:], "returned int64 [1, 3, 1], expected codes int64 [1, 4, 1]"),
        (lambda codes: codes.float(), "returned float32 [1, 4, 1]"),
        (lambda codes: (codes, None), "returned a tuple of int64 [1, 4, 1], None"),
        (lambda codes: codes + 16, "returned codes 24 .. 24 in codebook 0, expected 0 .. 15"),
        (lambda codes: codes.tolist(), "returned list"),
    ],
)
def test_wrong_codes(answer: Any, found: str) -> None:
    with pytest.raises(ContractError) as refusal:
        encode(ReturnsInstead(answer), AUDIO)
    assert found in str(refusal.value)
    assert str(refusal.value).startswith(f"codec ReturnsInstead ({__file__}): ")
    assert str(refusal.value).endswith("; check the codec: lina check")


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (lambda audio: None, "ReturnsInstead.decode returned None, expected audio of floats [1, 1, "),
        (lambda audio: audio[..., 1:], "expected audio of floats [1, 1, "),
        (lambda audio: audio.long(), "returned int64 [1, 1, "),
    ],
)
def test_wrong_audio(answer: Any, found: str) -> None:
    codec, codes = ReturnsInstead(answer), torch.zeros(1, 40, 1, dtype=torch.int64)
    with pytest.raises(ContractError) as refusal:
        decode(codec, codes)
    assert found in str(refusal.value)
    stream = decoder_stream(codec)
    with pytest.raises(ContractError, match=r"ReturnsInstead\.decode returned"):
        stream.parallel_forward(codes, stream.initial_state(1))


class StepsToNothing(Decoder):
    def step(self, codes: Tensor, state: Any) -> Any:
        return None


class StepsFlat(Decoder):
    def step(self, codes: Tensor, state: Any) -> Any:
        audio, after = super().step(codes, state)
        return audio[:, 0], after


@pytest.mark.parametrize(
    ("decoder", "found"),
    [
        (StepsToNothing(), "StepsToNothing.step returned None, expected a tuple (output, state)"),
        (StepsFlat(), f"StepsFlat.step returned float32 [1, {HOP}], expected audio of floats [1, channels"),
    ],
)
def test_the_engine_names_a_decoder_that_returns_something_else(decoder: Decoder, found: str) -> None:
    audio = AudioDecoder(decoder, rows=1, codebooks=2, frames=1)
    with pytest.raises(ContractError) as refusal:
        audio._decode(np.zeros(1, np.int64), np.zeros((1, 1, 2), np.int64), np.ones(1, np.bool_))
    assert found in str(refusal.value)


def test_streams_that_return_something_else() -> None:
    class ForgetsItsState(Encoder):
        def parallel_forward(self, audio: Tensor, state: Any) -> Any:
            return super().parallel_forward(audio, state)[0]

    with pytest.raises(
        ContractError, match=r"ForgetsItsState\.parallel_forward returned int64 .*, expected a tuple"
    ):
        encode(ToyStreaming(ForgetsItsState(), Decoder()), AUDIO)
    with pytest.raises(ContractError, match="returned a tuple of nothing"):
        stream_result(Decoder(), "step", ())
    require_frames(Decoder(), torch.zeros(2, 1, 6), 2, 3)


def test_objects_that_are_no_codec() -> None:
    with pytest.raises(
        ContractError, match=r"^codec:toy \(lina-toy 0\.2, toy_mod:Toy\): build returned NoneType, which"
    ):
        check_codec(None, RECORD)
    codec: Any = Levels()
    check_codec(codec, RECORD)
    for name, value in (
        ("hop", 320.0),
        ("channels", 0),
        ("codebook_sizes", ()),
        ("codebook_sizes", (16, "x")),
    ):
        codec = Levels()
        setattr(codec, name, value)
        with pytest.raises(
            ContractError, match=rf"its {name}.* is .*, expected .*; check it: lina check codec:toy"
        ):
            check_codec(codec, RECORD)


def test_a_plugin_of_lina_is_named_by_its_module() -> None:
    from lina.tokenizers.bytes import BytesTokenizer

    assert origin(BytesTokenizer(False), "tokenizer").startswith("tokenizer:bytes (lina ")
    assert origin(7, "tokenizer") == "tokenizer int (builtins)"
