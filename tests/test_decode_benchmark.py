"""benchmarks/decode.py: its floor counts bytes that are checked here, and its table shows the committed figures."""

import json
from pathlib import Path

import torch

from benchmarks.decode import step_bytes, table
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
    assert "| gla, 232.6 M | 1 | float32 | 2,552 | 11,294 | 23% |" in lines
    failed = {**results, "rows": [{"name": "one", "slots": 3, "error": "out of memory"}]}
    assert table(failed).endswith("| one | 3 | out of memory | | | |")
