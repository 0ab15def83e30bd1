"""Speaking on a CPU: the voice that comes with lina, and the engine's backends on one thread.

    python -m benchmarks.cpu --json benchmarks/cpu.json

Parts: ``voice`` (``lina.load()`` as it is and in 8 bits: times real time, first audio, memory, beside a busy process,
and a cold ``lina say``), ``tokens`` (texts whose codes are the same in onnxruntime and in eager), ``backbones`` (all
nine at about 15 M), ``gla`` (GLA of 60 M; EnCodec at 75 Hz needs 75 frames a second, and its decoder's time besides),
``quality`` (error rate, DNSMOS and Distill-MOS in float32 and in 8 bits on the same texts), ``installed`` (the size of
lina-voice with all that pip installs with it; needs a package index).
Run it on an idle machine: the load at the beginning is part of the result.
"""

import argparse
import compileall
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import onnxruntime
import torch

import lina
from benchmarks.cpu_installed import PipError, installed_rows
from benchmarks.cpu_quality import quality_rows
from benchmarks.cpu_voice import texts
from benchmarks.decode_models import request, spec_model
from lina.core.errors import LinaError
from lina.core.model.delay_lm import DelayLM
from lina.core.process.threads import limit_threads
from lina.core.registry import load
from lina.core.state import state_bytes
from lina.engine.backend_names import BackendName
from lina.engine.engine import Engine
from lina.engine.onnx.export import Rules
from lina.engine.onnx.session import Graphs
from lina.engine.onnx.weights import weight_of
from lina.engine.onnx.write import write_graphs
from lina.runs.weight_quantization import pack, unpack
from lina.speech.default_voice import shipped_voice
from lina.speech.voice_loading import load as load_voice

SPEC = "specs/lina_speech/gla-60m.yaml"
BACKBONES = ("gla", "mamba", "mamba2", "retnet", "gated_deltanet", "kda", "rwkv6", "rwkv7", "transformer")
BACKENDS: tuple[BackendName, ...] = ("eager", "onnx", "onnx-int8")
PARTS = ("voice", "tokens", "backbones", "gla", "quality", "installed")
TOP_K = 100
"""Of the requests of ``decode_models``."""
WARM_UP = 10
COLD_TEXT = "Your call cannot be completed as dialed."
BUSY = "while True: pass"
WAV_HEADER = 44


def voice_rows(count: int) -> Iterator[dict[str, Any]]:
    """The voice that comes with lina, in fresh processes."""
    for backend in ("auto", "onnx-int8", "eager"):
        alone = _child("-m", "benchmarks.cpu_voice", backend, str(count))
        with _busy_process():
            beside = _child("-m", "benchmarks.cpu_voice", backend, str(count))
        yield {
            "part": "voice",
            "name": f"lina.load(), {backend}",
            **alone,
            "busy_over_idle": alone["times_real_time"] / beside["times_real_time"],
        }
    yield {"part": "voice", "name": "cold lina say", **cold_say()}


def cold_say(runs: int = 5) -> dict[str, float]:
    """Medians of a few runs of ``cold_say_once``, with lina's modules compiled to bytecode as pip installs them."""
    (folder,) = lina.__path__
    compileall.compile_dir(folder, quiet=2)
    found = [cold_say_once() for _ in range(runs)]
    return {key: statistics.median(one[key] for one in found) for key in found[0]}


