"""The audio of a step, on the device: crops of the pool, cut where it lies, and changed as the spec asks."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from lina.codec_training.augment import coloured
from lina.codec_training.crops import DEVICE_BYTES, Rows, cut, draw, plan, to_device
from lina.codec_training.prepare import CodecData
from lina.config.codec_spec import CodecSpec
from lina.core.protocols import TrainableCodec

NOISE = 0x2545F4914F6CDD1D
"""Keeps the draws of noise apart from those of crops."""


class Batches:
    """Batches for ``codec``, as a function of a step's seed. The pool lies on ``device`` if it fits there."""

    def __init__(self, spec: CodecSpec, codec: TrainableCodec, data: CodecData, device: torch.device) -> None:
        self.spec, self.codec, self.data, self.device = spec.train, codec, data, device
        self.samples = max(1, round(spec.train.crop_seconds * codec.sample_rate / codec.hop)) * codec.hop
        """Of a crop."""
        pool = data.pool.samples
        fits = device.type != "cpu" and pool.nbytes <= min(DEVICE_BYTES, _free(device) // 2)
        self.pool = pool.to(device) if fits else pool
        self.plan = plan(data.pool, data.train, [one.weight for one in spec.data.sources])

    def draw(self, seed: int) -> tuple[Rows, Float[Tensor, "B samples"]]:
        """What the codec hears at a step, and what was drawn for it."""
        augment, drawn = self.spec.augment, self._draw(seed)
        rows = to_device(drawn, self.device)
        here = self.pool.device.type == self.device.type
        audio = cut(
            self.pool,
            rows if here else drawn,
            self.samples,
            fastest=augment.speeds[1],
            resample=augment.resample > 0,
        ).to(self.device)
        if augment.band or augment.noise:
            generator = torch.Generator(self.device).manual_seed((seed ^ NOISE) % 2**63)
            return rows, coloured(audio, rows, generator)
        return rows, audio.clamp(-1.0, 1.0)

    def utterances(self, seed: int) -> list[str]:
        """Ids of the utterances that the rows of a step are cut from."""
        ids = {entry.start: entry.id for entry in self.data.pool.index.entries}
        return [ids[int(low)] for low in self._draw(seed).low]

    def _draw(self, seed: int) -> Rows:
        return draw(
            self.plan,
            seed,
            rows=self.spec.batch,
            samples=self.samples,
            nyquist=self.codec.sample_rate / 2,
            augment=self.spec.augment,
            dropout=self.spec.codebook_dropout,
            codebooks=len(self.codec.codebook_sizes),
        )

    def middles(self, numbers: Sequence[int]) -> Float[Tensor, "B samples"]:
        """The middles of these utterances as they were recorded, for validation."""
        rows = torch.zeros(len(numbers), self.samples)
        for row, number in zip(rows, numbers, strict=True):
            whole = self.data.audio(number)
            at = max(0, (len(whole) - self.samples) // 2)
            part = whole[at : at + self.samples]
            row[: len(part)] = part
        return rows.to(self.device)


def _free(device: torch.device) -> int:
    free: Callable[[torch.device], tuple[int, int]] = torch.cuda.mem_get_info
    return free(device)[0]
