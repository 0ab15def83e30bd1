"""One trial of a comparison, in a process of its own: ``python -m lina.pipeline.comparison_trial``.

Its memory and threads are its own, and a crash is one row. It ends by SIGTERM, with a checkpoint, when its standard
input is closed: when the comparison was killed.
"""

import itertools
import json
import logging
import os
import signal
import statistics
import sys
import threading
import time
from pathlib import Path

import torch

from lina.config.loader import load_spec
from lina.config.resolve import resolve
from lina.config.training_choices import hook_choices
from lina.core.errors import LinaError
from lina.core.files.atomic import make_directory
from lina.core.model.delay_lm import DelayLM
from lina.core.model.tokens import START
from lina.core.state import state_bytes
from lina.pipeline.speech_job import run_spec
from lina.runs.comparison import TrialRecord, write_trial
from lina.runs.files import read_evaluation, read_run_info
from lina.runs.hook_manager import build_manager
from lina.runs.metrics import read_metrics
from lina.runs.records import MetricsRecord
from lina.runs.signals import RunStopped
from lina.speech.voice_loading import load

TRIAL_FILE = Path("trial.json")
DECODE_SECONDS = 1.0


def run_trial(spec: str, overrides: list[str], trial: TrialRecord) -> TrialRecord:
    """Run a spec with the hooks that it names, then measure decoding; the record with its results."""
    resolved = resolve(load_spec(spec, overrides))
    directory = run_spec(resolved, build_manager((), chosen=hook_choices(resolved.spec)).hook)
    metrics, info = read_metrics(directory), read_run_info(directory)
    assert info is not None
    model = load(directory, device="cpu" if resolved.spec.train.device == "cpu" else "auto").model
    valid, train = ([one for one in metrics if one.split == split] for split in ("valid", "train"))
    evaluation = read_evaluation(directory)
    rates = [] if evaluation is None else [one.word_error_rate for one in evaluation.groups]
    return trial.model_copy(
        update={
            "parameters": info.model.parameters if info.model else 0,
            "layers": resolved.spec.backbone.n_layers,
            "loss": valid[-1].loss if valid else None,
            "error_rate": rates[0] if rates else None,
            "seconds": train[-1].seconds or 0.0,
            "step_seconds": step_seconds(train),
            "training_frames_per_second": training_speed(train),
            "decoding_frames_per_second": decoding_speed(model, DECODE_SECONDS),
            "state_bytes": state_bytes(model.initial_state(1)),
            "train_curve": tuple((one.step, one.loss) for one in train),
            "valid_curve": tuple((one.step, one.loss) for one in valid),
            "cpu": info.machine.cpu,
            "cores": info.machine.cores,
            "gpu": info.machine.gpu,
        }
    )


def training_speed(records: list[MetricsRecord]) -> float:
    """Median frames/s of logged steps; the first ones choose kernels and fill caches."""
    speeds = [one.frames_per_second for one in records if one.frames_per_second]
    return statistics.median(speeds[len(speeds) // 4 :]) if speeds else 0.0


def step_seconds(records: list[MetricsRecord]) -> float:
    """Mean time of a step between logged steps, the first quarter aside."""
    later = records[min(len(records) // 4, len(records) - 2) :] if len(records) > 1 else []
    if not later:
        return 0.0
    first, last = later[0], later[-1]
    return ((last.seconds or 0.0) - (first.seconds or 0.0)) / (last.step - first.step)


@torch.inference_mode()
def decoding_speed(model: DelayLM, seconds: float) -> float:
    """Greedy steps per second of one stream, the text of 40 positions being encoded before."""
    device = model.logits_head.weight.device
    model.eval()
    text = torch.ones(1, 40, dtype=torch.int64, device=device)
    conditions = model.conditions(text % model.txt_embed.num_embeddings, text > 0)
    state = model.initial_state(1)
    column = torch.full((1, len(model.codebook_sizes)), START, dtype=torch.int64, device=device)
    began, first = 0.0, 10
    for step in itertools.count():
        if step == first:
            _finish(device)
            began = time.perf_counter()
        elif step > first and step % 10 == 0:
            _finish(device)
            if time.perf_counter() - began >= seconds:
                return (step - first) / (time.perf_counter() - began)
        logits, state, _ = model.step(column, state, conditions)
        column = logits.argmax(-1)
    raise AssertionError("unreachable")


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _end_with_parent() -> None:
    while os.read(sys.stdin.fileno(), 1):  # not by sys.stdin, whose lock would be held at the exit
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> int:
    logging.getLogger("lina").setLevel(logging.WARNING)
    job = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    trial = TrialRecord.model_validate_json(job["trial"])
    try:
        result = run_trial(job["spec"], job["overrides"], trial)
    except RunStopped as error:
        return error.exit_code
    except LinaError as error:
        result = trial.model_copy(update={"error": str(error)})
    out = Path(job["out"])
    make_directory(out.parent, parents=True)  # a mistake may be found before the run makes it
    write_trial(out, result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
