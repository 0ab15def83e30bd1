"""Comparison of settings on equal data, order and budget: ``lina compare``. The same call resumes after a kill."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from queue import SimpleQueue
from typing import Literal

from lina.config.loader import load_spec
from lina.config.spec import Spec, differences
from lina.core.errors import CheckpointError, LinaError
from lina.core.files.atomic import make_directory, write_atomic
from lina.pipeline.comparison_plan import (
    LEAST_VALIDATION,
    SWEEP,
    Combination,
    Trial,
    check_combinations,
    check_keys,
    split_settings,
)
from lina.pipeline.comparison_trial import TRIAL_FILE
from lina.runs.comparison import (
    BASE_FILE,
    ComparisonRecord,
    TrialRecord,
    read_comparison,
    read_trial,
    write_comparison,
)
from lina.runs.directory import locked
from lina.runs.provenance import lina_commit
from lina.runs.signals import RunStopped, raise_on_sigterm

PROBE_STEPS = 24
"""Steps of the training that measures the speed, for a budget of seconds; the first quarter is not counted."""
STOPPED = (75, -signal.SIGTERM)
"""Exit codes of a trial after SIGTERM, also while it still imports PyTorch."""
Log = Callable[[str], None]


@dataclass(frozen=True)
class ComparisonJob:
    """Settings of a comparison."""

    spec: str
    settings: tuple[str, ...]
    out: Path
    seeds: int = 3
    budget: Literal["steps", "seconds"] = "steps"
    seconds: float = 300.0
    """Training time of each trial, for a budget of seconds."""
    sweep: bool | tuple[float, ...] = False
    """Learning rates to try; True for a third, once and three times the spec's."""
    match: bool = False
    gpus: int = 0
    """Trials at a time, each on a GPU of its own; 0 is one after the other."""


def compare(job: ComparisonJob, log: Log) -> ComparisonRecord:
    """Train all combinations that have not been trained yet, and return the record of all.

    Raises:
        SpecError, PluginError: a combination is no valid spec; nothing has been trained.
        CheckpointError: ``out`` holds another comparison.
        RunStopped: a signal came; the same call resumes.
    """
    combinations, fixed = split_settings(job.settings)
    check_keys(combinations, fixed, sweep=job.sweep, seconds=job.budget == "seconds", match=job.match)
    spec = load_spec(job.spec, fixed)
    if not spec.data.valid:
        fixed = [LEAST_VALIDATION, *fixed]
    specs = check_combinations(job.spec, combinations, fixed, match=job.match)
    rates = tuple(spec.train.lr * factor for factor in SWEEP) if job.sweep is True else job.sweep or ()
    for rate in rates:
        load_spec(job.spec, (*fixed, f"train.lr={rate!r}"))
    make_directory(job.out, parents=True)
    with raise_on_sigterm("run the same command again"), locked(job.out):
        record = _claim(job, fixed, rates, spec, _budget(job, specs.values()))
        state = _Comparison(job, record, fixed, specs, log)
        first = spec.seed
        steps = state.steps()
        chosen = {one.label: own.train.lr for one, own in specs.items()}
        if rates:
            state.run([(Trial(one, first, lr), steps[one.label]) for one in specs for lr in rates])
            chosen = {one.label: state.best_rate(one.label, rates) for one in specs}
            state.note(chosen)
        state.run(
            [
                (Trial(one, seed, chosen[one.label]), steps[one.label])
                for seed in range(first, first + job.seeds)
                for one in specs
            ]
        )
    return state.record


def _budget(job: ComparisonJob, specs: Iterable[Spec]) -> str:
    if job.budget == "seconds":
        return f"{job.seconds:g} seconds"
    steps = {one.train.steps for one in specs}
    return f"{steps.pop()} steps" if len(steps) == 1 else "own train.steps"


