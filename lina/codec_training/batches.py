"""Training batches of audio: crops of the pool, augmented on the device."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from lina.codec_training.augment import add_band_limit_and_noise
from lina.codec_training.crops import (
    DEVICE_BYTES,
    CropParameters,
    build_distribution,
    draw_crops,
    extract_crops,
    to_device,
)
from lina.codec_training.prepare import CodecData
from lina.config.codec_spec import CodecSpec
from lina.core.protocols import TrainableCodec
from lina.training.process_group import ProcessGroup

NOISE_SEED = 0x2545F4914F6CDD1D
"""Mask that separates the random numbers of the noise from those of the crops."""


class CropBatches:
    """Batches for ``codec``, as a function of a step's seed. The pool is copied to ``device`` if it fits there."""

    def __init__(
        self,
        spec: CodecSpec,
        codec: TrainableCodec,
        data: CodecData,
        device: torch.device,
        group: ProcessGroup | None = None,
    ) -> None:
        self.group = group or ProcessGroup()
        self.spec, self.codec, self.data, self.device = spec.train, codec, data, device
        self.samples = max(1, round(spec.train.crop_seconds * codec.sample_rate / codec.hop)) * codec.hop
        """Length of a crop."""
        pool = data.pool.samples
        fits = device.type != "cpu" and pool.nbytes <= min(DEVICE_BYTES, _free_bytes(device) // 2)
        self.pool = pool.to(device) if fits else pool
        weights = [source.weight for source in spec.data.sources]
        self.distribution = build_distribution(data.pool, data.train, weights)

    def draw(self, seed: int) -> tuple[CropParameters, Float[Tensor, "B samples"]]:
        """The crop parameters and the augmented audio of this rank's rows of a step, both on the device."""
        augment, group = self.spec.augment, self.group
        on_cpu = CropParameters(*(group.own_rows(one) for one in self._draw(seed)))
        crops = to_device(on_cpu, self.device)
        audio = extract_crops(
            self.pool,
            crops if self.pool.device.type == self.device.type else on_cpu,
            self.samples,
            fastest=augment.speeds[1] if augment.resample else None,
        ).to(self.device)
        if not augment.band and not augment.noise:
            return crops, audio.clamp(-1.0, 1.0)
        generator = torch.Generator(self.device).manual_seed((seed ^ NOISE_SEED) % 2**63)
        white = torch.randn(self.spec.batch, self.samples, generator=generator, device=self.device)
        return crops, add_band_limit_and_noise(
            audio, cutoff=crops.cutoff, noise=crops.noise, tilt=crops.tilt, white=group.own_rows(white)
        )

    def utterances(self, seed: int) -> list[str]:
        """Utterance id of each row of a step."""
        ids = {entry.start: entry.id for entry in self.data.pool.index.entries}
        return [ids[int(start)] for start in self._draw(seed).utterance_start]

    def _draw(self, seed: int) -> CropParameters:
        return draw_crops(
            self.distribution,
            seed,
            rows=self.spec.batch,
            samples=self.samples,
            nyquist=self.codec.sample_rate / 2,
            augment=self.spec.augment,
            dropout=self.spec.codebook_dropout,
            codebooks=len(self.codec.codebook_sizes),
            dropout_codebooks=self.spec.dropout_codebooks,
        )

    def centers(self, numbers: Sequence[int]) -> Float[Tensor, "B samples"]:
        """Center crops of these utterances, without augmentation, for validation."""
        rows = torch.zeros(len(numbers), self.samples)
        for row, number in zip(rows, numbers, strict=True):
            audio = self.data.audio(number)
            start = max(0, (len(audio) - self.samples) // 2)
            crop = audio[start : start + self.samples]
            row[: len(crop)] = crop
        return rows.to(self.device)


def _free_bytes(device: torch.device) -> int:
    free: Callable[[torch.device], tuple[int, int]] = torch.cuda.mem_get_info
    return free(device)[0]
