"""Laws of codecs: of all, and of the two directions of streaming ones."""

from collections.abc import Callable
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lina.core.laws.codec_streams import (
    DecodingStream,
    EncodingStream,
    flush_completes,
    padded_rows_code_as_alone,
    random_audio,
    random_codes,
)
from lina.core.laws.compare import require_as_good, require_equal, require_finite
from lina.core.laws.law import Conditions, Law, NotApplicable, Violation
from lina.core.laws.long_lengths import long_lengths
from lina.core.laws.stream import SEED, seeded_build
from lina.core.laws.stream_laws import stream_law, stream_laws
from lina.core.plugin import Plugin
from lina.core.protocols import Codec, StreamingCodec, implements

Audio = Float[Tensor, "B C samples"]
Codes = Int[Tensor, "B T Q"]


def facts_are_sane(codec: Any, device: str) -> None:
    """sample_rate, hop, channels, codebook_sizes and latencies are whole numbers in range."""
    counts = {"sample_rate": codec.sample_rate, "hop": codec.hop, "channels": codec.channels}
    for index, size in enumerate(codec.codebook_sizes):
        counts[f"codebook_sizes[{index}]"] = size
    for name, value in counts.items():
        if type(value) is not int or value < 1:
            raise Violation(f"{name}: expected a whole number of at least 1, found {value!r}")
    if codec.channels > 2:
        raise Violation(f"channels: expected 1 or 2, found {codec.channels}")
    if not isinstance(codec.codebook_sizes, tuple) or not codec.codebook_sizes:
        raise Violation(
            f"codebook_sizes: expected a tuple of at least one size, found {codec.codebook_sizes!r}"
        )
    if implements(codec, StreamingCodec):
        for name, part in (("encoder", codec.encoder), ("decoder", codec.decoder)):
            if type(part.latency) is not int or part.latency < 0:
                raise Violation(f"{name}.latency: expected a whole number of frames, found {part.latency!r}")


def round_trip_keeps_length(codec: Any, device: str) -> None:
    """T frames of audio give codes [B, T, Q], int64 and in range, and these give T frames of finite audio."""
    for frames in (1, 2, 19, 301):
        audio = random_audio(codec, 2, frames, _generator()).to(device, torch.float32)
        codes = encode(codec, audio)
        require_codes(codec, codes, 2, frames)
        for codes_in in (codes, random_codes(codec, 2, frames, _generator()).to(device)):
            require_audio(codec, decode(codec, codes_in), 2, frames)


def encode_is_pure(codec: Any, device: str) -> None:
    """encode gives the same codes each time, and changes neither its audio nor torch's random state."""
    audio = random_audio(codec, 2, 12, _generator()).to(device, torch.float32)
    _require_same_again("encode", lambda samples: encode(codec, samples), audio, -1.9 * audio)


def decode_is_pure(codec: Any, device: str) -> None:
    """decode gives the same audio each time, and changes neither its codes nor torch's random state."""
    _require_deterministic(codec)
    codes = random_codes(codec, 2, 12, _generator()).to(device)
    _require_same_again("decode", lambda passed: decode(codec, passed), codes, codes.flip(1))


def _require_deterministic(codec: Any) -> None:
    if getattr(codec, "decodes_at_random", False):
        raise NotApplicable("it declares decodes_at_random")


def _require_same_again(name: str, call: Callable[[Tensor], Tensor], argument: Tensor, other: Tensor) -> None:
    before, random = argument.clone(), torch.get_rng_state()
    first = call(argument)
    kept = first.clone()
    require_equal(f"argument of {name}:", {"frames": argument}, {"frames": before})
    require_equal(f"{name}, called twice:", {"frames": call(argument)}, {"frames": kept})
    call(other)
    require_equal(f"{name}: its result, after a later call:", {"frames": first}, {"frames": kept})
    require_equal(f"{name}, called again after another call:", {"frames": call(argument)}, {"frames": kept})
    if not torch.equal(random, torch.get_rng_state()):
        torch.set_rng_state(random)
        raise Violation(f"{name} changes torch's random state; draw by a torch.Generator of its own")


