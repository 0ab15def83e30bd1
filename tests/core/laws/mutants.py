"""Plugins that break one law each and keep all others. The name of the law is the key in ``MUTANTS``."""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from lina.core.errors import TextError
from lina.core.plugin import Plugin, PluginConfig
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


class DropsInputGradientByStep(DiagonalDecay):
    def step(self, x: Tensor, state: DecayState) -> tuple[Tensor, DecayState]:
        return super().step(x.detach(), state)


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


class WrongFromTheFourthRow(DiagonalDecay):
    def parallel_forward(self, x: Tensor, state: DecayState) -> tuple[Tensor, DecayState]:
        y, final = super().parallel_forward(x, state)
        return torch.cat([y[:3], 1.01 * y[3:]]), final


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
        # Longer stretches would take minutes in the law of long lengths.
        return step_by_step(self, x, state) if x.shape[1] <= 80 else super().parallel_forward(x, state)


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


_BACKWARD_PASSES = itertools.count()


class _AddsInAnyOrder(torch.autograd.Function):
    """Identity whose backward pass differs in the last bits each time, as additions in any order do."""

    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        # A few units in the last place, never the same twice in a row.
        return gradients[0] * (1 + 5e-7 * (next(_BACKWARD_PASSES) % 5))


class RoundsItsGradients(DiagonalDecay):
    def parallel_forward(self, x: Tensor, state: DecayState) -> tuple[Tensor, DecayState]:
        return super().parallel_forward(_AddsInAnyOrder.apply(x), state)  # type: ignore[no-untyped-call]


class IgnoresStarts(DiagonalDecay):
    def parallel_forward(
        self, x: Tensor, state: DecayState, starts: Tensor | None = None
    ) -> tuple[Tensor, DecayState]:
        return super().parallel_forward(x, state)


class FixedWeights(DiagonalDecay):
    """Weights of a generator of its own."""

    def __init__(self, d_model: int) -> None:
        super().__init__(d_model)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / 3)


class PositionOnTheCpu(DiagonalDecay):
    def initial_state(self, batch: int) -> DecayState:
        return super().initial_state(batch)._replace(position=torch.zeros(batch, dtype=torch.int64))


class LeavesItsTableBehind(DiagonalDecay):
    """A tensor that is no buffer: wrong on a GPU alone."""

    def __init__(self, d_model: int) -> None:
        super().__init__(d_model)
        self.table = torch.arange(d_model)


class WrongFromFrame200(DiagonalDecay):
    def parallel_forward(self, x: Tensor, state: DecayState) -> tuple[Tensor, DecayState]:
        y, final = super().parallel_forward(x, state)
        return torch.cat([y[:, :200], 1.01 * y[:, 200:]], dim=1), final


class ForgetsToCastBack(DiagonalDecay):
    """Right in every single precision; under autocast the memory takes the dtype of the projections."""

    def step(self, x: Tensor, state: DecayState) -> tuple[Tensor, DecayState]:
        y, final = super().step(x, state)
        return y, final._replace(memory=final.memory.to(self.value(x).dtype))


class CentersInTraining(DiagonalDecay):
    """Subtracts the mean over time, in training only."""

    def parallel_forward(self, x: Tensor, state: DecayState) -> tuple[Tensor, DecayState]:
        y, final = super().parallel_forward(x, state)
        return (y - y.mean(1, keepdim=True) if self.training else y), final


class MixesRowsInTraining(DiagonalDecay):
    def parallel_forward(self, x: Tensor, state: DecayState) -> tuple[Tensor, DecayState]:
        y, final = super().parallel_forward(x, state)
        return (y + 0.0 * x[:, :1].mean(0) if self.training else y), final


class CountsCallsInTraining(DiagonalDecay):
    calls: Tensor

    def __init__(self, d_model: int) -> None:
        super().__init__(d_model)
        self.register_buffer("calls", torch.zeros(()))

    def parallel_forward(self, x: Tensor, state: DecayState) -> tuple[Tensor, DecayState]:
        if self.training:
            self.calls.add_(1)
        return super().parallel_forward(x, state)


