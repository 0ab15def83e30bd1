"""Check results of codecs where they are used: a plugin's mistake is one line instead of a traceback."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lina.core.errors import ContractError
from lina.core.protocols import Codec, StreamingCodec, implements
from lina.core.registry import Record, origin

COUNTS = ("sample_rate", "hop", "channels")


def check_codec(codec: Any, record: Record) -> None:
    """Check the facts of a codec that a plugin has built.

    Raises:
        ContractError: it is no codec, or a fact is no whole number of at least 1.
    """
    if not (implements(codec, Codec) or implements(codec, StreamingCodec)):
        raise ContractError(
            f"{record}: build returned {type(codec).__name__}, which is no codec: it needs sample_rate, hop, channels, "
            f"codebook_sizes, and encode and decode, or encoder and decoder; check it: lina check {record.full_name}"
        )
    facts = {name: getattr(codec, name) for name in COUNTS}
    sizes = codec.codebook_sizes
    if not isinstance(sizes, tuple | list) or not sizes:
        raise ContractError(
            f"{record}: its codebook_sizes is {sizes!r}, expected a tuple of at least one size; "
            f"check it: lina check {record.full_name}"
        )
    facts |= {f"codebook_sizes[{place}]": size for place, size in enumerate(sizes)}
    for name, value in facts.items():
        if type(value) is not int or value < 1:
            raise ContractError(
                f"{record}: its {name} is {value!r}, expected a whole number of at least 1; "
                f"check it: lina check {record.full_name}"
            )


def stream_result(part: Any, form: str, result: Any) -> tuple[Tensor, Any]:
    """Output and state of a stream's form.

    Raises:
        ContractError: the form returned something else than a tensor and a state.
    """
    if isinstance(result, tuple) and len(result) == 2 and isinstance(result[0], Tensor):
        return result
    raise _wrong(part, form, result, "a tuple (output, state)")


def require_codes(part: Any, form: str, codes: Any, shape: tuple[int, ...]) -> None:
    """Require int64 codes of this shape.

    Raises:
        ContractError: they are something else.
    """
    if not isinstance(codes, Tensor) or tuple(codes.shape) != shape or codes.dtype != torch.int64:
        raise _wrong(part, form, codes, f"codes int64 {list(shape)}")


def require_in_range(part: Any, form: str, codes: Tensor, sizes: Sequence[int]) -> None:
    """Require each code to be an entry of its codebook.

    Raises:
        ContractError: one is not; the message names the first such codebook.
    """
    low, high = (codes.flatten(0, 1).aminmax(dim=0)) if codes.numel() else ((), ())
    for place, (least, most, size) in enumerate(zip(low, high, sizes, strict=False)):
        if least < 0 or most >= size:
            raise ContractError(
                f"{origin(part, 'codec')}: {type(part).__name__}.{form} returned codes {int(least)} .. {int(most)} in "
                f"codebook {place}, expected 0 .. {size - 1}; check the codec: lina check"
            )


def require_audio(part: Any, form: str, audio: Any, shape: tuple[int, ...]) -> None:
    """Require floating-point audio of this shape.

    Raises:
        ContractError: it is something else.
    """
    floats = isinstance(audio, Tensor) and audio.is_floating_point()
    if not floats or tuple(audio.shape) != shape:
        raise _wrong(part, form, audio, f"audio of floats {list(shape)}")


def require_frames(decoder: Any, audio: Tensor, rows: int, frames: int) -> None:
    """Require floating-point audio [rows, channels, frames * hop] of a decoder stream, whose hop is not known.

    Raises:
        ContractError: it is something else.
    """
    like = audio.dim() == 3 and audio.shape[0] == rows and audio.shape[2] % frames == 0
    if not like or not audio.shape[2] or not audio.is_floating_point():
        shape = f"[{rows}, channels, {frames} * hop]"
        raise _wrong(
            decoder, "step" if frames == 1 else "parallel_forward", audio, f"audio of floats {shape}"
        )


def _wrong(part: Any, form: str, found: Any, expected: str) -> ContractError:
    return ContractError(
        f"{origin(part, 'codec')}: {type(part).__name__}.{form} returned {_described(found)}, expected {expected}; "
        "check the codec: lina check"
    )


def _described(found: Any) -> str:
    if isinstance(found, Tensor):
        return f"{str(found.dtype).removeprefix('torch.')} {list(found.shape)}"
    if type(found) is tuple:
        return f"a tuple of {', '.join(map(_described, found)) or 'nothing'}"
    return "None" if found is None else type(found).__name__
