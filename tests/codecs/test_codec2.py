import builtins
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.nn.functional import pad

from lina.codecs.bit_fields import pack_fields, unpack_fields
from lina.codecs.codec2 import LAYOUTS, Codec2, Codec2Codec, Codec2Config
from lina.core.audio.codec import decoder_stream
from lina.core.errors import DataError, PluginError

RATE = 8000


def codec(mode: int = 3200) -> Codec2Codec:
    return Codec2.build(config=Codec2Config(mode=mode))  # type: ignore[arg-type]


def buzz(pitch: torch.Tensor, loudness: torch.Tensor) -> torch.Tensor:
    """A voice-like tone [1, 1, N] of ten harmonics; pitch in Hz and loudness for each sample."""
    phase = 2 * torch.pi * torch.cumsum(pitch / RATE, 0)
    return (loudness * sum(torch.sin(phase * k) / k for k in range(1, 11)))[None, None]


def voice(seconds: float = 1.28) -> torch.Tensor:
    time = torch.arange(int(seconds * RATE)) / RATE
    return buzz(120 + 30 * torch.sin(5 * time), 0.2 + 0.1 * torch.sin(9 * time))


def in_frames(mode: int, audio: torch.Tensor) -> np.ndarray:
    """Samples as the library is to be given them: those of its first frame and its delay are silence."""
    layout = LAYOUTS[mode]
    pcm = (audio[0, 0] * 32768).round().to(torch.int16).numpy()
    return np.pad(pcm, (-layout.delay % layout.hop, layout.delay)).reshape(-1, layout.hop)


@pytest.mark.parametrize("mode", LAYOUTS)
def test_layout_is_that_of_the_library(mode: int) -> None:
    import pycodec2

    layout, library = LAYOUTS[mode], pycodec2.Codec2(mode)
    assert sum(layout.widths) + layout.spare == library.bits_per_frame()
    assert layout.hop == library.samples_per_frame()
    assert codec(mode).codebook_sizes == tuple(2**width for width in layout.widths)


@pytest.mark.parametrize("mode", LAYOUTS)
def test_frames_survive_unpack_and_pack_bit_for_bit(mode: int) -> None:
    import pycodec2

    ours, library = codec(mode), pycodec2.Codec2(mode)
    packed = [library.encode(frame) for frame in in_frames(mode, voice())]
    frames = np.frombuffer(b"".join(packed), np.uint8).reshape(len(packed), -1)
    assert (ours.pack(ours.unpack(frames)) == frames).all()
    assert torch.equal(ours.encode(voice())[0], torch.from_numpy(ours.unpack(frames[1:])))


@pytest.mark.parametrize("mode", LAYOUTS)
def test_any_codes_survive_pack_and_unpack(mode: int) -> None:
    ours = codec(mode)
    codes = np.random.default_rng(0).integers(0, ours.codebook_sizes, (200, len(ours.codebook_sizes)))
    assert (ours.unpack(ours.pack(codes)) == codes).all()


def test_gray_code_is_undone() -> None:
    widths, gray = (3, 5), (True, False)
    fields = np.array([[6, 17]])
    assert pack_fields(fields, widths, gray).tolist() == [[0b10110001]]
    assert unpack_fields(np.array([[0b10110001]], np.uint8), widths, gray).tolist() == [[6, 17]]


def test_plain_indices_are_those_of_the_librarys_own_plain_binary_mode() -> None:
    import pycodec2

    library = pycodec2.Codec2(1300)
    library.set_natural_or_gray(0)
    ours = codec(1300)
    packed = b"".join(library.encode(frame) for frame in in_frames(1300, voice()))
    frames = np.frombuffer(packed, np.uint8).reshape(-1, 7)
    plain = unpack_fields(frames, LAYOUTS[1300].widths, (False,) * len(LAYOUTS[1300].widths))
    assert (ours.encode(voice())[0].numpy() == plain[1:]).all()


def test_modes_agree_where_they_send_the_same_field() -> None:
    """Modes share their analysis and quantisers: a field misplaced in one would differ from the rest."""
    # Frames of 40 ms begin with 20 ms of silence, to be in time; so must those of 20 ms, to begin in the same state.
    codes = {mode: codec(mode).encode(pad(voice(), (320 - LAYOUTS[mode].hop, 0)))[0] for mode in LAYOUTS}
    first, second = ({mode: codes[mode][half::2] for mode in (3200, 2400)} for half in (1, 2))
    assert torch.equal(codes[1300][:, 4:6], second[3200][:, 2:4])
    assert torch.equal(codes[1600][:, 6:8], second[3200][:, 2:4])
    assert torch.equal(codes[1600][:, 2:4], first[3200][:, 2:4])
    for mode in (2400, 1600, 1400, 1300):
        pairs = second[2400] if mode == 2400 else codes[mode]
        assert torch.equal(pairs[:, -10:], second[2400][:, -10:])
        assert len(pairs[:, -10:].unique()) > 5
    assert torch.equal(codes[1400][:, 5], second[2400][:, 2])
    assert torch.equal(codes[1200][:, 5], second[2400][:, 2])
    assert torch.equal(codes[1200][:, [0, 1, 3, 4]], codes[1600][:, [0, 1, 4, 5]])


@pytest.mark.parametrize(("mode", "field"), [(3200, 2), (1600, 2), (1300, 4), (700, 3)])
def test_pitch_codes_rise_with_pitch(mode: int, field: int) -> None:
    pitch = torch.logspace(np.log10(80), np.log10(300), 4 * RATE)
    codes = codec(mode).encode(buzz(pitch, torch.full_like(pitch, 0.3)))[0, 4:, field]
    assert (codes.diff() >= -1).all()
    assert codes[-1] - codes[0] > 30