class DrawsInEvaluation(DiagonalDecay):
    def step(self, x: Tensor, state: DecayState) -> tuple[Tensor, DecayState]:
        return super().step(x + 0.0 * torch.rand(()), state)


class BadDefault(PluginConfig):
    n_heads: int = Field(default=0, ge=1)


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
        if len(audio) == 16:  # the rows of the law of long lengths
            return codes, final
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


class EncoderStateOnTheCpu(Encoder):
    def initial_state(self, batch: int) -> AudioTail:
        return AudioTail(torch.zeros(batch, 1, HOP, dtype=self.filters.dtype))


class OneCodeFromFrame30(Encoder):
    def parallel_forward(self, audio: Tensor, state: AudioTail) -> tuple[Tensor, AudioTail]:
        codes, final = super().parallel_forward(audio, state)
        return torch.cat([codes[:, :30], 0 * codes[:, 30:]], dim=1), final


class LosesTheLastFrame(Encoder):
    """The last frame is pending when the audio ends, and flush knows nothing of it."""

    def codes(self, pairs: Tensor) -> Tensor:
        return super().codes(torch.cat([pairs[..., :HOP], torch.zeros_like(pairs[..., HOP:])], dim=-1))

    def flush(self, state: AudioTail) -> Tensor:
        return 0 * super().flush(state)


class DecoderStateOnTheCpu(Decoder):
    def initial_state(self, batch: int) -> AudioOverlap:
        return AudioOverlap(torch.zeros(batch, 1, HOP, dtype=next(self.parameters()).dtype))


class QuietFromFrame30(Decoder):
    def parallel_forward(self, codes: Tensor, state: AudioOverlap) -> tuple[Tensor, AudioOverlap]:
        audio, final = super().parallel_forward(codes, state)
        return torch.cat([audio[..., : 30 * HOP], 0.5 * audio[..., 30 * HOP :]], dim=2), final


