"""Forward and backward pass of a codec training step, with and without discriminators."""

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
from lina.codec_training.pesq_loss import PESQLoss
from lina.codec_training.stoi_loss import STOILoss
from lina.config.codec_spec import CodecTrainSection
from lina.core.protocols import Reconstruction, TrainableCodec
from lina.runs.device import choose_precision, mixed_precision
from lina.training.cuda_graph import CapturedFunction

StepOutput = tuple[Reconstruction, dict[str, Tensor]]
"""Detached reconstruction and loss terms by name."""


class CodecBackwardPass:
    """Compute a step's losses and leave their gradients on the parameters; on a GPU as one CUDA graph."""

    def __init__(
        self,
        spec: CodecTrainSection,
        codec: TrainableCodec,
        discriminators: Discriminators,
        device: torch.device,
    ) -> None:
        self.spec, self.codec, self.discriminators, self.device = spec, codec, discriminators, device
        self.mel = MelDistance(codec.sample_rate).to(device)
        losses = {
            "loudness": (spec.losses.loudness, PESQLoss),
            "intelligibility": (spec.losses.intelligibility, STOILoss),
        }
        self.perceptual = {
            name: (weight, loss(codec.sample_rate).to(device))
            for name, (weight, loss) in losses.items()
            if weight > 0
        }
        """Perceptual losses with a positive weight: (weight, loss) by name."""
        self.precision = choose_precision(spec.precision, device)
        self.discriminators_precision = choose_precision(spec.discriminators.precision, device)
        self.captured: tuple[bool, CapturedFunction[StepOutput]] | None = None

    def __call__(
        self, real: Float[Tensor, "B samples"], codebooks: Int[Tensor, "B"], *, adversarial: bool
    ) -> StepOutput:
        """Run a step on ``real``, row b with ``codebooks[b]`` codebooks. The next call may overwrite the outputs.

        Args:
            adversarial: train against the discriminators, and train them.
        """
        if self.captured is None or self.captured[0] != adversarial:
            self.captured = None  # free the memory of the other graph
            graph = self.spec.cuda_graph and self.device.type == "cuda"
            captured = CapturedFunction(
                partial(self.compute, adversarial=adversarial),
                self._parameters(),
                self.device if graph else None,
            )
            self.captured = (adversarial, captured)
        return self.captured[1](real, codebooks)

    def reconstruct(self, real: Float[Tensor, "B samples"], codebooks: Int[Tensor, "B"]) -> Reconstruction:
        with mixed_precision(self.device, self.precision):
            return self.codec.reconstruct(real[:, None], codebooks)

    @torch.no_grad()
    def distance(self, real: Float[Tensor, "B samples"], codebooks: Int[Tensor, "B"]) -> Float[Tensor, ""]:
        """Mel distance alone, for validation."""
        decoded = self.reconstruct(real, codebooks).audio[:, 0].float()
        distance: Tensor = self.mel(decoded, self.mel.spectra(real))
        return distance

    def compute(
        self, real: Float[Tensor, "B samples"], codebooks: Int[Tensor, "B"], *, adversarial: bool
    ) -> StepOutput:
        """Function that is captured: adds to the gradients of the parameters."""
        with torch.no_grad():
            spectra = self.mel.spectra(real)
        reconstruction = self.reconstruct(real, codebooks)
        decoded = reconstruction.audio[:, 0].float()
        weights = self.spec.losses
        terms = {"loss": self.mel(decoded, spectra), "commitment": reconstruction.commitment.float()}
        total = weights.mel * terms["loss"] + weights.commitment * terms["commitment"]
        for name, (weight, loss) in self.perceptual.items():
            terms[name] = loss(decoded, real)
            total = total + weight * terms[name]
        if adversarial:
            losses = self.adversarial_losses(real, decoded)
            terms["discriminators"], terms["adversarial"], terms["features"] = losses
            total = total + weights.adversarial * terms["adversarial"] + weights.features * terms["features"]
            torch.autograd.backward(terms["discriminators"])
        terms["total"] = total
        torch.autograd.backward(total)
        detached = reconstruction._replace(
            audio=reconstruction.audio.detach(), commitment=reconstruction.commitment.detach()
        )
        return detached, {name: value.detach() for name, value in terms.items()}

    def adversarial_losses(
        self, real: Float[Tensor, "B samples"], decoded: Float[Tensor, "B samples"]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Loss of the discriminators, then adversarial and feature-matching loss of the codec.

        The codec's losses have no gradient with respect to the discriminators' parameters.
        """
        discriminators, kind = self.discriminators, self.spec.discriminators.loss
        with torch.no_grad():
            real_views = discriminators.views(real)
        views = discriminators.views(decoded)
        both = [torch.cat([one, other.detach()]) for one, other in zip(real_views, views, strict=True)]
        with mixed_precision(self.device, self.discriminators_precision):
            on_real, on_fake = discriminators(both).split(len(real))
            discriminators.requires_grad_(False)
            outputs = discriminators(views)
            discriminators.requires_grad_(True)
        return (
            discriminator_loss(on_real.logits, on_fake.logits, kind),
            adversarial_loss(outputs.logits, kind),
            feature_distance(on_real.features, outputs.features),
        )

    def _parameters(self) -> list[nn.Parameter]:
        assert isinstance(self.codec, nn.Module)
        return [*self.codec.parameters(), *self.discriminators.parameters()]
