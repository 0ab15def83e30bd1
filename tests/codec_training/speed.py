"""How fast a spec of job codec trains where it is run, part by part; no data needed.

    python -m tests.codec_training.speed specs/codec.yaml [key=value ...]

Trains on noise, without and then with discriminators, and says steps a second, peak memory, the share of each part, and
where the CPU waits for the GPU outside of logging (nowhere, if all is well).
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

from lina.codec_training.audio_pool import Entry, Index, Pool
from lina.codec_training.matmul_precision import fast_arithmetic
from lina.codec_training.prepare import CodecData
from lina.codec_training.run import CodecRun
from lina.codec_training.trainer import Trainer
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
        Entry(
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
    index = Index(key="", sample_rate=rate, samples=len(samples), rejects=0, entries=entries)
    return CodecData(Pool(samples, index), range(count - 4), range(count - 4, count))


def timed(device: torch.device, work: Callable[[], Any], times: int) -> float:
    """Milliseconds each, after a few for warming up."""
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
        trainer = Trainer(run, codec, data, build_manager(names=()).hook)
        with fast_arithmetic(trainer.device):
            measure(trainer, codec)
        written = newest_checkpoint(run.directory / "checkpoints")
        assert written is not None
        sizes = [file.stat().st_size / 1e6 for file in written.path.iterdir()]
        print(f"checkpoint {sum(sizes):.1f} MB, largest file {max(sizes):.1f} MB")


def measure(trainer: Trainer, codec: TrainableCodec) -> None:
    device, spec = trainer.device, trainer.spec
    times = 50 if device.type == "cuda" else 1
    trainer.step = 1  # the first step logs
    for adversarial in (False, True):
        trainer.spec = spec.model_copy(update={"adversarial_from": 0 if adversarial else 10**8})
        each = timed(device, trainer.advance, times)
        print(
            f"step {'with' if adversarial else 'without'} discriminators: {each:.1f} ms, {1000 / each:.1f} a second"
        )
        if device.type == "cuda":
            print(f"  peak memory {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")
            torch.cuda.set_sync_debug_mode("warn")
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                trainer.advance()
            torch.cuda.set_sync_debug_mode("default")
            waits = sorted(
                {f"{Path(one.filename).name}:{one.lineno}" for one in told if "sync" in str(one.message)}
            )
            print(f"  waits for the GPU at: {', '.join(waits) or 'nowhere'}")
    gradients = trainer.gradients
    rows, real = trainer.batches.draw(1)
    decoded = real.clone().requires_grad_()

    def generator() -> None:
        made = codec.reconstruct(real[:, None], rows.codebooks.long())
        torch.autograd.backward(made.audio.sum())

    def mel() -> None:
        torch.autograd.backward(gradients.mel(decoded, gradients.mel.spectra(real)))

    def judge() -> None:
        theirs, verdict, features = gradients.judge(real, decoded)
        torch.autograd.backward(verdict + features)
        torch.autograd.backward(theirs)

    def learn() -> None:
        codec.learn_codebooks(made, torch.Generator().manual_seed(0))

    with torch.no_grad():
        made = codec.reconstruct(real[:, None], rows.codebooks.long())
    parts: dict[str, Callable[[], Any]] = {
        "crops and augmentation": lambda: trainer.batches.draw(1),
        "codec, there and back": generator,
        "codebooks": learn,
        "mel distance": mel,
        "discriminators": judge,
    }
    for name, work in parts.items():
        print(f"  {name:24}{timed(device, work, times):9.1f} ms")
    cast(nn.Module, codec).zero_grad()
    began = time.perf_counter()
    trainer.save()
    print(f"  {'checkpoint':24}{(time.perf_counter() - began) * 1000:9.1f} ms")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
