"""Sizes of a lina-speech checkpoint, inferred from tensor shapes; its YAML files are not read, as some are wrong.

Sizes that no shape determines are those of the beta: GLA's gate temperature 16, RWKV-6's channel mixing, rotary base
10,000.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lina.convert.lina_speech.tensors import some
from lina.core.errors import LinaError
from lina.core.model.tokens import MARKS

ENCODER, CROSS = "attentive_rnn.encoder.", "attentive_rnn.cross_att."
MARKERS = {
    "gla": f"{ENCODER}0.tmix.gk_proj.1.weight",
    "rwkv6": f"{ENCODER}0.tmix.time_maa_x",
    "mamba": f"{ENCODER}backbone.layers.0.mixer.A_log",
}
"""Name of a tensor that only a model with this backbone has."""
ROTARY = "rotary.freqs"


class NotConvertible(LinaError):
    """The checkpoint holds no supported model; the message does not name the file."""


@dataclass(frozen=True)
class CheckpointSizes:
    backbone: str
    """Name of the backbone plugin."""
    config: dict[str, Any]
    """The plugin's keys."""
    d_model: int
    n_layers: int
    """Per side of the cross-attention."""
    vocabulary: int
    """Text ids."""
    text_layers: int
    text_heads: int
    attention: str
    heads_cross: int
    rotary_channels: int | None
    """None: no rotary positions."""
    position_dim: int | None
    """None: plain attention."""
    position_layers: int
    codebooks: int
    codebook_size: int


def read_sizes(tensors: Mapping[str, Tensor]) -> CheckpointSizes:
    """Infer the sizes of a model.

    Raises:
        NotConvertible: A tensor is missing, or its shape is not supported.
    """
    backbone = next((name for name, marker in MARKERS.items() if marker in tensors), None)
    if backbone is None:
        raise NotConvertible(
            f"no backbone of lina-speech (beta) is in it: missing are {' and '.join(MARKERS.values())}; "
            f"there are {len(tensors)} tensors: {some(tensors)}"
        )
    shapes = _Shapes(tensors)
    codebooks, tokens, d_model = shapes("rvq_embed.weight", 3)
    text_layers = _layers(tensors, "txt_encoder.sa.")
    position_aware = any(name.startswith(f"{CROSS}pos_net.") for name in tensors)
    turned = 2 * shapes(f"{CROSS}{ROTARY}", 1)[0] if f"{CROSS}{ROTARY}" in tensors else None
    if turned is None and not position_aware:
        raise NotConvertible(
            f"{CROSS}{ROTARY} is missing: only it determines the number of heads of plain attention"
        )
    for name in tensors:
        if name.endswith(ROTARY):
            _check_rotary(name, tensors[name])
    return CheckpointSizes(
        backbone=backbone,
        config=_CONFIGS[backbone](shapes, d_model),
        d_model=d_model,
        n_layers=_layers(tensors, f"{ENCODER}backbone.layers." if backbone == "mamba" else ENCODER),
        vocabulary=shapes("txt_embed.weight", 2)[0],
        text_layers=text_layers,
        text_heads=d_model // (4 * shapes(f"txt_encoder.sa.0.tmix.{ROTARY}", 1)[0]) if text_layers else 1,
        attention="position" if position_aware else "plain",
        heads_cross=1 if position_aware else d_model // (2 * (turned or 1)),
        rotary_channels=turned,
        position_dim=_position_dim(shapes, backbone) if position_aware else None,
        position_layers=_layers(tensors, f"{CROSS}pos_net.backbone.layers.")
        if backbone == "mamba" and position_aware
        else 1,
        codebooks=codebooks,
        codebook_size=tokens - MARKS,
    )


class _Shapes:
    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.tensors = tensors

    def __call__(self, name: str, dimensions: int) -> list[int]:
        if name not in self.tensors:
            raise NotConvertible(
                f"{name} is missing; there are {len(self.tensors)} tensors: {some(self.tensors)}"
            )
        shape = list(self.tensors[name].shape)
        if len(shape) != dimensions or 0 in shape:
            raise NotConvertible(
                f"{name} is {shape}; it should have {dimensions} dimensions, none of them empty"
            )
        return shape


def _layers(tensors: Mapping[str, Tensor], prefix: str) -> int:
    found = (re.match(rf"{re.escape(prefix)}(\d{{1,4}})\.", name) for name in tensors)
    return max((int(one[1]) + 1 for one in found if one), default=0)


def _check_rotary(name: str, frequencies: Tensor) -> None:
    """Check the stored frequencies against those that lina computes: 10000^(-i / n) for i of n."""
    n = frequencies.numel()
    expected = 10000.0 ** (-torch.arange(n, dtype=torch.float64) / max(n, 1))
    if frequencies.dim() != 1 or not torch.allclose(frequencies.double(), expected, rtol=1e-2, atol=0):
        raise NotConvertible(
            f"{name} are not rotary frequencies of base 10,000, the only ones that lina supports"
        )


def _gla(shapes: _Shapes, d_model: int) -> dict[str, Any]:
    layer = f"{ENCODER}0.tmix."
    value, key = shapes(f"{layer}v_proj.weight", 2)[0], shapes(f"{layer}q_proj.weight", 2)[0]
    return {
        "n_heads": value // shapes(f"{layer}g_norm_swish_gate.weight", 1)[0],
        "expand_k": key / d_model,
        "expand_v": value / d_model,
        "gate_rank": shapes(f"{layer}gk_proj.0.weight", 2)[0],
    }


def _mamba(shapes: _Shapes, d_model: int) -> dict[str, Any]:
    layer = f"{ENCODER}backbone.layers.0.mixer."
    inner, d_state = shapes(f"{layer}A_log", 2)
    return {
        "expand": inner // d_model,
        "d_state": d_state,
        "d_conv": shapes(f"{layer}conv1d.weight", 3)[2],
    }


def _rwkv6(shapes: _Shapes, d_model: int) -> dict[str, Any]:
    layer = f"{ENCODER}0.tmix."
    return {
        "n_heads": shapes(f"{layer}time_faaaa", 2)[0],
        "mix_rank": shapes(f"{layer}time_maa_w2", 3)[1],
        "decay_rank": shapes(f"{layer}time_decay_w1", 2)[1],
    }


_CONFIGS = {"gla": _gla, "mamba": _mamba, "rwkv6": _rwkv6}


def _position_dim(shapes: _Shapes, backbone: str) -> int:
    norm = "backbone.norm_f.weight" if backbone == "mamba" else "norm1.weight"
    return shapes(f"{CROSS}pos_net.{norm}", 1)[0]
