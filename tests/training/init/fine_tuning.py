"""A run to fine-tune, and helpers for runs that are initialized from it."""

from pathlib import Path

import pytest
from torch import Tensor

from lina.core.errors import LinaError
from lina.data.prepare import prepare
from lina.pipeline.speech_job import run_spec
from lina.runs.build_model import build_lm
from lina.runs.hooks import Run
from lina.training.init.initialize import initialize
from tests.pipeline.small_run import hooks_of, small, stored

SPEAKERS = "conditions.speaker=true"


def run(folder: Path, *overrides: str, out: str = "run", plugins: tuple[object, ...] = ()) -> Path:
    run_spec(small(folder, *overrides, out=out), hooks_of(*plugins))
    return folder / out


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with speakers anna and bert and averaged weights."""
    return run(tmp_path_factory.mktemp("base"), SPEAKERS, "train.ema=0.5", "train.steps=3", out="base")


def initial_state(folder: Path, *overrides: str) -> dict[str, Tensor]:
    """Initial weights of a run with these overrides."""
    resolved = small(folder, *overrides, out="initial")
    hooks = hooks_of()
    new = Run(resolved.spec.train.out, resolved.spec)
    new.directory.mkdir(exist_ok=True)
    prepared = prepare(new, resolved, hooks)
    model = build_lm(
        resolved,
        codebook_sizes=prepared.codec.codebook_sizes,
        vocab_size=prepared.tokenizer.vocab_size,
        speakers=len(prepared.speakers),
        seed=resolved.spec.seed,
    )
    initialize(new, resolved, model, prepared)
    return model.state_dict()


def weights(directory: Path, file: str = "model") -> dict[str, Tensor]:
    return {
        name.removeprefix(f"{file}.safetensors "): value
        for name, value in stored(directory).items()
        if name.startswith(f"{file}.safetensors ")
    }


def rejection(folder: Path, *overrides: str) -> str:
    """Error message of a run with these overrides, which is rejected before any work."""
    with pytest.raises(LinaError) as error:
        run(folder, *overrides, out="rejected")
    assert not (folder / "rejected").exists()
    assert "\n" not in str(error.value)
    return str(error.value)
