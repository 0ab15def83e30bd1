"""Mimi as a pair of streams, exact and without latency: all its layers are causal.

The state has the past input of each convolution, and the keys and values of the transformer's window: its size is
constant. ``position`` counts frames without end.
"""

from collections.abc import Callable
from math import prod
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lina.codecs.hugging_face.causal_layers import PAD_MODES, chain_of, stage_of
from lina.codecs.hugging_face.whole import WholeCodec
from lina.codecs.hugging_face.window_transformer import PastFrames, WindowTransformer


class MimiState(NamedTuple):
    """State of either direction."""

    position: Int[Tensor, "B"]
    """Frames so far."""
    inner: tuple[Tensor, ...]
    """Past input of the convolutions on the side of the frames, [B, channels, samples]."""
    transformer: tuple[PastFrames, ...]
    outer: tuple[Tensor, ...]
    """Past input of the convolutions on the side of the audio."""


class MimiDecoderStream(nn.Module):
    """``DecoderStream``."""

    latency = 0

    def __init__(self, model: Any) -> None:
        super().__init__()
        half = _decoder_half(model)
        self.quantizer = model.quantizer
        self.inner = stage_of(half.resampling)
        self.transformer = WindowTransformer(half.transformer)
        self.outer = chain_of(half.convolutions.layers)
        self.rate: int = half.resampling.conv.stride[0]
        self.channels: int = model.config.audio_channels

    def initial_state(self, batch: int) -> MimiState:
        return _initial_state(self, batch)

    def parallel_forward(
        self, codes: Int[Tensor, "B T Q"], state: MimiState
    ) -> tuple[Float[Tensor, "B C samples"], MimiState]:
        begins = state.position == 0
        latents = self.quantizer.decode(codes.transpose(1, 2))
        x, inner = self.inner(latents, begins, iter(state.inner))
        y, past = self.transformer(x.transpose(1, 2), state.position * self.rate, state.transformer)
        audio, outer = self.outer(y.transpose(1, 2), begins, iter(state.outer))
        return audio, MimiState(state.position + codes.shape[1], tuple(inner), past, tuple(outer))

    def step(self, codes: Int[Tensor, "B Q"], state: MimiState) -> tuple[Float[Tensor, "B C hop"], MimiState]:
        return self.parallel_forward(codes[:, None], state)

    def flush(self, state: MimiState) -> Float[Tensor, "B C samples"]:
        return state.outer[0].new_zeros(len(state.position), self.channels, 0)


class MimiEncoderStream(nn.Module):
    """``EncoderStream``."""

    latency = 0

    def __init__(self, model: Any, *, hop: int, codebooks: int) -> None:
        super().__init__()
        half = _encoder_half(model)
        self.quantizer = model.quantizer
        self.outer = chain_of(half.convolutions.layers)
        self.transformer = WindowTransformer(half.transformer)
        self.inner = stage_of(half.resampling)
        self.rate: int = half.resampling.conv.stride[0]
        self.hop, self.codebooks = hop, codebooks

    def initial_state(self, batch: int) -> MimiState:
        return _initial_state(self, batch)

    def parallel_forward(
        self, audio: Float[Tensor, "B C samples"], state: MimiState
    ) -> tuple[Int[Tensor, "B T Q"], MimiState]:
        begins = state.position == 0
        x, outer = self.outer(audio, begins, iter(state.outer))
        y, past = self.transformer(x.transpose(1, 2), state.position * self.rate, state.transformer)
        latents, inner = self.inner(y.transpose(1, 2), begins, iter(state.inner))
        codes = self.quantizer.encode(latents, self.codebooks)[: self.codebooks].permute(1, 2, 0)
        after = state.position + audio.shape[-1] // self.hop
        return codes, MimiState(after, tuple(inner), past, tuple(outer))

    def step(self, audio: Float[Tensor, "B C hop"], state: MimiState) -> tuple[Int[Tensor, "B Q"], MimiState]:
        codes, after = self.parallel_forward(audio, state)
        return codes[:, 0], after

    def flush(self, state: MimiState) -> Int[Tensor, "B latency Q"]:
        return state.position.new_zeros(len(state.position), 0, self.codebooks)


