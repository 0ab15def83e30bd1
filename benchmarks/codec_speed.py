"""Speed of a codec on one core, and latency of its streaming decoder."""

import time
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.codec_audio import SOURCE_RATE, resampled
from benchmarks.codec_metrics import Samples
from lina.core.audio.codec import AnyCodec, decode, decoder_stream, encode
from lina.core.protocols import StreamingCodec, implements

REPEATS = 3
SECONDS = 10.0
"""Of audio to be coded."""


def speed(codec: AnyCodec, source: Samples) -> dict[str, float | None]:
    """Seconds of audio for each second of this process's time, PyTorch using one thread: the best of three.

    ``decode_steps`` goes frame by frame through the stream that lina speaks with (a window, for codecs that decode
    only whole). ``source`` is at 24 kHz.
    """
    torch.set_num_threads(1)
    audio = torch.from_numpy(resampled(source, SOURCE_RATE, codec.sample_rate))
    audio = audio[: int(SECONDS * codec.sample_rate)].expand(1, codec.channels, -1)
    with torch.inference_mode():
        codes = encode(codec, audio)
        seconds = codes.shape[1] * codec.hop / codec.sample_rate
        whole = seconds / _fastest(lambda: decode(codec, codes))
        return {
            "encode": seconds / _fastest(lambda: encode(codec, audio)),
            "decode": whole,
            "decode_steps": whole
            if getattr(codec, "frame_by_frame", False)
            else seconds / _fastest(lambda: _step(codec, codes)),
        }


def latency(codec: AnyCodec) -> dict[str, float | None]:
    """Milliseconds from a sample to its code (a frame has to be full, and some to be ahead), and from code to audio.

    None where a codec encodes only whole recordings.
    """
    frame = 1000.0 * codec.hop / codec.sample_rate
    if getattr(codec, "frame_by_frame", False):
        return {"encoder": frame, "decoder": 0.0}
    encoder: Any = getattr(codec, "encoder", None) if implements(codec, StreamingCodec) else None
    return {
        "encoder": None if encoder is None else frame * (1 + encoder.latency),
        "decoder": frame * decoder_stream(codec).latency,
    }


def _step(codec: AnyCodec, codes: torch.Tensor) -> None:
    stream = decoder_stream(codec)
    state = stream.initial_state(1)
    for frame in codes.unbind(dim=1):
        _, state = stream.step(frame, state)
    stream.flush(state)


def _fastest(work: Callable[[], object]) -> float:
    times = []
    for _ in range(REPEATS):
        before = time.process_time()
        work()
        times.append(time.process_time() - before)
    return max(min(times), 1e-9)