@pytest.mark.parametrize(("mode", "field"), [(3200, 3), (1600, 3), (1300, 5), (700, 2)])
def test_energy_codes_rise_with_loudness(mode: int, field: int) -> None:
    loudness = torch.logspace(-3, -0.5, 4 * RATE)
    codes = codec(mode).encode(buzz(torch.full_like(loudness, 120.0), loudness))[0, 4:-1, field]
    tenths = codes[: len(codes) // 10 * 10].reshape(10, -1).double().mean(1)
    assert (tenths.diff() >= 0).all()
    assert codes.max() - codes[0] > 10


@pytest.mark.parametrize("mode", LAYOUTS)
def test_encode_is_deterministic_and_decode_preserves_the_sound(mode: int) -> None:
    ours, audio = codec(mode), voice()
    first = ours.encode(audio)
    assert torch.equal(first, ours.encode(audio))
    back = ours.decode(first)
    assert back.shape == audio.shape
    assert back.dtype == torch.float32
    assert back.abs().max() <= 1
    assert 0.2 < back.std() / audio.std() < 5


@pytest.mark.parametrize("mode", LAYOUTS)
def test_decoded_speech_is_in_time(mode: int) -> None:
    """Lag at which the loudness of both correlates most; the library's own is 20 ms late, 30 ms in mode 700C."""
    chance = torch.randn(1, 1, 400, generator=torch.Generator().manual_seed(0))
    loudness = torch.nn.functional.interpolate(chance, scale_factor=160, mode="linear")[0, 0].mul(4).sigmoid()
    ours, audio = codec(mode), buzz(torch.full_like(loudness, 110.0), 0.2 * loudness)
    before, after = (
        torch.nn.functional.avg_pool1d(signal.abs(), 81, 1, padding=40)[0, 0]
        for signal in (audio, ours.decode(ours.encode(audio)))
    )
    lags = range(-400, 401, 4)
    alike = [
        float(torch.corrcoef(torch.stack([before[400:-400], after.roll(-lag)[400:-400]]))[0, 1])
        for lag in lags
    ]
    assert max(alike) > 0.5
    assert abs(lags[alike.index(max(alike))]) < 0.004 * RATE


def test_rows_are_coded_alone() -> None:
    ours, audio = codec(), torch.cat([voice(), 0.3 * voice().flip(-1)])
    together = ours.encode(audio)
    assert torch.equal(together[1:], ours.encode(audio[1:]))
    assert ours.decode(together).shape == audio.shape


def test_silence_and_full_scale_are_coded() -> None:
    ours = codec()
    for level in (0.0, 1.0, -1.0):
        codes = ours.encode(torch.full((1, 1, 1600), level))
        assert codes.shape == (1, 10, 14)
        assert ours.decode(codes).isfinite().all()


@pytest.mark.parametrize("mode", [3200, 1300])
def test_streaming_through_windows_does_not_click(mode: int) -> None:
    """At the frames' edges a bare cut is several times rougher than the whole decode; windows are not."""
    ours = codec(mode)
    codes = ours.encode(voice(3.2))
    stream = decoder_stream(ours)
    audio, state = stream.parallel_forward(codes, stream.initial_state(1))
    streamed = torch.cat([audio, stream.flush(state)], 2)[0, 0, ours.hop * stream.latency :]
    blocks = torch.cat([ours.decode(part)[0, 0] for part in codes.split(4, 1)])
    whole = ours.decode(codes)[0, 0]

    def roughness(signal: torch.Tensor) -> float:
        """The greatest jump of slope within 1 ms of a frame's edge."""
        edges = signal.diff(n=2).abs().unfold(0, 16, 1)[ours.hop - 9 :: ours.hop]
        return edges.amax().item()

    assert streamed.shape == whole.shape
    assert roughness(streamed) < 1.5 * roughness(whole)
    assert roughness(blocks) > 1.5 * roughness(whole)
    level = streamed.unflatten(0, (-1, 800)).std(1) / whole.unflatten(0, (-1, 800)).std(1)
    assert level.log2().abs().max() < 1


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        pytest.param(torch.zeros(1, 2, 160), "1 channel", marks=pytest.mark.no_shape_checks),
        (torch.zeros(1, 1, 161), "multiple of 160"),
        (torch.zeros(1, 1, 0), "nothing to encode"),
        (torch.full((1, 1, 160), float("nan")), "NaN"),
    ],
)
def test_bad_audio_is_refused(audio: torch.Tensor, message: str) -> None:
    with pytest.raises(DataError, match=message):
        codec().encode(audio)


def test_codes_out_of_range_are_refused() -> None:
    codes = torch.zeros(1, 3, 14, dtype=torch.int64)
    codes[0, 1, 2] = 128
    with pytest.raises(DataError, match="code 128 in codebook 2: codes there are 0 to 127"):
        codec().decode(codes)


def test_unknown_mode_is_refused() -> None:
    with pytest.raises(ValidationError, match="3200"):
        Codec2Config(mode=450)  # type: ignore[arg-type]


def test_a_missing_package_names_its_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_pycodec2(name: str, *rest: Any, **named: Any) -> Any:
        if name == "pycodec2":
            raise ImportError("No module named 'pycodec2'")
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without_pycodec2)
    with pytest.raises(PluginError, match=r"pip install 'lina\[codec2\]'"):
        codec()


def test_example_builds() -> None:
    assert Codec2.build(**Codec2.example()).hop == 160
