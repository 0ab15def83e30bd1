"""Operations on codecs: encoding and decoding of whole utterances, validation, streaming decoders."""

from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lina.core.audio.contract import require_audio, require_codes, require_in_range, stream_result
from lina.core.audio.windowed_decoder import WindowedDecoder
from lina.core.errors import DataError
from lina.core.protocols import Codec, DecoderStream, StreamingCodec, implements
from lina.core.state import State

AnyCodec = Codec | StreamingCodec


def frame_rate(codec: AnyCodec) -> float:
    """Frames per second."""
    return codec.sample_rate / codec.hop


def validate_audio(codec: AnyCodec, audio: Float[Tensor, "B C samples"]) -> None:
    """Validate audio for ``codec.encode``.

    Raises:
        DataError: other channels than the codec's, no whole number of frames, no frame, or NaN or infinity.
    """
    if audio.dim() != 3 or audio.shape[1] != codec.channels:
        raise DataError(
            f"audio of shape {list(audio.shape)}: this codec expects [rows, {codec.channels}, samples]; "
            f"convert the audio to {codec.channels} channel(s)"
        )
    if audio.shape[0] == 0 or audio.shape[2] == 0:
        raise DataError(f"audio of shape {list(audio.shape)}: nothing to encode; leave out empty audio")
    if audio.shape[2] % codec.hop:
        raise DataError(
            f"audio of {audio.shape[2]} samples: this codec expects a multiple of {codec.hop}; "
            "pad it with silence"
        )
    if not bool(torch.isfinite(audio).all()):
        raise DataError("audio holds NaN or infinity; repair the recording")


def validate_codes(codec: AnyCodec, codes: Int[Tensor, "B T Q"]) -> None:
    """Validate codes for ``codec.decode``.

    Raises:
        DataError: not integers, another number of codebooks, no frame, or a code out of range (the codebook,
            the code and the range are named).
    """
    sizes = codec.codebook_sizes
    if codes.dtype not in (torch.int64, torch.int32, torch.int16, torch.uint8, torch.int8):
        raise DataError(f"codes of type {codes.dtype}: codes are integers; convert them to int64")
    if codes.dim() != 3 or codes.shape[2] != len(sizes):
        raise DataError(
            f"codes of shape {list(codes.shape)}: this codec expects [rows, frames, {len(sizes)}]; "
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


def encode(codec: AnyCodec, audio: Float[Tensor, "B C N"]) -> Int[Tensor, "B T Q"]:
    """Encode whole utterances of N samples: T = ceil(N / hop); the last frame is padded with silence.

    A whole-utterance codec is used directly; from a streaming codec the latency is removed and the end flushed.

    Raises:
        DataError: as ``validate_audio``.
        ContractError: the codec returns something else than codes.
    """
    audio = torch.nn.functional.pad(audio, (0, -audio.shape[-1] % codec.hop))
    validate_audio(codec, audio)
    shape = (audio.shape[0], audio.shape[2] // codec.hop, len(codec.codebook_sizes))
    if implements(codec, Codec):
        codes = cast(Codec, codec).encode(audio)
        require_codes(codec, "encode", codes, shape)
        require_in_range(codec, "encode", codes, codec.codebook_sizes)
        return codes
    stream = cast(StreamingCodec, codec).encoder
    result = stream.parallel_forward(audio, stream.initial_state(audio.shape[0]))
    codes, state = stream_result(stream, "parallel_forward", result)
    require_codes(stream, "parallel_forward", codes, shape)
    held = stream.flush(state)
    require_codes(stream, "flush", held, (shape[0], stream.latency, shape[2]))
    codes = torch.cat([codes, held], dim=1)[:, stream.latency :]
    require_in_range(stream, "parallel_forward", codes, codec.codebook_sizes)
    return codes


def decode(codec: AnyCodec, codes: Int[Tensor, "B T Q"]) -> Float[Tensor, "B C samples"]:
    """Decode whole utterances: samples = T * hop.

    Raises:
        DataError: as ``validate_codes``.
        ContractError: the codec returns something else than audio.
    """
    validate_codes(codec, codes)
    if implements(codec, Codec):
        audio = cast(Codec, codec).decode(codes)
        require_audio(codec, "decode", audio, (codes.shape[0], codec.channels, codes.shape[1] * codec.hop))
        return audio
    return decode_stream(cast(StreamingCodec, codec).decoder, codes)


def decode_stream(decoder: DecoderStream, codes: Int[Tensor, "B T Q"]) -> Float[Tensor, "B C samples"]:
    """Decode whole utterances by a stream, without its latency."""
    result = decoder.parallel_forward(codes, decoder.initial_state(codes.shape[0]))
    audio, state = stream_result(decoder, "parallel_forward", result)
    whole = torch.cat([audio, decoder.flush(state)], dim=2)
    return whole[..., whole.shape[-1] - audio.shape[-1] :]


def decoder_stream(codec: AnyCodec, *, block: float = 0.4, context: float = 0.08) -> DecoderStream:
    """Streaming decoder of any codec: its own, else windows over its whole decode, an approximation.

    The approximation has ``exact = False``; ``block`` and ``context`` are its times in seconds, see
    ``WindowedDecoder``.
    """
    if implements(codec, StreamingCodec):
        return cast(StreamingCodec, codec).decoder
    rate = frame_rate(codec)
    return WindowedDecoder(
        cast(Codec, codec), block=max(1, round(block * rate)), context=max(1, round(context * rate))
    )


def skip(decoder: DecoderStream, codes: Int[Tensor, "B T Q"], state: State) -> State:
    """State after ``codes``, T >= 1, without their audio."""
    if isinstance(decoder, WindowedDecoder):
        return decoder.skip(codes, state)
    return decoder.parallel_forward(codes, state)[1]
