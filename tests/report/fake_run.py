"""A run directory as a trained run leaves it, of synthesized tones.

``python -m tests.report.fake_run DIR SAMPLES`` writes one with its report, to look at in a browser.
"""

import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import soundfile
import torch
from safetensors.torch import save_file

from lina.config.spec import Spec
from lina.runs.files import write_data_summary, write_evaluation, write_run_info, write_samples
from lina.runs.hooks import Run, Section
from lina.runs.metrics import append_metrics
from lina.runs.records import (
    CodecInfo,
    DataSummary,
    Evaluation,
    EvaluationGroup,
    MachineInfo,
    MetricsRecord,
    ModelInfo,
    PluginInfo,
    RunInfo,
    Sample,
)

RATE, HOP = 8000, 160
SIZES = (2, 2, 128, 32, *[32] * 10)
TEXTS = (
    "Please enter your number, followed by the pound key.",
    "If you know your party's extension, dial it now.",
    "<script>alert('heard & seen')</script> is only text.",
    "All representatives are busy at this time.",
)


@dataclass(frozen=True)
class _Spec:
    name: str

    def to_yaml(self) -> str:
        return (
            f"lina: 1\nname: {self.name}\nseed: 0\nbackbone:\n  plugin: gla\n  d_model: 256 # <b>wide</b>\n"
        )


def fake_spec(name: str) -> Spec:
    """All of a spec that reports read."""
    return cast(Spec, _Spec(name))


def make_run(directory: Path, samples: int = 4, steps: int = 60, rate: int = RATE) -> Run:
    """``samples`` sentences, in turn from training and unseen; ``steps`` records of metrics."""
    directory.mkdir(parents=True, exist_ok=True)
    random = torch.Generator().manual_seed(0)
    write_run_info(directory, run_info())
    write_data_summary(directory, data_summary(rate))
    for step in range(1, steps + 1):
        append_metrics(directory, metrics(step, steps, "train", random))
        if step % 10 == 0:
            append_metrics(directory, metrics(step, steps, "valid", random))
    write_samples(directory, [sample(directory, index, rate, random) for index in range(samples)])
    write_evaluation(directory, evaluation())
    run = Run(directory, fake_spec("first <run>"))
    (directory / "spec.yaml").write_text(run.spec.to_yaml())
    return run


def run_info() -> RunInfo:
    return RunInfo(
        lina="0.1.0",
        started="2026-02-03T04:05:06+00:00",
        machine=MachineInfo(cpu="Example 9000 at 2.4 GHz", cores=2),
        versions={"python": "3.12.1", "torch": "2.9.0+cpu", "numpy": "2.3.0"},
        plugins=(
            PluginInfo(role="backbone", name="gla", distribution="lina", version="0.1.0"),
            PluginInfo(role="codec", name="codec2", distribution="lina", version="0.1.0"),
        ),
        model=ModelInfo(parameters=5_234_567, backbone=4_100_000),
        commit="0123456789abcdef0123",
    )


