import logging
import os
import struct
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from lina.core.audio.read import AudioError, _streamed, audio_seconds, read_audio
from lina.core.errors import DataError, PluginError
from lina.core.process.workers import work

RATE = 16_000


def tone(seconds: float = 0.5, rate: int = RATE, channels: int = 1) -> np.ndarray:
    wave = 0.5 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)
    return np.repeat(wave[:, None], channels, axis=1).astype(np.float32)


def noise(seconds: float = 1.0, rate: int = RATE) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.5, 0.5, round(seconds * rate)).astype(np.float32)


def refusal(path: Path, rate: int = RATE, **options: Any) -> str:
    with pytest.raises(AudioError) as caught:
        read_audio(path, rate, **options)
    message = str(caught.value)
    assert message == f"{path}: {caught.value.reason}"
    assert "\n" not in message
    return caught.value.reason


def patch_data_size(path: Path, size: int) -> None:
    raw = bytearray(path.read_bytes())
    at = raw.find(b"data") + 4
    raw[at : at + 4] = struct.pack("<I", size)
    path.write_bytes(raw)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3", ".opus"])
def test_formats(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    options = {"format": "OGG", "subtype": "OPUS"} if suffix == ".opus" else {}
    soundfile.write(path, tone(1.0), RATE, **options)
    audio = read_audio(path, RATE)
    assert audio.shape[0] == 1
    assert abs(audio.shape[1] - RATE) <= 1152
    assert audio.dtype == torch.float32
    spectrum = torch.fft.rfft(audio[0, : RATE // 2]).abs()
    assert int(spectrum.argmax()) * 2 == 440
    assert audio_seconds(path) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 192_000])
@pytest.mark.parametrize("target_rate", [8_000, 24_000])
def test_resampling_keeps_pitch_and_duration(tmp_path: Path, rate: int, target_rate: int) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(1.0, rate), rate, subtype="FLOAT")
    audio = read_audio(path, target_rate)
    assert abs(audio.shape[1] / target_rate - 1.0) < 1e-3
    expected = torch.from_numpy(tone(1.0, target_rate)[:, 0])
    middle = slice(target_rate // 4, target_rate // 2)
    assert torch.allclose(audio[0, middle], expected[middle], atol=2e-3)


def test_g722_is_decoded_as_its_package_does(tmp_path: Path) -> None:
    codec = pytest.importorskip("G722").G722
    pcm = (tone(0.5)[:, 0] * 32_767).astype(np.int16)
    path = tmp_path / "a.G722"
    path.write_bytes(bytes(codec(RATE, 64_000).encode(pcm)))
    audio = read_audio(path, RATE)
    assert audio.shape == (1, len(pcm))
    assert int(torch.fft.rfft(audio[0, 1_000:7_000]).abs().argmax()) * RATE / 6_000 == pytest.approx(
        440, abs=3
    )
    assert audio_seconds(path) == 0.5
    assert refusal(path, max_seconds=0.4) == "too long: more than 0.4 s"


def test_g722_without_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.g722"
    path.write_bytes(b"\x12" * 800)
    monkeypatch.setitem(sys.modules, "G722", None)
    with pytest.raises(PluginError, match=r"pip install 'lina\[asterisk\]'"):
        read_audio(path, RATE)


def test_channels(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    stereo = tone(channels=2)
    stereo[:, 1] *= 0.5
    soundfile.write(path, stereo, RATE, subtype="FLOAT")
    assert torch.allclose(read_audio(path, RATE)[0], torch.from_numpy(stereo.mean(1)), atol=1e-6)
    assert torch.equal(read_audio(path, RATE, channels=2), torch.from_numpy(stereo.T.copy()))
    soundfile.write(path, tone(), RATE)
    both = read_audio(path, RATE, channels=2)
    assert torch.equal(both[0], both[1])
    soundfile.write(path, tone(channels=6), RATE)
    assert read_audio(path, RATE, channels=2).shape[0] == 2
    soundfile.write(path, tone(0.05, channels=1_024), RATE)
    assert refusal(path) == "too many channels: 1024 (at most 8 are mixed)"
    soundfile.write(path, tone(), RATE)
    with pytest.raises(ValueError, match="channels must be 1 or 2"):
        read_audio(path, RATE, channels=3)


def test_truncated_wav(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(), RATE)
    path.write_bytes(path.read_bytes()[:-100])
    assert refusal(path) == "truncated: the header promises 16000 bytes of sound, the file holds 15900"


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFFFFF - 36])
def test_streamed_wav_has_its_real_length(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(), RATE)
    patch_data_size(path, size)
    assert read_audio(path, RATE).shape == (1, 8_000)


