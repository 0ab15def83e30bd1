"""Make tests/golden/encodec_*.safetensors from the reference implementations, or compare in full size.

Needs transformers (Apache-2.0), an oracle only: `pip install --no-deps transformers tokenizers
huggingface-hub`. Where the package `encodec` (CC-BY-NC-4.0) is installed too, the two references are compared
as well; its import needs `torchaudio`, of which a stand-in does.

    python tests/golden/make_encodec.py            # write the files python tests/golden/make_encodec.py
    --full     # write nothing; compare at the released sizes, random weights
"""

import sys
import types
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import EncodecConfig, EncodecModel

from lina.codecs.encodec import EnCodec, EnCodecConfig

HERE = Path(__file__).parent
TINY: dict[str, Any] = {"filters": 2, "dimension": 6, "ratios": (5, 2), "codebook_size": 16, "codebooks": 3}
FULL: dict[str, Any] = {"filters": 32, "dimension": 128, "ratios": (8, 5, 4, 2), "codebook_size": 1024}
TINY_SEGMENT = 24
"""Frames."""


def reference(sizes: dict[str, Any], variant: str, segment: int) -> tuple[EncodecModel, float]:
    """transformers' model with random weights and codebooks, and the bandwidth to ask for."""
    causal = variant == "24khz"
    rate, hop = (24000, 48000)[not causal], 1
    for ratio in sizes["ratios"]:
        hop *= ratio
    bandwidth = sizes["codebooks"] * (rate // hop) * (sizes["codebook_size"].bit_length() - 1) / 1000
    config = EncodecConfig(
        target_bandwidths=[bandwidth],
        sampling_rate=rate,
        audio_channels=1 if causal else 2,
        normalize=not causal,
        chunk_length_s=None if causal else segment * hop / rate,
        overlap=None if causal else 0.0,
        norm_type="weight_norm" if causal else "time_group_norm",
        use_causal_conv=causal,
        num_filters=sizes["filters"],
        hidden_size=sizes["dimension"],
        codebook_dim=sizes["dimension"],
        upsampling_ratios=list(sizes["ratios"]),
        codebook_size=sizes["codebook_size"],
    )
    model = EncodecModel(config)
    model.train(False)
    generator = torch.Generator().manual_seed(7)
    for name, tensor in model.state_dict().items():
        if name.endswith((".embed", ".original0", "norm.weight", "bias")):
            noise = torch.randn(tensor.shape, generator=generator)
            level = {"embed": (0.0, 0.3), "original0": (1.0, 0.1), "weight": (1.0, 0.1), "bias": (0.0, 0.1)}
            mean, deviation = level[name.rpartition(".")[2]]
            tensor.copy_(mean + deviation * noise)
    return model, bandwidth


def audio_for(variant: str, samples: int) -> Tensor:
    generator = torch.Generator().manual_seed(11)
    channels = 1 if variant == "24khz" else 2
    loudness = torch.linspace(0.05, 0.6, samples)
    return loudness * torch.randn(2, channels, samples, generator=generator)


@torch.no_grad()
def run(model: EncodecModel, bandwidth: float, audio: Tensor) -> dict[str, Tensor]:
    """Codes [B, T, Q], the scales [B, segments] (48 kHz) and each segment decoded, laid end to end."""
    encoded: Any = model.encode(audio, bandwidth=bandwidth)
    *segments, last = list(encoded.audio_codes)
    segments.append(last[..., : last.shape[-1] - encoded.last_frame_pad_length])
    pairs = zip(segments, encoded.audio_scales, strict=True)
    decoded = torch.cat([model._decode_frame(codes, scale) for codes, scale in pairs], dim=2)
    out = {"audio": audio, "codes": torch.cat(segments, 2).transpose(1, 2).contiguous(), "decoded": decoded}
    if encoded.audio_scales[0] is not None:
        out["scales"] = torch.cat(encoded.audio_scales, 1)
    return out


def make(variant: str) -> None:
    model, bandwidth = reference(TINY, variant, TINY_SEGMENT)
    samples = 10 * (20 if variant == "24khz" else 2 * TINY_SEGMENT + 7)
    tensors = run(model, bandwidth, audio_for(variant, samples))
    training_only = ("inited", "cluster_size", "embed_avg")
    weights = {
        f"weights.{k}": v.clone() for k, v in model.state_dict().items() if not k.endswith(training_only)
    }
    file = HERE / f"encodec_{variant}.safetensors"
    save_file({**tensors, **weights}, file, metadata={"made_by": "tests/golden/make_encodec.py"})
    print(f"{file.name}: {file.stat().st_size} bytes, {len(tensors['codes'].unique())} distinct codes")


@torch.no_grad()
def compare(variant: Literal["24khz", "48khz"]) -> None:
    """The released sizes: ours against transformers, and the package encodec where it is installed."""
    sizes = {**FULL, "codebooks": 32 if variant == "24khz" else 16}
    model, bandwidth = reference(sizes, variant, 150)
    audio = audio_for(variant, 320 * (75 if variant == "24khz" else 390))
    truth = run(model, bandwidth, audio)
    with TemporaryDirectory() as directory:
        model.save_pretrained(directory)
        config = EnCodecConfig(
            variant=variant, codebooks=sizes["codebooks"], weights=Path(directory), overlap=0
        )
        ours = EnCodec.build(config=config)
    codes = ours.encode(audio)[..., : sizes["codebooks"]]
    differing = int((codes != truth["codes"]).sum())
    print(f"{variant}: codes differing from transformers: {differing} of {codes.numel()}")
    parts = [
        ours.network.decode(part) for part in codes.split(codes.shape[1] if variant == "24khz" else 150, 1)
    ]
    if "scales" in truth:
        parts = [part * scale.view(-1, 1, 1) for part, scale in zip(parts, truth["scales"].T, strict=True)]
    largest = (torch.cat(parts, 2) - truth["decoded"]).abs().max()
    print(f"{variant}: audio, largest difference from transformers: {largest}")
    package = original(variant, model)
    if package is not None:
        with torch.no_grad():
            frames = package.encode(audio)
            theirs = torch.cat([frame[0] for frame in frames], 2).transpose(1, 2)
            sound = torch.cat([package._decode_frame(frame) for frame in frames], 2)
        print(f"{variant}: codes differing from encodec: {int((codes != theirs).sum())}")
        print(
            f"{variant}: audio, largest difference from encodec: {(torch.cat(parts, 2) - sound).abs().max()}"
        )


def original(variant: str, model: EncodecModel) -> Any:
    """The package encodec's model with the weights of ``model``; None where it is not installed."""
    sys.modules.setdefault("torchaudio", types.ModuleType("torchaudio"))
    try:
        import encodec
    except ImportError as error:
        print(f"encodec is not compared: {error}")
        return None
    factory = getattr(encodec.EncodecModel, f"encodec_model_{variant}")
    package = factory(pretrained=False).eval()
    package.set_target_bandwidth(24.0)
    package.overlap = 0.0
    stored = package.state_dict()
    ours = model.state_dict()
    for name, tensor in stored.items():
        new = (
            name.replace(".model.", ".layers.")
            .replace("vq.layers", "layers")
            .replace("._codebook.", ".codebook.")
        )
        for kind in ("conv", "convtr"):
            new = new.replace(f".{kind}.{kind}.", ".conv.").replace(f".{kind}.norm.", ".norm.")
        if new not in ours:
            new = new.replace("weight_g", "parametrizations.weight.original0")
            new = new.replace("weight_v", "parametrizations.weight.original1")
        tensor.copy_(ours[new])
    return package


if __name__ == "__main__":
    names: tuple[Literal["24khz", "48khz"], ...] = ("24khz", "48khz")
    for name in names:
        (compare if "--full" in sys.argv else make)(name)