def cold_say_once() -> dict[str, float]:
    """Seconds from the start of ``lina say`` to the first audio in its hidden file, and to its end."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "lina", "say", COLD_TEXT, "-o", f"{folder}/out.wav"]
        began, first = time.perf_counter(), None
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None:
            if first is None and any(one.stat().st_size > WAV_HEADER for one in Path(folder).iterdir()):
                first = time.perf_counter() - began
            time.sleep(0.003)
        total = time.perf_counter() - began
    if process.returncode or first is None:
        raise RuntimeError(f"lina say ended with {process.returncode}")
    return {"first_audio_s": first, "total_s": total}


def same_tokens(count: int) -> dict[str, Any]:
    """Texts that onnxruntime and eager speak with the same codes, of so many."""
    voices = [load_voice(shipped_voice(), "cpu", backend=backend) for backend in ("onnx", "eager")]
    different = []
    for text in texts(count):
        codes = [voice.speak([text])[0].codes for voice in voices]
        if not torch.equal(*codes):
            different.append(text)
    return {"texts": count, "same": 1 - len(different) / count, "different": different}


def model_rows(name: str, lm: DelayLM, backbone: str, seconds: float) -> Iterator[dict[str, Any]]:
    """Frames per second of one stream on one thread, by backend."""
    facts = {
        "name": name,
        "parameters": sum(one.numel() for one in lm.parameters()),
        "state_bytes": state_bytes(lm.initial_state(1)),
    }
    with tempfile.TemporaryDirectory() as folder:
        extreme: Any = load("backbone", backbone)
        found = write_graphs(
            Path(folder), lm, widest=TOP_K, rules=Rules(), extreme=extreme.extreme, others={}, facts={}
        )
        graphs = Graphs(found, weight_of(lm))
        for backend in BACKENDS:
            try:
                rate = frames_per_second(lm, backend, graphs, seconds)
            except LinaError as error:  # a backend that differs from eager is refused
                yield {**facts, "backend": backend, "refused": str(error)}
                continue
            yield {**facts, "backend": backend, "frames_per_second": rate}


def frames_per_second(lm: DelayLM, backend: BackendName, graphs: Graphs, seconds: float) -> float:
    """Of a stream that has run for a few frames."""
    engine = Engine(lm, 1, backend=backend, graphs=graphs)
    with limit_threads(1):
        frames = iter(engine.submit(request(lm, 0)))
        for _ in range(WARM_UP):
            next(frames)
        began, count = time.perf_counter(), 0
        while time.perf_counter() - began < seconds:
            next(frames)
            count += 1
        return count / (time.perf_counter() - began)


def backbone_model(backbone: str, width: int) -> DelayLM:
    """Six and six layers of a backbone with its default configuration; random weights, as 8 bits store them."""
    section = f"backbone={{plugin: {backbone}, d_model: {width}, n_layers: 6, config: {{}}}}"
    lm = spec_model(SPEC, "text.attention=plain", section, device="cpu")
    lm.load_state_dict(unpack(pack(lm.state_dict(), "int8"), "int8"))
    return lm


def table(results: dict[str, Any]) -> str:
    """The results as Markdown."""
    rows = results["rows"]
    lines = [f"{results['cores']} cores, load {results['load']:.1f}, {results['date']}", ""]
    for row in (one for one in rows if one["part"] in ("voice", "tokens", "quality", "installed")):
        values = {name: value for name, value in row.items() if isinstance(value, int | float)}
        lines.append(
            f"- {row['name']}: " + ", ".join(f"{name} {value:.3g}" for name, value in values.items())
        )
    models = [one for one in rows if "backend" in one]
    if models:
        lines += ["", "| model | parameters | state bytes | " + " | ".join(BACKENDS) + " |"]
        lines.append("|---|---:|---:|" + "---:|" * len(BACKENDS))
    for name in dict.fromkeys(one["name"] for one in models):
        own = {one["backend"]: one for one in models if one["name"] == name}
        first = next(iter(own.values()))
        rates = " | ".join(
            f"{own[one]['frames_per_second']:.0f}" if "frames_per_second" in own.get(one, {}) else "refused"
            for one in BACKENDS
        )
        lines.append(f"| {name} | {first['parameters'] / 1e6:.1f} M | {first['state_bytes']:,} | {rates} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--parts",
        nargs="+",
        default=[one for one in PARTS if one != "installed"],
        choices=PARTS,
        help="default: all but installed",
    )
    parser.add_argument("--only", nargs="+", default=list(BACKBONES), help="these backbones")
    parser.add_argument("--texts", type=int, default=20, help="of the voice's speed")
    parser.add_argument("--tokens", type=int, default=250, help="texts whose codes are compared")
    parser.add_argument("--quality", type=int, default=64, help="texts that are judged")
    parser.add_argument(
        "--out", type=Path, help="keep the judged clips here, and go on with those that are there"
    )
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement of a model")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    options = parser.parse_args(arguments)
    results: dict[str, Any] = {
        "cores": os.cpu_count(),
        "processor": platform.processor() or platform.machine(),
        "load": os.getloadavg()[0],
        "torch": torch.__version__,
        "onnxruntime": onnxruntime.__version__,
        "date": datetime.now(UTC).date().isoformat(),
        "rows": [],
    }

    def add(rows: Iterator[dict[str, Any]], **facts: Any) -> None:
        for row in rows:
            results["rows"].append({**facts, **row})
            print(json.dumps(results["rows"][-1]), flush=True)
            if options.json:
                options.json.write_text(json.dumps(results, indent=1) + "\n")

    if "voice" in options.parts:
        add(voice_rows(options.texts))
    if "tokens" in options.parts:
        add(iter([{"part": "tokens", "name": "the same codes as eager", **same_tokens(options.tokens)}]))
    if "backbones" in options.parts:
        for name in options.only:
            add(model_rows(name, backbone_model(name, 256), name, options.seconds), part="backbones")
    if "gla" in options.parts:
        add(model_rows("gla, 60 M", backbone_model("gla", 512), "gla", options.seconds), part="gla")
    if "quality" in options.parts:
        with tempfile.TemporaryDirectory() as folder:
            add(quality_rows(options.quality, options.out or Path(folder)))
    failure = None
    if "installed" in options.parts:
        try:
            add(installed_rows())
        except PipError as error:
            failure = str(error)
    print(table(results))
    if failure is not None:
        print(f"benchmarks.cpu: {failure}", file=sys.stderr)
    return 0 if failure is None else 1


@contextmanager
def _busy_process() -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-c", BUSY])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _child(*arguments: str) -> dict[str, float]:
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, env=environment
    )
    if done.returncode:
        raise RuntimeError(f"python {' '.join(arguments)} failed: {done.stderr.strip()[-500:]}")
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


if __name__ == "__main__":
    sys.exit(main())
