"""Kills of whole runs in training and in encoding: what resumes must equal what was never interrupted."""

import json
import random
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file

from benchmarks.faults_process import Killed, ended, forked
from lina.config.loader import load_spec
from lina.config.resolve import resolve
from lina.core.errors import CheckpointError
from lina.pipeline.speech_job import run_spec
from lina.runs.checkpoint_store import checkpoint_folder, newest_checkpoint
from lina.runs.hook_manager import build_manager
from lina.training.trainer import Trainer

ROOT = Path(__file__).parents[1]
SMALL = (
    *("backbone.d_model=16", "backbone.n_layers=1", "backbone.config.n_heads=2", "text.layers=1"),
    *("text.heads=2", "text.position_dim=8", "text.dropout=0.1", "data.max_rejects=1.0", "data.valid=0.1"),
    *("train.batch_seconds=3", "train.warmup=5", "train.log_every=1", "train.checkpoint_every=2"),
    *("train.valid_every=5", "train.ema=0.8", "train.dropout=0.2", "train.accumulate=2", "train.threads=1"),
    *("evaluate.recognizer=null", "evaluate.sentences=0", "evaluate.unseen=[]", "synthesize.texts=[]"),
)
LEDGER = "ledger.jsonl"


def train(out: Path, steps: int, corpus: Path) -> None:
    """Run the small spec; write the utterances of each step to the ledger before its weights can be saved."""
    advance = Trainer.advance

    def recorded(trainer: Trainer, stopping: Callable[[], bool] = lambda: False) -> bool:
        step = trainer.step + 1
        line = json.dumps([step, trainer.micro_batches.ids(step)]) + "\n"
        stopped = advance(trainer, stopping)
        with (out / LEDGER).open("a") as file:
            file.write(line)
        return stopped

    Trainer.advance = recorded  # type: ignore[method-assign, assignment]
    overrides = (*SMALL, f"train.steps={steps}", f"train.out={out}", f"data.config.path={corpus}")
    run_spec(resolve(load_spec(ROOT / "specs" / "first.yaml", overrides)), build_manager(()).hook)


def read_ledger(out: Path) -> dict[int, list[str]]:
    """Utterances of each step: of a step that was repeated after a kill, those of the last time."""
    found: dict[int, list[str]] = {}
    if (out / LEDGER).exists():
        for line in (out / LEDGER).read_text().split("\n")[:-1]:
            step, ids = json.loads(line)
            found[step] = ids
    return found


def weights(out: Path) -> dict[str, torch.Tensor]:
    newest = max(checkpoint_folder(out).glob("step-*"))
    return {
        f"{file.name} {name}": value
        for file in newest.glob("*.safetensors")
        for name, value in load_file(file).items()
    }


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(value.equal(other[name]) for name, value in one.items())


def is_readable(out: Path, had: bool) -> bool:
    """Test for a readable checkpoint if there ``had`` been one."""
    try:
        return newest_checkpoint(checkpoint_folder(out)) is not None or not had
    except CheckpointError:
        return False


def kill_runs(
    folder: Path, kills: int, steps: int, corpus: Path, draw: random.Random, whole_only_data: bool
) -> Killed:
    """Kill training (or, with ``whole_only_data``, encoding) ``kills`` times at random moments."""
    began = time.perf_counter()
    whole = folder / "whole"
    started = time.perf_counter()
    assert ended(forked(partial(train, whole, steps, corpus)), 600) == 0, "the uninterrupted run failed"
    duration = time.perf_counter() - started
    encoding = _encoding_seconds(whole, started) if whole_only_data else duration
    expected, ledger = weights(whole), read_ledger(whole)
    done = starts = runs = lost = unreadable = different = 0
    while done < kills:
        out = folder / f"run-{runs}"
        while True:
            starts += 1
            had = any(checkpoint_folder(out).glob("step-*"))
            limit = draw.uniform(0.0, encoding if whole_only_data else duration) if done < kills else 600
            status = ended(forked(partial(train, out, steps, corpus)), limit)
            unreadable += not is_readable(out, had)
            if status is not None:
                assert status == 0, f"a resumed run failed: {out}"
                break
            done += 1
        runs += 1
        lost += sum(read_ledger(out).get(step) != ids for step, ids in ledger.items())
        different += not same(weights(out), expected)
        shutil.rmtree(out)
    shutil.rmtree(whole)
    return Killed(done, starts, runs, lost, unreadable, different, round(time.perf_counter() - began, 1))


def _encoding_seconds(whole: Path, started: float) -> float:
    wall = time.time() - (time.perf_counter() - started)
    return max(0.2, (whole / "data" / "manifest.json").stat().st_mtime - wall)


def many_recordings(folder: Path, times: int) -> Path:
    """The sample corpus with each recording under several ids, so that encoding takes a while."""
    shutil.copytree(ROOT / "data" / "asterisk-sample", folder)
    manifest = folder / "manifest.jsonl"
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    rows = [line | {"id": f"{line['id']}-{number}"} for number in range(times) for line in lines]
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return manifest
