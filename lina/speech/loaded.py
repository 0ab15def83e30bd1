"""A run or voice that ``lina.load`` gives: audio as NumPy arrays, by exported graphs where they serve, else by PyTorch.

PyTorch and the model are loaded at the first call that graphs do not serve, and at the first use of an attribute of
``lina.speech.voice.Voice``. Where there is a GPU, graphs speak short texts on the CPU until the model is on it, which
takes seconds: it is loaded beside the second call.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from lina.core.errors import LinaError, did_you_mean
from lina.core.process.pytorch import require_pytorch
from lina.engine.backend_names import BACKENDS, OnnxName
from lina.engine.onnx.files import FOLDER, read_folder
from lina.speech.graph_loading import folder_obstacle, load_graph_voice
from lina.speech.graph_sound import Audio
from lina.speech.graph_voice import GraphVoice

if TYPE_CHECKING:
    from lina.core.protocols import Tokenizer
    from lina.engine.backend_names import BackendName
    from lina.speech.options import SpeechOptions
    from lina.speech.prompt import Prompt
    from lina.speech.voice import Voice

log = logging.getLogger("lina")
choice_log = logging.getLogger("lina.engine")
"""Of the backend, as ``lina.engine.backend`` logs it."""

SHORT = 400
"""Characters of a text that graphs speak on a CPU before PyTorch and a GPU are ready."""
GPUS = ("/dev/nvidia0", "/dev/dxg")
"""Files that a machine with an NVIDIA GPU has: on Linux, and on Windows' subsystem for it."""