def _claim(
    job: ComparisonJob, fixed: list[str], rates: tuple[float, ...], spec: Spec, budget: str
) -> ComparisonRecord:
    """A new record of this comparison, if an earlier call in its directory had the same plan and spec.

    Trials of earlier calls are added from their runs where they are of this one, too.
    """
    base = job.out / BASE_FILE
    new = ComparisonRecord(
        spec=job.spec,
        settings=tuple(fixed),
        seeds=job.seeds,
        budget=budget,
        sweep=rates,
        matched=job.match,
        lina=version("lina"),
        commit=lina_commit(),
        date=datetime.now(UTC).date().isoformat(),
    )
    before = read_comparison(job.out)
    if before is None:
        write_atomic(base, spec.to_yaml().encode())
        return new
    for key in ("spec", "settings", "budget", "sweep", "matched"):
        if getattr(before, key) != getattr(new, key):
            raise CheckpointError(
                f"{job.out}: holds a comparison with {key} {getattr(before, key)!r}, not {getattr(new, key)!r}; "
                "choose another --out, or delete that directory"
            )
    if base.is_file() and (changed := differences(load_spec(base, includes=False), spec)):
        more = f" (and {len(changed) - 3} more)" if len(changed) > 3 else ""
        raise CheckpointError(
            f"{job.out}: holds a comparison of another {job.spec}: {'; '.join(changed[:3])}{more}; choose another "
            "--out, or delete that directory"
        )
    return new.model_copy(update={"date": before.date})


