"""Audio pool, random crops and augmentation."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from lina.codec_training.audio_pool import INDEX_FILE, AudioPool, build_pool, split_held_out
from lina.codec_training.augment import TAPS, add_band_limit_and_noise, resample
from lina.codec_training.crops import CropParameters, build_distribution, draw_crops, extract_crops
from lina.codec_training.decoding import FULL_SCALE, decode_recording, decode_recordings
from lina.config.codec_spec import AugmentSection
from lina.core.errors import DataError
from lina.core.utterance import Reject, Utterance

RATE = 8000
NO_AUGMENTATION = AugmentSection(level=(0.0, 0.0), invert=0.0, resample=0.0, band=0.0, noise=0.0)


def sounds(folder: Path, seconds: tuple[float, ...] = (0.5, 1.0, 2.0)) -> list[Utterance]:
    folder.mkdir(parents=True, exist_ok=True)
    utterances = []
    for number, length in enumerate(seconds):
        quiet = np.zeros(RATE // 2)
        tone = 0.25 * np.sin(2 * np.pi * 200 * (number + 1) * np.arange(int(length * RATE)) / RATE)
        path = folder / f"{number}.wav"
        soundfile.write(path, np.concatenate([quiet, tone, quiet]), RATE)
        utterances.append(Utterance(id=str(number), audio=path, text="a tone"))
    return utterances


def pool_of(folder: Path, *sources: Sequence[Utterance | Reject], **changed: float) -> AudioPool:
    settings = {"min_seconds": 0.1, "max_seconds": 10.0, "max_rejects": 0.5} | changed
    return build_pool(
        folder / "data", sources, sample_rate=RATE, workers=1, report=lambda done, total: None, **settings
    )


def test_pool_holds_recordings_and_sound_bounds(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, sounds(tmp_path / "a"), sounds(tmp_path / "b", (1.0,)))
    assert [one.source for one in pool.index.entries] == [0, 0, 0, 1]
    assert [one.start for one in pool.index.entries] == [0, 12_000, 28_000, 52_000]
    entry = pool.index.entries[1]
    recorded, _ = soundfile.read(tmp_path / "a/1.wav")
    stored = pool.utterance(1).double() / FULL_SCALE
    assert torch.allclose(stored, torch.from_numpy(recorded), atol=1e-4)
    assert math.isclose(entry.peak, 0.25, rel_tol=1e-3)
    # 150 ms of the half second of silence on each side are kept.
    assert abs(entry.begin - entry.start - 0.35 * RATE) <= 0.02 * RATE
    assert abs(entry.end - entry.start - (0.5 + 1.0 + 0.15) * RATE) <= 0.02 * RATE


def test_existing_pool_is_reused(tmp_path: Path) -> None:
    utterances = sounds(tmp_path / "a")
    first = pool_of(tmp_path, utterances)
    written = (tmp_path / "data" / INDEX_FILE).stat().st_mtime_ns
    assert pool_of(tmp_path, utterances).index == first.index
    assert (tmp_path / "data" / INDEX_FILE).stat().st_mtime_ns == written
    fewer = pool_of(tmp_path, utterances[:2])
    assert len(fewer.index.entries) == 2
    assert fewer.identity != first.identity
    assert torch.equal(fewer.utterance(1), first.utterance(1))


def test_rejected_recordings_are_listed(tmp_path: Path) -> None:
    utterances = sounds(tmp_path / "a")
    soundfile.write(tmp_path / "a/short.wav", np.full(100, 0.1) * np.arange(100) / 100, RATE)
    broken: list[Utterance | Reject] = [
        Utterance(id="gone", audio=tmp_path / "gone.wav", text=""),
        Utterance(id="short", audio=tmp_path / "a/short.wav", text=""),
        Reject(id="bad", where="manifest:7", reason="not JSON"),
    ]
    pool = pool_of(tmp_path, [*utterances, *broken])
    assert pool.index.rejects == 3
    listed = (tmp_path / "data/rejects.jsonl").read_text()
    assert all(reason in listed for reason in ("no such file", "too short: less than 0.1 s", "not JSON"))
    with pytest.raises(DataError, match=r"3 of 4 utterances were rejected \(75\.0%, allowed 50\.0%\)"):
        pool_of(tmp_path, [utterances[0], *broken])
    with pytest.raises(DataError, match=r"data\.sources\[1\]: has no usable recording"):
        pool_of(tmp_path, utterances, broken[:1])


def test_parallel_decoding_equals_serial_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lina.codec_training.decoding.MIN_PARALLEL", 1)
    paths = [one.audio for one in sounds(tmp_path)] + [tmp_path / "gone.wav"]
    settings = (RATE, 0.1, 10.0)
    serial = [decode_recording(path, *settings) for path in paths]
    parallel = list(decode_recordings(paths, *settings, 2))
    assert [type(one) for one in parallel] == [type(one) for one in serial]
    assert parallel[-1] == serial[-1] == "no such file"
    for one, other in zip(serial[:-1], parallel[:-1], strict=True):
        assert np.array_equal(one.samples, other.samples)  # type: ignore[union-attr]


def test_held_out_split_ranks_each_utterance_independently(tmp_path: Path) -> None:
    utterances = sounds(tmp_path, (0.5,) * 8)
    pool = pool_of(tmp_path, utterances)
    train, valid = split_held_out(pool, 3, 0)
    assert len(valid) == 3
    assert sorted(train + valid) == list(range(8))
    assert split_held_out(pool, 0.25, 0)[1] == [one for one in valid if one in split_held_out(pool, 2, 0)[1]]
    assert split_held_out(pool, 0.0, 0) == (list(range(8)), [])
    assert split_held_out(pool, 3, 1)[1] != valid
    with pytest.raises(DataError, match=r"data\.valid \(8\) holds out all of the 8"):
        split_held_out(pool, 8, 0)


def draw(
    pool: AudioPool,
    seed: int,
    rows: int,
    augment: AugmentSection = NO_AUGMENTATION,
    weights: tuple[float, ...] = (1.0, 3.0),
    dropout_codebooks: tuple[int, ...] = (),
) -> CropParameters:
    numbers = range(len(pool.index.entries))
    options = {"rows": rows, "samples": 4000, "nyquist": RATE / 2, "augment": augment}
    options |= {"dropout": 0.5, "codebooks": 4, "dropout_codebooks": dropout_codebooks}
    distribution = build_distribution(pool, numbers, weights)
    return draw_crops(distribution, seed, **options)  # type: ignore[arg-type]


def test_dropout_draws_from_the_codebooks_of_the_spec(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, sounds(tmp_path / "a"), sounds(tmp_path / "b", (1.0,)))
    anything = torch.bincount(draw(pool, 0, 4000).codebooks.long(), minlength=5) / 4000
    torch.testing.assert_close(anything[1:], torch.tensor([0.125, 0.125, 0.125, 0.625]), atol=0.02, rtol=0)
    few = (
        torch.bincount(draw(pool, 0, 4000, dropout_codebooks=(2, 2, 3)).codebooks.long(), minlength=5) / 4000
    )
    torch.testing.assert_close(few, torch.tensor([0.0, 0.0, 1 / 3, 1 / 6, 0.5]), atol=0.02, rtol=0)


def test_crops_follow_source_weights_and_contain_sound(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, sounds(tmp_path / "a"), sounds(tmp_path / "b", (1.0,)))
    rows = draw(pool, 5, 2000)
    entries = pool.index.entries
    which = (
        torch.searchsorted(
            torch.tensor([e.start for e in entries], dtype=torch.float64), rows.utterance_start, right=True
        )
        - 1
    )
    share = (which == 3).double().mean()
    assert abs(float(share) - 0.75) < 0.04
    # Within a source, proportional to the length of sound: 0.8, 1.3 and 2.3 s.
    longest = (which == 2).sum() / (which < 3).sum()
    assert abs(float(longest) - 2.3 / 4.4) < 0.07
    begin = torch.tensor([e.begin for e in entries])[which]
    end = torch.tensor([e.end for e in entries])[which]
    assert bool((rows.start >= begin).all() & (rows.start + 4000 <= end).all())
    audio = extract_crops(pool.samples, rows, 4000, fastest=None)
    assert math.isclose(float(audio.abs().max()), 1.0, rel_tol=1e-3)
    assert float(audio.square().mean(1).sqrt().min()) > 0.1, "a silent crop"
    kept = torch.bincount(rows.codebooks.long(), minlength=5)
    assert kept[0] == 0
    assert abs(int(kept[4]) / 2000 - (0.5 + 0.125)) < 0.05


def test_crops_are_a_function_of_the_seed(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, sounds(tmp_path / "a"), sounds(tmp_path / "b", (1.0,)))
    one, again, other = (torch.stack(draw(pool, seed, 8, AugmentSection())) for seed in (5, 5, 6))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_short_utterance_lies_inside_its_crop(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, sounds(tmp_path / "a", (0.05,)))
    rows = draw(pool, 0, 50, weights=(1.0,))
    audio = extract_crops(pool.samples, rows, 4000, fastest=None)
    tone = pool.utterance(0).float()
    energy = tone.square().sum() / FULL_SCALE**2 * 16
    assert torch.allclose(audio.square().sum(1), energy.expand(50), rtol=1e-2)
    assert len({round(float(start)) for start in rows.start}) > 10


def test_resampling_changes_pitch_and_keeps_level() -> None:
    time = torch.arange(6000, dtype=torch.float64) / RATE
    speed = torch.tensor([0.85, 1.0, 1.18], dtype=torch.float64)
    tone = torch.sin(2 * torch.pi * 1000 * time).float().expand(3, -1)
    resampled = resample(tone, speed, 4000)
    first = (TAPS // 2 - 1) / RATE
    expected = torch.sin(
        2 * torch.pi * 1000 * (first + speed[:, None] * torch.arange(4000, dtype=torch.float64) / RATE)
    )
    assert torch.allclose(resampled.double(), expected, atol=2e-3)
    noise = torch.randn(1, 6000, generator=torch.Generator().manual_seed(0))
    same = resample(noise, speed[1:2], 4000)
    assert torch.allclose(same, noise[:, TAPS // 2 - 1 :][:, :4000], atol=1e-5)


def test_resampling_does_not_alias() -> None:
    time = torch.arange(6000, dtype=torch.float64) / RATE
    tone = torch.sin(2 * torch.pi * 3950 * time).float()[None]
    resampled = resample(tone, torch.tensor([1.18], dtype=torch.float64), 4000)
    assert float(resampled.square().mean()) < 0.02


def augment(audio: Tensor, seed: int, **changes: list[float]) -> Tensor:
    rows = len(audio)
    settings = {"cutoff": [2.0] * rows, "noise": [0.0] * rows, "tilt": [0.0] * rows} | changes
    columns = {name: torch.tensor(value, dtype=torch.float64) for name, value in settings.items()}
    white = torch.randn(audio.shape, generator=torch.Generator().manual_seed(seed))
    return add_band_limit_and_noise(audio, **columns, white=white)


def band(audio: Tensor, low: float, high: float) -> float:
    spectrum = torch.fft.rfft(audio).abs().square()
    return float(spectrum[int(low * len(spectrum)) : int(high * len(spectrum))].sum())


def test_band_limit_and_noise_change_their_rows_only() -> None:
    audio = 0.1 * torch.randn(3, 4000, generator=torch.Generator().manual_seed(0))
    audio[2] = 0.05 * torch.sin(0.7 * torch.arange(4000))
    changed = augment(audio, 1, cutoff=[2.0, 0.5, 2.0], noise=[0.0, 0.0, 0.1])
    assert torch.allclose(changed[0], audio[0], atol=1e-6)
    assert band(changed[1], 0.56, 1.0) < 1e-6
    assert math.isclose(band(changed[1], 0.0, 0.5), band(audio[1], 0.0, 0.5), rel_tol=1e-4)
    added = changed[2] - audio[2]
    assert math.isclose(float(added.std() / audio[2].std()), 0.1, rel_tol=0.05)


def test_tilted_noise_falls_with_frequency() -> None:
    audio = 0.1 * torch.randn(2, 8000, generator=torch.Generator().manual_seed(0))
    white, pink = augment(audio, 1, noise=[0.3, 0.3], tilt=[0.0, 1.0]) - audio
    ratios = [band(one, 0.05, 0.1) / band(one, 0.5, 0.55) for one in (white, pink)]
    assert 0.7 < ratios[0] < 1.4
    assert 4 < ratios[1] < 12


def test_silence_stays_finite() -> None:
    assert bool((augment(torch.zeros(1, 400), 0, cutoff=[0.5], noise=[0.1]) == 0).all())