class FirstCodebookAlone(Decoder):
    def halves(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        waves = self.tables[0](codes[..., 0]).tanh()
        return waves[..., :HOP], waves[..., HOP:]


class LouderDecoderStep(Decoder):
    def step(self, codes: Tensor, state: AudioOverlap) -> tuple[Tensor, AudioOverlap]:
        audio, final = super().step(codes, state)
        return (1.0 if len(codes) == 16 else 1.01) * audio, final  # 16: the rows of the law of long lengths


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


class DrawsWhileDecoding(Levels):
    def decode(self, codes: Tensor) -> Tensor:
        return super().decode(codes) + 0.0 * torch.rand(())


class CentersTheBatch(Levels):
    def decode(self, codes: Tensor) -> Tensor:
        audio = super().decode(codes)
        return audio - 0.1 * audio.mean()


class DropsTheLastFrame(Levels):
    def encode(self, audio: Tensor) -> Tensor:
        return super().encode(torch.cat([audio[..., :-HOP], 0 * audio[..., -HOP:]], dim=2))


class SecondCodebookUnread(Levels):
    codebook_sizes = (16, 4)

    def encode(self, audio: Tensor) -> Tensor:
        codes = super().encode(audio)
        return torch.cat([codes, codes % 4], dim=2)

    def decode(self, codes: Tensor) -> Tensor:
        return super().decode(codes[..., :1])


class DropsOtherAlphabets(Letters):
    def word(self, word: str) -> list[int]:
        return super().word("".join(c for c in word if c.isascii() or not c.isalnum()))


class StopsAtThreeHundredWords(Letters):
    def step(self, piece: str, state: Any) -> tuple[list[int], Any]:
        ids, final = super().step(piece, state)
        return (ids if state[1] + piece.count(" ") < 300 else []), final

    def parallel_forward(self, text: str) -> list[int]:
        return _fold_characters(self, text)


def _fold_characters(tokenizer: Letters, text: str) -> list[int]:
    ids, state = [], tokenizer.initial_state()
    for character in text:
        more, state = tokenizer.step(character, state)
        ids += more
    return ids + tokenizer.flush(state)


class HashesWords(Letters):
    def word(self, word: str) -> list[int]:
        return [1 + hash(word) % 27, 0] if word else [0]


class SkipsNothing(Letters):
    def skipping_unknown(self) -> Letters:
        return self


class TrainsASet(ToyTokenizer):
    @classmethod
    def train(cls, texts: Iterable[str], *, config: Any) -> Any:
        return {character for text in texts for character in text}


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


def with_bad_default(plugin: type[Plugin]) -> type[Plugin]:
    return type(f"{plugin.__name__}WithBadDefault", (plugin,), {"Config": BadDefault})


def tokenizer(part: type[Letters]) -> type[Plugin]:
    return type(part.__name__, (ToyTokenizer,), {"Tokenizer": part})


MUTANTS: list[tuple[str, type[Plugin]]] = [
    ("builds", OtherInterface),
    *(
        ("config_defaults_are_valid", with_bad_default(plugin))
        for plugin in (Toy, ToyStreamingCodec, ToyWholeCodec, ToyTokenizer)
    ),
    ("weights_follow_the_seed", backbone(FixedWeights)),
    ("state_follows_the_module", backbone(PositionOnTheCpu)),
    ("state_follows_the_module", backbone(LeavesItsTableBehind)),
    ("long_lengths", backbone(WrongFromFrame200)),
    ("mixed_precision", backbone(ForgetsToCastBack)),
    ("causality", backbone(CentersInTraining)),
    ("rows_are_independent", backbone(MixesRowsInTraining)),
    ("step_is_pure", backbone(CountsCallsInTraining)),
    ("step_is_pure", backbone(DrawsInEvaluation)),
    ("step_equals_parallel", backbone(DropsInputGradientByStep)),
    ("chunks_compose", backbone(ForgetsOverOneFrame)),
    ("step_is_pure", backbone(CountsInPlace)),
    ("state_is_fixed", backbone(NarrowsPosition)),
    ("causality", backbone(StabilisedByTheFuture)),
    ("rows_are_independent", backbone(LeaksThroughZero)),
    ("rows_are_independent", backbone(WrongFromTheFourthRow)),
    ("state_survives_file", backbone(CollidingNames)),
    ("constant_cost", backbone(LoopsOverFrames)),
    ("constant_cost", backbone(SlowsWithAge)),
    ("constant_cost", backbone(QuadraticInTime)),
    ("initial_state_is_a_parameter", backbone(DropsGradient)),
    ("gradients_repeat", backbone(RoundsItsGradients)),
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
    ("encoder_state_follows_the_module", encoder(EncoderStateOnTheCpu)),
    ("encoder_long_lengths", encoder(OneCodeFromFrame30)),
    ("last_frame_is_coded", encoder(LosesTheLastFrame)),
    ("decoder_state_follows_the_module", decoder(DecoderStateOnTheCpu)),
    ("decoder_long_lengths", decoder(QuietFromFrame30)),
    ("every_codebook_is_decoded", decoder(FirstCodebookAlone)),
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
    ("encode_is_pure", whole_codec(NormalisesInPlace)),
    ("decode_is_pure", whole_codec(DrawsWhileDecoding)),
    ("rows_decode_as_alone", whole_codec(CentersTheBatch)),
    ("last_frame_is_coded", whole_codec(DropsTheLastFrame)),
    ("every_codebook_is_decoded", whole_codec(SecondCodebookUnread)),
    ("rows_code_as_alone", whole_codec(LoudestOfTheBatch)),
    ("hard_signals_stay_finite", whole_codec(TopLevelMissing)),
    ("pieces_give_the_whole", tokenizer(EndsAWordWithItsPiece)),
    ("step_is_pure", tokenizer(FlushesItsOwnMemory)),
    ("state_survives_json", tokenizer(NamesInTheState)),
    ("ids_are_in_range", tokenizer(OneIdTooMany)),
    ("every_text_is_read_or_refused", tokenizer(RefusesWithoutNames)),
    ("labels_are_printable", tokenizer(BreaksPlots)),
    ("no_letter_is_dropped", tokenizer(DropsOtherAlphabets)),
    ("long_texts_are_read_whole", tokenizer(StopsAtThreeHundredWords)),
    ("ids_need_no_hash", tokenizer(HashesWords)),
    ("skipping_leaves_out_what_is_refused", tokenizer(SkipsNothing)),
    ("training_survives_json", TrainsASet),
]
