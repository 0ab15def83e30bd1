"""espeak-ng as the floor of an evaluation: an external program, used where it is installed, never a part of lina."""

import shutil
import subprocess
from pathlib import Path

from lina.core.errors import LinaError

PROGRAM = "espeak-ng"
VOICE = "en-us"
LONGEST = 120.0
"""Seconds that it may take for a text."""


def is_here() -> bool:
    return shutil.which(PROGRAM) is not None


def speak(text: str, path: Path) -> None:
    """Write what the program says into a WAV file.

    Raises:
        LinaError: it fails.
    """
    command = [PROGRAM, "-v", VOICE, "-b", "1", "-w", str(path), "--stdin"]
    try:
        subprocess.run(command, input=text.encode(), capture_output=True, timeout=LONGEST, check=True)
    except subprocess.CalledProcessError as error:
        told = " ".join(error.stderr.decode(errors="replace").split())
        raise LinaError(
            f"{PROGRAM} failed ({told or error.returncode}) at {text[:60]!r}; mend it, or say --no-floor"
        ) from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LinaError(f"{PROGRAM} failed: {error}; mend it, or say --no-floor") from None