class _Comparison:
    """Trials of one comparison, with the record of those that are finished."""

    def __init__(
        self,
        job: ComparisonJob,
        record: ComparisonRecord,
        fixed: list[str],
        specs: dict[Combination, Spec],
        log: Log,
    ) -> None:
        self.job, self.record, self.fixed, self.specs, self.log = job, record, fixed, specs, log
        self.running: set[subprocess.Popen[bytes]] = set()

    def steps(self) -> dict[str, int]:
        """Steps of each trial by label: for a budget of seconds by the speed of a probe, measured once.

        Probes run as many at a time as trials do, so that they share the processor alike.
        """
        if self.job.budget == "steps":
            return {one.label: spec.train.steps for one, spec in self.specs.items()}
        probes = {Combination(f"probe {one.label}", one.settings): spec for one, spec in self.specs.items()}
        results: list[TrialRecord] = []
        self._spread(
            [(Trial(one, spec.seed, 1e-4), PROBE_STEPS) for one, spec in probes.items()], results.append
        )
        return {
            one.label: steps_in(self.job.seconds, result) or spec.train.steps
            for (one, spec), result in zip(self.specs.items(), results, strict=True)
        }

    def run(self, trials: Iterable[tuple[Trial, int]]) -> None:
        """Run the trials that have no result yet, and add each result to the record."""
        self._spread(trials, self._add)

    def _spread(self, trials: Iterable[tuple[Trial, int]], take: Callable[[TrialRecord], None]) -> None:
        """Run trials, each on a device that is free, and hand on their results in order."""
        devices: SimpleQueue[int | None] = SimpleQueue()
        for device in range(self.job.gpus) if self.job.gpus else [None]:
            devices.put(device)

        def one(trial: Trial, steps: int) -> TrialRecord:
            device = devices.get()
            try:
                return self._one(trial, steps, device)
            finally:
                devices.put(device)

        with ThreadPoolExecutor(max(1, self.job.gpus)) as pool:
            futures = [pool.submit(one, *each) for each in trials]
            try:
                for future in futures:
                    take(_wait(future))
            except BaseException:
                for future in futures:
                    future.cancel()
                for process in list(self.running):
                    process.terminate()
                raise

    def best_rate(self, label: str, rates: tuple[float, ...]) -> float:
        """The learning rate of the lowest validation loss; the middle one if all trials failed."""
        losses = {
            one.lr: one.loss for one in self.record.trials if one.label == label and one.loss is not None
        }
        known = {lr: loss for lr, loss in losses.items() if lr in rates and math.isfinite(loss)}
        return min(known, key=lambda lr: known[lr]) if known else rates[len(rates) // 2]

    def note(self, chosen: dict[str, float]) -> None:
        self.record = self.record.model_copy(update={"chosen": chosen})
        write_comparison(self.job.out, self.record)

    def _add(self, result: TrialRecord) -> None:
        others = tuple(one for one in self.record.trials if one.name != result.name)
        self.record = self.record.model_copy(update={"trials": (*others, result)})
        write_comparison(self.job.out, self.record)

    def _one(self, trial: Trial, steps: int, device: int | None) -> TrialRecord:
        directory = self.job.out / trial.name
        file = directory / TRIAL_FILE
        known = read_trial(file)
        combination = trial.combination
        if (
            known is not None
            and known.error is None
            and (known.label, known.settings, known.steps) == (combination.label, combination.settings, steps)
        ):
            return known
        record = TrialRecord(
            name=trial.name,
            label=trial.combination.label,
            settings=trial.combination.settings,
            seed=trial.seed,
            lr=trial.lr,
            steps=steps,
        )
        scored = (
            self.specs[combination].evaluate.recognizer is not None if combination in self.specs else False
        )
        # A probe writes nothing meanwhile, which would take time from its steps.
        every = max(1, steps // 10) if combination in self.specs else steps
        overrides = [
            "evaluate.texts=null",
            "evaluate.unseen=[]",
            *([] if scored else ["evaluate.sentences=0"]),
            "synthesize.texts=[]",
            f"train.valid_every={every}",
            f"train.checkpoint_every={every}",
            f"train.log_every={max(1, min(10, steps // 40))}",
            "train.keep=1",
            *self.fixed,
            *combination.settings,
            f"seed={trial.seed}",
            f"train.lr={trial.lr!r}",
            f"train.steps={steps}",
            "train.minutes=null",
            f"train.out={directory}",
        ]
        began = time.perf_counter()
        result = self._process(overrides, record, file, device)
        outcome = "no validation loss" if result.loss is None else f"loss {result.loss:.4f}"
        if result.error:
            outcome = f"failed: {result.error}"
        elif self.job.budget == "seconds" and combination in self.specs:
            outcome += f", trained for {result.seconds:.1f} of {self.job.seconds:g} s"
        self.log(f"{trial.name}: {outcome} ({time.perf_counter() - began:.0f} s)")
        return result

    def _process(
        self, overrides: list[str], record: TrialRecord, file: Path, device: int | None
    ) -> TrialRecord:
        environment = dict(os.environ)
        if device is not None:
            environment["CUDA_VISIBLE_DEVICES"] = str(device)
        job = {
            "spec": self.job.spec,
            "overrides": overrides,
            "trial": record.model_dump_json(),
            "out": str(file),
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "lina.pipeline.comparison_trial"],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
        )
        self.running.add(process)
        try:
            assert process.stdin is not None
            assert process.stderr is not None
            process.stdin.write(json.dumps(job).encode() + b"\n")
            process.stdin.flush()  # open until the end: a closed pipe tells the trial that this process has ended
            complaints = process.stderr.read().decode(errors="replace").strip().splitlines()
            process.wait()
        finally:
            self.running.discard(process)
            process.kill()
            process.communicate()
        if process.returncode in STOPPED:
            raise RunStopped("stopped by a signal; run the same command to resume")
        result = read_trial(file) if process.returncode == 0 else None
        if result is None or result.steps != record.steps:
            last = complaints[-1] if complaints else "no message"
            return record.model_copy(update={"error": f"exit code {process.returncode}: {last}"})
        return result


def steps_in(seconds: float, probe: TrialRecord) -> int | None:
    """Steps that take so many seconds by the speed of a probe, whose slow first steps count once."""
    if probe.error is not None or not probe.step_seconds:
        return None
    start = max(0.0, probe.seconds - probe.steps * probe.step_seconds)
    return max(1, round((seconds - start) / probe.step_seconds))


def _wait(future: Future[TrialRecord]) -> TrialRecord:
    """The result, polled, so that a signal is noticed meanwhile."""
    while True:
        try:
            return future.result(timeout=0.2)
        except TimeoutError:
            if future.done():
                raise LinaError("compare: a trial timed out") from None
