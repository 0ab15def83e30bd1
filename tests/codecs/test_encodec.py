"""EnCodec against the reference implementation's numbers, its weight files, and its 48 kHz segments."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from torch import Tensor

from lina.codecs.encodec import EnCodec, EnCodecConfig
from lina.codecs.encodec.segments import SegmentedEnCodec, loudness, loudness_code
from lina.core.errors import DataError, PluginError, SpecError

GOLDEN = Path(__file__).parents[1] / "golden"
SIZES: dict[str, Any] = {
    "filters": 2,
    "dimension": 6,
    "ratios": (5, 2),
    "codebook_size": 16,
    "codebooks": 3,
    "segment": 24,
}
VARIANTS = ("24khz", "48khz")


def golden(variant: str) -> dict[str, Tensor]:
    return load_file(GOLDEN / f"encodec_{variant}.safetensors")


def reference_weights(variant: str) -> dict[str, Tensor]:
    """The reference's state dict in transformers' layout, as it saves it today."""
    named = golden(variant).items()
    return {name.removeprefix("weights."): value for name, value in named if name.startswith("weights.")}


def legacy(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """transformers' layout with the names of the older weight norm."""
    old = {
        "parametrizations.weight.original0": "weight_g",
        "parametrizations.weight.original1": "weight_v",
    }
    renamed = {}
    for name, value in weights.items():
        for new, before in old.items():
            name = name.replace(new, before)
        renamed[name] = value
    return renamed


def release(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The layout of EnCodec's own release, with the buffers that only training uses."""
    renamed: dict[str, Tensor] = {}
    for name, value in legacy(weights).items():
        name = re.sub(r"^(encoder|decoder)\.layers\.", r"\1.model.", name)
        transposed = name.startswith("decoder") and re.match(r"decoder\.model\.\d+\.conv", name)
        up = transposed and int(name.split(".")[2]) in (3, 6)
        name = re.sub(r"\.conv\.(weight|bias)", r".convtr.convtr.\1" if up else r".conv.conv.\1", name)
        name = re.sub(r"\.norm\.", ".convtr.norm." if up else ".conv.norm.", name)
        name = name.replace("quantizer.layers", "quantizer.vq.layers")
        name = name.replace(".codebook.", "._codebook.")
        renamed[name] = value
        if name.endswith("embed"):
            renamed[name.replace("embed", "inited")] = torch.ones(1)
            renamed[name.replace("embed", "cluster_size")] = torch.zeros(16)
            renamed[name.replace("embed", "embed_avg")] = value
    return renamed


def build(variant: str, weights: Path, **changes: Any) -> Any:
    return EnCodec.build(config=EnCodecConfig(**{"variant": variant, "weights": weights, **SIZES, **changes}))


@pytest.fixture
def saved(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    save_file(reference_weights(request.param), tmp_path / "model.safetensors")
    return tmp_path


@pytest.mark.parametrize(("variant", "saved"), [(v, v) for v in VARIANTS], indirect=["saved"])
def test_codes_equal_the_references(variant: str, saved: Path) -> None:
    truth = golden(variant)
    codes = build(variant, saved).encode(truth["audio"])
    assert len(truth["codes"].unique()) > 10
    assert torch.equal(codes[..., :3], truth["codes"])


@torch.no_grad()
@pytest.mark.parametrize(("variant", "saved"), [(v, v) for v in VARIANTS], indirect=["saved"])
def test_audio_equals_the_references(variant: str, saved: Path) -> None:
    """Bit for bit on the machine that made the file; kernels of other processors may round otherwise."""
    truth, network = golden(variant), build(variant, saved).network
    parts = truth["codes"].split(24 if variant == "48khz" else 20, 1)
    audio = [network.decode(part) for part in parts]
    if variant == "48khz":
        audio = [a * scale.view(-1, 1, 1) for a, scale in zip(audio, truth["scales"].T, strict=True)]
    torch.testing.assert_close(torch.cat(audio, 2), truth["decoded"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("layout", [reference_weights, legacy, release])
@pytest.mark.parametrize("suffix", [".safetensors", ".th"])
def test_every_layout_gives_the_same_codec(variant: str, layout: Any, suffix: str, tmp_path: Path) -> None:
    weights = reference_weights(variant)
    weights = weights if layout is reference_weights else layout(weights)
    file = tmp_path / f"weights{suffix}"
    if suffix == ".th":
        torch.save(weights, file)
    else:
        save_file({name: value.clone() for name, value in weights.items()}, file)
    truth = golden(variant)
    assert torch.equal(build(variant, file).encode(truth["audio"])[..., :3], truth["codes"])


@pytest.mark.parametrize("saved", ["24khz"], indirect=True)
def test_fewer_codebooks_are_the_first_ones(saved: Path) -> None:
    truth = golden("24khz")
    codec = build("24khz", saved, codebooks=2)
    assert codec.codebook_sizes == (16, 16)
    assert torch.equal(codec.encode(truth["audio"]), truth["codes"][..., :2])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda w: w.pop("encoder.layers.0.conv.bias"),
            r"1 \(encoder.layers.0.conv.bias\) missing, none unknown",
        ),
        (lambda w: w.update(extra=torch.zeros(1)), r"none missing, 1 \(extra\) unknown"),
        (
            lambda w: w.pop("quantizer.layers.2.codebook.embed"),
            r"quantizer.layers.2.codebook.embed\) missing",
        ),
        (
            lambda w: w.update({"encoder.layers.0.conv.bias": torch.zeros(3)}),
            r"encoder.layers.0.conv.bias is \[3\], but this EnCodec's is \[2\]",
        ),
        (
            lambda w: w.update({f"quantizer.layers.{q}.codebook.embed": torch.zeros(8, 6) for q in range(3)}),
            r"codebook.embed is \[8, 6\], but this EnCodec's is \[16, 6\]",
        ),
        (
            lambda w: w.update({"quantizer.layers.1.codebook.embed": torch.zeros(8, 6)}),
            r"layers.1.codebook.embed is \[8, 6\], but this EnCodec's is \[16, 6\]",
        ),
    ],
)
def test_weights_that_do_not_fit_are_named(spoil: Any, message: str, tmp_path: Path) -> None:
    weights = reference_weights("24khz")
    spoil(weights)
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(PluginError, match=message):
        build("24khz", tmp_path)


@pytest.mark.parametrize("saved", ["48khz"], indirect=True)
def test_weights_of_the_other_variant_are_refused(saved: Path) -> None:
    with pytest.raises(PluginError, match=r"unknown; use the file of this variant"):
        build("24khz", saved)


class Executes:
    """A pickle that would run code."""

    def __reduce__(self) -> Any:
        return (Path.touch, (Path("executed"),))


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"a": Executes()}, tmp_path / "evil.th")
    with pytest.raises(PluginError, match="cannot be read as weights"):
        build("24khz", tmp_path / "evil.th")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("name", ["empty.th", "empty.safetensors", "noise.th", "noise.safetensors"])
