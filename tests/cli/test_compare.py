"""Options of ``lina compare``; no comparison is run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lina.core.errors import LinaError
from lina.pipeline.comparison import ComparisonJob
from tests.cli.conftest import Lina
from tests.pipeline.small_run import write_spec


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[ComparisonJob]:
    seen_jobs: list[ComparisonJob] = []

    def compare(job: ComparisonJob, log: Any) -> None:
        seen_jobs.append(job)
        raise LinaError("stopped here")

    monkeypatch.setattr("lina.pipeline.comparison.compare", compare)
    return seen_jobs


@pytest.mark.parametrize(
    ("options", "budget", "seconds"),
    [
        ([], "steps", 300.0),
        (["--budget", "steps"], "steps", 300.0),
        (["--budget", "seconds"], "seconds", 300.0),
        (["--seconds", "5"], "seconds", 5.0),
        (["--budget", "seconds", "--seconds", "5"], "seconds", 5.0),
    ],
)
def test_seconds_imply_their_budget(
    lina: Lina, jobs: list[ComparisonJob], options: list[str], budget: str, seconds: float
) -> None:
    assert "stopped here" in lina("compare", "any.yaml", "train.clip=1,2", *options).err
    assert [(one.budget, one.seconds) for one in jobs] == [(budget, seconds)]


def test_options_that_contradict_each_other_are_refused(
    refused: Callable[..., str], jobs: list[ComparisonJob]
) -> None:
    seconds = refused("compare", "any.yaml", "train.clip=1,2", "--budget", "steps", "--seconds", "5")
    assert "--seconds is for a budget of seconds; leave out --seconds" in seconds
    rates = refused("compare", "any.yaml", "train.clip=1,2", "--lr-sweep", "1e-3,1.0001e-3")
    assert "two rates agree in three digits" in rates
    assert not jobs


@pytest.mark.parametrize("setting", ["seed=1,2", "train.schedule=cosine,wds", "hooks.nrms.every=1,2"])
def test_a_mistake_in_the_settings_is_one_line(
    refused: Callable[..., str], tmp_path: Path, setting: str
) -> None:
    out = tmp_path / "out"
    assert setting.partition("=")[0].removesuffix(".every") in refused(
        "compare", str(write_spec(tmp_path)), setting, "-o", str(out)
    )
    assert not out.exists()
