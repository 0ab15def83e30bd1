"""Speech in a browser: the page of ``lina export --onnx`` in headless Chromium, beside its Python program.

    npm install onnxruntime-web
    lina export RUN --onnx DIR
    python -m benchmarks.browser DIR --runtime node_modules/onnxruntime-web/dist

Both speak the same ids. Needs Chromium; the exit code is 1 where the samples differ by more than rounding.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import wave
from collections.abc import Sequence
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import lina

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--autoplay-policy=no-user-gesture-required")
TEXT = "The ferry leaves the harbour at six in the morning."
LIMIT = 1e-2
"""Root mean square of the difference over that of the speech; WebAssembly's sums round differently."""
RATE_OF_POLLS = 10


class Answers(SimpleHTTPRequestHandler):
    """Serves a folder, and keeps what the page sends."""

    def __init__(self, *arguments: Any, answers: dict[str, bytes], **options: Any) -> None:
        self.answers = answers
        super().__init__(*arguments, **options)

    def do_POST(self) -> None:
        self.answers[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Requests are not logged."""


def browser() -> str | None:
    """The program of a browser that is installed."""
    return next((found for name in BROWSERS if (found := shutil.which(name))), None)


def speak_in_browser(folder: Path, runtime: Path, ids: list[int], seconds: float) -> bytes:
    """The WAV file that the page makes.

    Raises:
        RuntimeError: there is no browser, the page failed, or took longer than ``seconds``.
    """
    program = browser()
    if program is None:
        raise RuntimeError(f"none of {', '.join(BROWSERS)} is installed; apt-get install chromium")
    with tempfile.TemporaryDirectory() as temporary:
        site = Path(shutil.copytree(folder, Path(temporary) / "site"))
        shutil.copytree(runtime, site / "ort")
        answers: dict[str, bytes] = {}
        handler = partial(Answers, answers=answers, directory=site)
        with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            numbers = ",".join(map(str, ids))
            page = f"http://127.0.0.1:{server.server_port}/speak.html?send&ids={numbers}"
            profile = f"--user-data-dir={temporary}/profile"
            process = subprocess.Popen(
                [program, *FLAGS, profile, page], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            try:
                until = time.monotonic() + seconds
                while not answers and time.monotonic() < until and process.poll() is None:
                    time.sleep(1 / RATE_OF_POLLS)
            finally:
                process.terminate()
                process.wait()
                server.shutdown()
    if "/spoken.wav" not in answers:
        reason = answers.get("/failed", f"no answer in {seconds:.0f} s".encode()).decode()
        raise RuntimeError(f"the page did not speak: {reason}")
    return answers["/spoken.wav"]


def speak_in_python(folder: Path, ids: list[int]) -> bytes:
    """The WAV file of the folder's own program."""
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary) / "out.wav"
        subprocess.run([sys.executable, str(folder / "speak.py"), str(out), *map(str, ids)], check=True)
        return out.read_bytes()


def samples(wav: bytes) -> npt.NDArray[np.float64]:
    """The samples of a WAV file of 16 bits."""
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        file.write(wav)
        file.flush()
        with wave.open(file.name) as reader:
            content = reader.readframes(reader.getnframes())
    return np.frombuffer(content, "<i2").astype(np.float64) / 32768


def compare(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64], rate: int) -> dict[str, float]:
    """The difference of two takes: relative root mean square, infinite where they differ in length."""
    difference = float("inf")
    if one.shape == other.shape:
        difference = float(np.sqrt(np.mean((one - other) ** 2) / np.mean(other**2)))
    return {"seconds": len(one) / rate, "python_seconds": len(other) / rate, "difference": difference}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="of lina export --onnx")
    parser.add_argument("--runtime", type=Path, required=True, help="onnxruntime-web's folder dist")
    parser.add_argument("--text", default=TEXT)
    parser.add_argument("--seconds", type=float, default=120.0, help="to wait for the page")
    options = parser.parse_args(arguments)
    ids = lina.load(device="cpu").input(options.text).ids
    rate = json.loads((options.folder / "facts.json").read_text())["speech"]["sample_rate"]
    page = samples(speak_in_browser(options.folder, options.runtime, ids, options.seconds))
    found = compare(page, samples(speak_in_python(options.folder, ids)), rate)
    print(json.dumps(found))
    return int(not found["difference"] <= LIMIT)


if __name__ == "__main__":
    sys.exit(main())
