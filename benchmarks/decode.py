"""Decoding on a GPU: frames per second of the engine, their floor, and peers in the same run.

    python -m benchmarks.decode --json benchmarks/decode.json

Parts: ``gla`` (GLA of 232.6 M parameters, specs/lina_speech/gla-230m.yaml), ``backbones`` (all nine at about 60 M),
``peers`` (transformers' MusicGen decoder with its cache, flash-linear-attention's GLA layers, lina's sliding-window
transformer in the same engine). Steps are whole: embedding, backbone, text, heads, window, sampling, and frames on
the host.

The floor of a step is the bytes of the weights that it reads once, and of the states that it reads and writes once,
over the bandwidth of a device copy, measured first. Weights are bfloat16, sums and norms float32.
"""

import argparse
import gc
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

import lina
from benchmarks.decode_models import ROOT, request, spec_model
from benchmarks.decode_peers import fla_gla, musicgen
from lina.core.generation.in_place_lm import InPlaceLM
from lina.core.model.delay_lm import DelayLM
from lina.core.state import state_bytes
from lina.engine.engine import Engine
from lina.engine.numerics import Numerics

BFLOAT = torch.bfloat16
GLA = "specs/lina_speech/gla-230m.yaml"
SMALL = "specs/lina_speech/gla-60m.yaml"
BACKBONES = ("gla", "mamba", "mamba2", "retnet", "gated_deltanet", "kda", "rwkv6", "rwkv7", "transformer")
WINDOW = 2_000
"""Frames of the transformer's window, and of the longest cache of the peer."""


