"""benchmarks/decode.py: its floor counts bytes that are checked here, and its table shows the committed figures."""

import json
from pathlib import Path

import torch

from benchmarks.decode import kept_rows, step_bytes, table
from lina.core.state import state_bytes
from lina.engine.numerics import Numerics
from tests.core.toy_model import toy_lm

RESULTS = Path(__file__).parents[1] / "benchmarks/decode.json"


def test_a_step_reads_its_weights_once_and_moves_its_states_twice() -> None:
    lm = toy_lm(attention="plain")
    one, many = (step_bytes(lm, slots, Numerics()) for slots in (1, 5))
    state = state_bytes(lm.initial_state(1))
    assert many - one == 4 * 2 * state
    weights = one - 2 * state
    halved = step_bytes(lm, 1, Numerics(torch.bfloat16)) - 2 * state
    assert weights == 2 * halved
    layers = sum(p.numel() for p in lm.encoder.parameters() if p.dim() == 2)
    assert weights == 4 * (2 * layers + lm.cross_att.q.weight.numel() + lm.logits_head.weight.numel())


def test_the_table_has_every_row() -> None:
    results = json.loads(RESULTS.read_text())
    lines = table(results).splitlines()
    assert len(lines) == 4 + len(results["rows"])
    assert "| gla, 232.6 M | 1 | float32 | 2,520 | 11,303 | 22% |" in lines
    failed = {**results, "rows": [{"name": "one", "slots": 3, "error": "out of memory"}]}
    assert table(failed).endswith("| one | 3 | out of memory | | | |")


def test_rows_of_another_machine_are_not_kept() -> None:
    results = json.loads(RESULTS.read_text())
    assert kept_rows(results, {**results, "rows": []}) == results["rows"]
    assert kept_rows(results, {**results, "gpu": "another"}) == []


def test_tokens_hardly_depend_on_the_number_of_slots() -> None:
    """The committed figures of benchmarks/decode_long.py."""
    results = json.loads(RESULTS.with_name("decode-long.json").read_text())
    found = results["equality"]
    assert found["texts"] == found["equal_in_reverse_order_with_64_slots"] == 250
    assert min(found["equal_to_1_slot"].values()) >= 0.99 * 250
    for row in results["memory"]:
        assert 0 < row["difference"]["10000"] < 1.1 * row["difference"]["1000"] < 0.01
