"""The codec's network: spectra -> encoder -> quantizer -> decoder -> spectra, all causal streams."""

from collections.abc import Iterable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lina.codecs.lina.layers import ConvNeXtBlock, Retention
from lina.codecs.lina.quantizer import Quantizer
from lina.codecs.lina.sizes import NetworkSizes
from lina.codecs.lina.spectra import Analysis, Synthesis
from lina.core.protocols import Reconstruction

DECODER_BLOCKS = {"slow": "decoder_slow_blocks", "fast": "decoder_fast_blocks"}
"""Lists of layers of the decoder that end in ConvNeXt blocks, with the size that counts these."""

States = tuple[Tensor, ...]


class Encoder(nn.Module):
    """Audio [B, N] to latents [B, T, L]. Latents of frame t depend on audio up to frame t."""

    def __init__(self, sizes: NetworkSizes) -> None:
        super().__init__()
        fast, slow, ratio = sizes.encoder_fast, sizes.encoder_slow, sizes.rate_ratio
        self.ratio = ratio
        self.analysis = Analysis(sizes)
        self.enter = nn.Linear(self.analysis.channels, fast)
        self.fast = _blocks(fast, sizes.encoder_fast_blocks, sizes.fast_expansion, sizes.kernel)
        self.down = nn.Linear(ratio * fast, slow)
        self.slow = _slow(slow, sizes.encoder_slow_blocks, sizes)
        self.norm = nn.LayerNorm(slow, eps=1e-6)
        self.leave = nn.Linear(slow, sizes.latent)

    def initial_state(self, batch: int) -> States:
        return (self.analysis.initial_state(batch), *_initial((*self.fast, *self.slow), batch))

    def forward(self, audio: Float[Tensor, "B N"], states: States) -> tuple[Float[Tensor, "B T L"], States]:
        x, past = self.analysis(audio, states[0])
        x, fast = _run(self.fast, self.enter(x), states[1 : 1 + len(self.fast)])
        x = self.down(x.unflatten(1, (-1, self.ratio)).flatten(2))
        x, slow = _run(self.slow, x, states[1 + len(self.fast) :])
        return self.leave(self.norm(x)), (past, *fast, *slow)


class Decoder(nn.Module):
    """Latents [B, T, L] to audio [B, N]. Audio of frame t depends on latents up to frame t."""

    def __init__(self, sizes: NetworkSizes) -> None:
        super().__init__()
        fast, slow, ratio = sizes.decoder_fast, sizes.decoder_slow, sizes.rate_ratio
        self.ratio = ratio
        self.enter = nn.Linear(sizes.latent, slow)
        self.slow = _slow(slow, sizes.decoder_slow_blocks, sizes)
        self.up = nn.Linear(slow, ratio * fast)
        self.fast = _blocks(fast, sizes.decoder_fast_blocks, sizes.fast_expansion, sizes.kernel)
        self.synthesis = Synthesis(sizes, fast)

    def initial_state(self, batch: int) -> States:
        return (*_initial((*self.slow, *self.fast), batch), self.synthesis.initial_state(batch))

    def forward(self, latents: Float[Tensor, "B T L"], states: States) -> tuple[Float[Tensor, "B N"], States]:
        x, slow = _run(self.slow, self.enter(latents), states[: len(self.slow)])
        x = self.up(x).unflatten(2, (self.ratio, -1)).flatten(1, 2)
        x, fast = _run(self.fast, x, states[len(self.slow) : -1])
        audio, ahead = self.synthesis(x, states[-1])
        return audio, (*slow, *fast, ahead)


class Network(nn.Module):
    """A ``TrainableCodec``. Weights files hold the encoder, the decoder and the quantizer's entries."""

    channels = 1

    def __init__(self, sizes: NetworkSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.sample_rate, self.hop = sizes.sample_rate, sizes.hop
        self.codebook_sizes = (sizes.codebook_size,) * sizes.codebooks
        self.encoder = Encoder(sizes)
        self.decoder = Decoder(sizes)
        self.quantizer = Quantizer(sizes.codebooks, sizes.codebook_size, sizes.latent)
        self.codes_stay = False
        """The encoder and the codebooks are frozen: training changes no code."""

    def freeze_codes(self) -> None:
        """Train the decoder alone."""
        self.encoder.requires_grad_(False)
        self.codes_stay = True

    def with_decoder_blocks(self, **counts: int) -> "Network":
        """Return a network that computes the same, with ``counts`` blocks (by the names of ``DECODER_BLOCKS``).

        Added blocks follow those that are there and begin as identities: their last matrix is zero.
        """
        update = {DECODER_BLOCKS[name]: count for name, count in counts.items()}
        grown = Network(self.sizes.model_copy(update=update))
        grown.load_state_dict(self.state_dict(), strict=False)
        for name in counts:
            for block in getattr(grown.decoder, name)[len(getattr(self.decoder, name)) :]:
                nn.init.zeros_(block.narrow.weight)
        return grown

    def reconstruct(self, audio: Float[Tensor, "B C samples"], codebooks: Int[Tensor, "B"]) -> Reconstruction:
        samples, waits = audio[:, 0], self.sizes.lookahead
        ahead = torch.nn.functional.pad(samples, (0, waits * self.hop))
        # In float32 even under autocast: it decides the codes, at a negligible share of the cost of training.
        with torch.autocast(audio.device.type, enabled=False):
            latents, _ = self.encoder(ahead, self.encoder.initial_state(len(samples)))
            found = self.quantizer.quantize(latents[:, waits:], codebooks)
            decoded, _ = self.decoder(found.latents, self.decoder.initial_state(len(samples)))
        evidence = (found.rests.transpose(0, 1), found.used)
        return Reconstruction(decoded[:, None], found.commitment, found.codes, evidence)

    def learn_codebooks(self, reconstruction: Reconstruction, generator: torch.Generator) -> None:
        if self.codes_stay:
            return
        rests, used = reconstruction.evidence
        self.quantizer.learn(rests.transpose(0, 1), reconstruction.codes, used, generator)

    def codec_weights(self) -> dict[str, Tensor]:
        """Tensors of encoding and decoding, by name: all but the quantizer's counts."""
        only_training = ("quantizer.counts", "quantizer.sums")
        return {name: value for name, value in self.state_dict().items() if name not in only_training}


def _blocks(width: int, depth: int, expansion: int, kernel: int) -> nn.ModuleList:
    return nn.ModuleList(ConvNeXtBlock(width, expansion, kernel, 1.0 / max(depth, 1)) for _ in range(depth))


def _slow(width: int, depth: int, sizes: NetworkSizes) -> nn.ModuleList:
    """Retention before the convolutions, which then mix its outputs."""
    blocks = _blocks(width, depth, sizes.slow_expansion, sizes.kernel)
    retention = Retention(width, sizes.heads, sizes.head_keys, 1.0 / (depth + 1))
    return nn.ModuleList([retention, *blocks])


def _initial(layers: Iterable[nn.Module], batch: int) -> list[Tensor]:
    return [layer.initial_state(batch) for layer in layers]  # type: ignore[operator]


def _run(layers: Iterable[nn.Module], x: Tensor, states: States) -> tuple[Tensor, list[Tensor]]:
    after = []
    for layer, state in zip(layers, states, strict=True):
        x, state = layer(x, state)
        after.append(state)
    return x, after
