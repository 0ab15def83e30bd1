"""Ten codecs with mistakes: each with the law that names it, and its message. They are the most different of twenty."""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lina.core.plugin import CodecPlugin, Plugin
from tests.core.toy_codec import HOP, SIZES, AudioOverlap, AudioTail, Decoder, Encoder, Levels, ToyStreaming


class Lagging(Encoder):
    """Codes are those of the frame before, but the encoder says that it does not lag, and flush gives nothing."""

    latency = 0

    def codes(self, pairs: Tensor) -> Tensor:
        return super().codes(torch.cat([pairs[..., :HOP], torch.zeros_like(pairs[..., HOP:])], dim=-1))

    def flush(self, state: AudioTail) -> Tensor:
        return torch.zeros(len(state.last), 0, len(SIZES), dtype=torch.int64, device=state.last.device)


class NormalizesTheStretch(Encoder):
    """The loudness of the whole recording, of which a stream has not heard the end."""

    def parallel_forward(self, audio: Tensor, state: AudioTail) -> tuple[Tensor, AudioTail]:
        return super().parallel_forward(audio / (audio.abs().amax(dim=(1, 2), keepdim=True) + 1e-3), state)


class CountedTail(NamedTuple):
    last: Tensor
    frames: int


class CountsFramesInPython(Encoder):
    def initial_state(self, batch: int) -> Any:
        return CountedTail(super().initial_state(batch).last, 0)

    def parallel_forward(self, audio: Tensor, state: Any) -> tuple[Tensor, Any]:
        codes, after = super().parallel_forward(audio, AudioTail(state.last))
        return codes, CountedTail(after.last, state.frames + codes.shape[1])

    def step(self, audio: Tensor, state: Any) -> tuple[Tensor, Any]:
        codes, after = super().step(audio, AudioTail(state.last))
        return codes, CountedTail(after.last, state.frames + 1)


class FreshNoise(Decoder):
    """Dither from torch's global generator: the same codes never sound the same."""

    def step(self, codes: Tensor, state: AudioOverlap) -> tuple[Tensor, AudioOverlap]:
        audio, after = super().step(codes, state)
        return audio + 1e-3 * torch.randn_like(audio), after


class CenteredSmoothing(Decoder):
    """A filter that is padded on both sides, as convolutions are by habit."""

    def parallel_forward(self, codes: Tensor, state: AudioOverlap) -> tuple[Tensor, AudioOverlap]:
        audio, after = super().parallel_forward(codes, state)
        kernel = torch.full((1, 1, 4 * HOP + 1), 1 / (4 * HOP + 1), dtype=audio.dtype)
        return F.conv1d(audio, kernel, padding=2 * HOP), after


class Ring(NamedTuple):
    overlap: Tensor
    table: Tensor
    position: Tensor


class NoiseTableOfSeventyFrames(Decoder):
    """step starts its table of noise again after 70 frames, parallel_forward does not."""

    def __init__(self) -> None:
        super().__init__()
        noise = torch.randn(4_000, HOP, generator=torch.Generator().manual_seed(1))
        self.register_buffer("noise", noise, persistent=False)

    def initial_state(self, batch: int) -> Any:
        overlap = super().initial_state(batch).overlap
        return Ring(overlap, overlap, torch.zeros(batch, dtype=torch.int64, device=overlap.device))

    def parallel_forward(self, codes: Tensor, state: Any) -> tuple[Tensor, Any]:
        audio, after = super().parallel_forward(codes, AudioOverlap(state.overlap))
        places = state.position[:, None] + torch.arange(codes.shape[1])
        noise = self.get_buffer("noise")[places].flatten(1)[:, None]
        return audio + 0.01 * noise, Ring(after.overlap, state.table.clone(), state.position + codes.shape[1])

    def step(self, codes: Tensor, state: Any) -> tuple[Tensor, Any]:
        audio, after = super().step(codes, AudioOverlap(state.overlap))
        noise = self.get_buffer("noise")[state.position % 70][:, None]
        return audio + 0.01 * noise, Ring(after.overlap, state.table.clone(), state.position + 1)

    def flush(self, state: Any) -> Tensor:
        overlap: Tensor = state.overlap
        return overlap.clone()