def copy_bandwidth() -> float:
    """Bytes per second of a device-to-device copy, read and written."""
    a = torch.empty(2**30, dtype=torch.uint8, device="cuda")
    b = torch.empty_like(a)
    times = []
    for _ in range(20):
        first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        first.record()
        b.copy_(a)
        last.record()
        torch.cuda.synchronize()
        times.append(first.elapsed_time(last) / 1e3)
    median: float = sorted(times)[len(times) // 2]
    return 2 * 2**30 / median


def step_bytes(lm: DelayLM, slots: int, numerics: Numerics) -> int:
    """The fewest bytes that a step moves: weights once, states twice."""
    read = [lm.encoder, lm.decoder, lm.cross_att.q, lm.logits_head, getattr(lm.cross_att, "pos_net", None)]
    weights = sum(
        part.weight.numel()
        for whole in read
        if whole is not None
        for part in whole.modules()
        if isinstance(part, nn.Linear)
    )
    state = state_bytes(InPlaceLM(lm).stored(lm.initial_state(1), numerics.memory))
    return weights * numerics.weights.itemsize + 2 * slots * state


def measure(
    lm: DelayLM, slots: int, numerics: Numerics, backend: Any, bandwidth: float, seconds: float
) -> dict[str, Any]:
    """Frames per second of ``slots`` endless streams."""
    began = time.perf_counter()
    engine = Engine(lm, slots, backend=backend, numerics=numerics, steps_per_block=8)
    some = [request(lm, number) for number in range(min(slots, 4))]
    for number in range(slots):
        engine.submit(replace(some[number % len(some)], key=number))
    engine.drive(lambda: engine.steps >= 40)
    torch.cuda.synchronize()
    ready = time.perf_counter() - began
    steps, began = engine.steps, time.perf_counter()
    engine.drive(lambda: time.perf_counter() - began > seconds)
    torch.cuda.synchronize()
    rate = (engine.steps - steps) * slots / (time.perf_counter() - began)
    floor = slots * bandwidth / step_bytes(lm, slots, numerics)
    backend_name = engine.backend_name
    return {
        "slots": slots,
        "weights": _name(numerics.weights),
        "memory": _name(numerics.memory),
        "backend": backend_name,
        "frames_per_second": round(rate),
        "floor": round(floor),
        "share": round(rate / floor, 3),
        "ready_seconds": round(ready, 1),
    }


def release() -> None:
    torch._dynamo.reset()
    gc.collect()
    torch.cuda.empty_cache()


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", nargs="+", default=["gla", "voice", "backbones", "peers"])
    parser.add_argument("--only", nargs="+", default=list(BACKBONES), help="these backbones")
    parser.add_argument(
        "--backend", default="compiled", choices=("compiled", "graph", "reference-graph", "eager")
    )
    parser.add_argument("--slots", nargs="+", type=int, help="these numbers of slots only")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("decode: PyTorch sees no CUDA device", file=sys.stderr)
        return 2
    bandwidth = copy_bandwidth()
    results: dict[str, Any] = {
        "gpu": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "date": datetime.now(UTC).date().isoformat(),
        "copy_bandwidth": round(bandwidth / 1e12, 2),
        "rows": [],
    }

    if arguments.json and arguments.json.exists():
        results["rows"] = kept_rows(json.loads(arguments.json.read_text()), results)

    def add(part: str, name: str, row: dict[str, Any]) -> None:
        results["rows"] = [
            one for one in results["rows"] if _key(one) != _key({"part": part, "name": name, **row})
        ]
        results["rows"].append({"part": part, "name": name, **row})
        print(json.dumps(results["rows"][-1]), flush=True)
        if arguments.json:
            arguments.json.write_text(json.dumps(results, indent=1) + "\n")

    def add_engine(
        part: str, name: str, lm: DelayLM, slots: Sequence[int], kinds: Sequence[Numerics]
    ) -> None:
        for count in arguments.slots or slots:
            for kind in kinds:
                try:
                    row = measure(lm, count, kind, arguments.backend, bandwidth, arguments.seconds)
                except Exception as error:
                    row = {
                        "slots": count,
                        "memory": _name(kind.memory),
                        "error": f"{type(error).__name__}: {str(error)[:200]}",
                    }
                add(part, name, row)
                release()

    if "gla" in arguments.parts:
        lm = spec_model(GLA)
        add_engine("gla", "gla, 232.6 M", lm, (1, 32, 256, 512), (Numerics(BFLOAT), Numerics(BFLOAT, BFLOAT)))
        del lm
        release()
    if "voice" in arguments.parts:
        voice = lina.load(ROOT / "lina/voices/english-1", device="cuda")
        voice.model.requires_grad_(False)
        add_engine("voice", "the shipped voice, english-1", voice.model, (1, 64, 1024), (Numerics(),))
        release()
    if "peers" in arguments.parts:
        for slots in arguments.slots or (1, 8, 32, 128, 256, 512):
            for name, graph in (("", False), (", captured", True)):
                for cached in (150, WINDOW):
                    row = _rate(slots, partial(musicgen, slots, cached, graph))
                    add("peers", f"MusicGen decoder{name}, {cached} cached", row)
                add("peers", f"fla's GLA layers{name}", _rate(slots, partial(fla_gla, slots, graph)))
        config = (
            f"{{plugin: transformer, d_model: 1024, n_layers: 6, config: {{n_heads: 16, window: {WINDOW}}}}}"
        )
        lm = spec_model(GLA, f"backbone={config}", "text.attention=plain")
        add_engine(
            "peers", f"lina's transformer, window {WINDOW}", lm, (1, 32, 128, 256), (Numerics(BFLOAT),)
        )
    if "backbones" in arguments.parts:
        for name in arguments.only:
            overrides = (
                ()
                if name == "gla"
                else (f"backbone={{plugin: {name}, d_model: 512, n_layers: 6, config: {{}}}}",)
            )
            lm = spec_model(SMALL, "text.attention=plain", *overrides)
            add_engine("backbones", name, lm, (1, 32, 256), (Numerics(BFLOAT),))
            del lm
            release()
    print(table(results))
    return 1 if any("error" in row for row in results["rows"]) else 0


def _rate(slots: int, measure_rate: Callable[[], float]) -> dict[str, Any]:
    """The row of a peer, or of its failure."""
    try:
        return {"slots": slots, "frames_per_second": round(measure_rate())}
    except Exception as error:
        return {"slots": slots, "error": _reason(error)}
    finally:
        release()


def kept_rows(before: dict[str, Any], results: dict[str, Any]) -> list[dict[str, Any]]:
    """Earlier rows of the same GPU and PyTorch, which this run replaces one by one."""
    same = all(before[key] == results[key] for key in ("gpu", "torch"))
    return list(before["rows"]) if same else []


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row.get(name) for name in ("part", "name", "slots", "weights", "memory"))


def table(results: dict[str, Any]) -> str:
    """All rows in Markdown."""
    lines = [
        f"{results['gpu']}, torch {results['torch']}, {results['date']}; copy {results['copy_bandwidth']} TB/s.",
        "",
        "| | slots | memory | frames/s | floor | share |",
        "|---|---:|---|---:|---:|---:|",
    ]
    for row in results["rows"]:
        if "error" in row:
            lines.append(f"| {row['name']} | {row['slots']} | {row['error']} | | | |")
            continue
        floor = f"{row['floor']:,} | {row['share']:.0%}" if "floor" in row else "|"
        lines.append(
            f"| {row['name']} | {row['slots']} | {row.get('memory', '')} | {row['frames_per_second']:,} | {floor} |"
        )
    return "\n".join(lines)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:200]}"


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


if __name__ == "__main__":
    sys.exit(main())
