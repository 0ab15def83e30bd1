"""Comparisons: the plan, resuming, the choice of learning rates, and the table; trials are made up."""

import json
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from lina.config.loader import load_spec
from lina.config.resolve import resolve
from lina.core.errors import CheckpointError, LinaError, SpecError
from lina.core.registry import records
from lina.pipeline import comparison
from lina.pipeline.comparison import ComparisonJob, compare, steps_in
from lina.pipeline.comparison_plan import (
    Combination,
    Trial,
    backbone_parameters,
    layers_nearest,
    split_settings,
    split_values,
)
from lina.pipeline.comparison_trial import run_trial
from lina.report.comparison import interval, rows, table, write_page
from lina.runs.comparison import TrialRecord, read_comparison, read_trial, write_trial
from tests.fakes import FakeDistributions
from tests.pipeline.small_run import write_spec

LOSSES = {"gla": 2.0, "retnet": 3.0}


class FakeTrials:
    """Stands for the processes of trials: a loss by backbone, seed and learning rate."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[TrialRecord] = []
        self.overrides: list[list[str]] = []
        self.stop_after: int | None = None
        self.devices: set[int | None] = set()
        self.lock = threading.Lock()
        monkeypatch.setattr(comparison._Comparison, "_process", lambda _, *arguments: self.run(*arguments))

    def run(self, overrides: list[str], record: TrialRecord, file: Path, device: int | None) -> TrialRecord:
        with self.lock:
            if len(self.calls) == self.stop_after:
                raise KeyboardInterrupt
            self.calls.append(record)
            self.overrides.append(overrides)
            self.devices.add(device)
        if record.label == "broken":
            return record.model_copy(update={"error": "exit code -9: no message"})
        loss = LOSSES.get(record.label, 4.0) + 0.1 * record.seed + abs(record.lr - 0.01)
        done: dict[str, Any] = {"loss": loss, "layers": 1, "step_seconds": 0.5, "seconds": 3.0}
        curves = {"valid_curve": ((1.0, loss + 1), (6.0, loss)), "train_curve": ((1.0, loss), (6.0, loss))}
        result = record.model_copy(update=done | curves | {"parameters": 10, "cpu": "a CPU", "cores": 2})
        file.parent.mkdir(parents=True, exist_ok=True)
        write_trial(file, result)
        return result


@pytest.fixture
def trials(monkeypatch: pytest.MonkeyPatch) -> FakeTrials:
    return FakeTrials(monkeypatch)


def job(folder: Path, *settings: str, **options: Any) -> ComparisonJob:
    settings = settings or ("backbone.plugin=gla,retnet",)
    return ComparisonJob(str(write_spec(folder)), settings, folder / "out", **options)


def test_values_are_split_outside_of_brackets_and_quotes() -> None:
    assert split_values("a,{b: [1, 2]}, 'c, d'") == ["a", "{b: [1, 2]}", "'c, d'"]
    combinations, fixed = split_settings(["backbone.plugin=gla,retnet", "train.lr=1", "train.clip=1,2"])
    assert fixed == ["train.lr=1"]
    assert [one.label for one in combinations] == [
        "gla, train.clip=1",
        "gla, train.clip=2",
        "retnet, train.clip=1",
        "retnet, train.clip=2",
    ]
    assert combinations[-1].settings == ("backbone.plugin=retnet", "train.clip=2")
    with pytest.raises(SpecError, match="nothing to compare; give a key several values"):
        split_settings(["train.lr=1"])
    with pytest.raises(SpecError, match="names a value twice"):
        split_settings(["train.lr=1,1"])


def test_all_seeds_of_all_combinations_are_trained_once(tmp_path: Path, trials: FakeTrials) -> None:
    record = compare(job(tmp_path), print)
    assert [(one.label, one.seed) for one in trials.calls] == [
        (label, seed) for seed in (3, 4, 5) for label in ("gla", "retnet")
    ]
    assert "data.valid=0.1" in trials.overrides[0]
    assert record == read_comparison(tmp_path / "out")
    first, second = rows(record)
    assert (first.label, first.seeds) == ("gla", 3)
    assert first.loss is not None
    assert first.loss.value == pytest.approx(2.4)
    assert first.loss.high - first.loss.value == pytest.approx(4.303 * 0.1 / 3**0.5)
    assert second.behind is not None
    assert second.behind.value == pytest.approx(1.0)
    assert second.behind.high == pytest.approx(second.behind.low), "seeds are paired"
    assert "| retnet | 3.400 ± 0.248 | +1.000 ± 0.000 |" in table(record)
    page = write_page(tmp_path / "out", record).read_text()
    assert page.count('class="band"') == 4
    assert "http" not in page.replace("http://www.w3.org", "")


def test_a_killed_comparison_resumes_and_refuses_another_plan(tmp_path: Path, trials: FakeTrials) -> None:
    trials.stop_after = 3
    with pytest.raises(KeyboardInterrupt):
        compare(job(tmp_path), print)
    trials.stop_after = None
    record = compare(job(tmp_path), print)
    assert len(record.trials) == len(trials.calls) == 6
    compare(job(tmp_path), print)
    assert len(compare(job(tmp_path, seeds=4), print).trials) == len(trials.calls) == 8
    with pytest.raises(CheckpointError, match=r"holds a comparison with budget '6 steps', not '9 seconds'"):
        compare(job(tmp_path, budget="seconds", seconds=9), print)


def test_trials_of_a_spec_that_has_changed_are_not_those_of_another(
    tmp_path: Path, trials: FakeTrials
) -> None:
    compared = job(tmp_path)
    compare(compared, print)
    spec = Path(compared.spec)
    spec.write_text(spec.read_text().replace("lr: 1.0e-2", "lr: 2.0e-2"))
    with pytest.raises(
        CheckpointError, match=r"comparison of another .*small\.yaml: train\.lr: 0\.01 -> 0\.02;"
    ):
        compare(compared, print)
    assert len(trials.calls) == 6


def test_long_labels_that_differ_at_their_ends_have_runs_of_their_own() -> None:
    labels = [f"{'backbone.config.of.a.plugin=' * 4}{end}" for end in "ab"]
    names = {Trial(Combination(label, ()), 3, 0.1).name for label in labels}
    assert len(names) == 2
    assert all(len(name) <= 80 for name in names)


def test_the_best_rate_of_a_sweep_gets_the_other_seeds(tmp_path: Path, trials: FakeTrials) -> None:
    record = compare(job(tmp_path, sweep=(0.001, 0.011, 0.1), seeds=2), print)
    assert record.chosen == {"gla": 0.011, "retnet": 0.011}
    assert len(trials.calls) == 2 * 3 + 2
    assert {one.lr for one in trials.calls if one.seed == 4} == {0.011}
    assert [row.at_edge for row in rows(record)] == [False, False]
    assert "Validation loss by learning rate" in write_page(tmp_path, record).read_text()
    automatic = compare(job(tmp_path / "other", sweep=True, seeds=1), print)
    assert [round(one, 5) for one in automatic.sweep] == [0.00333, 0.01, 0.03]


def test_a_budget_of_seconds_is_steps_by_the_speed_of_a_probe(tmp_path: Path, trials: FakeTrials) -> None:
    record = compare(job(tmp_path, budget="seconds", seconds=20, seeds=1), print)
    assert [one.label for one in trials.calls[:2]] == ["probe gla", "probe retnet"]
    # 24 steps took 3 s though each takes .5 s: nothing is known of their start.
    assert {one.steps for one in record.trials} == {40}
    assert set(trials.overrides[0]) >= {"train.valid_every=24", "train.checkpoint_every=24"}
    assert {one.label for one in record.trials} == {"gla", "retnet"}


def test_trials_run_on_several_gpus_at_once(tmp_path: Path, trials: FakeTrials) -> None:
    record = compare(job(tmp_path, gpus=2), print)
    assert len(record.trials) == 6
    assert trials.devices == {0, 1}


def test_a_failed_trial_is_a_row_and_is_tried_again(
    tmp_path: Path, trials: FakeTrials, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trials.run

    def fail(overrides: list[str], record: TrialRecord, *more: Any) -> TrialRecord:
        return run(overrides, record.model_copy(update={"label": "broken"}), *more).model_copy(
            update={"label": record.label}
        )

    monkeypatch.setattr(trials, "run", lambda *one: (fail if one[1].label == "retnet" else run)(*one))
    record = compare(job(tmp_path, seeds=1), print)
    assert "| retnet | failed: exit code -9: no message |" in table(record)
    monkeypatch.setattr(trials, "run", run)
    assert all(one.error is None for one in compare(job(tmp_path, seeds=1), print).trials)


def test_a_wrong_combination_is_found_before_any_training(tmp_path: Path, trials: FakeTrials) -> None:
    with pytest.raises(LinaError, match="no backbone named 'retnett' is installed; did you mean 'retnet'"):
        compare(job(tmp_path, "backbone.plugin=gla,retnett"), print)
    assert not trials.calls
    assert not (tmp_path / "out").exists()


def test_layers_are_chosen_for_the_size_of_the_spec(tmp_path: Path, trials: FakeTrials) -> None:
    spec = write_spec(tmp_path)
    resolved = resolve(load_spec(spec))
    sizes = [backbone_parameters(resolved, n) for n in (1, 2, 3)]
    assert [layers_nearest(resolved, size) for size in (1, *sizes)] == [1, 1, 2, 3]
    pattern = resolve(load_spec(spec, ["backbone.layers=[gla,mamba,gla]", "backbone.n_layers=3"]))
    assert layers_nearest(pattern, 1) == 3, "fewer would leave layers of the pattern out"
    compare(job(tmp_path, match=True, seeds=1), print)
    assert all(any("backbone.n_layers=" in one for one in each) for each in trials.overrides)


def test_layers_of_several_kinds_count_for_the_size(tmp_path: Path) -> None:
    def size(layers: str, n_layers: int) -> int:
        return backbone_parameters(
            resolve(load_spec(write_spec(tmp_path), [f"backbone.layers={layers}", "backbone.n_layers=2"])),
            n_layers,
        )

    assert size("[gla,mamba]", 2) == pytest.approx(size("[gla]", 1) + size("[mamba]", 1), rel=1e-3)
    assert size("[gla,mamba]", 2) != size("[gla]", 2)


def test_an_interval_is_students() -> None:
    assert interval([]) is None
    single = interval([2.0])
    assert single is not None
    assert (single.low, single.high) == (2.0, 2.0)
    pair = interval([1.0, 3.0])
    assert pair is not None
    assert pair.high == pytest.approx(2 + 12.71)


def test_a_trial_measures_loss_speed_state_and_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lina.pipeline.comparison_trial.DECODE_SECONDS", 0.01)
    trial = TrialRecord(name="t", label="gla", settings=(), seed=3, lr=0.01, steps=4)
    overrides = ["train.steps=4", "data.valid=0.3", "train.device=cpu", f"train.out={tmp_path / 'run'}"]
    result = run_trial(str(write_spec(tmp_path)), overrides, trial)
    assert result.loss is not None
    assert result.loss == result.valid_curve[-1][1]
    assert [step for step, _ in result.train_curve] == [1, 2, 3, 4]
    assert min(result.training_frames_per_second, result.decoding_frames_per_second, result.step_seconds) > 0
    assert min(result.parameters, result.state_bytes, result.layers) > 0


HOOK = """
    from lina import hookimpl
    from lina.core import PluginConfig
    class Width:
        class Config(PluginConfig):
            scale: float = 1.0
        def __init__(self, config): self.scale = config.scale
        @hookimpl
        def step_metrics(self, step): return {"width": 16 * self.scale}
