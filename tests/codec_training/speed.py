"""Training speed of a spec of job codec on this machine, by component; needs no data.

    python -m tests.codec_training.speed specs/codec.yaml [key=value ...]

Trains on noise, without and then with discriminators, and prints steps per second, peak memory, the time of each
component, and the lines at which the CPU waits for the GPU outside of logging (expected: none).
"""

import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from lina.codec_training.audio_pool import AudioPool, PoolEntry, PoolIndex
from lina.codec_training.matmul_precision import tf32_matmul
from lina.codec_training.prepare import CodecData, CodecRun
from lina.codec_training.trainer import CodecTrainer
from lina.config.codec_resolve import resolve_codec
from lina.config.codec_spec import CodecSpec
from lina.config.loader import load_job
from lina.core.protocols import TrainableCodec
from lina.runs.checkpoint_store import newest_checkpoint
from lina.runs.hook_manager import build_manager

SECONDS, LENGTH = 600, 6


def noise(rate: int, sources: int) -> CodecData:
    length = LENGTH * rate
    count = max(sources, SECONDS // LENGTH)
    samples = torch.randint(-9000, 9000, (count * length,), dtype=torch.int16)
    entries = tuple(
        PoolEntry(
            id=str(number),
            source=number * sources // count,
            speaker="",
            text="",
            start=number * length,
            length=length,
            begin=number * length,
            end=(number + 1) * length,
            peak=0.3,
        )
        for number in range(count)
    )
    index = PoolIndex(key="", sample_rate=rate, samples=len(samples), rejects=0, entries=entries)
    return CodecData(AudioPool(samples, index), range(count - 4), range(count - 4, count))


def milliseconds(device: torch.device, work: Callable[[], Any], times: int) -> float:
    """Milliseconds per call, after three warm-up calls."""
    for _ in range(3):
        work()
    wait(device)
    began = time.perf_counter()
    for _ in range(times):
        work()
    wait(device)
    return (time.perf_counter() - began) / times * 1000


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def main(path: str, overrides: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        spec = load_job(path, [*overrides, f"train.out={folder}/run", "train.log_every=1000000"])
        assert isinstance(spec, CodecSpec)
        resolved = resolve_codec(spec)
        codec: TrainableCodec = resolved.codec.plugin.build_trainable(config=resolved.codec.config)
        run = CodecRun(Path(folder) / "run", resolved.spec)
        run.directory.mkdir()
        data = noise(codec.sample_rate, len(spec.data.sources))
        trainer = CodecTrainer(run, codec, data, build_manager(names=()).hook)
        with tf32_matmul(trainer.device):
            measure(trainer, codec)
        written = newest_checkpoint(run.directory / "checkpoints")
        assert written is not None
        sizes = [file.stat().st_size / 1e6 for file in written.path.iterdir()]
        print(f"checkpoint {sum(sizes):.1f} MB, largest file {max(sizes):.1f} MB")


def measure(trainer: CodecTrainer, codec: TrainableCodec) -> None:
    device, spec = trainer.device, trainer.spec
    times = 50 if device.type == "cuda" else 1
    trainer.step = 1  # the first step logs
    for adversarial in (False, True):
        trainer.spec = spec.model_copy(update={"adversarial_from": 0 if adversarial else 10**8})
        each = milliseconds(device, trainer.advance, times)
        print(
            f"step {'with' if adversarial else 'without'} discriminators: {each:.1f} ms, {1000 / each:.1f} per second"
        )
        if device.type == "cuda":
            print(f"  peak memory {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")
            torch.cuda.set_sync_debug_mode("warn")
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                trainer.advance()
            torch.cuda.set_sync_debug_mode("default")
            waits = sorted(
                {f"{Path(one.filename).name}:{one.lineno}" for one in caught if "sync" in str(one.message)}
            )
            print(f"  waits for the GPU at: {', '.join(waits) or 'none'}")
    backward_pass = trainer.backward_pass
    crops, real = trainer.batches.draw(1)
    decoded = real.clone().requires_grad_()

    def reconstruct() -> None:
        torch.autograd.backward(codec.reconstruct(real[:, None], crops.codebooks.long()).audio.sum())

    def mel() -> None:
        torch.autograd.backward(backward_pass.mel(decoded, backward_pass.mel.spectra(real)))

    def discriminate() -> None:
        discriminators, adversarial, features = backward_pass.adversarial_losses(real, decoded)
        torch.autograd.backward(adversarial + features)
        torch.autograd.backward(discriminators)

    def learn() -> None:
        codec.learn_codebooks(reconstruction, torch.Generator().manual_seed(0))

    with torch.no_grad():
        reconstruction = codec.reconstruct(real[:, None], crops.codebooks.long())
    components: dict[str, Callable[[], Any]] = {
        "crops and augmentation": lambda: trainer.batches.draw(1),
        "codec forward and backward": reconstruct,
        "codebooks": learn,
        "mel distance": mel,
        "discriminators": discriminate,
    }
    for name, work in components.items():
        print(f"  {name:28}{milliseconds(device, work, times):9.1f} ms")
    cast(nn.Module, codec).zero_grad()
    began = time.perf_counter()
    trainer.save()
    print(f"  {'checkpoint':28}{(time.perf_counter() - began) * 1000:9.1f} ms")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
