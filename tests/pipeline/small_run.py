"""Runs small enough for a test: a few tones as a corpus, a model of a few thousand numbers."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from safetensors.torch import load_file
from torch import Tensor

from lina.config.loader import load_spec
from lina.config.resolve import ResolvedSpec, resolve
from lina.core.files.atomic import write_atomic
from lina.core.model.delay_lm import DelayLM
from lina.data.prepare import prepare
from lina.data.training_data import TrainingData
from lina.runs.build_model import build_lm
from lina.runs.hook_manager import build_manager
from lina.runs.hooks import Run, hookimpl
from lina.runs.metrics import read_metrics

SPEC = """
lina: 1
name: small
seed: 3
backbone: {plugin: gla, d_model: 16, n_layers: 1, config: {n_heads: 2}}
codec: {plugin: codec2}
tokenizer: {plugin: bytes}
text: {layers: 1, heads: 2, attention: position, position_dim: 8}
data: {source: jsonl, config: {path: corpus/manifest.jsonl}, valid: 0.0}
train: {steps: 6, batch_seconds: 1.0, lr: 1.0e-2, warmup: 2, checkpoint_every: 2, log_every: 1, precision: float32}
evaluate: {sentences: 0}
synthesize: {max_seconds: 0.2}
"""
TEXTS = ("one", "two words", "three is more", "four", "five and six", "seven")

EVERYTHING = (
    "train.dropout=0.2",
    "text.dropout=0.1",
    "train.ema=0.8",
    "train.accumulate=2",
    "train.consecutive=2",
    "conditions.speaker=true",
    "conditions.drop_text=0.4",
    "conditions.drop_speaker=0.3",
    "conditions.prompt=0.5",
)
"""All that draws random numbers or keeps a state of its own in training."""


def write_corpus(folder: Path, texts: tuple[str, ...] = TEXTS) -> Path:
    """Tones of 0.3 to 0.6 s with a manifest; the manifest's path."""
    folder.mkdir(parents=True)
    lines = []
    for number, text in enumerate(texts):
        samples = np.arange(int(8000 * (0.3 + 0.06 * number)))
        tone = 0.3 * np.sin(2 * np.pi * (200 + 90 * number) * samples / 8000)
        soundfile.write(folder / f"{number}.wav", tone, 8000)
        speaker = ("anna", "bert")[number % 2]
        lines.append({"id": f"tone-{number}", "audio": f"{number}.wav", "text": text, "speaker": speaker})
    manifest = folder / "manifest.jsonl"
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return manifest


def write_spec(folder: Path) -> Path:
    """The spec beside its corpus, each made if missing."""
    path = folder / "small.yaml"
    if not (folder / "corpus").exists():
        write_corpus(folder / "corpus")
    write_atomic(path, SPEC.encode())  # ranks write it at once, and read it
    return path


def small(folder: Path, *overrides: str, out: str = "run") -> ResolvedSpec:
    """The small spec with overrides; it runs in ``folder/out``."""
    return resolve(load_spec(write_spec(folder), (*overrides, f"train.out={folder / out}")))


def ready(resolved: ResolvedSpec, hooks: Any) -> tuple[Run, DelayLM, TrainingData]:
    """Arguments of ``train``, as a run builds them."""
    run = Run(resolved.spec.train.out, resolved.spec)
    run.directory.mkdir(exist_ok=True)
    prepared = prepare(run, resolved, hooks)
    model = build_lm(
        resolved,
        codebook_sizes=prepared.codec.codebook_sizes,
        vocab_size=prepared.tokenizer.vocab_size,
        speakers=len(prepared.speakers),
        seed=resolved.spec.seed,
    )
    return run, model, prepared.training


def hooks_of(*plugins: object) -> Any:
    """The hooks of these plugins and no installed one; what they raise is raised."""
    manager = build_manager(())
    for plugin in plugins:
        manager.register(plugin)
    return manager.hook


class Listener:
    """Writes down what a run tells."""

    def __init__(self) -> None:
        self.stages: list[tuple[Any, ...]] = []
        self.steps: list[tuple[int, Mapping[str, Any]]] = []
        self.evaluations: list[tuple[int, Mapping[str, Any]]] = []
        self.samples: list[str] = []

    @hookimpl
    def stage_started(self, stage: str, total: int | None, done: int) -> None:
        self.stages.append(("started", stage, total, done))

    @hookimpl
    def stage_finished(self, stage: str, seconds: float) -> None:
        self.stages.append(("finished" if seconds else "already done", stage))

    @hookimpl
    def step_done(self, step: int, metrics: Mapping[str, Any]) -> None:
        self.steps.append((step, metrics))

    @hookimpl
    def evaluation_done(self, step: int, metrics: Mapping[str, Any]) -> None:
        self.evaluations.append((step, metrics))

    @hookimpl
    def sample_made(self, sample: Any) -> None:
        self.samples.append(sample.id)


def stored(directory: Path) -> dict[str, Tensor]:
    """Every tensor of a run's newest checkpoint, by file and name."""
    newest = max((directory / "checkpoints").glob("step-*"))
    return {
        f"{file.name} {name}": value
        for file in newest.glob("*.safetensors")
        for name, value in load_file(file).items()
    }


def assert_same_training(one: Path, other: Path) -> None:
    """The same weights, averages, moments and losses, bit for bit."""
    a, b = stored(one), stored(other)
    assert a.keys() == b.keys()
    different = [name for name in a if not a[name].equal(b[name])]
    assert not different
    assert learned(one) == learned(other)


def learned(directory: Path) -> list[tuple[Any, ...]]:
    """The metrics that do not depend on the clock."""
    lines = read_metrics(directory)
    return [(one.step, one.split, one.loss, one.accuracy, one.lr, one.grad_norm) for one in lines]