def rows_code_as_alone(codec: Any, device: str) -> None:
    """A row of a batch gives the same codes as alone."""
    audio = random_audio(codec, 5, 12, _generator()).to(device, torch.float32)
    _require_same_rows("codes", lambda samples: encode(codec, samples), audio)


def rows_decode_as_alone(codec: Any, device: str) -> None:
    """A row of a batch gives the same audio as alone."""
    _require_deterministic(codec)
    codes = random_codes(codec, 5, 12, _generator()).to(device)
    _require_same_rows("audio", lambda passed: decode(codec, passed), codes)


def _require_same_rows(name: str, call: Callable[[Tensor], Tensor], batch: Tensor) -> None:
    together = call(batch.clone())
    for row in range(len(batch)):
        alone, expected = {name: call(batch[row : row + 1].clone())}, {name: together[row : row + 1]}
        require_as_good(f"row {row} alone:", alone, expected, expected, torch.float32)


def last_frame_is_coded(codec: Any, device: str) -> None:
    """Codes have the last frame of the audio in them, and audio that of the codes: the latency is the true one."""
    samples = random_audio(codec, 1, 12, _generator()).to(device, torch.float32).repeat(4, 1, 1)
    changed = samples.clone()
    last = samples[:1, :, -codec.hop :]
    changed[..., -codec.hop :] = torch.cat([0.9 * last.sign(), 0 * last, 0 * last + 0.5, -2 * last.flip(-1)])
    if torch.equal(encode(codec, samples), encode(codec, changed)):
        raise Violation(
            "another last frame of audio gives the same codes: expected others. Is the encoder's latency larger than "
            "it declares, or is the end of the audio cut off?"
        )
    codes = random_codes(codec, 2, 12, _generator()).to(device)
    changed = codes.clone()
    changed[:, -1] = _other_codes(codec, codes)[:, -1]
    if not torch.equal(codes, changed) and torch.equal(decode(codec, codes), decode(codec, changed)):
        raise Violation(
            "another last frame of codes gives the same audio: expected another. Is the decoder's latency larger than "
            "it declares, or are the last codes cut off?"
        )


def every_codebook_is_decoded(codec: Any, device: str) -> None:
    """Other codes of any one codebook give other audio."""
    codes = random_codes(codec, 2, 12, _generator()).to(device)
    audio, other = decode(codec, codes), _other_codes(codec, codes)
    for index, size in enumerate(codec.codebook_sizes):
        changed = codes.clone()
        changed[..., index] = other[..., index]
        if size > 1 and torch.equal(decode(codec, changed), audio):
            raise Violation(f"codebook {index}: other codes give the same audio; is it left out of the sum?")


def _other_codes(codec: Any, codes: Codes) -> Codes:
    sizes = torch.tensor(codec.codebook_sizes, device=codes.device)
    return (codes + sizes.div(2, rounding_mode="floor").clamp_min(1)) % sizes


def hard_signals_stay_finite(codec: Any, device: str) -> None:
    """Silence, clipping, direct current, clicks and noise give codes in range and finite audio."""
    for name, audio in _hard_signals(codec).items():
        try:
            codes = encode(codec, audio.to(device))
            require_codes(codec, codes, 1, 9)
            require_audio(codec, decode(codec, codes), 1, 9)
        except Violation as violation:
            raise Violation(f"{name}: {violation}") from None


def encode(codec: Codec | StreamingCodec, audio: Audio) -> Codes:
    """Whole encode of either kind of codec."""
    with torch.no_grad():
        if not implements(codec, StreamingCodec):
            return cast(Codec, codec).encode(audio)
        stream = cast(StreamingCodec, codec).encoder
        codes, state = stream.parallel_forward(audio, stream.initial_state(audio.shape[0]))
        return torch.cat([codes, stream.flush(state)], dim=1)[:, stream.latency :]


