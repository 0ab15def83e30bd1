"""The shape annotations of the tensor code are true: its tests pass with every call and return checked."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
MODULES = (
    "lm",
    "causal_convolution",
    "linear_attention",
    "bonus_attention",
    "decayed_scores",
    "delta_rule",
    "cross_attention",
    "text_encoder",
    "tokens",
    "delays",
    "loss",
    "rotary",
    "stack",
)
CHECKED = ["tests/backbones", *(f"tests/core/test_{name}.py" for name in MODULES)]


def test_annotations_hold() -> None:
    environment = os.environ | {"LINA_CHECK_SHAPES": "1"}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", *CHECKED]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout[-4000:]
