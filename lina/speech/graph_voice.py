"""A voice of exported graphs: text to audio in onnxruntime and NumPy, without torch.

It speaks texts with a speaker and with sampling; ``lina.speech.voice.Voice`` does the rest.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from lina.config.sections import SynthesizeSection
from lina.core.errors import LinaError, did_you_mean
from lina.core.files.checks import sha256
from lina.core.generation.settings import GREEDY
from lina.core.generation.stream_key import stream_key
from lina.core.registry import find, load_record
from lina.core.text.sentences import sentences_of_text
from lina.core.text.speakable import part_ids, plain_text, speaking_tokenizer
from lina.engine.flags import COMPLETE, ENDED_BY_WINDOW, FINISHED, FLAGS, STOPPED
from lina.engine.onnx.files import (
    DECODER,
    DECODER_WEIGHTS,
    FOLDER,
    LM,
    NEXT,
    OUTPUTS,
    START,
    STEP,
    STEP_INT8,
    GraphFolder,
    read_folder,
)
from lina.engine.onnx.session import Graph, Graphs, ort_value
from lina.engine.onnx.stored import StoredWeights
from lina.runs.made_with import made_with
from lina.speech.options import SpeechOptions
from lina.speech.segments import Segment, iterate_segments, list_segments
from lina.speech.shaping import FrameTag, shape_frames, tag_frames

if TYPE_CHECKING:
    from lina.core.protocols import Tokenizer
    from lina.speech.prompt import Prompt

log = logging.getLogger("lina")

Audio = npt.NDArray[np.float32]


class GraphInput(NamedTuple):
    """The input of a segment."""

    text: str
    ids: list[int]


class GraphVoice:
    """``Voice`` in so far as graphs serve it; ``obstacle`` names what they do not."""

    def __init__(
        self, folder: GraphFolder, lm: Graphs, codec: Graphs, tokenizer: Tokenizer, int8: bool = False
    ) -> None:
        self.folder, self.tokenizer = folder, tokenizer
        facts = folder.facts["speech"]
        self.sample_rate: int = facts["sample_rate"]
        """Hz."""
        self.speakers: tuple[str, ...] = tuple(facts["speakers"])
        self.channels, self.hop = int(facts["channels"]), int(facts["hop"])
        self.parameters: int = facts["parameters"]
        self._facts: dict[str, Any] = facts
        self._section = SynthesizeSection.model_validate(facts["synthesize"])
        self._start, self.step = lm.graph(START), lm.graph(STEP_INT8 if int8 else STEP)
        self._decoder = codec.graph(DECODER)

    def obstacle(self, options: Mapping[str, Any]) -> str | None:
        """The reason why graphs cannot speak with these options; None if they can."""
        switched_on = {name for name, value in options.items() if value not in (None, False)}
        others = sorted(switched_on & {"prompt", "carry", "on_sentence"})
        if others:
            return others[0]
        known = {name: value for name, value in options.items() if name not in ("carry", "on_sentence")}
        resolved = self.resolve_options(known)
        if resolved.guidance != 1 or resolved.best_of != 1:
            return "guidance" if resolved.guidance != 1 else "best_of"
        widest = resolved.sampling.widest(len(self._facts["codebook_sizes"]))
        most = self.folder.widest
        if not resolved.sampling.is_greedy and most is not None and (widest is None or widest > most):
            return f"a top_k beyond {most}"
        return None

    def resolve_options(self, options: dict[str, Any]) -> SpeechOptions:
        """Validate the options of a call, and fill in the spec's defaults.

        Raises:
            LinaError: an option is unknown, wrong or not supported by this model.
        """
        resolved = SpeechOptions.from_spec(self._section, options)
        resolved.sampling.spread(len(self._facts["codebook_sizes"]))
        self._speaker(resolved.speaker)
        return resolved

    def input(self, text: str, prompt: Prompt | None = None) -> Any:
        """The input of a text without pauses; None if the tokenizer reads nothing of it.

        Raises:
            TextError: the text cannot be spoken.
        """
        ids = part_ids(text, self.tokenizer, self._facts["max_characters"])
        return GraphInput(text, ids) if ids else None

    def stream(self, text: str, **options: Any) -> Iterator[Audio]:
        """The audio of a text in chunks [C, n] of one frame, as they are computed."""
        return self.read(sentences_of_text(plain_text(text, self.tokenizer)), **options)

    def read(self, texts: Iterable[str], **options: Any) -> Iterator[Audio]:
        """Sentences one after the other as one stream of chunks [C, n].

        Raises:
            TextError, LinaError: as ``lina.speech.voice.Voice.read``.
        """
        if isinstance(texts, str):
            raise LinaError("read: expects an iterable of sentences, got a single text; use stream or say")
        resolved = self.resolve_options(options)
        many = isinstance(texts, Sequence)
        segments = list_segments(self, list(texts), None) if many else iterate_segments(self, texts, None)
        return self._read(segments, resolved)

    def _read(self, segments: Iterable[Segment], options: SpeechOptions) -> Iterator[Audio]:
        seconds = 0.0

        def frames() -> Iterator[tuple[Audio, FrameTag]]:
            nonlocal seconds
            shapes = self._facts["decoder_state"]
            state = {name: ort_value(np.zeros(shape, np.float32)) for name, shape in shapes.items()}
            after = _changed(self._decoder)
            for segment in segments:
                seconds = segment.seconds
                if segment.input is None:
                    continue
                stream = _Stream(self, segment, options)
                for codes, tag in tag_frames(stream, segment, stream):
                    audio, *new = self._decoder.run(state | {"codes": codes}, ["audio", *after])
                    state = dict(zip((name.removeprefix(NEXT) for name in after), new, strict=True))
                    yield audio.numpy()[0], tag

        for chunk in shape_frames(self, frames(), lambda: seconds, lambda array: array):
            yield chunk.audio

    def first_state(self, ids: Sequence[int], options: SpeechOptions, key: int) -> dict[str, Any]:
        text = np.array([ids], np.int64)
        speaker = np.array([self._speaker(options.speaker)])
        inputs = {
            "ids": ort_value(text),
            "mask": ort_value(np.ones_like(text, bool)),
            "speaker": ort_value(speaker),
        }
        names = self._start.outputs
        state = dict(zip(names, self._start.run(inputs, names), strict=True))
        rate = self.sample_rate / self.hop
        rules = rules_of(options, len(self._facts["codebook_sizes"]))
        rules |= {"length": np.array([max(1, int(options.max_seconds * rate))]), "key": np.array([key])}
        return state | {name: ort_value(value) for name, value in rules.items()}

    def _speaker(self, name: str | None) -> int:
        if name is None:
            return int(self._facts["default_speaker"])
        if not self.speakers:
            raise LinaError(
                f"say: speaker {name!r}, but this run was trained without speakers; "
                "leave it out, or train with conditions.speaker: true"
            )
        if name not in self.speakers:
            raise LinaError(f"say: unknown speaker {name!r}{did_you_mean(name, self.speakers)}")
        return self.speakers.index(name) + 1


class _Stream:
    """The frames of a segment, each [1, 1, Q], as the decoder reads them."""

    def __init__(self, voice: GraphVoice, segment: Segment, options: SpeechOptions) -> None:
        self._voice, self._segment, self._options = voice, segment, options
        self.stopped = False

    def __iter__(self) -> Iterator[Any]:
        segment, item = self._segment, cast(Any, self._segment.input)
        key = stream_key(self._options.seed, 0, segment.number)
        state = self._voice.first_state(item.ids, self._options, key)
        step, changed = self._voice.step, _changed(self._voice.step)
        count, flags = 0, np.zeros((len(FLAGS), 1), bool)
        while not flags[FINISHED, 0]:
            codes, flag, *new = step.run(state, [OUTPUTS[0], OUTPUTS[2], *changed])
            state |= dict(zip((name.removeprefix(NEXT) for name in changed), new, strict=True))
            flags = flag.numpy()
            self.stopped = bool(flags[STOPPED, 0])
            if flags[COMPLETE, 0]:
                count += 1
                yield ort_value(codes.numpy()[:, None])
        if not (self.stopped or flags[ENDED_BY_WINDOW, 0]):
            seconds = count * self._voice.hop / self._voice.sample_rate
            log.warning("sentence %d was cut at %.1f s: %r", segment.sentence + 1, seconds, item.text[:60])


def rules_of(options: SpeechOptions, codebooks: int) -> dict[str, npt.NDArray[Any]]:
    """The sampling of one stream as leaves of the step's state, as ``lina.engine.state.first_state`` gives them."""
    temperature, top_k, top_p = options.sampling.spread(codebooks)
    rules = {
        "sampling.temperature": np.array([temperature]),
        "sampling.top_k": np.array([top_k]),
        "sampling.top_p": np.array([top_p]),
    }
    if temperature[0] <= GREEDY:  # greedy tokens are never drawn again
        rules["repetition.ratio"] = np.array([np.inf])
    return rules


