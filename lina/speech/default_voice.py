"""The voice shipped with lina, in the layout of an exported run."""

from pathlib import Path

from lina.core.errors import CheckpointError

VOICES = Path(__file__).parents[1] / "voices"
SPEC = "spec.yaml"


def shipped_voice(voices: Path = VOICES) -> Path:
    """Directory of the shipped voice; of several the last by name, so ``english-2`` replaces ``english-1``.

    Raises:
        CheckpointError: this installation ships no voice.
    """
    found = sorted(path.parent for path in voices.glob(f"*/{SPEC}"))
    if not found:
        raise CheckpointError(
            "this installation of lina ships no voice; name a run, or train one with: lina run SPEC"
        )
    return found[-1]
