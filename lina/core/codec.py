"""What core derives from a codec: whole encode and decode, checks, and a streaming decoder for any codec."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lina.core.errors import DataError
from lina.core.protocols import Codec, StreamingCodec

AnyCodec = Codec | StreamingCodec


def frame_rate(codec: AnyCodec) -> float:
    """Frames a second."""
    return codec.sample_rate / codec.hop


def validate_audio(codec: AnyCodec, audio: Float[Tensor, "B C samples"]) -> None:
    """Audio that ``codec.encode`` can take.

    Raises:
        DataError: other channels than the codec's, no whole number of frames, no frame, or NaN or infinity.
    """
    if audio.dim() != 3 or audio.shape[1] != codec.channels:
        raise DataError(
            f"audio of shape {list(audio.shape)}: this codec wants [rows, {codec.channels}, samples]; "
            f"convert the audio to {codec.channels} channel(s)"
        )
    if audio.shape[0] == 0 or audio.shape[2] == 0:
        raise DataError(f"audio of shape {list(audio.shape)}: nothing to encode; leave out empty audio")
    if audio.shape[2] % codec.hop:
        raise DataError(
            f"audio of {audio.shape[2]} samples: this codec wants a multiple of {codec.hop}; "
            "pad it with silence"
        )
    if not bool(torch.isfinite(audio).all()):
        raise DataError("audio holds NaN or infinity; repair the recording")


def validate_codes(codec: AnyCodec, codes: Int[Tensor, "B T Q"]) -> None:
    """Codes that ``codec.decode`` can take.

    Raises:
        DataError: not integers, another number of codebooks, no frame, or a code out of range (the codebook,
            the code and the range are named).
    """
    sizes = codec.codebook_sizes
    if codes.dtype not in (torch.int64, torch.int32, torch.int16, torch.uint8, torch.int8):
        raise DataError(f"codes of type {codes.dtype}: codes are integers; convert them to int64")
    if codes.dim() != 3 or codes.shape[2] != len(sizes):
        raise DataError(
            f"codes of shape {list(codes.shape)}: this codec wants [rows, frames, {len(sizes)}]; "
            "use codes made by the same codec and configuration"
        )
    if codes.shape[0] == 0 or codes.shape[1] == 0:
        raise DataError(f"codes of shape {list(codes.shape)}: nothing to decode; leave out empty rows")
    low = codes.amin(dim=(0, 1)).tolist()
    high = codes.amax(dim=(0, 1)).tolist()
    for codebook, size in enumerate(sizes):
        if low[codebook] < 0 or high[codebook] >= size:
            wrong = low[codebook] if low[codebook] < 0 else high[codebook]
            raise DataError(
                f"code {wrong} in codebook {codebook}: codes there are 0 to {size - 1}; "
                "use codes made by the same codec and configuration"
            )