"""


@pytest.fixture
def width_hook(distributions: FakeDistributions) -> None:
    distributions.install("lina-width", {"lina.hooks": {"width": "width_hook:Width"}}, width_hook=HOOK)


@pytest.mark.usefixtures("width_hook")
def test_a_trial_runs_the_hooks_of_its_spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lina.pipeline.comparison_trial.DECODE_SECONDS", 0.01)
    trial = TrialRecord(name="t", label="gla", settings=(), seed=3, lr=0.01, steps=2)
    overrides = ["train.steps=2", "data.valid=0.3", "train.device=cpu", f"train.out={tmp_path / 'run'}"]
    run_trial(str(write_spec(tmp_path)), [*overrides, "hooks.width.scale=2.0"], trial)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [one["width"] for one in lines if one["split"] == "train"] == [32.0, 32.0]


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        (
            "train.schedule=cosine,wds",
            "train.schedule: no schedule named 'wds' is installed; did you mean 'wsd'",
        ),
        (
            "train.optimizer=adamw,moun",
            "train.optimizer: no optimizer named 'moun' is installed; did you mean 'muon'",
        ),
        ("train.loss=cross_entropy,{cross_entropy: {zloss: 1}}", "zloss: unknown key; did you mean 'z_loss'"),
        (
            "backbone.config.n_heads=4,7",
            "backbone.config.n_heads=7: gla: d_model * expand_k = 8 is not a multiple of",
        ),
        ("hooks.widht.scale=1,2", "hooks.widht: no hook named 'widht' is installed; did you mean 'width'"),
        ("data.valid=0,0.1", "data.valid is 0, so there is no validation loss to compare"),
        ("train.clip=1,1.0", "train.clip=1 and train.clip=1.0 are the same settings"),
        ("name=a,b", "name=a and name=b are the same settings"),
    ],
)
def test_a_mistake_anywhere_is_found_before_any_training(
    tmp_path: Path, trials: FakeTrials, width_hook: None, setting: str, expected: str
) -> None:
    with pytest.raises(LinaError, match=re.escape(expected)) as refused:
        compare(job(tmp_path, setting), print)
    assert "\n" not in str(refused.value)
    assert not trials.calls
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("settings", "options", "expected"),
    [
        (["seed=1,2"], {}, "seed: comparisons have --seeds N"),
        (["train.out=a,b"], {}, "train.out: trials are runs in the output directory"),
        (["train.clip=1,2", "train.out=a"], {}, "train.out: trials are runs in the output directory"),
        (["train={lr: 0.1, out: a},{lr: 0.2, out: a}"], {}, "train.out: trials are runs"),
        (["train.gpus=1,2"], {}, "train.gpus: each trial is one process; --gpus N"),
        (["train.clip=1,2", "train.minutes=1"], {}, "train.minutes: a trial ends after its steps"),
        (["train.lr=1e-3,3e-3"], {"sweep": True}, "train.lr: --lr-sweep chooses the rate"),
        (["train.clip=1,2", "train.lr=1e-3"], {"sweep": (0.1,)}, "train.lr: --lr-sweep has the rates"),
        (["train.steps=2,3"], {"budget": "seconds"}, "train.steps: --budget seconds chooses the steps"),
        (["train.clip=1,2", "train.steps=2"], {"budget": "seconds"}, "train.steps: --budget seconds chooses"),
        (
            ["backbone.n_layers=1,2"],
            {"match": True},
            "backbone.n_layers: --match-parameters chooses the layers",
        ),
    ],
)
def test_keys_that_trials_would_not_have_are_refused(
    tmp_path: Path, trials: FakeTrials, settings: list[str], options: dict[str, Any], expected: str
) -> None:
    with pytest.raises(SpecError, match=f"command line: {re.escape(expected)}"):
        compare(job(tmp_path, *settings, **options), print)
    assert not trials.calls
    assert not (tmp_path / "out").exists()


def test_keys_with_a_default_of_trials_have_their_values(tmp_path: Path, trials: FakeTrials) -> None:
    keys = ("train.lr=1e-3,3e-3", "train.steps=2,3", "train.valid_every=1,2", "train.keep=7")
    record = compare(job(tmp_path, *keys, seeds=1), print)
    assert record.budget == "own train.steps"
    spec = tmp_path / "small.yaml"
    assert len(record.trials) == 8
    for overrides, trial in zip(trials.overrides, record.trials, strict=True):
        trained = load_spec(spec, overrides).train
        label = f"train.lr={trial.lr:.0e}, train.steps={trial.steps}, train.valid_every={trained.valid_every}"
        assert trial.label == label.replace("e-03", "e-3")
        assert (trained.lr, trained.steps, trained.keep) == (trial.lr, trial.steps, 7)
    swept = compare(job(tmp_path / "other", "train.clip=1,2", "train.lr=3e-2", sweep=True, seeds=1), print)
    assert [round(one, 5) for one in swept.sweep] == [0.01, 0.03, 0.09]


def test_a_recognizer_among_the_compared_settings_scores(tmp_path: Path, trials: FakeTrials) -> None:
    recognizer = min(one.name for one in records("recognizer"))
    compare(job(tmp_path, f"evaluate.recognizer=null,{recognizer}", seeds=1), print)
    assert ["evaluate.sentences=0" in each for each in trials.overrides] == [True, False]


def test_only_what_is_compared_now_is_listed(tmp_path: Path, trials: FakeTrials) -> None:
    compare(job(tmp_path), print)
    record = compare(job(tmp_path, "train.clip=1,2", seeds=2), print)
    assert {one.label for one in rows(record)} == {"train.clip=1", "train.clip=2"}
    assert read_comparison(tmp_path / "out") == record
    count = len(trials.calls)
    again = compare(job(tmp_path, seeds=2), print)
    assert len(trials.calls) == count, "trials of an earlier comparison are used again"
    assert [(row.label, row.seeds) for row in rows(again)] == [("gla", 2), ("retnet", 2)]


def test_labels_that_differ_by_signs_have_runs_of_their_own(tmp_path: Path, trials: FakeTrials) -> None:
    labels = ("x=1", "x=-1", "x=1.", "x=[1]", "x=[-1]", "x=1e-3", "x=1e+3")
    assert len({Trial(Combination(one, ()), 3, 0.1).name for one in labels}) == len(labels)
    assert Trial(Combination("gla, train.lr=1e-3", ()), 3, 0.1).name == "gla-train.lr-1e-3-lr0.1-seed3"


def test_a_budget_of_seconds_counts_slow_first_steps_once() -> None:
    probe = TrialRecord(
        name="p", label="p", settings=(), seed=3, lr=0.1, steps=24, seconds=7.0, step_seconds=0.25
    )
    assert steps_in(21.0, probe) == 80
    assert steps_in(0.1, probe) == 1
    assert steps_in(21.0, probe.model_copy(update={"error": "broken"})) is None


def test_a_late_failure_keeps_its_reason(tmp_path: Path) -> None:
    trial = TrialRecord(name="t", label="gla", settings=(), seed=3, lr=0.01, steps=2)
    out = tmp_path / "out" / "t" / "trial.json"
    overrides = ["train.schedule=wds", f"train.out={out.parent}"]
    request = {
        "spec": str(write_spec(tmp_path)),
        "overrides": overrides,
        "trial": trial.model_dump_json(),
        "out": str(out),
    }
    command = [sys.executable, "-m", "lina.pipeline.comparison_trial"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(json.dumps(request).encode() + b"\n")
        process.stdin.flush()
        assert process.wait(timeout=120) == 0
    found = read_trial(out)
    assert found is not None
    assert "no schedule named 'wds' is installed; did you mean 'wsd'" in (found.error or "")