def _changed(graph: Graph) -> list[str]:
    return [name for name in graph.outputs if name.startswith(NEXT)]


def folder_obstacle(directory: Path) -> str | None:
    """The reason why a directory cannot be spoken by graphs alone; None if it can."""
    folder = read_folder(directory / FOLDER)
    if folder is None or not (folder.path / DECODER_WEIGHTS).is_file():
        return "it has no exported graphs"
    if folder.facts["speech"]["tokenizer"] is None:
        return "its tokenizer reads files of its own"
    weights = directory / folder.facts["weights"]["file"]
    checkpoints = list((directory / "checkpoints").glob("step-*"))
    if checkpoints != [weights.parent] or sha256(weights) != folder.facts["weights"]["sha256"]:
        return "its weights are not those that were exported"
    return None if find_spec("onnxruntime") else "onnxruntime is not installed"


def load_graph_voice(
    directory: Path, threads: int | None = None, lexicon: Path | None = None, int8: bool = False
) -> GraphVoice:
    """Load a directory that has no ``folder_obstacle``.

    Raises:
        LinaError: 8-bit products are wrong on this processor, or a file is damaged.
        TextError: the lexicon cannot be read, or the run's tokenizer has no phonemes.
    """
    folder = read_folder(directory / FOLDER)
    assert folder is not None
    facts = folder.facts["speech"]["tokenizer"]
    plugin: Any = load_record(
        find("tokenizer", facts["plugin"], made_with(directory).get(("tokenizer", facts["plugin"])))
    )
    built = plugin.build(config=plugin.Config.model_validate(facts["config"]), trained=facts["trained"])
    if lexicon is None:
        lexicon = next(iter(sorted(directory.glob("lexicon-*.tsv"))), None)
    tokenizer = speaking_tokenizer(built, facts["unknown"], lexicon)
    weights = StoredWeights(directory / folder.facts["weights"]["file"], LM)
    lm = Graphs(folder, weights, threads or 1)
    if int8 and (reason := lm.int8_obstacle()):
        raise LinaError(f"backend 'onnx-int8' cannot be used: {reason}; use auto")
    codec = Graphs(folder, StoredWeights(folder.path / DECODER_WEIGHTS), threads or 1)
    return GraphVoice(folder, lm, codec, tokenizer, int8)
