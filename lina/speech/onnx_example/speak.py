"""Speak phoneme ids with the graphs in this folder. Needs numpy and onnxruntime, and nothing else.

    python speak.py out.wav 0 45 53 2 ...

The ids are those of the voice's tokenizer: ``lina.load(RUN).ids("Hello.")`` lists them for a text.
"""

import json
import sys
import wave
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

FOLDER = Path(__file__).parent
COMPLETE, FINISHED = 0, 4
"""Flags of a step: a frame is complete; the last one is."""

Values = dict[str, Any]


def load(name: str) -> Any:
    """A graph on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(FOLDER / name, options)


def run(graph: Any, values: Values) -> Values:
    """All outputs of a graph by name, of inputs by name."""
    names = [one.name for one in graph.get_outputs()]
    inputs = {one.name: values[one.name] for one in graph.get_inputs()}
    return dict(zip(names, graph.run(names, inputs), strict=True))


def fed_back(outputs: Values) -> Values:
    """The outputs that are the next step's inputs."""
    return {name.removeprefix("next."): value for name, value in outputs.items() if name.startswith("next.")}


def speak(ids: Sequence[int], facts: Values, seed: int = 0) -> Iterator[Any]:
    """The speech of a text's ids, frame by frame: float32 [channels, samples]."""
    start, step, decoder = (load(f"{name}.onnx") for name in ("start", "step", "decoder"))
    text = np.array([ids])
    speaker = np.array([facts["default_speaker"]])
    state = run(start, {"ids": text, "mask": np.ones_like(text, bool), "speaker": speaker})
    # How the run's spec has its texts spoken: the sampling, and the longest speech.
    state |= {name: np.array(value, state[name].dtype) for name, value in facts["rules"].items()}
    state["key"] = np.array([seed])
    sound = {name: np.zeros(shape, np.float32) for name, shape in facts["decoder_state"].items()}
    while True:
        outputs = run(step, state)
        state |= fed_back(outputs)
        if outputs["flags"][COMPLETE, 0]:
            decoded = run(decoder, {**sound, "codes": outputs["codes"][:, None]})
            sound |= fed_back(decoded)
            yield decoded["audio"][0]
        if outputs["flags"][FINISHED, 0]:
            return


def main() -> None:
    out, *ids = sys.argv[1:]
    facts = json.loads((FOLDER / "facts.json").read_text(encoding="utf-8"))["speech"]
    audio = np.concatenate(list(speak([int(one) for one in ids], facts)), axis=1)
    with wave.open(out, "wb") as file:
        file.setnchannels(len(audio))
        file.setsampwidth(2)
        file.setframerate(facts["sample_rate"])
        file.writeframes((audio.T * 32767).astype("<i2").tobytes())


if __name__ == "__main__":
    main()
