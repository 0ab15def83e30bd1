"""One backbone of benchmarks/backbones.py, in a process of its own: train it, step it, write what was measured.

python -m benchmarks.backbone_run SPEC --work DIR --out FILE --parameters N [KEY=VALUE]...
"""

import argparse
import itertools
import json
import logging
import math
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from lina.config.loader import load_spec
from lina.config.resolve import ResolvedSpec, resolve
from lina.core.errors import LinaError
from lina.core.model.delay_lm import DelayLM
from lina.core.model.tokens import START
from lina.core.state import state_bytes
from lina.data.prepare import PreparedData, prepare
from lina.data.training_data import TrainingData
from lina.evaluation.process_memory import peak_mib
from lina.runs.build_model import build_lm, count_parameters
from lina.runs.files import read_run_info
from lina.runs.hook_manager import build_manager
from lina.runs.hooks import Run, hookimpl
from lina.runs.provenance import record_run
from lina.training.trainer import train

ROWS = (1, 16)
"""Streams stepped together."""


class Listener:
    """Collects the metrics of each step and of the validation."""

    def __init__(self) -> None:
        self.steps: list[Mapping[str, Any]] = []
        self.validation: Mapping[str, Any] | None = None

    @hookimpl
    def step_done(self, metrics: Mapping[str, Any]) -> None:
        self.steps.append(metrics)

    @hookimpl
    def evaluation_done(self, metrics: Mapping[str, Any]) -> None:
        self.validation = metrics


class LogCollector(logging.Handler):
    """Collects lina's log lines, such as the choice of kernels."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def backbone_parameters(resolved: ResolvedSpec, n_layers: int) -> int:
    """Trained numbers of one side of the text."""
    chosen, width = resolved.backbone, resolved.spec.backbone.d_model
    return count_parameters(chosen.plugin.build(d_model=width, n_layers=n_layers, config=chosen.config))


def layers_nearest(resolved: ResolvedSpec, target: int) -> int:
    """Return the number of layers that comes nearest to ``target`` parameters."""
    n_layers, size = 1, backbone_parameters(resolved, 1)
    while size < target:
        larger = backbone_parameters(resolved, n_layers + 1)
        if larger - target > target - size:
            break
        n_layers, size = n_layers + 1, larger
    return n_layers


def measure(resolved: ResolvedSpec, work: Path, decode_seconds: float) -> dict[str, Any]:
    """Everything about the backbone of a spec; ``work`` has the encoded data and gets the run."""
    spec, listener = resolved.spec, Listener()
    hooks = build_manager(())
    hooks.register(listener)
    prepared = prepare(Run(work / "data", spec), resolved, hooks.hook)
    run = Run(work / spec.backbone.plugin, spec)
    run.directory.mkdir()
    model = build_model(resolved, prepared)
    record_run(run, resolved.records, model)
    info = read_run_info(run.directory)
    assert info is not None
    began = time.perf_counter()
    train(run, model, prepared.training, hooks.hook)
    seconds = time.perf_counter() - began
    on_gpu = model.logits_head.weight.is_cuda
    memory = torch.cuda.max_memory_allocated() if on_gpu else 2**20 * (peak_mib() or math.nan)
    # The first steps choose kernels and fill caches.
    settled = listener.steps[min(10, len(listener.steps) // 4) :]
    return {
        "n_layers": spec.backbone.n_layers,
        "parameters": count_parameters(model),
        "backbone_parameters": count_parameters(model.encoder) + count_parameters(model.decoder),
        "training_frames_per_second": statistics.median(one["frames/s"] for one in settled),
        "training_seconds": seconds,
        "decode_frames_per_second": {
            str(rows): decode_pace(model, prepared.training, rows, decode_seconds) for rows in ROWS
        },
        "state_bytes": state_bytes(model.initial_state(1)),
        "peak_memory_bytes": memory,
        "training_loss": listener.steps[-1]["loss"],
        "validation_loss": listener.validation["loss"] if listener.validation else None,
        "config": resolved.backbone.config.model_dump(mode="json"),
        "distribution": resolved.backbone.record.distribution,
        "version": resolved.backbone.record.version,
        "machine": info.machine.model_dump(mode="json"),
        "versions": info.versions,
    }


def build_model(resolved: ResolvedSpec, prepared: PreparedData) -> DelayLM:
    return build_lm(
        resolved,
        codebook_sizes=prepared.codec.codebook_sizes,
        vocab_size=prepared.tokenizer.vocab_size,
        speakers=len(prepared.speakers),
        seed=resolved.spec.seed,
    )


@torch.inference_mode()
def decode_pace(model: DelayLM, data: TrainingData, rows: int, seconds: float) -> float:
    """Frames a second of all rows together: greedy steps of the whole model, the text being encoded before."""
    model.eval()
    device = model.logits_head.weight.device
    batch = data.batch([data.train[0]] * rows).to(device)
    conditions = model.conditions(batch.text, batch.text_mask, batch.speaker)
    state = model.initial_state(rows)
    column = torch.full((rows, len(model.codebook_sizes)), START, dtype=torch.int64, device=device)
    began, steps = 0.0, 0
    for step in itertools.count():
        if step == 10:  # warm
            _finish(device)
            began, steps = time.perf_counter(), 0
        elif step > 10 and steps % 10 == 0:
            _finish(device)
            if time.perf_counter() - began >= seconds:
                break
        logits, state, _ = model.step(column, state, conditions)
        column = logits.argmax(-1)
        steps += 1
    return rows * steps / (time.perf_counter() - began)


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("spec")
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--parameters", type=int, required=True, help="of one side of the text, to come near to"
    )
    parser.add_argument("--decode-seconds", type=float, default=2.0)
    options = parser.parse_args()
    logged = LogCollector()
    logging.getLogger("lina").setLevel(logging.INFO)
    try:
        resolved = resolve(load_spec(options.spec, options.overrides))
        layers = layers_nearest(resolved, options.parameters)
        resolved = resolve(load_spec(options.spec, [*options.overrides, f"backbone.n_layers={layers}"]))
        logging.getLogger("lina").addHandler(logged)
        found = measure(resolved, options.work, options.decode_seconds) | {"log": logged.lines}
    except LinaError as error:
        found = {"error": str(error)}
    options.out.write_text(json.dumps(found))


if __name__ == "__main__":
    main()
