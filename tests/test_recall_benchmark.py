"""Associative recall and parity in miniature: the tasks are right, and a backbone with a memory learns to recall."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import recall
from benchmarks.recall import CONFIGS, Model, Trial, table, train
from benchmarks.recall_tasks import KEYS, Task

ROOT = Path(__file__).parents[1]


def test_each_query_is_answered_by_the_value_of_its_key() -> None:
    tokens, targets = Task("recall", 3, 12).draw(50, torch.Generator().manual_seed(0))
    assert tokens.shape == targets.shape == (50, 12)
    for row, answers in zip(tokens.tolist(), targets.tolist(), strict=True):
        pairs = dict(zip(row[:6:2], row[1:6:2], strict=True))
        assert len(pairs) == 3
        assert all(key < KEYS <= value < 2 * KEYS for key, value in pairs.items())
        assert answers[:6] == 6 * [-100]
        assert answers[6:] == [pairs[key] for key in row[6:]]


def test_parity_is_that_of_all_bits_so_far() -> None:
    tokens, targets = Task("parity", 0, 9).draw(20, torch.Generator().manual_seed(0))
    for bits, parities in zip(tokens.tolist(), targets.tolist(), strict=True):
        assert parities == [sum(bits[: end + 1]) % 2 for end in range(9)]


@pytest.mark.no_shape_checks
def test_a_memory_learns_to_recall() -> None:
    """Two values have been seen, so a model without a memory of the keys has half of the answers right."""
    (found,) = train([Trial("kda", Task("recall", 2, 8), 0.01, 0, 120, 16)], "cpu")
    assert found["accuracy"] > 0.65
    assert found["trained_together"] == 1


@pytest.mark.parametrize("name", CONFIGS)
def test_states_have_one_size(name: str) -> None:
    others = {"transformer": 16_384, "mamba+d_state_16": 2_048}
    assert Model(name).state_floats() == others.get(name, 4_096)


def test_the_table_has_the_best_rate_and_the_worst_seed() -> None:
    def result(rate: float, seed: int, accuracy: float) -> dict[str, Any]:
        about = {"backbone": "gla", "task": "recall", "state_floats": 4_096, "steps": 50}
        return about | {"rate": rate, "seed": seed, "accuracy": accuracy}

    lines = table([result(0.1, 0, 0.4), result(0.1, 1, 0.9), result(0.2, 0, 0.6), result(0.2, 1, 0.6)])
    assert lines.splitlines()[2] == "| gla | 4,096 | 50 | 0.65 (0.40) | 0.1 |  |  |  |"


def test_results_that_are_there_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "recall.json"
    known = Trial("gla", Task("recall", 16, 128), 1.0, 0, 9, 4).key()
    file.write_text(json.dumps({"results": [known | {"accuracy": 1.0, "state_floats": 4_096}]}))
    options = "--only gla --task recall --rates 1 --seeds 0 --steps 9 --rows 4"
    monkeypatch.setattr("sys.argv", ["recall", *options.split(), "--json", str(file)])
    monkeypatch.setattr(recall, "train", lambda *_: pytest.fail("it trains again"))
    recall.main()


def test_accuracy_at_twice_the_length_has_a_column() -> None:
    about = {"backbone": "kda", "task": "parity", "state_floats": 4_096, "rate": 0.1, "steps": 50}
    trials = [about | {"accuracy": 1.0, "accuracy_at_twice": twice} for twice in (0.5, 1.0)]
    assert table(trials).splitlines()[2] == "| kda | 4,096 | 50 |  |  | 1.00 (1.00) | 0.75 (0.50) | 0.1 |"


@pytest.mark.no_shape_checks
def test_parity_is_measured_at_twice_the_length() -> None:
    (found,) = train([Trial("kda", Task("parity", 2, 8), 0.01, 0, 2, 4)], "cpu")
    assert 0 < found["accuracy_at_twice"] < 1


def test_the_pages_show_the_committed_results() -> None:
    names = set()
    for file, page in (("recall", "operators"), ("parity", "backbones")):
        results = json.loads((ROOT / "benchmarks" / f"{file}.json").read_text())["results"]
        names |= {one["backbone"] for one in results}
        assert table(results) in (ROOT / "docs" / f"{page}.md").read_text()
    assert names == CONFIGS.keys()
