"""Kill runs at random, at named points and at the n-th operation of the disk, and resume them: ``make faults``.

    python -m benchmarks.faults --json benchmarks/faults.json [--training N] [--writer N] [--encoding N]

Each kill is SIGKILL of a forked process. The killed run is resumed until it ends, and must then equal an uninterrupted
one: the same samples in the same order, none lost or repeated, and the same weights bit for bit.
"""

import argparse
import json
import os
import platform
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file
from torch import nn

from lina.config.loader import load_spec
from lina.config.resolve import resolve
from lina.core.errors import CheckpointError
from lina.pipeline.speech_job import run_spec
from lina.runs.checkpoint import save_checkpoint
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
POINTS = ("save_file", "_sync", "sync_directory", "rename", "rmtree", "mkdir")
"""Functions before which a checkpoint writer is killed."""
LEDGER = "ledger.jsonl"


class Killed(NamedTuple):
    """Result of a series of kills."""

    kills: int
    starts: int
    runs: int
    """Runs that were brought to their end and compared."""
    lost_or_repeated: int
    """Samples that differ from those of the uninterrupted run, by step."""
    unreadable: int
    """Kills after which no checkpoint could be read although one had been written."""
    different: int
    """Runs whose weights differ from those of the uninterrupted run."""
    seconds: float


def forked(work: Callable[[], None]) -> int:
    """Process id of a fork that does ``work`` in silence and exits."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        work()
        code = 0
    finally:
        os._exit(code)


def ended(child: int, seconds: float) -> int | None:
    """Exit status within ``seconds``; None if the process had to be killed."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return None if os.WIFSIGNALED(status) else status


def train(out: Path, steps: int, corpus: Path) -> None:
    """Run the small spec; write the utterances of each step to the ledger before its weights can be saved."""
    advance = Trainer.advance

    def recorded(trainer: Trainer) -> None:
        step = trainer.step + 1
        line = json.dumps([step, trainer._utterances(step)]) + "\n"
        advance(trainer)
        with (out / LEDGER).open("a") as file:
            file.write(line)

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


def _model() -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Linear(300, 300)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 300)).sum().backward()
    optimizer.step()
    return model, optimizer


def _save(folder: Path, step: int, pair: tuple[nn.Module, torch.optim.Optimizer]) -> None:
    options: dict[str, Any] = {"step": step, "seconds": 0.0, "corpus": "", "keep": 2}
    save_checkpoint(folder, model=pair[0], optimizer=pair[1], average=pair[0].state_dict(), **options)


def kill_writer(folder: Path, kills: int, draw: random.Random) -> Killed:
    """Kill a process that writes one checkpoint: every second time before a named point, else at a random moment."""
    began = time.perf_counter()
    pair = _model()
    run = folder / "checkpoints"
    started = time.perf_counter()
    _save(run, 1, pair)
    duration = time.perf_counter() - started
    step, done, starts, unreadable = 1, 0, 0, 0
    while done < kills:
        starts += 1
        if starts % 2:
            point, nth = draw.choice(POINTS), draw.randint(1, 4)
            child = forked(partial(_save_until, run, step + 1, pair, point, nth))
            _, status = os.waitpid(child, 0)
            killed = os.WIFSIGNALED(status)
        else:
            child = forked(partial(_save, run, step + 1, pair))
            killed = ended(child, draw.uniform(0.0, 1.2 * duration)) is None
        done += killed
        try:
            newest = newest_checkpoint(run)
        except CheckpointError:
            newest = None
        if newest is None or newest.step < step or (not killed and newest.step != step + 1):
            unreadable += 1
        step = newest.step if newest else 0
    return Killed(done, starts, 0, 0, unreadable, 0, round(time.perf_counter() - began, 1))


def _save_until(
    folder: Path, step: int, pair: tuple[nn.Module, torch.optim.Optimizer], point: str, nth: int
) -> None:
    """Write a checkpoint, and die before the ``nth`` call of ``point``."""
    from lina.runs import checkpoint, checkpoint_store

    owner: Any = {"save_file": checkpoint, "rename": Path, "mkdir": Path, "rmtree": shutil}.get(
        point, checkpoint_store
    )
    real, left = getattr(owner, point), nth

    def deadly(*arguments: Any, **options: Any) -> Any:
        nonlocal left
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **options)

    setattr(owner, point, deadly)
    _save(folder, step, pair)


def many_recordings(folder: Path, times: int) -> Path:
    """The sample corpus with each recording under several ids, so that encoding takes a while."""
    shutil.copytree(ROOT / "data" / "asterisk-sample", folder)
    manifest = folder / "manifest.jsonl"
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    rows = [line | {"id": f"{line['id']}-{number}"} for number in range(times) for line in lines]
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return manifest


def measure(training: int, writer: int, encoding: int, steps: int = 16, times: int = 10) -> dict[str, Any]:
    """Run the series of kills and return their figures."""
    torch.set_num_threads(1)
    draw = random.Random(0)
    sample = ROOT / "data" / "asterisk-sample" / "manifest.jsonl"
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        figures: dict[str, Any] = {}
        if training:
            (folder / "training").mkdir()
            killed = kill_runs(folder / "training", training, steps, sample, draw, whole_only_data=False)
            figures["training"] = killed._asdict()
        if writer:
            (folder / "writer").mkdir()
            figures["checkpoint writer"] = kill_writer(folder / "writer", writer, draw)._asdict()
        if encoding:
            (folder / "encoding").mkdir()
            corpus = many_recordings(folder / "corpus", times)
            killed = kill_runs(folder / "encoding", encoding, 1, corpus, draw, whole_only_data=True)
            figures["encoding"] = killed._asdict()
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, count in (("training", 100), ("writer", 100), ("encoding", 50)):
        parser.add_argument(f"--{name}", type=int, default=count, metavar="N", help="number of kills")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    arguments = parser.parse_args()
    figures = measure(arguments.training, arguments.writer, arguments.encoding)
    text = json.dumps(
        {
            "date": datetime.now(UTC).date().isoformat(),
            "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
            "torch": torch.__version__,
            "kills": figures,
        },
        indent=1,
    )
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n")
    bad = sum(one[key] for one in figures.values() for key in ("lost_or_repeated", "unreadable", "different"))
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
