"""Fuzz every reader of files from elsewhere: each input is read, or refused with a ``LinaError``.

    python -m benchmarks.fuzz --minutes 30 --json benchmarks/fuzz.json [READER ...]

With atheris (Linux) the inputs are guided by coverage of lina's code, one process per reader; without, they are random
mutations. The inputs begin with ``tests/faults/corpus/READER``; one that fails goes into
``tests/faults/findings/READER``, and tests read both again.
"""

import argparse
import hashlib
import json
import os
import platform
import random
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "tests" / "faults"
CORPUS, FINDINGS = FOLDER / "corpus", FOLDER / "findings"
LONGEST = 60_000
"""Bytes of an input."""

Reader = Callable[[bytes, Path], object]
"""Reads an input, in a folder that is empty."""


def _file(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def _spec(content: bytes, folder: Path) -> object:
    from lina.config.loader import load_job

    return load_job(_file(folder, "spec.yaml", content))


def _override(content: bytes, folder: Path) -> object:
    from lina.config.loader import typed_values

    return typed_values([content.decode("utf-8", "surrogateescape")])


def _checkpoint(content: bytes, folder: Path) -> object:
    from lina.runs.checkpoint_store import newest_checkpoint

    _file(folder, "step-00000002/checkpoint.json", content)
    return newest_checkpoint(folder)


def _speakers(content: bytes, folder: Path) -> object:
    from lina.runs.layout import read_speakers

    _file(folder, "speakers.json", content)
    return read_speakers(folder)


def _samples(content: bytes, folder: Path) -> object:
    from lina.runs.files import read_samples

    _file(folder, "samples/index.json", content)
    return read_samples(folder)


def _vocabulary(content: bytes, folder: Path) -> object:
    from lina.tokenizers.bpe import BPE, BPEConfig

    path = _file(folder, "bpe.json", content)
    return BPE.build(config=BPEConfig(file=path)).parallel_forward("two words")


def _safetensors(content: bytes, folder: Path) -> object:
    from lina.training.init.import_backbone import read_foreign_tensors

    return read_foreign_tensors(_file(folder, "weights.safetensors", content))


def _pickled(content: bytes, folder: Path) -> object:
    from lina.training.init.import_backbone import read_foreign_tensors

    return read_foreign_tensors(_file(folder, "weights.pt", content))


def _convert(content: bytes, folder: Path) -> object:
    from lina.convert.lina_speech.run import convert

    return convert(_file(folder, "weights.pt", content), folder / "out")


def _codec_weights(content: bytes, folder: Path) -> object:
    from lina.codecs.lina.weights import load_network

    return load_network(_file(folder, "codec.safetensors", content))


def _shards(content: bytes, folder: Path) -> object:
    from lina.data.token_dataset import TokenDataset

    _file(folder, "manifest.json", content)
    return TokenDataset(folder)


def _manifest(content: bytes, folder: Path) -> object:
    from lina.core.corpus.manifest import read_json_manifest

    return list(read_json_manifest(_file(folder, "manifest.jsonl", content)))


def _lexicon(content: bytes, folder: Path) -> object:
    from lina.core.text.lexicon import read_lexicon

    return read_lexicon(_file(folder, "words.tsv", content))


def _ssml(content: bytes, folder: Path) -> object:
    from lina.core.text.speakable import plain_text
    from lina.tokenizers.bytes import BytesTokenizer

    return plain_text(content.decode("utf-8", "surrogateescape"), BytesTokenizer(False))


def _audio(suffix: str) -> Reader:
    def read(content: bytes, folder: Path) -> object:
        from lina.core.audio.read import read_audio

        return read_audio(_file(folder, f"a{suffix}", content), 16_000, 1, 5.0)

    return read


READERS: dict[str, Reader] = {
    "spec": _spec,
    "override": _override,
    "checkpoint": _checkpoint,
    "speakers": _speakers,
    "samples": _samples,
    "vocabulary": _vocabulary,
    "safetensors": _safetensors,
    "pickled": _pickled,
    "convert": _convert,
    "codec_weights": _codec_weights,
    "shards": _shards,
    "manifest": _manifest,
    "lexicon": _lexicon,
    "ssml": _ssml,
    "wav": _audio(".wav"),
    "flac": _audio(".flac"),
    "ogg": _audio(".ogg"),
    "mp3": _audio(".mp3"),
}


def try_input(reader: str, content: bytes) -> BaseException | None:
    """The failure of a reader on an input; None if it read or refused it."""
    from lina.core.errors import LinaError, is_failure

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            READERS[reader](content, Path(folder))
        except LinaError as error:
            return AssertionError(f"two lines: {error}") if "\n" in str(error) else None
        except BaseException as error:
            if not is_failure(error):
                raise
            return error
    return None


def inputs(reader: str) -> list[bytes]:
    """Committed inputs of a reader, findings included."""
    files = [file for folder in (CORPUS, FINDINGS) for file in sorted((folder / reader).glob("*"))]
    return [file.read_bytes() for file in files]


def mutated(content: bytes, other: bytes, draw: random.Random) -> bytes:
    """A few random changes: bytes, pieces removed, doubled, or taken from another input."""
    data = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 4, 8))):
        at, size = draw.randrange(len(data) + 1), draw.choice((1, 1, 2, 4, 16, 64))
        change = draw.randrange(5)
        if change == 0:
            data[at : at + size] = draw.randbytes(len(data[at : at + size]))
        elif change == 1:
            del data[at : at + size]
        elif change == 2:
            data[at:at] = data[at : at + size] * draw.choice((1, 2, 40))
        elif change == 3 and other:
            start = draw.randrange(len(other))
            data[at : at + size] = other[start : start + size]
        else:
            data[at:at] = draw.choice(
                (b"\x00", b"\xff", b"[", b"{", b'"', b"-1", b"1e999", b"\xff\xff\xff\x7f", b"\n")
            )
    return bytes(data[:LONGEST])


