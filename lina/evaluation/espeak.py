"""espeak-ng as the floor of an evaluation: an external program, used where it is installed, never a part of lina."""

import shutil
import subprocess
from pathlib import Path

from lina.core.errors import LinaError

PROGRAM = "espeak-ng"
VOICE = "en-us"
TIMEOUT = 120.0
"""Seconds per text."""


def is_installed() -> bool:
    return shutil.which(PROGRAM) is not None


def speak(text: str, path: Path) -> None:
    """Synthesize a text into a WAV file.

    Raises:
        LinaError: The program fails.
    """
    command = [PROGRAM, "-v", VOICE, "-b", "1", "-w", str(path), "--stdin"]
    try:
        subprocess.run(command, input=text.encode(), capture_output=True, timeout=TIMEOUT, check=True)
    except subprocess.CalledProcessError as error:
        output = " ".join(error.stderr.decode(errors="replace").split())
        raise LinaError(
            f"{PROGRAM} failed ({output or error.returncode}) at {text[:60]!r}; fix it, or pass --no-floor"
        ) from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LinaError(f"{PROGRAM} failed: {error}; fix it, or pass --no-floor") from None