def data_summary(rate: int = RATE) -> DataSummary:
    codec = CodecInfo(name="codec2", sample_rate=rate, hop=rate * HOP // RATE, codebook_sizes=SIZES)
    return DataSummary(utterances=30, valid=2, seconds=118.5, rejects=1, codec=codec)


def evaluation() -> Evaluation:
    rates = {
        "training sentences, greedy": (24, 0.0613, 0.0291),
        "codec resynthesis": (24, 0.0527, 0.0242),
        "recordings": (24, 0.0123, 0.0057),
        "unseen sentences": (6, 0.8734, 0.6112),
    }
    groups = [
        EvaluationGroup(name=name, sentences=n, word_error_rate=words, character_error_rate=characters)
        for name, (n, words, characters) in rates.items()
    ]
    return Evaluation(recognizer="faster-whisper tiny.en", groups=tuple(groups))


def metrics(step: int, steps: int, split: str, random: torch.Generator) -> MetricsRecord:
    noise = torch.randn(len(SIZES) + 3, generator=random).tolist()
    done = step / steps
    loss = 3.2 * math.exp(-5 * done) + (0.02 if split == "train" else 0.6 * done + 0.2)
    record = {
        "step": step * 10,
        "split": split,
        "loss": loss * math.exp(0.05 * noise[0]),
        "accuracy": [
            min(1.0, max(0.0, (1 - math.exp(-4 * done)) * (0.98 - 0.02 * q) + 0.01 * noise[q]))
            for q in range(len(SIZES))
        ],
    }
    if split == "train":
        record |= {
            "lr": 1e-3 * min(1.0, done / 0.1) * (0.5 + 0.5 * math.cos(math.pi * done)),
            "grad_norm": 1.5 * math.exp(-2 * done + 0.2 * noise[-1]),
            "frames/s": 21_000 + 400 * noise[-2],
            "seconds": 104.0 * done,
        }
    return MetricsRecord.model_validate(record)


def sample(directory: Path, index: int, rate: int, random: torch.Generator) -> Sample:
    """Training sentences have all recordings; every third sample is unseen and has only the model's."""
    unseen = index % 3 == 2
    text = TEXTS[index % len(TEXTS)]
    names = ["audio"] if unseen else ["audio", "resynthesis", "reference"]
    paths = {name: Path(f"samples/{index:03d}-{name}.wav") for name in names}
    (directory / "samples").mkdir(exist_ok=True)
    for number, path in enumerate(paths.values()):
        sound = speech_like(2.0 + 0.07 * len(text) / 3 + 0.2 * number, rate, index, random)
        soundfile.write(directory / path, sound.numpy(), rate, subtype="PCM_16")
    attention = Path(f"samples/{index:03d}.safetensors")
    save_file(
        {"attention": diagonal(130 + len(text), len(text), random), "text": torch.arange(len(text))},
        directory / attention,
    )
    sample = Sample(
        id=f"vm-{index:03d}",
        kind="unseen" if unseen else "train",
        text=text,
        sample_rate=rate,
        attention=attention,
        text_labels=tuple(text),
        stopped=index != 2,
        audio=paths["audio"],
        resynthesis=paths.get("resynthesis"),
        reference=paths.get("reference"),
    )
    transcript = text.lower().replace("number", "lumber").replace("please ", "")
    if unseen:
        return sample.model_copy(update={"transcript": transcript + " okay", "error_rate": 0.75})
    return sample.model_copy(
        update={
            "transcript": transcript,
            "error_rate": 0.222,
            "reference_transcript": text,
            "resynthesis_transcript": transcript,
            "resynthesis_error_rate": 0.111,
        }
    )


def speech_like(seconds: float, rate: int, index: int, random: torch.Generator) -> torch.Tensor:
    """Syllables of a gliding harmonic tone with some noise."""
    time = torch.arange(int(seconds * rate)) / rate
    pitch = 120 + 25 * torch.sin(2 * math.pi * 0.7 * time + index)
    phase = 2 * math.pi * torch.cumsum(pitch, 0) / rate
    sound = torch.zeros_like(time)
    for harmonic in range(1, int(0.45 * min(rate, 16000) / 150)):
        formant = 700 + 500 * torch.sin(2 * math.pi * 1.3 * time + 2 * index)
        weight = torch.exp(-(((harmonic * pitch - formant) / 400) ** 2)) + 0.03 / harmonic
        sound += weight * torch.sin(harmonic * phase)
    syllables = torch.sin(2 * math.pi * 1.8 * time).clamp_min(0.0).sqrt()
    noise = 0.01 * torch.randn(len(time), generator=random)
    return 0.2 * (sound * syllables + noise)


def diagonal(frames: int, positions: int, random: torch.Generator) -> torch.Tensor:
    """Attention that reads a text from left to right, [frames, positions], rows of sum 1."""
    centre = torch.linspace(-0.5, positions - 0.5, frames)[:, None]
    distance = torch.arange(positions)[None] - centre
    logits = -(distance**2) / 2 + 0.3 * torch.randn(frames, positions, generator=random)
    return torch.softmax(logits, dim=-1)


if __name__ == "__main__":
    from lina.report.page import Report

    extra = Section("From a plugin", "<p>A section that another plugin wrote.</p>")
    print(Report().write_report(make_run(Path(sys.argv[1]), samples=int(sys.argv[2])), [extra]))