def test_rf64(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(), RATE, format="RF64")
    assert read_audio(path, RATE).shape == (1, 8_000)
    path.write_bytes(path.read_bytes()[:-100])
    assert refusal(path).startswith("truncated: the header promises 16000 bytes")


def test_wav_with_other_chunks(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(), RATE)
    raw = path.read_bytes()
    odd = b"note" + struct.pack("<I", 3) + b"abc\0"
    path.write_bytes(raw[:36] + odd + raw[36:] + odd)
    assert read_audio(path, RATE).shape == (1, 8_000)


@pytest.mark.parametrize(("suffix", "part"), [(".flac", 0.5), (".ogg", 0.7), (".opus", 0.7), (".mp3", 0.5)])
def test_truncated_compressed(tmp_path: Path, suffix: str, part: float) -> None:
    path = tmp_path / f"a{suffix}"
    options = {"format": "OGG", "subtype": "OPUS"} if suffix == ".opus" else {}
    soundfile.write(path, noise(5.0), RATE, **options)
    raw = path.read_bytes()
    path.write_bytes(raw[: int(len(raw) * part)])
    assert refusal(path).split(":")[0] in ("truncated", "cannot be decoded", "holds no audio")


def test_ogg_cut_between_pages(tmp_path: Path) -> None:
    path = tmp_path / "a.ogg"
    soundfile.write(path, noise(5.0), RATE)
    raw = path.read_bytes()
    path.write_bytes(raw[: raw.rfind(b"OggS")])
    assert refusal(path) == "truncated: the last Ogg page does not end the stream"


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "is empty: 0 bytes"), (b"hello, world\n" * 9, "cannot be dec")]
)
@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3"])
def test_not_sound(tmp_path: Path, content: bytes, reason: str, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    assert refusal(path).startswith(reason)


def test_header_without_sound(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, tone()[:0], RATE)
    assert refusal(path) == "holds no audio: 0 frames"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_numbers(tmp_path: Path, bad: float) -> None:
    path = tmp_path / "a.wav"
    samples = tone()
    samples[100] = bad
    soundfile.write(path, samples, RATE, subtype="FLOAT")
    assert refusal(path) == "holds samples that are not numbers: NaN or infinity"


def test_loud(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, tone() * 3, RATE, subtype="FLOAT")
    assert float(read_audio(path, RATE).max()) == 1.0
    soundfile.write(path, tone() * 65_536, RATE, subtype="FLOAT")
    assert refusal(path).startswith("too loud: a sample is 327")


@pytest.mark.parametrize("level", [0.0, 5e-5, 0.3])
def test_silence_and_constants(tmp_path: Path, level: float) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.full(RATE, level, np.float32), RATE, subtype="FLOAT")
    assert refusal(path).startswith("is silent")


def test_quiet_is_not_silent(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, tone() * 4e-4, RATE, subtype="FLOAT")
    assert read_audio(path, RATE).abs().max() > 1e-4


@pytest.mark.parametrize("rate", [1, 7_999, 192_001])
def test_sample_rates_out_of_range(tmp_path: Path, rate: int) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(1, 100), rate)
    assert refusal(path) == f"sample rate out of range: {rate} Hz (from 8000 to 192000 is read)"


def test_a_codec_below_8_khz_may_read_its_own_rate(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(1, 4_000), 4_000)
    assert read_audio(path, 4_000).shape == (1, 4_000)


def test_not_files(tmp_path: Path) -> None:
    folder = tmp_path / "a.wav"
    folder.mkdir()
    assert refusal(folder) == "is a directory, not a recording"
    assert refusal(tmp_path / "none.wav") == "no such file"
    assert refusal(tmp_path / "nul\0.wav").startswith("cannot be opened")
    text = tmp_path / "a.txt"
    text.write_text("hello")
    assert refusal(text).startswith("unknown kind of file: '.txt' (read are: .wav,")
    assert issubclass(AudioError, DataError)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
