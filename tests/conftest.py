"""With LINA_CHECK_SHAPES set, every shape annotation of the tensor code is checked (jaxtyping's hook, beartype)."""

import os
from pathlib import Path

import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

import tests.typecheck  # noqa: F401 (the hook finds it by name)

CORE = (
    "bonus_attention causal_convolution cross_attention decayed_scores delays delta_rule generate guided_attention "
    "linear_attention lm loss mel rotary scalar_decay selective_scan stack text_encoder tokens"
)

if os.environ.get("LINA_CHECK_SHAPES"):
    shaped = ["lina.backbones", "lina.codecs", "lina.report", *(f"lina.core.{name}" for name in CORE.split())]
    hook = install_import_hook(shaped, "tests.typecheck.check")

from tests.fakes import FakeDistributions  # noqa: E402 (after the hook)

# How long an example takes depends on what else the machine does.
settings.register_profile("lina", deadline=None)
settings.load_profile("lina")


@pytest.fixture
def distributions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeDistributions:
    return FakeDistributions(tmp_path, monkeypatch)
