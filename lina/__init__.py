"""Text-to-speech with linear-attention language models over neural-codec tokens."""

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lina.runs.device import Device
    from lina.speech.voice import Voice

try:
    __version__ = version("lina")
except PackageNotFoundError:  # a source tree that is on the path without being installed
    __version__ = "0.0.0+source"

__all__ = ["__version__", "load"]


def load(
    run: str | Path | None = None,
    settings: Sequence[str] = (),
    *,
    device: "Device" = "auto",
    threads: int | None = None,
) -> "Voice":
    """The voice of a run directory, finished or not, such as ``runs/first``, or of what ``lina export`` made of one.

    Left out, it is the voice that comes with lina.

    ``voice.say(text)`` gives audio [C, N]; ``voice.stream(text)`` gives it in chunks [C, n] as they are made.

    ``settings``: keys of the spec's ``synthesize`` and their values, such as ``"synthesize.window={}"``, that count in
    place of the run's own.

    ``device``: of the model: auto (a CUDA device if there is one), cpu or cuda.

    ``threads``: CPU threads of PyTorch inside the voice's calls, whatever ``torch.set_num_threads`` is outside them; by
    default 1 for a model of at most 64 million parameters, and PyTorch's own number for a larger one.

    Raises:
        LinaError: there is no such device, or ``threads`` is no number of threads.
        SpecError: a setting is wrong.
        CheckpointError: the directory is missing, holds no checkpoint, or a damaged one.
        PluginError: a plugin of the run is missing here, or is another version.
    """
    from lina.speech import voice
    from lina.speech.default_voice import shipped_voice

    return voice.load(shipped_voice() if run is None else Path(run), device, settings, threads)
