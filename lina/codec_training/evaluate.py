"""Evaluation stage of job codec: resynthesis of whole held-out utterances by the exported codec."""

import math
import time
from pathlib import Path
from typing import Any

import torch

from lina.codec_training.losses import MelDistance, spectral_distance
from lina.codec_training.prepare import CodecData, CodecRun
from lina.config.codec_resolve import CODEBOOKS, ResolvedCodecSpec
from lina.core.audio.codec import decode, encode
from lina.core.audio.read import write_wav
from lina.runs.checkpoint_store import Checkpoint
from lina.runs.files import CODEC_EVALUATION_FILE, write_codec_evaluation, write_samples
from lina.runs.records import CodecDistance, CodecEvaluation, Sample
from lina.runs.stage_cache import finish, is_up_to_date

SAMPLES = Path("samples")


@torch.no_grad()
def evaluate_codec(
    run: CodecRun,
    resolved: ResolvedCodecSpec,
    data: CodecData,
    checkpoint: Checkpoint,
    weights: Path,
    hooks: Any,
) -> None:
    """Measure distances per number of codebooks, and write a few samples with all codebooks."""
    spec = run.spec.evaluate
    numbers = list(data.valid[: spec.utterances])
    inputs = [spec.model_dump(mode="json"), checkpoint.weights, data.pool.identity]
    if not numbers:
        return
    if (run.directory / CODEC_EVALUATION_FILE).is_file() and is_up_to_date(run.directory, "evaluate", inputs):
        hooks.stage_finished(run=run, stage="evaluate", seconds=0.0)
        return
    began = time.perf_counter()
    counts = _counts(resolved, weights, spec.codebooks)
    hooks.stage_started(run=run, stage="evaluate", total=len(counts) * len(numbers), done=0)
    distances, done = [], 0
    for count in counts:
        codec = resolved.trained(weights, count)
        mel, mels, spectra = MelDistance(codec.sample_rate), 0.0, 0.0
        for number in numbers:
            recording = data.audio(number)[None, None]
            decoded = decode(codec, encode(codec, recording))[..., : recording.shape[-1]]
            mels += float(mel(decoded[:, 0], mel.spectra(recording[:, 0])))
            spectra += float(spectral_distance(decoded[:, 0], recording[:, 0]))
            done += 1
            hooks.stage_progress(run=run, stage="evaluate", done=done, info={})
        bits = sum(math.log2(size) for size in codec.codebook_sizes) * codec.sample_rate / codec.hop
        used = len(codec.codebook_sizes)
        distances.append(
            CodecDistance(
                codebooks=used,
                bits_per_second=round(bits, 3),
                mel_distance=mels / len(numbers),
                spectral_distance=spectra / len(numbers),
            )
        )
    write_samples(run.directory, _samples(run, resolved, data, checkpoint, weights, hooks))
    seconds = sum(len(data.audio(number)) for number in numbers) / data.pool.index.sample_rate
    write_codec_evaluation(
        run.directory, CodecEvaluation(utterances=len(numbers), seconds=seconds, distances=tuple(distances))
    )
    finish(run.directory, "evaluate", inputs)
    hooks.stage_finished(run=run, stage="evaluate", seconds=time.perf_counter() - began)


def _counts(resolved: ResolvedCodecSpec, weights: Path, requested: tuple[int, ...]) -> list[int | None]:
    """Numbers of codebooks to evaluate; None for a codec without that setting."""
    if CODEBOOKS not in resolved.codec.plugin.Config.model_fields:
        return [None]
    if requested:
        return [*sorted(set(requested))]
    every = len(resolved.trained(weights).codebook_sizes)
    return [*(2**power for power in range(every.bit_length()) if 2**power < every), every]


def _samples(
    run: CodecRun,
    resolved: ResolvedCodecSpec,
    data: CodecData,
    checkpoint: Checkpoint,
    weights: Path,
    hooks: Any,
) -> list[Sample]:
    codec, records = resolved.trained(weights), []
    (run.directory / SAMPLES).mkdir(exist_ok=True)
    for place, number in enumerate(data.valid[: run.spec.evaluate.samples], start=1):
        recording, name = data.audio(number)[None], f"valid-{place:02d}"
        decoded = decode(codec, encode(codec, recording[None]))[0][:, : recording.shape[-1]]
        audio, reference = SAMPLES / f"{name}.wav", SAMPLES / f"{name}.recording.wav"
        write_wav(run.directory / audio, decoded.clamp(-1.0, 1.0), codec.sample_rate)
        write_wav(run.directory / reference, recording, codec.sample_rate)
        entry = data.pool.index.entries[number]
        sample = Sample(
            id=name,
            kind="valid",
            text=entry.text or entry.id,
            audio=audio,
            sample_rate=codec.sample_rate,
            reference=reference,
        )
        hooks.sample_made(run=run, step=checkpoint.step, sample=sample)
        records.append(sample)
    return records