def decode(codec: Codec | StreamingCodec, codes: Codes) -> Audio:
    """Whole decode of either kind of codec."""
    with torch.no_grad():
        if not implements(codec, StreamingCodec):
            return cast(Codec, codec).decode(codes)
        stream = cast(StreamingCodec, codec).decoder
        audio, state = stream.parallel_forward(codes, stream.initial_state(codes.shape[0]))
        return torch.cat([audio, stream.flush(state)], dim=2)[:, :, stream.latency * codec.hop :]


def require_codes(codec: Any, codes: Tensor, batch: int, frames: int) -> None:
    shape = (batch, frames, len(codec.codebook_sizes))
    if tuple(codes.shape) != shape or codes.dtype != torch.int64:
        raise Violation(f"codes: expected {list(shape)} int64, found {list(codes.shape)} {codes.dtype}")
    for index, size in enumerate(codec.codebook_sizes):
        low, high = int(codes[..., index].min()), int(codes[..., index].max())
        if low < 0 or high >= size:
            raise Violation(f"codes of codebook {index}: expected 0 .. {size - 1}, found {low} .. {high}")


def require_audio(codec: Any, audio: Tensor, batch: int, frames: int) -> None:
    shape = (batch, codec.channels, frames * codec.hop)
    if tuple(audio.shape) != shape or not audio.is_floating_point():
        raise Violation(f"audio: expected floats {list(shape)}, found {list(audio.shape)} {audio.dtype}")
    require_finite("audio", {"samples": audio})


def _hard_signals(codec: Any) -> dict[str, Audio]:
    samples = 9 * codec.hop
    silence = torch.zeros(1, codec.channels, samples)
    click = silence.clone()
    click[..., samples // 2] = 1.0
    noise = 2 * torch.rand(silence.shape, generator=_generator()) - 1
    square = torch.where(torch.arange(samples) // 20 % 2 == 0, 1.0, -1.0).expand_as(silence).clone()
    return {
        "silence": silence,
        "clipping": square,
        "direct current": silence + 1.0,
        "click": click,
        "noise at full scale": noise,
        "near-silence": 1e-30 * noise,
    }


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(SEED)


def _codec_law(test: Callable[[Any, str], None]) -> Law:
    """Law of a whole codec, in float32, the dtype of audio."""

    def check(plugin: type[Plugin], conditions: Conditions) -> None:
        codec = seeded_build(plugin)
        if isinstance(codec, torch.nn.Module):
            codec = codec.to(conditions.device).eval()
        test(codec, conditions.device)

    return Law(test.__name__, (test.__doc__ or "").splitlines()[0], check, (torch.float32,))


_ENCODER_LAWS = stream_laws(EncodingStream, prefix="encoder_")
_DECODER_LAWS = stream_laws(DecodingStream, prefix="decoder_")
WHOLE_CODEC_LAWS = [
    _codec_law(facts_are_sane),
    _codec_law(encode_is_pure),
    _codec_law(decode_is_pure),
    _codec_law(round_trip_keeps_length),
    _codec_law(rows_code_as_alone),
    _codec_law(rows_decode_as_alone),
    _codec_law(last_frame_is_coded),
    _codec_law(every_codebook_is_decoded),
    _codec_law(hard_signals_stay_finite),
]
STREAMING_CODEC_LAWS = [
    _codec_law(facts_are_sane),
    *_ENCODER_LAWS[:-2],
    stream_law(flush_completes, EncodingStream, (torch.float32,), prefix="encoder_"),
    *_DECODER_LAWS[:-2],
    stream_law(flush_completes, DecodingStream, (torch.float32,), prefix="decoder_"),
    _codec_law(round_trip_keeps_length),
    _codec_law(last_frame_is_coded),
    _codec_law(every_codebook_is_decoded),
    _codec_law(hard_signals_stay_finite),
    stream_law(padded_rows_code_as_alone, EncodingStream, (torch.float32,), prefix="encoder_"),
    stream_law(long_lengths, EncodingStream, (torch.float32,), prefix="encoder_"),
    stream_law(long_lengths, DecodingStream, (torch.float32,), prefix="decoder_"),
    *_ENCODER_LAWS[-2:],
    *_DECODER_LAWS[-2:],
]
