"""The systems compared in an evaluation: the model, ground-truth recordings, codec resynthesis, and espeak-ng."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import soundfile
import torch

from lina.core.audio.codec import decode, encode
from lina.core.audio.read import read_audio
from lina.core.audio.wav import write_wav
from lina.core.files.names import file_name
from lina.core.text.sentences import sentences_of_text
from lina.evaluation import espeak
from lina.evaluation.process_memory import peak_mib
from lina.evaluation.records import CODEC, FLOOR, MODEL, RECORDINGS, ClipRecord
from lina.evaluation.text_set import Item
from lina.speech.alignment import mean_focus
from lina.speech.long_form import read
from lina.speech.result import SentenceSpeech, Speech, join_speech
from lina.speech.shaping import AudioChunk
from lina.speech.voice import Voice

CLIPS = Path("clips")
LONGEST_RECORDING = 3600.0
WARM_UP_FRAMES = 12


@dataclass(frozen=True)
class TimedSpeech:
    speech: Speech
    seconds: float
    """From the text to the last chunk."""
    first_audio: float
    """From the text to the first chunk."""


def speak_timed(voice: Voice, text: str, **options: Any) -> TimedSpeech:
    """Stream the speech of a text, and measure the time; options as for ``Voice.say``."""
    chunks: list[AudioChunk] = []
    sentences: list[SentenceSpeech] = []
    began = time.perf_counter()
    first_audio = None
    for chunk in read(voice, sentences_of_text(text), on_sentence=sentences.append, **options):
        if first_audio is None:
            first_audio = time.perf_counter() - began
        chunks.append(chunk)
    seconds = time.perf_counter() - began
    return TimedSpeech(
        join_speech(voice.codec, chunks, sentences), seconds, seconds if first_audio is None else first_audio
    )


@dataclass(frozen=True)
class ClipWriter:
    """Writes the clips of all systems into the folder of an evaluation."""

    voice: Voice
    folder: Path
    seed: int
    speaker: str | None = None
    """Of texts that name none."""
    alone: bool = True
    """The process has done no other work: its peak memory is that of synthesis."""

    def write(self, item: Item, system: str) -> ClipRecord:
        """Synthesize a text by a system into a file; return its record with times and alignment."""
        path = CLIPS / f"{file_name(item.id)}.{file_name(system)}.wav"
        (self.folder / CLIPS).mkdir(exist_ok=True)
        synthesize = {
            MODEL: self._model,
            CODEC: self._codec,
            RECORDINGS: self._recording,
            FLOOR: _espeak,
        }[system]
        record = synthesize(item, self.folder / path)
        return record.model_copy(update={"system": system, "audio": path})

    def warm_up(self, item: Item) -> None:
        """Speak a few frames, so that the cost of the first call is in no measured time."""
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
            following=mean_focus([one.attention for one in timed.speech.sentences]),
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


def synthesis_jobs(items: Sequence[Item], floor: bool) -> list[tuple[Item, str]]:
    """Return (text, system) in the order of synthesis: the model first, while nothing else takes memory.

    Recordings and their codec resynthesis are of the texts that have a recording.
    """
    recorded = [item for item in items if item.recording is not None]
    jobs = [(item, MODEL) for item in items]
    jobs += [(item, system) for system in (CODEC, RECORDINGS) for item in recorded]
    return jobs + ([(item, FLOOR) for item in items] if floor else [])


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