class StreamingMimi(WholeCodec):
    """A ``StreamingCodec`` that also encodes and decodes whole utterances, as transformers does.

    Streams give the same audio up to rounding, and the same codes unless two entries of a codebook are equally near.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        sample_rate: int,
        hop: int,
        codebook_sizes: tuple[int, ...],
        encoder: Callable[[Any, Tensor], Tensor],
        decoder: Callable[[Any, Tensor], Tensor],
    ) -> None:
        super().__init__(
            model,
            sample_rate=sample_rate,
            hop=hop,
            codebook_sizes=codebook_sizes,
            encoder=encoder,
            decoder=decoder,
        )
        self.encoder = MimiEncoderStream(model, hop=hop, codebooks=len(codebook_sizes))
        self.decoder = MimiDecoderStream(model)


def streaming_obstacle(model: Any, hop: int) -> str | None:
    """The reason why a Mimi has no exact stream of constant state, None if it has one."""
    sizes = model.config
    if model.encoder is None or model.decoder is None:
        return "its weights lack the encoder or the decoder"
    if not sizes.use_causal_conv:
        return "use_causal_conv is false: its convolutions read later samples"
    if sizes.pad_mode not in PAD_MODES:
        return f"pad_mode is {sizes.pad_mode!r}: only {' and '.join(PAD_MODES)} read no later samples"
    if sizes.trim_right_ratio != 1:
        return f"trim_right_ratio is {sizes.trim_right_ratio}: its transposed convolutions read later frames"
    if not sizes.sliding_window:
        return "sliding_window is not set: its transformer reads all earlier frames"
    if sizes.rope_parameters["rope_type"] != "default":
        return f"rope_type is {sizes.rope_parameters['rope_type']!r}: only 'default' does not depend on the length"
    resampling = _decoder_half(model).resampling
    if resampling is None or prod((*sizes.upsampling_ratios, resampling.conv.stride[0])) != hop:
        return f"its layers do not upsample by {hop}, the samples of a frame at its frame_rate"
    if any(_reach(conv) < conv.stride[0] for conv in model.modules() if isinstance(conv, nn.Conv1d)):
        return "a convolution is narrower than its stride"
    return None


def follow_the_module(model: Any) -> None:
    """Make ints or buffers of the tensors that a Mimi keeps as attributes, which follow it to no device and dtype.

    Paddings stay on the meta device when weights are read from files. ``_embed``, the entries of a codebook, is
    otherwise computed at the first use.
    """
    for module in model.modules():
        if isinstance(getattr(module, "padding_right", None), Tensor):
            padding = _reach(module.conv) - module.conv.stride[0]
            module.padding_right = padding // 2
            module.padding_left = padding - module.padding_right
        if "_embed" in vars(module):
            entries = module.embed
            del module._embed
            module.register_buffer("_embed", entries, persistent=False)


class _Half(NamedTuple):
    """Modules of one direction, in the layout of transformers 5.24 (halves with networks) or of 5.6 (networks)."""

    convolutions: Any
    transformer: Any
    resampling: Any
    """Between the rate of the transformer and that of the frames."""


def _decoder_half(model: Any) -> _Half:
    own = model.decoder
    if hasattr(own, "decoder_seanet"):
        return _Half(own.decoder_seanet, own.decoder_transformer, own.upsample)
    return _Half(own, model.decoder_transformer, model.upsample)


def _encoder_half(model: Any) -> _Half:
    own = model.encoder
    if hasattr(own, "encoder_seanet"):
        return _Half(own.encoder_seanet, own.encoder_transformer, own.downsample)
    return _Half(own, model.encoder_transformer, model.downsample)


def _reach(conv: nn.Conv1d) -> int:
    """Samples that an output reads."""
    return (conv.kernel_size[0] - 1) * conv.dilation[0] + 1


def _initial_state(stream: MimiDecoderStream | MimiEncoderStream, batch: int) -> MimiState:
    transformer = stream.transformer.initial_state(batch)
    return MimiState(
        position=torch.zeros(batch, dtype=torch.int64, device=transformer[0].keys.device),
        inner=tuple(stream.inner.initial_tails(batch)),
        transformer=transformer,
        outer=tuple(stream.outer.initial_tails(batch)),
    )
