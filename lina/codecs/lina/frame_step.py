"""Fused form of the decoder's step: one frame of one row on a CPU, in NumPy.

A frame is a hundred operations on a few numbers each, and NumPy's overhead per operation is a fraction of PyTorch's.
Gain and bias of a norm are folded into the layer after it, and the scale of a layer into its last matrix. The results
equal those of ``Decoder`` up to the rounding of float32, which the laws check.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from lina.codecs.lina.layers import RETENTION_EPS, ConvNeXtBlock, Retention
from lina.codecs.lina.network import Decoder, States
from lina.codecs.lina.quantizer import Quantizer
from lina.codecs.lina.spectra import LOUDEST

Array = npt.NDArray[np.float32]
Layer = Callable[[Array, Array], tuple[Array, Array]]


class FrameStep:
    """The decoder, with its present weights."""

    def __init__(self, decoder: Decoder, quantizer: Quantizer) -> None:
        self.quantizer, self.ratio, synthesis = quantizer, decoder.ratio, decoder.synthesis
        self.enter, self.up = _Linear(decoder.enter), _Linear(decoder.up)
        retention, *blocks = decoder.slow
        self.slow: list[Layer] = [_Retention(retention), *map(_ConvNeXtBlock, blocks)]
        self.fast: list[Layer] = [*map(_ConvNeXtBlock, decoder.fast)]
        self.head, self.eps = _Linear(synthesis.head, synthesis.norm), synthesis.norm.eps
        self.window, self.hop = _array(synthesis.window), synthesis.hop

    def __call__(self, codes: Tensor, states: States) -> tuple[Tensor, States]:
        """Map codes [Q] and the states of one row to the frame's samples [1, hop] and the new states."""
        *layer_states, ahead = (state.numpy()[0] for state in states)
        x, slow = _run(
            self.slow, self.enter(self.quantizer.decode(codes[None]).numpy()), layer_states[: len(self.slow)]
        )
        x, fast = _run(self.fast, self.up(x).reshape(self.ratio, -1), layer_states[len(self.slow) :])
        audio, ahead = self._synthesis(x, ahead)
        after = (torch.from_numpy(state)[None] for state in (*slow, *fast, ahead))
        return torch.from_numpy(audio)[None], tuple(after)

    def _synthesis(self, x: Array, state: Array) -> tuple[Array, Array]:
        spectrum = self.head(_normed(x, self.eps))
        bins = spectrum.shape[1] // 2
        magnitude, phase = np.exp(np.minimum(spectrum[:, :bins], LOUDEST)), spectrum[:, bins:]
        spectra = np.empty(phase.shape, np.complex64)
        spectra.real, spectra.imag = magnitude * np.cos(phase), magnitude * np.sin(phase)
        stretches = np.fft.irfft(spectra, n=len(self.window)) * self.window
        samples = len(x) * self.hop
        audio = np.concatenate([state, np.zeros(samples, np.float32)])
        for place, stretch in enumerate(stretches):
            audio[place * self.hop : place * self.hop + len(stretch)] += stretch
        return audio[:samples], audio[samples:]


def _run(layers: Sequence[Layer], x: Array, states: Sequence[Array]) -> tuple[Array, list[Array]]:
    after = []
    for layer, state in zip(layers, states, strict=True):
        x, state = layer(x, state)
        after.append(state)
    return x, after


class _Linear:
    def __init__(
        self, linear: nn.Linear, norm: nn.LayerNorm | None = None, scale: Tensor | None = None
    ) -> None:
        weight: Tensor = linear.weight
        bias: Tensor = weight.new_zeros(len(weight)) if linear.bias is None else linear.bias
        if norm is not None:
            weight, bias = weight * norm.weight, bias + weight @ norm.bias
        if scale is not None:
            weight, bias = weight * scale[:, None], bias * scale
        self.weight, self.bias = _array(weight.T), _array(bias)

    def __call__(self, x: Array) -> Array:
        y: Array = x @ self.weight
        y += self.bias
        return y


class _ConvNeXtBlock:
    def __init__(self, block: Any) -> None:
        assert isinstance(block, ConvNeXtBlock)
        self.taps, self.bias, self.eps = _array(block.taps), _array(block.bias), block.norm.eps
        self.widen = _Linear(block.widen, block.norm)
        self.narrow = _Linear(block.narrow, scale=block.scale)

    def __call__(self, x: Array, state: Array) -> tuple[Array, Array]:
        seen = np.concatenate([state, x])
        frame, channel = seen.strides
        shape = (len(x), *self.taps.shape)
        windows = np.ndarray(shape, seen.dtype, seen, strides=(frame, frame, channel))
        mixed: Array = np.einsum("tkc,kc->tc", windows, self.taps)
        mixed += self.bias
        wide = self.widen(_normed(mixed, self.eps))
        wide /= 1.0 + np.exp(-wide)
        y = self.narrow(wide)
        y += x
        return y, seen[len(x) :]


class _Retention:
    def __init__(self, retention: Any) -> None:
        assert isinstance(retention, Retention)
        self.heads, self.keys, self.eps = retention.heads, retention.head_keys, retention.norm.eps
        self.enter = _Linear(retention.enter, retention.norm)
        self.leave = _Linear(retention.leave, scale=retention.scale)
        self.decay = _array(retention.log_decay.exp())[:, None, None]
        self.mean = _array(-retention.log_decay.expm1() * retention.head_keys**-0.5)[:, None]

    def __call__(self, x: Array, state: Array) -> tuple[Array, Array]:
        projected, keys = self.enter(_normed(x, self.eps))[0], self.heads * self.keys
        q, k, v = projected[:keys], projected[keys : 2 * keys], projected[2 * keys :]
        state = state * self.decay + k.reshape(self.heads, -1, 1) * v.reshape(self.heads, 1, -1)
        read = (q.reshape(self.heads, 1, -1) @ state)[:, 0] * self.mean
        return x + self.leave(_normed(read, RETENTION_EPS).reshape(1, -1)), state


def _normed(x: Array, eps: float) -> Array:
    """Layer norm without gain and bias."""
    share = np.float32(1.0 / x.shape[1])
    total: Array = np.add.reduce(x, 1, keepdims=True)
    y: Array = x - total * share
    variance: Array = np.einsum("ti,ti->t", y, y) * share
    y /= np.sqrt(variance + np.float32(eps))[:, None]
    return y


def _array(tensor: Tensor) -> Array:
    array: Array = np.ascontiguousarray(tensor.detach().to("cpu", torch.float32).numpy())
    return array
