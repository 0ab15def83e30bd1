"""The losses of a step and their gradients, of the codec and of the discriminators that judge it."""

from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lina.codec_training.discriminators import Discriminators
from lina.codec_training.losses import (
    MelDistance,
    adversarial_loss,
    discriminator_loss,
    feature_distance,
)
from lina.codec_training.pesq_loss import LoudnessDistance
from lina.codec_training.stoi_loss import IntelligibilityDistance
from lina.config.codec_sections import CodecTrainSection
from lina.core.protocols import Reconstruction, TrainableCodec
from lina.runs.device import choose_precision, mixed_precision
from lina.training.cuda_graph import CapturedFunction

Step = tuple[Reconstruction, dict[str, Tensor]]
"""What was decoded, and the losses by name; without gradients."""


class CodecBackwardPass:
    """Computes them at each step and leaves them on the parameters, on a GPU as one captured graph."""

    def __init__(
        self,
        spec: CodecTrainSection,
        codec: TrainableCodec,
        discriminators: Discriminators,
        device: torch.device,
    ) -> None:
        self.spec, self.codec, self.discriminators, self.device = spec, codec, discriminators, device
        self.mel = MelDistance(codec.sample_rate).to(device)
        heard = {
            "loudness": (spec.losses.loudness, LoudnessDistance),
            "intelligibility": (spec.losses.intelligibility, IntelligibilityDistance),
        }
        self.heard = {
            name: (weight, distance(codec.sample_rate).to(device))
            for name, (weight, distance) in heard.items()
            if weight > 0
        }
        """Distances that have a weight, by name, each with it."""
        self.precision = choose_precision(spec.precision, device)
        self.discriminators_precision = choose_precision(spec.discriminators.precision, device)
        self.captured: tuple[bool, CapturedFunction[Step]] | None = None

    def __call__(
        self, real: Float[Tensor, "B samples"], codebooks: Int[Tensor, "B"], *, judged: bool
    ) -> Step:
        """With or without discriminators. The next call may write over what is returned."""
        if self.captured is None or self.captured[0] != judged:
            self.captured = None  # the other one's memory is not needed any more
            graph = self.spec.cuda_graph and self.device.type == "cuda"
            captured = CapturedFunction(
                partial(self.compute, judged=judged), self._parameters(), self.device if graph else None
            )
            self.captured = (judged, captured)
        return self.captured[1](real, codebooks)

    def reconstruct(self, real: Float[Tensor, "B samples"], codebooks: Int[Tensor, "B"]) -> Reconstruction:
        with mixed_precision(self.device, self.precision):
            return self.codec.reconstruct(real[:, None], codebooks)

    @torch.no_grad()
    def distance(self, real: Float[Tensor, "B samples"], codebooks: Int[Tensor, "B"]) -> Float[Tensor, ""]:
        """The mel distance alone, for validation."""
        decoded = self.reconstruct(real, codebooks).audio[:, 0].float()
        distance: Tensor = self.mel(decoded, self.mel.spectra(real))
        return distance

    def compute(self, real: Float[Tensor, "B samples"], codebooks: Int[Tensor, "B"], *, judged: bool) -> Step:
        """What is captured: adds to the gradients that are there."""
        with torch.no_grad():
            spectra = self.mel.spectra(real)
        made = self.reconstruct(real, codebooks)
        decoded = made.audio[:, 0].float()
        weights = self.spec.losses
        parts = {"loss": self.mel(decoded, spectra), "commitment": made.commitment.float()}
        total = weights.mel * parts["loss"] + weights.commitment * parts["commitment"]
        for name, (weight, distance) in self.heard.items():
            parts[name] = distance(decoded, real)
            total = total + weight * parts[name]
        if judged:
            parts["discriminators"], parts["adversarial"], parts["features"] = self.judge(real, decoded)
            total = total + weights.adversarial * parts["adversarial"] + weights.features * parts["features"]
            torch.autograd.backward(parts["discriminators"])
        parts["total"] = total
        torch.autograd.backward(total)
        told = Reconstruction(made.audio.detach(), made.commitment.detach(), made.codes, made.evidence)
        return told, {name: value.detach() for name, value in parts.items()}

    def judge(
        self, real: Float[Tensor, "B samples"], decoded: Float[Tensor, "B samples"]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The discriminators' loss, then the codec's adversarial and feature losses, which leave them untouched."""
        judges, kind = self.discriminators, self.spec.discriminators.loss
        with torch.no_grad():
            real_views = judges.views(real)
        views = judges.views(decoded)
        both = [torch.cat([one, other.detach()]) for one, other in zip(real_views, views, strict=True)]
        with mixed_precision(self.device, self.discriminators_precision):
            on_real, on_fake = judges(both).split(len(real))
            judges.requires_grad_(False)
            heard = judges(views)
            judges.requires_grad_(True)
        return (
            discriminator_loss(on_real.verdicts, on_fake.verdicts, kind),
            adversarial_loss(heard.verdicts, kind),
            feature_distance(on_real.features, heard.features),
        )

    def _parameters(self) -> list[nn.Parameter]:
        assert isinstance(self.codec, nn.Module)
        return [*self.codec.parameters(), *self.discriminators.parameters()]
