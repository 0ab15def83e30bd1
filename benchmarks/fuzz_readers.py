"""Readers of files from elsewhere, each as a function of an input's bytes, and the committed inputs (``make fuzz``)."""

import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "tests" / "faults"
CORPUS, FINDINGS = FOLDER / "corpus", FOLDER / "findings"

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
