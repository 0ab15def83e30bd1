"""Long decoding on a GPU: rounding of bfloat16 memories, an hour of one stream, and equality between slot counts.

    python -m benchmarks.decode_long --json benchmarks/decode-long.json

Parts. ``memory``: two layers of each backbone that has a matrix memory, in fused steps on random inputs, once with a
float32 and once with a bfloat16 memory: relative root-mean-square difference of the outputs in the last tenth up to
each frame. ``hour``: one endless stream of the shipped voice from minute 1 to minute 60, time per frame and memory of
the GPU, and MusicGen's decoder with the cache that it would have by then. ``equality``: tokens of 250 texts with 1, 8
and 64 slots.
"""

import argparse
import json
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

import lina
from benchmarks.decode import release
from benchmarks.decode_models import ROOT, request
from benchmarks.decode_peers import musicgen
from benchmarks.streams_load import TEXTS
from lina.core.generation.stream_key import stream_key
from lina.core.model.in_place import in_place_step
from lina.core.registry import load
from lina.core.state import tree_map
from lina.engine.engine import Engine

BACKBONES = ("gla", "retnet", "mamba", "mamba2", "gated_deltanet", "kda", "rwkv6", "rwkv7")
FRAMES = (100, 1_000, 10_000)
FRAME_RATE = 25
MINUTES = (1, 15, 30, 60)
SLOTS = (1, 8, 64)
PARTS = ("memory", "hour", "equality")


@torch.no_grad()
def memory_error(name: str, rows: int = 8, width: int = 512) -> dict[str, Any]:
    """Difference of a bfloat16 memory from a float32 one, by frame."""
    plugin: Any = load("backbone", name)
    torch.manual_seed(0)
    backbone = (
        plugin.build(d_model=width, n_layers=2, config=plugin.Config()).cuda().eval().requires_grad_(False)
    )
    for parameter in backbone.parameters():
        if not parameter.any():  # an output that begins as zero does not depend on the memory
            torch.nn.init.normal_(parameter, std=0.02)
    step = in_place_step(backbone)
    first = backbone.initial_state(rows)
    states = [
        tree_map(lambda leaf: leaf.contiguous().clone(), step.stored(first, dtype))
        for dtype in (torch.float32, torch.bfloat16)
    ]
    x, error, power = (torch.zeros(rows, width, device="cuda") for _ in range(3))

    def both() -> None:
        x.normal_()
        exact, stored = (step(x, state) for state in states)
        error.add_((exact - stored).square())
        power.add_(exact.square())

    for _ in range(3):
        both()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        both()
    found, frame = {}, 0
    for end in FRAMES:
        while frame < end:
            if frame == end - end // 10:
                error.zero_(), power.zero_()
            graph.replay()
            frame += 1
        found[str(end)] = round(float((error.sum() / power.sum()).sqrt()), 6)
    return {"name": name, "difference": found}


def hour(voice: Any) -> dict[str, Any]:
    """Microseconds per frame and bytes of one stream, minute by minute."""
    engine = Engine(voice.model, 1, backend="graph", steps_per_block=8)
    engine.submit(request(voice.model, 0))
    engine.drive(lambda: engine.steps >= 100)
    per_minute, minutes = FRAME_RATE * 60, []
    for minute in range(1, MINUTES[-1] + 1):
        until, began = minute * per_minute, time.perf_counter()
        before = engine.steps
        engine.drive(lambda until=until: engine.steps >= until)  # type: ignore[misc]
        seconds = time.perf_counter() - began
        minutes.append((seconds / max(engine.steps - before, 1), torch.cuda.memory_allocated()))
    peer = {}
    for minute in MINUTES:
        peer[str(minute)] = round(1e6 / musicgen(1, minute * per_minute))
        release()
    tenth = len(minutes) // 6
    early, late = (
        sum(one for one, _ in part) / len(part) for part in (minutes[1 : 1 + tenth], minutes[-tenth:])
    )
    return {
        "microseconds_per_frame": {str(minute): round(minutes[minute - 1][0] * 1e6, 1) for minute in MINUTES},
        "first_ten_minutes": round(early * 1e6, 1),
        "last_ten_minutes": round(late * 1e6, 1),
        "time_ratio": round(late / early, 4),
        "bytes": {str(minute): minutes[minute - 1][1] for minute in MINUTES},
        "musicgen_microseconds_per_frame": peer,
    }


def equality(voice: Any, texts: int) -> dict[str, Any]:
    """Texts whose tokens are equal with other numbers of slots, and where the others part."""
    options, found = voice.resolve_options({"max_seconds": 6.0}), {}
    items = [voice.input(text) for text in TEXTS]
    many = []
    for number in range(texts):
        (one,) = voice.requests(items[number % len(items)], options, (number, 0))
        many.append(replace(one, key=stream_key(0, number)))
    for slots in SLOTS:
        found[slots] = [row.codes for row in Engine(voice.model, slots, backend="graph").run(many)]
        release()
    again = [row.codes for row in Engine(voice.model, SLOTS[-1], backend="graph").run(many[::-1])][::-1]
    base = found[SLOTS[0]]

    def equal(others: list[torch.Tensor], those: list[torch.Tensor]) -> int:
        return sum(torch.equal(one, other) for one, other in zip(others, those, strict=True))

    return {
        "texts": texts,
        "equal_to_1_slot": {str(slots): equal(found[slots], base) for slots in SLOTS[1:]},
        "equal_in_reverse_order_with_64_slots": equal(found[SLOTS[-1]], again),
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    parser.add_argument("--texts", type=int, default=250)
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("decode_long: PyTorch sees no CUDA device", file=sys.stderr)
        return 2
    results: dict[str, Any] = {
        "gpu": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "date": datetime.now(UTC).date().isoformat(),
    }

    def add(part: str, value: Any) -> None:
        results[part] = value
        print(part, json.dumps(value), flush=True)
        if arguments.json:
            arguments.json.write_text(json.dumps(results, indent=1) + "\n")

    if "memory" in arguments.parts:
        add("memory", [memory_error(name) for name in BACKBONES])
    voice = lina.load(ROOT / "lina/voices/english-1", device="cuda")
    voice.model.requires_grad_(False)
    if "equality" in arguments.parts:
        add("equality", equality(voice, arguments.texts))
    if "hour" in arguments.parts:
        add("hour", hour(voice))
    return 0


if __name__ == "__main__":
    sys.exit(main())
