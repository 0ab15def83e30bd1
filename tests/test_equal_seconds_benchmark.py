"""All backbones for equal seconds: sizes, the file of tokens, and the table."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from benchmarks.equal_seconds import (
    CONFIGS,
    PARAMETERS,
    Losses,
    build,
    layers_of,
    start_again,
    table,
    timed_schedule,
)
from benchmarks.equal_seconds_data import training_data
from lina.runs.build_model import build_lm
from lina.runs.hooks import Run
from lina.training.trainer import Trainer


@pytest.mark.parametrize("name", ["gla", "mamba2"])
def test_sizes_are_near_fifteen_million(name: str) -> None:
    assert name in CONFIGS
    assert PARAMETERS == 15e6
    assert layers_of(name, (1024,) * 4, 200) == {"gla": 5, "mamba2": 7}[name]


def test_a_file_of_tokens_is_training_data(tmp_path: Path) -> None:
    lengths = torch.arange(1, 41)
    codes = torch.randint(1024, (int(lengths.sum()), 4), dtype=torch.int16)
    tensors = {"codes": codes, "lengths": lengths, "ids": torch.arange(80), "offsets": torch.arange(0, 81, 2)}
    save_file({**tensors, "codebook_sizes": torch.full((4,), 1024)}, tmp_path / "tokens.safetensors")
    data, sizes, vocabulary = training_data(tmp_path / "tokens.safetensors")
    assert sizes == (1024,) * 4
    assert vocabulary == 80
    assert data.texts[3] == [6, 7]
    assert data.codes(3).equal(codes[6:10].long())
    assert list(data.valid) == [0, 32]
    assert not set(data.valid) & set(data.train)


def test_a_warm_trainer_starts_again_as_a_new_one(tmp_path: Path) -> None:
    codes = torch.randint(16, (4000, 4), dtype=torch.int16, generator=torch.Generator().manual_seed(0))
    tensors = {"codes": codes, "lengths": torch.full((40,), 100), "ids": torch.arange(80)}
    tensors |= {"offsets": torch.arange(0, 81, 2), "codebook_sizes": torch.full((4,), 16)}
    save_file(tensors, tmp_path / "tokens.safetensors")
    data, sizes, vocabulary = training_data(tmp_path / "tokens.safetensors")
    resolved = build("gla", 1, 1e-2, "cpu")
    lm = build_lm(resolved, codebook_sizes=sizes, vocab_size=vocabulary, speakers=0, seed=0)
    initial = {key: value.clone() for key, value in lm.state_dict().items()}
    first, second = Losses(), Losses()
    trainer = Trainer(Run(tmp_path, resolved.spec), lm, data, first)
    for _ in range(2):
        for _ in range(2):
            trainer.advance()
        start_again(trainer, initial, second)
    assert len(first.steps) == 2
    assert first.steps == second.steps
    assert first.steps[0] != first.steps[1]


def test_the_rate_follows_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 0.0, 0.5, 10.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(now))
    schedule = timed_schedule(10.0)
    assert [round(schedule(step), 2) for step in range(3)] == [0.02, 0.52, 0.0]


def test_failures_are_last_in_the_table() -> None:
    good = {
        "loss": 4.0,
        "layers": 5,
        "parameters": 15e6,
        "steps": 90,
        "frames_per_second": 1e4,
        "state_bytes": 2e5,
    }
    lines = table([{"backbone": "kda", "error": "no"}, {"backbone": "gla", **good}]).splitlines()
    assert lines[2].startswith("| gla | 2 x 5 | 15.0 M | 90 | 10,000.0 | 200 kB | 4.000 |")
    assert lines[3].startswith("| kda | no |")
