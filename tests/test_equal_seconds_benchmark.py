"""All backbones for equal seconds: sizes, the file of tokens, and the table."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from benchmarks.equal_seconds import CONFIGS, PARAMETERS, layers_of, table, timed_schedule, training_data


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
