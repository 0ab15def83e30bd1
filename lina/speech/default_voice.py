"""The voice that comes with lina, in a directory that is read like a run's."""

from pathlib import Path

from lina.core.errors import CheckpointError

VOICES = Path(__file__).parents[1] / "voices"
SPEC = "spec.yaml"


def shipped_voice(voices: Path = VOICES) -> Path:
    """Its directory; of several the last by name, so that ``english-2`` follows ``english-1``.

    Raises:
        CheckpointError: this installation has none.
    """
    found = sorted(path.parent for path in voices.glob(f"*/{SPEC}"))
    if not found:
        raise CheckpointError(
            "no voice comes with this installation of lina; name a run, or train one with: lina run SPEC"
        )
    return found[-1]
