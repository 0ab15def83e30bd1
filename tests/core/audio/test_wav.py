import io
import os
from pathlib import Path

import pytest
import soundfile
import torch
from torch import Tensor

from lina.core.audio.read import WavWriter, read_audio, write_wav
from lina.core.errors import DataError


def some(samples: int = 800, channels: int = 1) -> Tensor:
    return torch.rand(channels, samples, generator=torch.Generator().manual_seed(0)) - 0.5


@pytest.mark.parametrize("channels", [1, 2])
def test_round_trip(tmp_path: Path, channels: int) -> None:
    audio = some(channels=channels)
    write_wav(tmp_path / "a.wav", audio, 24_000)
    info = soundfile.info(tmp_path / "a.wav")
    assert (info.samplerate, info.channels, info.frames, info.subtype) == (24_000, channels, 800, "PCM_16")
    assert torch.allclose(read_audio(tmp_path / "a.wav", 24_000, channels), audio, atol=1e-4)


def test_chunks_make_the_same_file_as_the_whole(tmp_path: Path) -> None:
    audio = some(1_000)
    write_wav(tmp_path / "whole.wav", audio[0], 8_000)
    with WavWriter(tmp_path / "parts.wav", 8_000) as wav:
        for part in audio.split([1, 0, 499, 500], dim=1):
            wav.write(part)
        assert wav.seconds == 1_000 / 8_000
    assert (tmp_path / "parts.wav").read_bytes() == (tmp_path / "whole.wav").read_bytes()
    assert len(list(tmp_path.iterdir())) == 2


def test_header_is_right_after_every_chunk(tmp_path: Path) -> None:
    with WavWriter(tmp_path / "a.wav", 8_000) as wav:
        for frames in (100, 200, 300):
            wav.write(some(100))
            content = io.BytesIO(wav.partial.read_bytes())
            assert soundfile.info(content).frames == frames
            assert not (tmp_path / "a.wav").exists()


def test_an_error_leaves_nothing_or_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"

    def fail() -> None:
        with WavWriter(path, 8_000) as wav:
            wav.write(some())
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError):
        fail()
    assert list(tmp_path.iterdir()) == []
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError):
        fail()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_clipping(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", torch.tensor([2.0, -2.0, 1.0, 0.0]), 8_000)
    assert soundfile.read(tmp_path / "a.wav", dtype="int16")[0].tolist() == [32_767, -32_767, 32_767, 0]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_not_numbers_are_refused(tmp_path: Path, bad: float) -> None:
    with pytest.raises(DataError, match="NaN or infinity"):
        write_wav(tmp_path / "a.wav", torch.tensor([0.0, bad]), 8_000)
    assert list(tmp_path.iterdir()) == []


def test_wrong_shapes_are_refused(tmp_path: Path) -> None:
    wav = WavWriter(tmp_path / "a.wav", 8_000)
    with pytest.raises(DataError, match=r"expected audio \[1, samples\], got \[2, 800\]"):
        wav.write(some(channels=2))
    wav.abort()
    assert list(tmp_path.iterdir()) == []


def test_unwritable(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be written: No such file or directory"):
        write_wav(tmp_path / "none" / "a.wav", some(), 8_000)
    with pytest.raises(DataError, match="is a directory"):
        write_wav(tmp_path, some(), 8_000)


def test_paths_other_than_files_are_never_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    for path in (tmp_path / "pipe.wav", "/dev/null"):
        with pytest.raises(DataError, match=r"is not a regular file; name a file such as out\.wav"):
            WavWriter(path, 8_000)
    assert (tmp_path / "pipe.wav").is_fifo()
    assert list(tmp_path.iterdir()) == [tmp_path / "pipe.wav"]
    for folder in ("/", "."):
        with pytest.raises(DataError, match="is a directory"):
            WavWriter(folder, 8_000)


def test_closing_twice(tmp_path: Path) -> None:
    wav = WavWriter(tmp_path / "a.wav", 8_000)
    wav.write(some())
    wav.close()
    wav.close()
    assert soundfile.info(tmp_path / "a.wav").frames == 800