def test_damaged_files_are_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"" if name.startswith("empty") else bytes(range(200)))
    with pytest.raises(PluginError, match="cannot be read as weights"):
        build("24khz", tmp_path / name)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    whole = (GOLDEN / "encodec_24khz.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PluginError, match="cannot be read as weights"):
        build("24khz", tmp_path / "cut.safetensors")


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "list.th")
    with pytest.raises(PluginError, match="no dictionary of tensors"):
        build("24khz", tmp_path / "list.th")


def test_missing_weights_say_which_files_would_do(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match=r"encodec_24khz-d7cc33bc.th.*model.safetensors"):
        EnCodec.build(config=EnCodecConfig())
    with pytest.raises(PluginError, match=r"model.safetensors: no such file"):
        build("24khz", tmp_path)
    with pytest.raises(PluginError, match=r"absent.th: no such file"):
        build("24khz", tmp_path / "absent.th")


def test_random_weights_follow_the_seed() -> None:
    example = EnCodec.example()["config"]
    x = torch.randn(1, 1, 80, generator=torch.Generator().manual_seed(0))
    first, again, other = (
        EnCodec.build(config=example.model_copy(update={"seed": seed})).encode(x) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": Path("x")}, "both weights and random_weights"),
        ({"ratios": (2, 8)}, "first ratio of at least 3"),
        ({"ratios": (5,)}, "a product of at least config.kernel, 7"),
        ({"variant": "48khz", "codebooks": 17}, "16 at most"),
        ({"variant": "48khz", "segment": 3, "overlap": 4}, "at most a segment, 3"),
    ],
)
def test_sizes_that_do_not_go_together_are_refused(changes: dict[str, Any], message: str) -> None:
    config = EnCodecConfig(**{"random_weights": True, **changes})
    with pytest.raises(SpecError, match=message):
        EnCodec.build(config=config)


