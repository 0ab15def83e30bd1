"""The speech that lina's codec is trained on and measured with, from public parts.

    git clone https://github.com/rhasspy/dataset-voice-kathleen KATHLEEN      # CC0; the rest comes by itself
    python -m benchmarks.codec_data train --kathleen KATHLEEN --out data/codec
    python -m benchmarks.codec_data sentences --out data/codec/sentences.txt
    python -m benchmarks.hibari_speech data/codec/sentences.txt --minutes 600 --out data/codec/hibari
    python -m benchmarks.kokoro_voices ...                                    # optional: five more voices
    python -m benchmarks.codec_data eval --kathleen KATHLEEN --out data/codec-eval

``train`` and ``sentences`` leave out what ``codec_split.py`` keeps out, which is the ``known`` of ``eval``; its
``unknown`` are speakers and languages that no training source has. Every folder has a ``manifest.jsonl`` as corpus
``jsonl`` reads it.
"""

import argparse
import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from benchmarks import fillets
from benchmarks.codec_split import KEPT, MOST_WORDS, KeptOut, chosen, digest
from lina.core.audio.read import audio_seconds, read_audio
from lina.core.corpus.manifest import read_json_manifest
from lina.core.errors import DataError, LinaError
from lina.core.files.names import cache_folder
from lina.core.plugin import CorpusPlugin
from lina.core.registry import load
from lina.core.utterance import Reject, Utterance
from lina.corpora import wordnet
from lina.corpora.folder import Folder, FolderConfig
from lina.corpora.synthesis import synthesize

LANGUAGES = {"kathleen": "en", "festvox-ru": "ru", "asterisk-it": "it", "asterisk-ru": "ru", "hibari": "en"}
FETCHED = ("festvox-ru", "asterisk-it", "asterisk-ru")
UNKNOWN = {"asterisk-en": 40, "asterisk-es": 20, "asterisk-fr": 20, "fillets-nl": 20, "fillets-cs": 20}
LONGEST, SHORTEST = 15.0, 1.0  # seconds of an utterance of `unknown`
QUIET, LEVEL = 0.4, 0.5  # recordings whose peak is below the first are brought to the second
OPUS_EFFORT = 0.88  # libsndfile's compression level: 39 kbit/s at 24 kHz, 34 at 16


class Item(NamedTuple):
    id: str
    audio: Path
    text: str
    speaker: str
    language: str
    source: str


def read(source: str, kathleen: Path | None = None) -> list[Item]:
    """All utterances of a source; what has to be fetched is, once, into lina's cache."""
    if source.startswith("fillets"):
        language = source[-2:]
        return [Item(*line, language, source) for line in fillets.lines(language)]
    if source == "kathleen":
        assert kathleen is not None
        manifest = kathleen / "manifest.jsonl"
        entries = (
            read_json_manifest(manifest)
            if manifest.is_file()
            else Folder.read(config=FolderConfig(path=kathleen, speaker="kathleen"))
        )
    else:
        plugin: type[CorpusPlugin] = load("corpus", source)
        if not (cache_folder() / source).is_dir():
            plugin.get(cache_folder() / source)
        entries = plugin.read(config=plugin.Config())
    language = LANGUAGES.get(source) or source[-2:]
    return _items(entries, language, source)


def _items(entries: Iterable[Utterance | Reject], language: str, source: str) -> list[Item]:
    return [
        Item(one.id, one.audio, one.text, one.speaker, language, source)
        for one in entries
        if isinstance(one, Utterance)
    ]


def sentences() -> list[str]:
    """WordNet's, all of them."""
    file = cache_folder() / "wordnet" / "sentences.txt"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\n".join(wordnet.fetch(file.parent)) + "\n", encoding="utf-8")
    return file.read_text(encoding="utf-8").splitlines()


def kept_out(known: dict[str, list[Item]]) -> KeptOut:
    """Every sentence that no training source may say."""
    texts = {name: [item.text for item in items] for name, items in known.items()} | {"hibari": sentences()}
    return KeptOut(text for name, count in KEPT.items() for text in chosen(texts[name], count))