class Figures:
    """Counts of one reader's process."""

    def __init__(self, reader: str) -> None:
        self.reader = reader
        self.inputs = 0
        self.slowest = 0.0
        self.failures: dict[str, int] = {}

    def add(self, content: bytes) -> None:
        began = time.perf_counter()
        failure = try_input(self.reader, content)
        self.slowest = max(self.slowest, time.perf_counter() - began)
        self.inputs += 1
        if failure is not None:
            kind = f"{type(failure).__name__}: {' '.join(str(failure).split())[:80]}"
            if kind not in self.failures:
                folder = FINDINGS / self.reader
                folder.mkdir(parents=True, exist_ok=True)
                (folder / hashlib.sha256(content).hexdigest()[:16]).write_bytes(content)
            self.failures[kind] = self.failures.get(kind, 0) + 1

    def result(self) -> dict[str, Any]:
        return {
            "inputs": self.inputs,
            "failures": self.failures,
            "slowest_seconds": round(self.slowest, 3),
            "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        }


def fuzz(reader: str, seconds: float, guided: bool) -> None:
    """Fuzz one reader in this process and print its figures as the last line."""
    figures, end = Figures(reader), time.monotonic() + seconds
    starts = inputs(reader) or [b""]
    if not guided:
        draw = random.Random(0)
        while time.monotonic() < end:
            figures.add(mutated(draw.choice(starts), draw.choice(starts), draw))
        print(json.dumps(figures.result()))
        return
    import atheris

    with atheris.instrument_imports(include=["lina"]):
        try_input(reader, starts[0])

    def one(content: bytes) -> None:
        figures.add(content)
        if time.monotonic() > end:
            print(json.dumps(figures.result()), flush=True)
            os._exit(0)

    folder = tempfile.mkdtemp()
    for number, content in enumerate(starts):
        (Path(folder) / str(number)).write_bytes(content)
    options = (folder, f"-max_len={LONGEST}", "-rss_limit_mb=0", "-timeout=120", "-verbosity=0")
    atheris.Setup([sys.argv[0], *options], one)
    atheris.Fuzz()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("readers", nargs="*", metavar="READER", help=f"of {', '.join(READERS)}; default: all")
    parser.add_argument("--minutes", type=float, default=30.0, help="for all readers together")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    parser.add_argument("--one", type=float, metavar="SECONDS", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    try:
        import atheris  # noqa: F401 (only asks for it)

        guided = True
    except ImportError:
        guided = False
    readers = arguments.readers or list(READERS)
    if arguments.one:
        fuzz(readers[0], arguments.one, guided)
        return
    figures = {}
    for reader in readers:
        seconds = 60 * arguments.minutes / len(readers)
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.fuzz", reader, "--one", str(seconds)],
            capture_output=True,
            text=True,
        )
        last = done.stdout.splitlines()[-1] if done.stdout else ""
        figures[reader] = json.loads(last) if last.startswith("{") else {"crash": done.stderr[-500:]}
        print(reader, json.dumps(figures[reader]), flush=True)
    text = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "guided": guided,
        "minutes": arguments.minutes,
        "readers": figures,
    }
    if arguments.json:
        arguments.json.write_text(json.dumps(text, indent=1) + "\n")
    sys.exit(any(one.get("failures") or "crash" in one for one in figures.values()))


if __name__ == "__main__":
    main()