class LoadedVoice:
    """``Voice`` whose ``say``, ``stream`` and ``read`` give arrays float32 [C, n]; all else is ``Voice``'s."""

    def __init__(
        self,
        directory: Path,
        device: Literal["auto", "cpu", "cuda"] = "auto",
        settings: Sequence[str] = (),
        threads: int | None = None,
        lexicon: str | Path | None = None,
        backend: BackendName = "auto",
    ) -> None:
        """Arguments as of ``lina.speech.voice_loading.load``."""
        if backend not in BACKENDS:
            raise LinaError(f"backend: unknown backend {backend!r}{did_you_mean(backend, BACKENDS)}")
        self._arguments = directory, device, settings, threads, lexicon, backend
        self._graphs: GraphVoice | None = None
        self._voice: Voice | None = None
        self._lock = threading.Lock()
        self._calls = 0
        self._loading: threading.Thread | None = None
        reason = self._unwanted_graphs() or folder_obstacle(directory)
        if reason is None:
            own = None if lexicon is None else Path(lexicon)
            int8 = None if backend == "auto" else backend == "onnx-int8"
            self._graphs = load_graph_voice(directory, threads, own, int8)
            choice_log.info("%s: speaking by onnxruntime, without PyTorch", directory)
            return
        choice_log.info("%s: %s; loading PyTorch", directory, reason)
        _ = self.voice  # whose errors belong to loading

    def _unwanted_graphs(self) -> str | None:
        """The reason why these arguments are not for graphs; None if they are."""
        _, device, settings, threads, _, backend = self._arguments
        if backend not in ("auto", "onnx", "onnx-int8"):
            return f"backend {backend!r} is PyTorch's"
        if device != "cpu" and (device != "auto" or (backend != "auto" and _has_gpu())):
            return f"device {device!r} is not the CPU"
        if settings:
            return "graphs do not serve settings"
        plain = isinstance(threads, int | None) and not isinstance(threads, bool)
        return None if plain and (threads is None or threads > 0) else f"threads is {threads!r}"

    @property
    def voice(self) -> Voice:
        """The voice in PyTorch."""
        with self._lock:
            if self._voice is None:
                self._voice = self._load()
            return self._voice

    def _load(self) -> Voice:
        require_pytorch()
        from lina.speech.voice_loading import load

        directory, *_, backend = self._arguments
        if backend in get_args(OnnxName) and read_folder(directory / FOLDER) is None:
            from lina.speech.graph_export import write_voice_graphs

            log.info("%s: exporting the decode step for onnxruntime", directory)
            write_voice_graphs(directory)
        return load(*self._arguments)

    @property
    def sample_rate(self) -> int:
        """Hz."""
        return self.voice.sample_rate if self._graphs is None else self._graphs.sample_rate

    @property
    def speakers(self) -> tuple[str, ...]:
        """Names of speakers."""
        return self.voice.speakers if self._graphs is None else self._graphs.speakers

    @property
    def tokenizer(self) -> Tokenizer:
        """Of the voice, with its lexicon."""
        return self.voice.tokenizer if self._graphs is None else self._graphs.tokenizer

    def resolve_options(self, options: dict[str, Any]) -> SpeechOptions:
        """As ``Voice.resolve_options``."""
        graphs = self._serving(dict(options), 0)
        return self.voice.resolve_options(options) if graphs is None else graphs.resolve_options(options)

    def input(self, text: str, prompt: Prompt | None = None) -> Any:
        """As ``Voice.input``; by graphs only ids and text."""
        if self._graphs is None or prompt is not None:
            self._log_first_use("a prompt")
            return self.voice.input(text, prompt)
        return self._graphs.input(text)

    def say(self, text: str, **options: Any) -> Audio:
        """As ``Voice.say``: the audio of a text, float32 [C, samples]."""
        chunks = list(self.stream(text, **options))
        channels = chunks[0].shape[0] if chunks else 1
        return np.concatenate([np.zeros((channels, 0), np.float32), *chunks], axis=1)

    def stream(self, text: str, **options: Any) -> Iterator[Audio]:
        """As ``Voice.stream``: the same audio in chunks of one frame, as they are computed."""
        graphs = self._serving(options, len(text))
        if graphs is not None:
            return graphs.stream(text, **options)
        return (chunk.numpy() for chunk in self.voice.stream(text, **options))

    def read(self, texts: Iterable[str], **options: Any) -> Iterator[Audio]:
        """As ``Voice.read``: sentences one after the other as one stream of chunks."""
        graphs = self._serving(options, sum(map(len, texts)) if isinstance(texts, Sequence) else None)
        if graphs is not None:
            return graphs.read(texts, **options)
        return (chunk.numpy() for chunk in self.voice.read(texts, **options))

    def _serving(self, options: dict[str, Any], characters: int | None) -> GraphVoice | None:
        """The graphs, if they serve a call with these options; removes options that are switched off.

        ``characters``: of the text, None if it comes bit by bit; 0: nothing is spoken.
        """
        if self._graphs is None or (characters != 0 and self._leaves_to_gpu(characters)):
            return None
        reason = self._graphs.obstacle(options)
        if reason is None:
            options.pop("prompt", None), options.pop("carry", None), options.pop("on_sentence", None)
            return self._graphs
        choice_log.info("graphs do not serve %s; loading PyTorch", reason)
        return None

    def _log_first_use(self, name: str) -> None:
        """Log why PyTorch is loaded, if it is loaded now."""
        if self._graphs is not None and self._voice is None:
            choice_log.info("graphs do not serve %s; loading PyTorch", name)

    def _leaves_to_gpu(self, characters: int | None) -> bool:
        """Choose between graphs and a GPU, which is prepared beside the second call: speaking once does not need it."""
        _, device, *_ = self._arguments
        if device != "auto" or not _has_gpu():
            return False
        self._calls += 1
        if self._voice is None and self._loading is None and self._calls == 2:
            self._loading = threading.Thread(target=self._load_beside, name="lina voice")
            self._loading.start()
        ready = self._voice is not None and (self._loading is None or not self._loading.is_alive())
        if not ready and characters is not None and characters <= SHORT:
            return False
        if self.voice.engines.device.type == "cuda":
            return True
        self._arguments = self._arguments[0], "cpu", *self._arguments[2:]  # PyTorch sees no GPU
        return False

    def _load_beside(self) -> None:
        try:
            _ = self.voice
        except Exception as error:  # whoever needs it meets the error
            log.info("loading the voice on a GPU: %s", error)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "voice":
            raise AttributeError(name)
        self._log_first_use(name)
        return getattr(self.voice, name)


def _has_gpu() -> bool:
    """Look for an NVIDIA GPU that PyTorch could use, without importing PyTorch, which lina-voice is without."""
    return find_spec("torch") is not None and any(Path(path).exists() for path in GPUS)
