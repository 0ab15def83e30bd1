"""Plugins that break one law each and keep all others. The name of the law is the key in ``MUTANTS``."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lina.core.errors import TextError
from lina.core.plugin import Plugin
from tests.core.toy_backbone import DecayState, DiagonalDecay, Toy
from tests.core.toy_codec import (
    HOP,
    SIZES,
    AudioOverlap,
    AudioTail,
    Decoder,
    Encoder,
    Levels,
    ToyStreaming,
    ToyStreamingCodec,
    ToyWholeCodec,
)
from tests.core.toy_tokenizer import Letters, ToyTokenizer


def step_by_step(module: DiagonalDecay | Encoder | Decoder, x: Tensor, state: Any) -> tuple[Tensor, Any]:
    outputs = []
    for t in range(x.shape[1]):
        y, state = module.step(x[:, t], state)
        outputs.append(y)
    return torch.stack(outputs, dim=1), state


class OtherInterface(Toy):
    plugin_api = 2


class LouderStep(DiagonalDecay):
    def step(self, x: Tensor, state: DecayState) -> tuple[Tensor, DecayState]:
        y, final = super().step(x, state)
        return 1.001 * y, final


class ForgetsOverOneFrame(DiagonalDecay):
    """The classic: a token shift that is wrong where the stretch has one frame."""

    def parallel_forward(self, x: Tensor, state: DecayState) -> tuple[Tensor, DecayState]:
        if x.shape[1] == 1:
            state = state._replace(before=torch.zeros_like(state.before))
        return super().parallel_forward(x, state)


class CountsInPlace(DiagonalDecay):
    def step(self, x: Tensor, state: DecayState) -> tuple[Tensor, DecayState]:
        y, final = super().step(x, state)
        return y, final._replace(position=state.position.add_(1))


class NarrowsPosition(DiagonalDecay):
    def step(self, x: Tensor, state: DecayState) -> tuple[Tensor, DecayState]:
        y, final = super().step(x, state)
        return y, final._replace(position=final.position.int())


class StabilisedByTheFuture(DiagonalDecay):
    """Right until something far larger comes: the maximum over the stretch underflows the past."""

    def parallel_forward(self, x: Tensor, state: DecayState) -> tuple[Tensor, DecayState]:
        weight = x.detach().abs().amax(1, keepdim=True).neg().exp()
        return super().parallel_forward(x * weight / weight, state)


class LeaksThroughZero(DiagonalDecay):
    def step(self, x: Tensor, state: DecayState) -> tuple[Tensor, DecayState]:
        y, final = super().step(x, state)
        return y + 0.0 * x.mean(0), final


class OtherAlone(DiagonalDecay):
    def parallel_forward(self, x: Tensor, state: DecayState) -> tuple[Tensor, DecayState]:
        y, final = super().parallel_forward(x, state)
        return (1.01 if x.shape[0] == 1 else 1.0) * y, final


class CollidingNames(DiagonalDecay):
    def initial_state(self, batch: int) -> Any:
        return self.hide(super().initial_state(batch))

    def hide(self, state: DecayState) -> dict[str, Any]:
        return {"memory": {"before": state.memory}, "memory.before": state.before, "position": state.position}

    def show(self, state: dict[str, Any]) -> DecayState:
        return DecayState(state["memory"]["before"], state["memory.before"], state["position"])

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        y, final = super().step(x, self.show(state))
        return y, self.hide(final)

    def parallel_forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        y, final = super().parallel_forward(x, self.show(state))
        return y, self.hide(final)


class LoopsOverFrames(DiagonalDecay):
    def parallel_forward(self, x: Tensor, state: DecayState) -> tuple[Tensor, DecayState]:
        return step_by_step(self, x, state)


class SlowsWithAge(DiagonalDecay):
    def step(self, x: Tensor, state: DecayState) -> tuple[Tensor, DecayState]:
        for _ in range(int(state.position.max()) // 100):
            x = x + 0.0
        return super().step(x, state)


class QuadraticInTime(DiagonalDecay):
    def parallel_forward(self, x: Tensor, state: DecayState) -> tuple[Tensor, DecayState]:
        y, final = super().parallel_forward(x, state)
        return y + 0.0 * (x @ x.transpose(1, 2)).sum(-1, keepdim=True), final


class DropsGradient(DiagonalDecay):
    """Both faces agree, and neither lets a gradient through the token shift."""

    def step(self, x: Tensor, state: DecayState) -> tuple[Tensor, DecayState]:
        return super().step(x, state._replace(before=state.before.detach()))

    def parallel_forward(self, x: Tensor, state: DecayState) -> tuple[Tensor, DecayState]:
        shifted = torch.cat([state.before[:, None], x[:, :-1]], dim=1).detach()
        y, final = super().parallel_forward(x, state)
        memories = y / torch.tanh(self.gate(x) + torch.cat([state.before[:, None], x[:, :-1]], dim=1))
        return memories * torch.tanh(self.gate(x) + shifted), final


class IgnoresStarts(DiagonalDecay):
    def parallel_forward(
        self, x: Tensor, state: DecayState, starts: Tensor | None = None
    ) -> tuple[Tensor, DecayState]:
        return super().parallel_forward(x, state)


class RoundedRate(ToyStreaming):
    sample_rate = 8_000.0  # type: ignore[assignment]


class OutOfRangeAtSomeLoudness(Encoder):
    def codes(self, pairs: Tensor) -> Tensor:
        peak = pairs.abs().amax(-1, keepdim=True)
        return torch.where((peak > 0.1) & (peak < 0.4), torch.tensor(SIZES), super().codes(pairs))


class ClampingDecoder(Decoder):
    def halves(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        return super().halves(torch.minimum(codes, torch.tensor(SIZES) - 1))


class NoCodeForSilence(Encoder):
    def codes(self, pairs: Tensor) -> Tensor:
        return torch.where((pairs == 0).all(-1, keepdim=True), -1, super().codes(pairs))


class OtherCodesByStep(Encoder):
    def step(self, audio: Tensor, state: AudioTail) -> tuple[Tensor, AudioTail]:
        codes, final = super().step(audio, state)
        return SIZES[-1] - 1 - codes.clamp_max(SIZES[-1] - 1), final


class ForgetsOverOneAudioFrame(Encoder):
    def parallel_forward(self, audio: Tensor, state: AudioTail) -> tuple[Tensor, AudioTail]:
        if audio.shape[2] == HOP:
            state = AudioTail(torch.zeros_like(state.last))
        return super().parallel_forward(audio, state)


class KeepsAudioInPlace(Encoder):
    def step(self, audio: Tensor, state: AudioTail) -> tuple[Tensor, AudioTail]:
        codes, _ = super().step(audio, state)
        state.last.copy_(audio)
        return codes, state

    def flush(self, state: AudioTail) -> Tensor:
        return super().flush(AudioTail(state.last.clone()))


class NarrowCodesByStep(Encoder):
    def step(self, audio: Tensor, state: AudioTail) -> tuple[Tensor, AudioTail]:
        codes, final = super().step(audio, state)
        return codes.int(), final

    def flush(self, state: AudioTail) -> Tensor:
        return super().flush(state).long()


class QuietBeforeClipping(Encoder):
    def parallel_forward(self, audio: Tensor, state: AudioTail) -> tuple[Tensor, AudioTail]:
        codes, final = super().parallel_forward(audio, state)
        clipped = audio.abs().amax(dim=(1, 2)) > 0.9
        return codes.masked_fill(clipped[:, None, None], 0), final


class CodesLeakThroughZero(Encoder):
    def codes(self, pairs: Tensor) -> Tensor:
        return super().codes(pairs + 0.0 * pairs.mean(0))


class CollidingAudio(Encoder):
    """The state names two leaves ``a.b``."""

    def initial_state(self, batch: int) -> Any:
        return self.hide(super().initial_state(batch))

    def hide(self, state: AudioTail) -> dict[str, Any]:
        return {"a": {"b": state.last}, "a.b": state.last.clone()}

    def step(self, audio: Tensor, state: Any) -> tuple[Tensor, Any]:
        codes, final = super().step(audio, AudioTail(state["a"]["b"]))
        return codes, self.hide(final)

    def parallel_forward(self, audio: Tensor, state: Any) -> tuple[Tensor, Any]:
        codes, final = super().parallel_forward(audio, AudioTail(state["a"]["b"]))
        return codes, self.hide(final)

    def flush(self, state: Any) -> Tensor:
        return Encoder.step(self, torch.zeros_like(state["a.b"]), AudioTail(state["a"]["b"]))[0][:, None]


class EncodesFrameByFrame(Encoder):
    def parallel_forward(self, audio: Tensor, state: AudioTail) -> tuple[Tensor, AudioTail]:
        return step_by_step(self, audio.unflatten(2, (-1, HOP)).transpose(1, 2), state)


class FlushClearsTheTail(Encoder):
    def flush(self, state: AudioTail) -> Tensor:
        codes = super().flush(state)
        state.last.zero_()
        return codes


class TrimsSilence(Encoder):
    def parallel_forward(self, audio: Tensor, state: AudioTail) -> tuple[Tensor, AudioTail]:
        codes, final = super().parallel_forward(audio, state)
        silent = (audio[:, :, -HOP:] == 0).all(dim=(1, 2)) if audio.shape[2] > HOP else torch.tensor([False])
        return codes.masked_fill(silent[:, None, None], 0), final


class LouderDecoderStep(Decoder):
    def step(self, codes: Tensor, state: AudioOverlap) -> tuple[Tensor, AudioOverlap]:
        audio, final = super().step(codes, state)
        return 1.01 * audio, final


class ForgetsOverOneCode(Decoder):
    def parallel_forward(self, codes: Tensor, state: AudioOverlap) -> tuple[Tensor, AudioOverlap]:
        if codes.shape[1] == 1:
            state = AudioOverlap(torch.zeros_like(state.overlap))
        return super().parallel_forward(codes, state)


class OverlapsInPlace(Decoder):
    def step(self, codes: Tensor, state: AudioOverlap) -> tuple[Tensor, AudioOverlap]:
        audio, final = super().step(codes, state)
        state.overlap.copy_(final.overlap)
        return audio, state


class WideAudioByStep(Decoder):
    def step(self, codes: Tensor, state: AudioOverlap) -> tuple[Tensor, AudioOverlap]:
        audio, final = super().step(codes, state)
        return audio.double(), final


class SilentBeforeTheLoudest(Decoder):
    def parallel_forward(self, codes: Tensor, state: AudioOverlap) -> tuple[Tensor, AudioOverlap]:
        audio, final = super().parallel_forward(codes, state)
        loudest = (codes[:, -3:] == torch.tensor(SIZES) - 1).all(dim=(1, 2))
        return audio.masked_fill(loudest[:, None, None], 0.0), final


class AudioLeaksThroughZero(Decoder):
    def step(self, codes: Tensor, state: AudioOverlap) -> tuple[Tensor, AudioOverlap]:
        audio, final = super().step(codes, state)
        return audio + 0.0 * state.overlap.mean(0), final


class CollidingOverlap(Decoder):
    def initial_state(self, batch: int) -> Any:
        return self.hide(super().initial_state(batch))

    def hide(self, state: AudioOverlap) -> dict[str, Any]:
        return {"a": {"b": state.overlap}, "a.b": state.overlap.clone()}

    def step(self, codes: Tensor, state: Any) -> tuple[Tensor, Any]:
        audio, final = super().step(codes, AudioOverlap(state["a"]["b"]))
        return audio, self.hide(final)

    def parallel_forward(self, codes: Tensor, state: Any) -> tuple[Tensor, Any]:
        audio, final = super().parallel_forward(codes, AudioOverlap(state["a"]["b"]))
        return audio, self.hide(final)

    def flush(self, state: Any) -> Tensor:
        overlap: Tensor = state["a"]["b"]
        return overlap.clone()


class DecodesFrameByFrame(Decoder):
    def parallel_forward(self, codes: Tensor, state: AudioOverlap) -> tuple[Tensor, AudioOverlap]:
        audio, final = step_by_step(self, codes, state)
        return audio.transpose(1, 2).flatten(2), final


class FlushClearsTheOverlap(Decoder):
    def flush(self, state: AudioOverlap) -> Tensor:
        audio = super().flush(state)
        state.overlap.zero_()
        return audio


class NoRate(Levels):
    sample_rate = 0


class NothingForOneFrame(Levels):
    def decode(self, codes: Tensor) -> Tensor:
        audio = super().decode(codes)
        return audio[..., :-1] if codes.shape[1] == 1 else audio


class NormalisesInPlace(Levels):
    def encode(self, audio: Tensor) -> Tensor:
        audio /= audio.abs().amax(dim=(1, 2), keepdim=True).clamp_min(1e-6)
        return super().encode(audio)


class LoudestOfTheBatch(Levels):
    def encode(self, audio: Tensor) -> Tensor:
        level: Tensor = (audio / audio.abs().amax().clamp_min(1e-6))[:, 0].unflatten(1, (-1, HOP)).mean(
            -1
        ) / 2 + 0.5
        return (level * 16).long().clamp(0, 15)[..., None]


class TopLevelMissing(Levels):
    def encode(self, audio: Tensor) -> Tensor:
        peak = audio.abs().amax(dim=(1, 2), keepdim=True).clamp_min(1e-6)
        level: Tensor = (audio / peak)[:, 0].unflatten(1, (-1, HOP)).mean(-1) / 2 + 0.5
        return (level * 16).long()[..., None]


class EndsAWordWithItsPiece(Letters):
    def step(self, piece: str, state: Any) -> tuple[list[int], Any]:
        ids, (word, words) = super().step(piece, state)
        return (ids + self.word(word), ("", words)) if word else (ids, (word, words))


class FlushesItsOwnMemory(Letters):
    def step(self, piece: str, state: Any) -> tuple[list[int], Any]:
        ids, final = super().step(piece, state)
        self.last = final[0]
        return ids, final

    def flush(self, state: Any) -> list[int]:
        return self.word(self.last if state[1] or state[0] else "")


class WordState(NamedTuple):
    word: str
    words: int


class NamesInTheState(Letters):
    def initial_state(self) -> Any:
        return WordState("", 0)

    def step(self, piece: str, state: Any) -> tuple[list[int], Any]:
        ids, final = super().step(piece, (state.word, state.words))
        return ids, WordState(*final)


class OneIdTooMany(Letters):
    def word(self, word: str) -> list[int]:
        return [28 if index == 27 else index for index in super().word(word)]


class RefusesWithoutNames(Letters):
    def step(self, piece: str, state: Any) -> tuple[list[int], Any]:
        try:
            return super().step(piece, state)
        except TextError:
            raise TextError("bad text") from None


class BreaksPlots(Letters):
    def labels(self, ids: Sequence[int]) -> list[str]:
        return ["\n" if index == 0 else "a" for index in ids]


def backbone(module: type[nn.Module]) -> type[Plugin]:
    return type(module.__name__, (Toy,), {"Module": module})


def codec(name: str, **parts: type) -> type[Plugin]:
    return type(name, (ToyStreamingCodec,), parts)


def encoder(part: type[Encoder]) -> type[Plugin]:
    return codec(part.__name__, Encoder=part)


def decoder(part: type[Decoder]) -> type[Plugin]:
    return codec(part.__name__, Decoder=part)


def whole_codec(part: type[Levels]) -> type[Plugin]:
    return type(part.__name__, (ToyWholeCodec,), {"Codec": part})


def tokenizer(part: type[Letters]) -> type[Plugin]:
    return type(part.__name__, (ToyTokenizer,), {"Tokenizer": part})


MUTANTS: list[tuple[str, type[Plugin]]] = [
    ("builds", OtherInterface),
    ("step_equals_parallel", backbone(LouderStep)),
    ("chunks_compose", backbone(ForgetsOverOneFrame)),
    ("step_is_pure", backbone(CountsInPlace)),
    ("state_is_fixed", backbone(NarrowsPosition)),
    ("causality", backbone(StabilisedByTheFuture)),
    ("rows_are_independent", backbone(LeaksThroughZero)),
    ("rows_are_independent", backbone(OtherAlone)),
    ("state_survives_file", backbone(CollidingNames)),
    ("constant_cost", backbone(LoopsOverFrames)),
    ("constant_cost", backbone(SlowsWithAge)),
    ("constant_cost", backbone(QuadraticInTime)),
    ("initial_state_is_a_parameter", backbone(DropsGradient)),
    ("starts_restart_rows", backbone(IgnoresStarts)),
    ("facts_are_sane", codec("RoundedRate", Whole=RoundedRate)),
    (
        "round_trip_keeps_length",
        codec("OutOfRange", Encoder=OutOfRangeAtSomeLoudness, Decoder=ClampingDecoder),
    ),
    ("hard_signals_stay_finite", encoder(NoCodeForSilence)),
    ("encoder_step_equals_parallel", encoder(OtherCodesByStep)),
    ("encoder_chunks_compose", encoder(ForgetsOverOneAudioFrame)),
    ("encoder_step_is_pure", encoder(KeepsAudioInPlace)),
    ("encoder_state_is_fixed", encoder(NarrowCodesByStep)),
    ("encoder_causality", encoder(QuietBeforeClipping)),
    ("encoder_rows_are_independent", encoder(CodesLeakThroughZero)),
    ("encoder_state_survives_file", encoder(CollidingAudio)),
    ("encoder_constant_cost", encoder(EncodesFrameByFrame)),
    ("encoder_flush_completes", encoder(FlushClearsTheTail)),
    ("encoder_padded_rows_code_as_alone", encoder(TrimsSilence)),
    ("decoder_step_equals_parallel", decoder(LouderDecoderStep)),
    ("decoder_chunks_compose", decoder(ForgetsOverOneCode)),
    ("decoder_step_is_pure", decoder(OverlapsInPlace)),
    ("decoder_state_is_fixed", decoder(WideAudioByStep)),
    ("decoder_causality", decoder(SilentBeforeTheLoudest)),
    ("decoder_rows_are_independent", decoder(AudioLeaksThroughZero)),
    ("decoder_state_survives_file", decoder(CollidingOverlap)),
    ("decoder_constant_cost", decoder(DecodesFrameByFrame)),
    ("decoder_flush_completes", decoder(FlushClearsTheOverlap)),
    ("facts_are_sane", whole_codec(NoRate)),
    ("round_trip_keeps_length", whole_codec(NothingForOneFrame)),
    ("encode_is_deterministic", whole_codec(NormalisesInPlace)),
    ("rows_code_as_alone", whole_codec(LoudestOfTheBatch)),
    ("hard_signals_stay_finite", whole_codec(TopLevelMissing)),
    ("pieces_give_the_whole", tokenizer(EndsAWordWithItsPiece)),
    ("step_is_pure", tokenizer(FlushesItsOwnMemory)),
    ("state_survives_json", tokenizer(NamesInTheState)),
    ("ids_are_in_range", tokenizer(OneIdTooMany)),
    ("every_text_is_read_or_refused", tokenizer(RefusesWithoutNames)),
    ("labels_are_printable", tokenizer(BreaksPlots)),
]