def write(items: Iterable[Item], folder: Path, how: str) -> None:
    """One manifest with its audio: ``copy`` as it is, or as mono ``opus`` or ``flac`` at its own rate."""
    folder.mkdir(parents=True, exist_ok=True)
    rows, seconds, size = [], 0.0, 0
    for item in items:
        name = f"{item.source}-{item.id}".replace("/", "-") if how == "flac" else item.id.replace("/", "-")
        target = (
            folder / f"{name}{item.audio.suffix if how == 'copy' else {'opus': '.ogg', 'flac': '.flac'}[how]}"
        )
        try:
            if not target.exists():
                _write_audio(item.audio, target, how)
        except DataError as error:
            print(f"left out: {error}")
            continue
        row = item._asdict() | {"id": name, "audio": target.name, "seconds": round(audio_seconds(target), 3)}
        rows.append(json.dumps(row, ensure_ascii=False) + "\n")
        seconds, size = seconds + row["seconds"], size + target.stat().st_size
    (folder / "manifest.jsonl").write_text("".join(rows), encoding="utf-8")
    print(f"{folder}: {len(rows)} utterances, {seconds / 60:.1f} minutes, {size / 1e6:.1f} MB")


def _write_audio(source: Path, target: Path, how: str) -> None:
    partial = target.with_suffix(".partial")
    if how == "copy":
        shutil.copyfile(source, partial)
    else:
        rate = 16_000 if source.suffix == ".g722" else soundfile.info(source).samplerate
        speech = read_audio(source, min(rate, 24_000), max_seconds=120)[0].numpy()
        peak = float(np.abs(speech).max())
        speech = speech * (LEVEL / peak) if peak < QUIET else speech
        if how == "opus":
            soundfile.write(
                partial,
                speech,
                min(rate, 24_000),
                format="OGG",
                subtype="OPUS",
                compression_level=OPUS_EFFORT,
            )
        else:
            soundfile.write(partial, speech, min(rate, 24_000), format="FLAC", subtype="PCM_16")
    partial.replace(target)


def one_take(items: Sequence[Item], count: int) -> Iterator[Item]:
    """The first recording of each chosen sentence."""
    left = {digest(text) for text in chosen([item.text for item in items], count)}
    for item in items:
        if digest(item.text) in left:
            left.remove(digest(item.text))
            yield item


def train(arguments: argparse.Namespace) -> None:
    known = {name: read(name, arguments.kathleen) for name in ("kathleen", *FETCHED)}
    out = kept_out(known)
    if arguments.kokoro:
        utterances = read_json_manifest(arguments.kokoro / "manifest.jsonl")
        known["kokoro-ja"] = _items(utterances, "en", "kokoro-ja")
    for name, items in known.items():
        if not arguments.only or name in arguments.only:
            allowed = (item for item in items if item.text not in out)
            write(allowed, arguments.out / name, "opus" if name in arguments.opus else "copy")


def evaluation(arguments: argparse.Namespace) -> None:
    known = {name: read(name, arguments.kathleen) for name in ("kathleen", *FETCHED)}
    with tempfile.TemporaryDirectory() as scratch:
        synthesize(chosen(sentences(), KEPT["hibari"]), Path(scratch), processes=1)
        utterances = read_json_manifest(Path(scratch) / "manifest.jsonl")
        known["hibari"] = _items(utterances, "en", "hibari")
        picked: list[Item] = []
        for name, items in known.items():
            picked += one_take(items, KEPT[name])
        write(picked, arguments.out / "known", "flac")
    picked = []
    for name, count in UNKNOWN.items():
        items = [item for item in read(name) if SHORTEST <= audio_seconds(item.audio) <= LONGEST]
        speakers = sorted({item.speaker for item in items})
        for speaker in speakers:
            own = [item for item in items if item.speaker == speaker]
            picked += one_take(own, count // len(speakers))
    write(picked, arguments.out / "unknown", "flac")


def training_text(arguments: argparse.Namespace) -> None:
    out = KeptOut(chosen(sentences(), KEPT["hibari"]))
    allowed = [one for one in sentences() if one not in out and len(one.split()) <= MOST_WORDS]
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text("\n".join(allowed[: arguments.count]) + "\n", encoding="utf-8")
    print(f"{arguments.out}: {len(allowed[: arguments.count])} sentences")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    for name, does in (("train", train), ("eval", evaluation), ("sentences", training_text)):
        command = commands.add_parser(name)
        command.set_defaults(does=does)
        command.add_argument("--out", type=Path, required=True)
        if name in ("train", "eval"):
            command.add_argument(
                "--kathleen", type=Path, required=True, help="with manifest.jsonl, or .txt beside"
            )
        if name == "train":
            command.add_argument("--kokoro", type=Path, help="what kokoro_voices.py wrote")
            command.add_argument(
                "--opus", nargs="*", default=[], help="sources to write as Opus, to travel light"
            )
            command.add_argument("--only", nargs="*", default=[], help="sources; all by default")
        if name == "sentences":
            command.add_argument("--count", type=int, default=20_000)
    arguments = parser.parse_args()
    try:
        arguments.does(arguments)
    except LinaError as error:
        print(f"codec_data: error: {error}")
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