@pytest.mark.timeout(10)
def test_fifo_does_not_hang(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    os.mkfifo(path)
    assert refusal(path) == "is not a regular file"
    link = tmp_path / "b.g722"
    link.symlink_to(path)
    assert refusal(link) == "is not a regular file"


def test_a_bomb_is_stopped_while_it_is_decoded(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    with soundfile.SoundFile(path, "w", 96_000, 1) as sound:
        block = np.zeros(960_000, np.int16)
        block[::100_000] = 9_000
        for _ in range(30):
            sound.write(block)
    assert path.stat().st_size < 300_000
    tracemalloc.start()
    try:
        assert refusal(path, max_seconds=5) == "too long: more than 5 s"
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8_000_000


def test_exactly_max_seconds_is_allowed(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(1.0), RATE)
    assert read_audio(path, RATE, max_seconds=1.0).shape[1] == RATE
    soundfile.write(path, tone(1.001), RATE)
    assert refusal(path, max_seconds=1.0) == "too long: more than 1 s"


def _read(_tools: object, path: Path) -> None:
    read_audio(path, RATE)


@pytest.mark.timeout(60)
def test_a_recording_that_a_worker_refuses_is_reported_by_its_pool(tmp_path: Path) -> None:
    missing = [tmp_path / "one.wav", tmp_path / "two.wav"]
    with pytest.raises(AudioError, match=r"one\.wav") as caught:
        list(work(missing, _read, object, 2))
    assert caught.value.reason in str(caught.value)


def patch_riff_size(path: Path, size: int) -> None:
    content = bytearray(path.read_bytes())
    content[4:8] = size.to_bytes(4, "little")
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFFFFF - 36, 0])
@pytest.mark.parametrize("total", [0xFFFFFFFF, 0, 36])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_a_wav_without_a_length_is_read_to_its_end_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, size: int, total: int, subtype: str
) -> None:
    path = tmp_path / "a.wav"
    _streamed.clear()
    soundfile.write(path, tone(channels=2), RATE, subtype=subtype)
    whole = read_audio(path, RATE)
    patch_data_size(path, size)
    patch_riff_size(path, total)
    with caplog.at_level(logging.WARNING, "lina"):
        assert torch.equal(read_audio(path, RATE), whole)
    assert audio_seconds(path) == 0.5
    [warning] = caplog.messages
    assert warning.startswith(
        f"{path}: its header gives no length (streamed); it is read to the end of the file"
    )


def test_an_empty_chunk_with_another_after_it_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, tone()[:0], RATE)
    content = path.read_bytes()[:44] + b"LIST" + (20).to_bytes(4, "little") + b"INFOISFT" + bytes(12)
    path.write_bytes(content)
    patch_riff_size(path, len(content) - 8)
    assert refusal(path) == "holds no audio: 0 frames"


def test_channels_that_cancel_are_refused_as_one(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    one = tone()
    soundfile.write(path, np.concatenate([one, -one], axis=1), RATE, subtype="FLOAT")
    assert refusal(path) == "is silent as one channel: its channels cancel each other"
    assert read_audio(path, RATE, channels=2).shape == (2, 8_000)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("offset", [0.3, -0.011])
def test_a_constant_offset_is_subtracted(tmp_path: Path, offset: float, channels: int) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, 0.5 * tone(channels=channels) + offset, RATE, subtype="FLOAT")
    shifted = read_audio(path, RATE, channels)
    soundfile.write(path, 0.5 * tone(channels=channels), RATE, subtype="FLOAT")
    assert torch.allclose(shifted, read_audio(path, RATE, channels), atol=2e-3)
    assert abs(float(shifted.mean())) < 1e-4


def test_a_small_offset_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    samples = 0.5 * tone() + 0.009
    soundfile.write(path, samples, RATE, subtype="FLOAT")
    assert np.array_equal(read_audio(path, RATE)[0].numpy(), samples[:, 0].astype(np.float32))


MEASURE = """
import resource, sys
from lina.core.audio.read import read_audio
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(list(read_audio(sys.argv[1], 48_000, 1, 60.0).shape))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(os.name != "posix", reason="resource")
def test_eight_channels_are_mixed_as_they_are_decoded(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    samples = np.zeros((59 * 48_000, 8), np.int16)
    samples[::48_000] = 10_000
    soundfile.write(path, samples, 48_000)
    assert path.stat().st_size < 1_000_000
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    shape, growth = done.stdout.splitlines()
    assert shape == "[1, 2832000]"
    assert int(growth) < 200_000  # KiB
