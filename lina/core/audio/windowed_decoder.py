"""Approximate streaming decoder for codecs that decode whole utterances only, by cross-faded windows.

Time is cut into blocks of ``block`` frames. A frame is decoded from the codes between ``context`` frames
before its block and ``latency`` frames after itself, so that within a block every window begins at the same
frame: a vocoder that starts from rest in each window runs through the same phases, and only where blocks meet
it does not. There the cross-fade takes a whole frame, elsewhere an eighth.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lina.core.audio.contract import require_audio
from lina.core.protocols import Codec

SHORT = 8
"""Inside a block a cross-fade takes this fraction (1 / SHORT) of a frame."""


class WindowState(NamedTuple):
    """State of the decoder between steps."""

    position: Int[Tensor, " B"]
    """Number of frames decoded."""
    codes: Int[Tensor, "B frames Q"]
    """Codes of the last frames."""
    carried: Float[Tensor, "B C hop"]
    """The next frame of output, as rendered by the previous window."""


class WindowedDecoder:
    """``DecoderStream`` over ``codec.decode``. Outputs lag by one frame; fillers are silence.

    Each step decodes a window of ``context + block + latency`` frames, so its cost is constant. For a causal codec
    the first block of a stream equals its whole decode.

    Measured on 38.7 s of read speech with Codec2 3200 and the defaults of ``decoder_stream`` (20 frames and
    4): the log-spectral distance to the whole decode is 6.6 dB in the frames where blocks meet and 5.6 dB
    elsewhere, where two whole decodes of the same codes are 4.5 dB apart (the decoder adds random phases).
    Levels at those frames err by 2.0 dB in the mean (95 %: 4.8 dB), elsewhere by 0.7 dB. No clicks: the
    99.9th percentile of the second difference within 1.5 ms of a frame's edge, relative to its surroundings,
    is 9.7, in the whole decode 9.9.
    """

    exact = False
    """Outputs approximate the whole decode."""
    latency = 1

    def __init__(self, codec: Codec, block: int, context: int) -> None:
        self.codec, self.block, self.context = codec, block, context
        self.window = context + block + self.latency

    def initial_state(self, batch: int) -> WindowState:
        """On the codec's device; a codec that is no ``nn.Module`` works on the CPU."""
        tensors = self.codec.state_dict().values() if isinstance(self.codec, nn.Module) else ()
        device = next((tensor.device for tensor in tensors), torch.device("cpu"))
        codebooks = len(self.codec.codebook_sizes)
        return WindowState(
            position=torch.zeros(batch, dtype=torch.int64, device=device),
            codes=torch.zeros(batch, self.window - 1, codebooks, dtype=torch.int64, device=device),
            carried=torch.zeros(batch, self.codec.channels, self.codec.hop, device=device),
        )

    def parallel_forward(
        self, codes: Int[Tensor, "B T Q"], state: WindowState
    ) -> tuple[Float[Tensor, "B C samples"], WindowState]:
        batch, time, codebooks = codes.shape
        seen = torch.cat([state.codes, codes], dim=1)
        newest = state.position[:, None] + torch.arange(time, device=codes.device)
        frame = newest - self.latency
        start = (frame.div(self.block, rounding_mode="floor") * self.block - self.context).clamp(min=0)
        # Frames beyond the newest are filled with it; their output is not used.
        frames = torch.minimum(
            start[..., None] + torch.arange(self.window, device=codes.device), newest[..., None]
        )
        index = frames - (state.position - state.codes.shape[1])[:, None, None]
        windows = seen.gather(1, index.flatten(1)[..., None].expand(-1, -1, codebooks))
        audio = self.codec.decode(windows.view(batch * time, self.window, codebooks))
        shape = (batch * time, self.codec.channels, self.window * self.codec.hop)
        require_audio(self.codec, "decode", audio, shape)
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

    def skip(self, codes: Int[Tensor, "B T Q"], state: WindowState) -> WindowState:
        """State of ``parallel_forward``, decoding the last window only."""
        passed = codes.shape[1] - 1
        seen = torch.cat([state.codes, codes[:, :-1]], dim=1)
        before = WindowState(state.position + passed, seen[:, passed:], state.carried)
        return self.parallel_forward(codes[:, -1:], before)[1]

    def flush(self, state: WindowState) -> Float[Tensor, "B C samples"]:
        return self.parallel_forward(state.codes[:, -1:].expand(-1, self.latency, -1), state)[0]

    def _pick(self, rendered: Tensor, offset: Tensor) -> Tensor:
        """Frame ``offset`` [B, T] of each window [B, T, window, C, hop]."""
        index = offset.clamp(min=0)[..., None, None, None].expand(-1, -1, 1, *rendered.shape[3:])
        return rendered.gather(2, index)[:, :, 0]

    def _fade(self, before: Tensor, now: Tensor, frame: Tensor) -> Tensor:
        """Cross-fade [B, T, C, hop] from the previous window's rendering of each frame to this one's."""
        hop = self.codec.hop
        ramp = (torch.arange(hop, device=now.device, dtype=now.dtype) + 0.5) / hop
        weight = torch.where((frame % self.block == 0)[..., None], ramp, (ramp * SHORT).clamp(max=1.0))[
            :, :, None
        ]
        # The first frame has no predecessor to fade from.
        mixed = torch.where((frame == 0)[..., None, None], now, before + (now - before) * weight)
        return torch.where((frame >= 0)[..., None, None], mixed, 0.0)
