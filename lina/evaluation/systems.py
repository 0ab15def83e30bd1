"""Who says the texts of an evaluation: the voice, the recordings, their codec resynthesis, and espeak-ng."""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import soundfile
import torch

from lina.core.audio.codec import decode, encode
from lina.core.audio.read import read_audio
from lina.core.audio.wav import write_wav
from lina.evaluation import espeak
from lina.evaluation.process_memory import peak_mib
from lina.evaluation.records import CODEC, FLOOR, MODEL, RECORDINGS, ClipRecord
from lina.evaluation.text_set import Item
from lina.evaluation.timed_synthesis import speak_timed
from lina.speech.alignment import mean_following
from lina.speech.voice import Voice

CLIPS = Path("clips")
LONGEST_RECORDING = 3600.0
WARM_UP_FRAMES = 12


@dataclass(frozen=True)
class Speakers:
    """All that says texts in one evaluation."""

    voice: Voice
    folder: Path
    seed: int
    speaker: str | None = None
    """Of texts that name none."""
    alone: bool = True
    """The process has done nothing else: its memory is worth noting."""

    def clip(self, item: Item, system: str) -> ClipRecord:
        """Say it, write it, and note what can be noted while it is said."""
        path = CLIPS / f"{file_name(item.id)}.{file_name(system)}.wav"
        (self.folder / CLIPS).mkdir(exist_ok=True)
        say = {MODEL: self._model, CODEC: self._codec, RECORDINGS: self._recording, FLOOR: _espeak}[system]
        record = say(item, self.folder / path)
        return record.model_copy(update={"system": system, "audio": path})

    def warm_up(self, item: Item) -> None:
        """What happens once in a process is not a text's time."""
        chunks = self.voice.stream(item.text, seed=self.seed, best_of=1)
        for _ in islice(chunks, WARM_UP_FRAMES):
            pass

    def speaker_of(self, item: Item) -> str | None:
        known = self.voice.model.speaker_embed is not None and item.speaker in self.voice.speakers
        return item.speaker if known else self.speaker

    def _model(self, item: Item, path: Path) -> ClipRecord:
        timed = speak_timed(self.voice, item.text, seed=self.seed, speaker=self.speaker_of(item))
        write_wav(path, timed.speech.audio, self.voice.sample_rate)
        aligned = timed.speech.alignment
        return _record(
            item,
            timed.speech.audio.shape[1] / self.voice.sample_rate,
            synthesis_seconds=timed.seconds,
            first_audio=timed.first_audio,
            peak_memory_mib=peak_mib() if self.alone else None,
            skipped=aligned.skipped,
            repeated=aligned.repeated,
            unread=aligned.unread,
            stopped=aligned.stopped,
            following=mean_following([one.attention for one in timed.speech.sentences]),
        )

    def _recording(self, item: Item, path: Path) -> ClipRecord:
        codec = self.voice.codec
        audio = read_audio(_recording_of(item), codec.sample_rate, codec.channels, LONGEST_RECORDING)
        write_wav(path, audio, codec.sample_rate)
        return _record(item, audio.shape[1] / codec.sample_rate)

    @torch.inference_mode()
    def _codec(self, item: Item, path: Path) -> ClipRecord:
        codec = self.voice.codec
        audio = read_audio(_recording_of(item), codec.sample_rate, codec.channels, LONGEST_RECORDING)
        decoded = decode(codec, encode(codec, audio[None]))[0]
        write_wav(path, decoded, codec.sample_rate)
        return _record(item, decoded.shape[1] / codec.sample_rate)


def systems(items: Sequence[Item], floor: bool) -> list[tuple[str, Callable[[Item], bool]]]:
    """Who speaks, in the order of speaking, and which texts: the voice first, while nothing else takes memory."""

    def always(item: Item) -> bool:
        return True

    def recorded(item: Item) -> bool:
        return item.recording is not None

    return [(MODEL, always), (CODEC, recorded), (RECORDINGS, recorded), *([(FLOOR, always)] if floor else [])]


def file_name(id: str) -> str:
    """The id itself where it is a harmless name; else what is left of it and a digest that tells ids apart."""
    name = re.sub(r"[^A-Za-z0-9_-]", "_", id)[:60]
    return name if name == id else f"{name}-{hashlib.sha256(id.encode()).hexdigest()[:8]}"


def _espeak(item: Item, path: Path) -> ClipRecord:
    espeak.speak(item.text, path)
    return _record(item, float(soundfile.info(path).duration))


def _record(item: Item, seconds: float, **measured: float | bool | None) -> ClipRecord:
    return ClipRecord(
        id=item.id,
        system="",
        text=item.text,
        audio=Path(),
        seconds=seconds,
        **measured,  # type: ignore[arg-type]
    )


def _recording_of(item: Item) -> Path:
    assert item.recording is not None
    return item.recording