@pytest.mark.parametrize(
    "changes", [{"variant": "16khz"}, {"codebooks": 33}, {"ratios": ()}, {"bandwidth": 6}]
)
def test_wrong_configurations_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(changes))):
        EnCodecConfig(**changes)


def stereo(overlap: int = 2) -> SegmentedEnCodec:
    sizes = {**SIZES, "codebooks": 2, "overlap": overlap}
    codec = EnCodec.build(config=EnCodecConfig(variant="48khz", random_weights=True, **sizes))
    assert isinstance(codec, SegmentedEnCodec)
    return codec


@pytest.mark.parametrize("frames", [1, 2, 23, 24, 25, 26, 48, 60])
def test_48khz_keeps_rate_and_length_at_any_length(frames: int) -> None:
    codec = stereo()
    audio = 0.3 * torch.randn(2, 2, frames * 10, generator=torch.Generator().manual_seed(0))
    codes = codec.encode(audio)
    assert codes.shape == (2, frames, 3)
    assert codec.codebook_sizes == (16, 16, 256)
    assert codec.decode(codes).shape == audio.shape
    assert torch.equal(codes, codec.encode(audio))


def test_48khz_loudness_scales_the_decoded_audio() -> None:
    codec = stereo()
    audio = 0.3 * torch.randn(1, 2, 240, generator=torch.Generator().manual_seed(0))
    loud, soft = codec.encode(audio), codec.encode(audio / 10)
    assert torch.equal(loud[..., :2], soft[..., :2])
    ratio = codec.decode(loud) / codec.decode(soft)
    torch.testing.assert_close(ratio, torch.full_like(ratio, 10.0), rtol=0.045, atol=0)


def test_48khz_loudness_is_within_its_step() -> None:
    scale = torch.logspace(-4.7, 0, 500)
    error = 20 * (loudness(loudness_code(scale)) / scale).log10()
    assert error.abs().max() <= 0.1876
    assert loudness_code(torch.tensor([0.0, 1e-8, 1.0, 3.0])).tolist() == [0, 0, 255, 255]


def test_48khz_silence_is_coded() -> None:
    codec = stereo()
    assert codec.decode(codec.encode(torch.zeros(1, 2, 300))).abs().max() < 1e-3


def test_48khz_segments_are_decoded_alone_without_overlap_and_meet_smoothly_with_it() -> None:
    apart, faded = stereo(overlap=0), stereo(overlap=4)
    audio = 0.3 * torch.randn(1, 2, 480, generator=torch.Generator().manual_seed(0))
    codes = apart.encode(audio)
    assert torch.equal(codes, faded.encode(audio))
    alone = torch.cat([apart.decode(codes[:, :24]), apart.decode(codes[:, 24:])], 2)
    assert torch.equal(apart.decode(codes), alone)
    mixed = faded.decode(codes)
    # After the fade of 4 frames the second segment is as if alone.
    assert torch.equal(mixed[..., 280:], alone[..., 280:])
    assert not torch.equal(mixed[..., 240:280], alone[..., 240:280])


def test_48khz_each_segment_has_the_loudness_of_its_first_frame_also_where_it_fades_in() -> None:
    codec = stereo(overlap=4)
    codes = codec.encode(0.3 * torch.randn(1, 2, 480, generator=torch.Generator().manual_seed(0)))
    codes[:, 24:, -1] = 200
    plain = codec.decode(codes)
    others = codes.clone()
    others[:, 1:24, -1], others[:, 25:, -1] = 3, 7
    assert torch.equal(codec.decode(others), plain)
    codes[:, 24:, -1] = 240
    louder = codec.decode(codes)
    assert torch.equal(louder[..., :240], plain[..., :240])
    ratio = 10 ** (40 * 0.375 / 20)
    body = slice(280, 480)
    torch.testing.assert_close(louder[..., body], ratio * plain[..., body])
    # In the fade both segments' renderings are of the second one's sound, at its loudness.
    torch.testing.assert_close(louder[..., 240:280], ratio * plain[..., 240:280])


@pytest.mark.no_shape_checks
@pytest.mark.parametrize("channels", [1, 3])
def test_48khz_wants_stereo(channels: int) -> None:
    with pytest.raises(DataError, match="2 channel"):
        stereo().encode(torch.zeros(1, channels, 240))


def test_24khz_refuses_codes_out_of_range() -> None:
    codec = EnCodec.build(**EnCodec.example())
    with pytest.raises(DataError, match="code 16 in codebook 1: codes there are 0 to 15"):
        codec.decode(torch.tensor([[[0, 16, 0]]]))