class LastCodebookDropped(Decoder):
    """A loop that ends one codebook early."""

    def halves(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        waves = torch.stack([table(codes[..., q]) for q, table in enumerate(self.tables[:-1])]).sum(0).tanh()
        return waves[..., :HOP], waves[..., HOP:]


class ListOfSizes(ToyStreaming):
    codebook_sizes: Any = list(SIZES)  # noqa: RUF012


class LogOfSilence(Levels):
    """The logarithm of silence, cast to an integer."""

    def encode(self, audio: Tensor) -> Tensor:
        power = audio[:, 0].unflatten(1, (-1, HOP)).square().mean(-1)
        level: Tensor = torch.where(power > 0, (15 + power.log2()).clamp(0, 15), -1)
        return level.long()[..., None]


class RemembersTheLoudest(Levels):
    """The peak of all that it has coded so far."""

    peak = 1e-6

    def encode(self, audio: Tensor) -> Tensor:
        self.peak = max(self.peak, float(audio.abs().max()))
        level: Tensor = (audio / self.peak)[:, 0].unflatten(1, (-1, HOP)).mean(-1) / 2 + 0.5
        return (level * 16).long().clamp(0, 15)[..., None]


class CodesOfTheBatch(Levels):
    """Each sample scaled by the loudest row."""

    def decode(self, codes: Tensor) -> Tensor:
        audio = super().decode(codes)
        return audio / audio.abs().amax(dim=0).clamp_min(0.1)


class NarrowCodes(Levels):
    def encode(self, audio: Tensor) -> Tensor:
        return super().encode(audio).int()


class Wrong(CodecPlugin):
    Encoder: type[Encoder] = Encoder
    Decoder: type[Decoder] = Decoder
    Whole: type[ToyStreaming] = ToyStreaming
    Codec: type[Levels] | None = None

    @classmethod
    def example(cls) -> dict[str, Any]:
        return {"config": cls.Config()}

    @classmethod
    def build(cls, *, config: Any) -> Any:
        return cls.Codec() if cls.Codec else cls.Whole(cls.Encoder(), cls.Decoder())


def plugin(part: type) -> type[Plugin]:
    bases = {Encoder: "Encoder", Decoder: "Decoder", ToyStreaming: "Whole", Levels: "Codec"}
    role = next(name for base, name in bases.items() if issubclass(part, base))
    return type(part.__name__, (Wrong,), {role: part})


WRONG_CODECS: list[tuple[str, type[Plugin], str]] = [
    ("facts_are_sane", plugin(ListOfSizes), r"codebook_sizes: expected a tuple .*, found \[16, 5\]"),
    ("encoder_state_is_fixed", plugin(CountsFramesInPython), "state frames: expected a tensor, found int"),
    (
        "encoder_causality",
        plugin(NormalizesTheStretch),
        r"outputs before frame \d+, .* first at \[\d, \d+, \d\]",
    ),
    ("last_frame_is_coded", plugin(Lagging), "another last frame of audio gives the same codes"),
    ("decoder_step_is_pure", plugin(FreshNoise), "step: changes torch's random state"),
    ("decoder_causality", plugin(CenteredSmoothing), r"outputs before frame 1, .* first at \[\d, 0, 0, \d\]"),
    (
        "decoder_long_lengths",
        plugin(NoiseTableOfSeventyFrames),
        r"step, folded over .* first at \[0, \d+, 0, \d\]",
    ),
    ("every_codebook_is_decoded", plugin(LastCodebookDropped), "codebook 1: other codes give the same audio"),
    (
        "encode_is_pure",
        plugin(RemembersTheLoudest),
        "encode, called again after another call: frames: .* first at",
    ),
    (
        "round_trip_keeps_length",
        plugin(NarrowCodes),
        r"codes: expected \[2, 1, 1\] int64, found .* torch.int32",
    ),
    ("rows_decode_as_alone", plugin(CodesOfTheBatch), r"row \d alone: audio: .* first at \[0, 0, \d+\]"),
    (
        "hard_signals_stay_finite",
        plugin(LogOfSilence),
        r"silence: codes of codebook 0: expected 0 .. 15, found -1",
    ),
]
