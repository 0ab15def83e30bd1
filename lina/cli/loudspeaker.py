"""Playback of audio chunks as they are computed, through an available player."""

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lina.core.errors import LinaError

Play = Callable[[Any], None]
"""Plays the next chunk of audio, an array float32 [C, n] in -1 ... 1."""

INSTEAD = "pass -o FILE to write a WAV file"
PLAYERS: dict[str, Callable[[int, int], list[str]]] = {
    "aplay": lambda rate, channels: ["-q", "-t", "raw", "-f", "S16_LE", "-r", f"{rate}", "-c", f"{channels}"],
    "paplay": lambda rate, channels: ["--raw", "--format=s16le", f"--rate={rate}", f"--channels={channels}"],
    "ffplay": lambda rate, channels: [
        *("-loglevel", "error", "-nodisp", "-autoexit", "-f", "s16le", "-ar", f"{rate}"),
        *("-ch_layout", "mono" if channels == 1 else "stereo", "-i", "-"),
    ],
}
"""Program -> arguments for raw 16-bit samples on its standard input, by sample rate in Hz and channels."""

FILE_PLAYER = "afplay"
"""Player that accepts files only."""


def find_player() -> str:
    """Find a player: the package ``sounddevice`` if it works, else a program.

    Raises:
        LinaError: there is none.
    """
    if _sounddevice() is not None:
        return "sounddevice"
    for name in (*PLAYERS, FILE_PLAYER):
        if shutil.which(name):
            return name
    raise LinaError(
        f"say: no way to play sound here: neither the package sounddevice nor {', '.join(PLAYERS)} or "
        f"{FILE_PLAYER} is installed; {INSTEAD}"
    )


def loudspeaker(player: str, sample_rate: int, channels: int) -> Any:
    """Context manager of a ``Play``; leaving it waits for the end of playback.

    Raises:
        LinaError: the player fails.
    """
    if player == "sounddevice":
        return _device(sample_rate, channels)
    if player == FILE_PLAYER:
        return _file(sample_rate, channels)
    return _program([player, *PLAYERS[player](sample_rate, channels)])


def _sounddevice() -> Any:
    try:
        import sounddevice
    except (ImportError, OSError):  # OSError: the package is installed, PortAudio is not
        return None
    return sounddevice


@contextmanager
def _device(sample_rate: int, channels: int) -> Iterator[Play]:
    import numpy as np

    sounddevice = _sounddevice()
    try:
        with sounddevice.OutputStream(samplerate=sample_rate, channels=channels, dtype="float32") as stream:
            yield lambda audio: stream.write(np.ascontiguousarray(audio.T))
    except sounddevice.PortAudioError as error:
        raise LinaError(f"say: sounddevice cannot play: {error}; {INSTEAD}") from None


@contextmanager
def _program(command: list[str]) -> Iterator[Play]:
    with tempfile.TemporaryFile() as complaints:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=complaints
        )
        assert process.stdin is not None
        try:
            yield _into(process.stdin)
            process.stdin.close()
            failed = process.wait() != 0
        except BrokenPipeError:
            failed = True
        finally:
            # Stopping lina stops playback at once.
            process.kill()
            with suppress(BrokenPipeError):
                process.stdin.close()
            process.wait()
        if failed:
            complaints.seek(0)
            message = complaints.read().decode(errors="replace").strip() or "it ended at once"
            raise LinaError(f"say: {command[0]} cannot play: {message.splitlines()[-1]}; {INSTEAD}")


def _into(pipe: Any) -> Play:
    def play(audio: Any) -> None:
        from lina.core.audio.wav import pcm16

        pipe.write(pcm16(audio))
        pipe.flush()

    return play


@contextmanager
def _file(sample_rate: int, channels: int) -> Iterator[Play]:
    from lina.core.audio.wav import WavWriter

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        with WavWriter(path, sample_rate, channels=channels) as wav:
            yield wav.write
        done = subprocess.run([FILE_PLAYER, str(path)], capture_output=True, text=True, check=False)
        if done.returncode:
            raise LinaError(f"say: {FILE_PLAYER} cannot play: {done.stderr.strip()}; {INSTEAD}")
