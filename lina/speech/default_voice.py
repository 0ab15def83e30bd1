"""The voice shipped with lina, in the layout of an exported run."""

from pathlib import Path

from lina.core.errors import CheckpointError, did_you_mean
from lina.core.files.hub import fetch, is_address

VOICES = Path(__file__).parents[1] / "voices"
SPEC = "spec.yaml"


def shipped_voices(voices: Path = VOICES) -> list[Path]:
    """Directories of the shipped voices, by name."""
    return sorted(path.parent for path in voices.glob(f"*/{SPEC}"))


def voice_or_path(name: Path) -> Path:
    """Directory of a shipped voice by its name, such as ``english-1``, or ``english`` for the last of that language.

    Another path is returned as it is.

    Raises:
        CheckpointError: a name without a folder is of no voice.
    """
    if name.name != str(name) or name.exists():
        return name
    found = shipped_voices()
    named = [one for one in found if one.name == str(name) or one.name.rpartition("-")[0] == str(name)]
    if not named:
        known = {name for one in found for name in (one.name, one.name.rpartition("-")[0]) if name}
        raise CheckpointError(
            f"init.from: {name}: is no folder beside the spec, and no voice that comes with lina"
            f"{did_you_mean(str(name), known)}; name a run"
        )
    return named[-1]


def voice_directory(run: str | Path | None) -> Path:
    """Directory of a run or voice: a path, an address on the hub, which is fetched, or None for the shipped voice.

    Raises:
        CheckpointError: this installation ships no voice.
        DataError: the hub cannot be reached, or has no such repository.
    """
    if run is None:
        return shipped_voice()
    return fetch(str(run)) if is_address(run) else Path(run)


def shipped_voice(voices: Path = VOICES) -> Path:
    """Directory of the shipped voice; of several the last by name, so ``english-2`` replaces ``english-1``.

    Raises:
        CheckpointError: this installation ships no voice.
    """
    found = shipped_voices(voices)
    if not found:
        raise CheckpointError(
            "this installation of lina ships no voice; name a run, or train one with: lina run SPEC"
        )
    return found[-1]
