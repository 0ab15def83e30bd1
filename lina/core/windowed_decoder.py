"""A streaming decoder for codecs that only decode whole utterances: windows, cross-faded. It is approximate.

Time is cut into blocks of ``block`` frames. A frame is decoded from the codes between ``context`` frames before its
block and ``latency`` frames after itself, so that within a block every window begins at the same frame: a vocoder
that starts from rest in each window runs through the same phases, and only where blocks meet it does not. There the
cross-fade takes a whole frame, elsewhere an eighth.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lina.core.protocols import Codec


class WindowState(NamedTuple):
    position: Int[Tensor, "B"]
    """Frames taken in so far."""
    codes: Int[Tensor, "B frames Q"]
    """The last frames."""
    carried: Float[Tensor, "B C hop"]
    """The next frame to come out, as the window before rendered it."""


class WindowedDecoder:
    """``DecoderStream`` over ``codec.decode``. Outputs lag by one frame; fillers are silence.

    Each step decodes a window of ``context + block + latency`` frames, however far it has got, so its cost is
    constant. The first block of a stream is what a causal codec's whole decode gives.

    Measured with Codec2 3200 (whose own two decodings of the same codes differ by DISTANCE_TWICE dB of log spectrum):
    """

    exact = False
    """Outputs are near what the whole decode gives, not equal to it."""
    latency = 1

    def __init__(self, codec: Codec, block: int, context: int) -> None:
        self.codec, self.block, self.context = codec, block, context
        self.window = context + block + self.latency

    def initial_state(self, batch: int) -> WindowState:
        codebooks = len(self.codec.codebook_sizes)
        return WindowState(
            position=torch.zeros(batch, dtype=torch.int64),
            codes=torch.zeros(batch, self.window - 1, codebooks, dtype=torch.int64),
            carried=torch.zeros(batch, self.codec.channels, self.codec.hop),
        )

    def parallel_forward(
        self, codes: Int[Tensor, "B T Q"], state: WindowState
    ) -> tuple[Float[Tensor, "B C samples"], WindowState]:
        batch, time, codebooks = codes.shape
        seen = torch.cat([state.codes, codes], dim=1)
        newest = state.position[:, None] + torch.arange(time, device=codes.device)
        frame = newest - self.latency
        start = (frame.div(self.block, rounding_mode="floor") * self.block - self.context).clamp(min=0)
        # Beyond the newest frame nothing is known: it is repeated, and what comes of that is not used.
        wanted = torch.minimum(
            start[..., None] + torch.arange(self.window, device=codes.device), newest[..., None]
        )
        index = wanted - (state.position - state.codes.shape[1])[:, None, None]
        windows = seen.gather(1, index.flatten(1)[..., None].expand(-1, -1, codebooks))
        audio = self.codec.decode(windows.view(batch * time, self.window, codebooks))
        rendered = audio.view(batch, time, -1, self.window, self.codec.hop).transpose(2, 3)
        now, following = (self._pick(rendered, frame - start + ahead) for ahead in (0, 1))
        before = torch.cat([state.carried[:, None], following[:, :-1]], dim=1)
        out = self._fade(before, now, frame)
        after = WindowState(state.position + time, seen[:, time:], following[:, -1])
        return out.transpose(1, 2).flatten(2), after

    def step(
        self, codes: Int[Tensor, "B Q"], state: WindowState
    ) -> tuple[Float[Tensor, "B C hop"], WindowState]:
        return self.parallel_forward(codes[:, None], state)

    def flush(self, state: WindowState) -> Float[Tensor, "B C samples"]:
        return self.parallel_forward(state.codes[:, -1:].expand(-1, self.latency, -1), state)[0]

    def _pick(self, rendered: Tensor, offset: Tensor) -> Tensor:
        """Frame ``offset`` [B, T] of each window [B, T, window, C, hop]."""
        index = offset.clamp(min=0)[..., None, None, None].expand(-1, -1, 1, *rendered.shape[3:])
        return rendered.gather(2, index)[:, :, 0]

    def _fade(self, before: Tensor, now: Tensor, frame: Tensor) -> Tensor:
        """[B, T, C, hop]: from the last window's rendering of each frame into this one's."""
        hop = self.codec.hop
        ramp = (torch.arange(hop, device=now.device, dtype=now.dtype) + 0.5) / hop
        weight = torch.where((frame % self.block == 0)[..., None], ramp, (ramp * SHORT).clamp(max=1.0))[:, :, None]
        mixed = before + (now - before) * weight
        mixed = torch.where((frame == 0)[..., None, None], now, mixed)
        return torch.where((frame >= 0)[..., None, None], mixed, 0.0)


SHORT = 8
"""Inside a block a cross-fade takes this part of a frame."""
