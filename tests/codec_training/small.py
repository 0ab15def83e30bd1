"""A small run of job codec for tests: the toy codec on a few tones and noises."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from safetensors.torch import load_file
from torch import Tensor

from lina.config.codec_resolve import ResolvedCodecSpec, resolve_codec
from lina.config.loader import load_job
from lina.core.files.atomic import write_atomic
from lina.pipeline.codec_job import run_codec_spec
from lina.runs.checkpoint_store import newest_checkpoint
from lina.runs.hook_manager import add_plugin, build_manager
from tests.fakes import FakeDistributions

SPEC = """
lina: 1
job: codec
name: small
seed: 3
codec: {plugin: toy-trainable}
data:
  sources:
    - {source: jsonl, config: {path: one/manifest.jsonl}}
    - {source: jsonl, config: {path: other/manifest.jsonl}, weight: 2.0}
  valid: 2
  min_seconds: 0.1
  workers: 1
train:
  steps: 6
  batch: 4
  crop_seconds: 0.2
  lr: 2.0e-3
  warmup: 2
  adversarial_from: 2
  discriminators: {windows: [256, 64], periods: [3], channels: 4}
  ema: 0.9
  augment: {cutoff: 1000.0}
  valid_every: 3
  checkpoint_every: 2
  log_every: 1
  device: cpu
evaluate: {utterances: 2, samples: 1}
"""


@pytest.fixture
def plugin(distributions: FakeDistributions) -> None:
    distributions.install(
        "toy-codecs",
        {"lina.codecs": {"toy-trainable": "tests.codec_training.toy_codec:ToyTrainable"}},
    )


def write_corpora(folder: Path, rate: int = 8000) -> None:
    random = np.random.default_rng(0)
    for name, count in (("one", 4), ("other", 3)):
        (folder / name).mkdir(parents=True)
        lines = []
        for number in range(count):
            time = np.arange(int(rate * (0.15 + 0.12 * number))) / rate
            tone = 0.2 * np.sin(2 * np.pi * (150 + 70 * number) * time) * (1 + np.sin(9 * time))
            sound = tone + 0.01 * random.standard_normal(len(time))
            silence = np.zeros(rate // 4)
            soundfile.write(folder / name / f"{number}.wav", np.concatenate([silence, sound, silence]), rate)
            lines.append({"id": f"{name}-{number}", "audio": f"{number}.wav", "text": f"sound {number}"})
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / name / "manifest.jsonl").write_text(text)


def small(folder: Path, *overrides: str, out: str = "run") -> ResolvedCodecSpec:
    """The resolved spec, running in ``folder/out``; writes its corpora if they are missing."""
    path = folder / "codec.yaml"
    if not (folder / "one").exists():
        write_corpora(folder)
    write_atomic(path, SPEC.encode())  # ranks write it at once, and read it
    return resolve_codec(load_job(path, (*overrides, f"train.out={folder / out}")))  # type: ignore[arg-type]


def go(resolved: ResolvedCodecSpec, *listeners: object) -> Path:
    manager = build_manager(names=())
    for place, listener in enumerate(listeners):
        add_plugin(manager, listener, f"listener {place}")
    return run_codec_spec(resolved, manager.hook)


def stored(run: Path) -> dict[str, Tensor]:
    """All tensors of the newest checkpoint."""
    newest = newest_checkpoint(run / "checkpoints")
    assert newest is not None
    return stored_at(run, newest.step)


def stored_at(run: Path, step: int) -> dict[str, Tensor]:
    """All tensors of the checkpoint of a step."""
    tensors: dict[str, Tensor] = {}
    for shard in (run / "checkpoints" / f"step-{step:08d}").glob("state-*.safetensors"):
        tensors |= load_file(shard)
    return tensors


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(bool((one[key] == other[key]).all()) for key in one)


def lines_of(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
