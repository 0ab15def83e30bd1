"""A voice of exported graphs: text to audio in onnxruntime and NumPy, without torch.

It speaks texts with a speaker and with sampling; ``lina.speech.voice.Voice`` does the rest.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from lina.config.sections import SynthesizeSection
from lina.core.errors import LinaError, did_you_mean
from lina.core.generation.settings import GREEDY
from lina.core.generation.stream_key import stream_key
from lina.core.text.sentences import sentences_of_text
from lina.core.text.speakable import part_ids, plain_text
from lina.engine.flags import COMPLETE, ENDED_BY_WINDOW, FINISHED, FLAGS, STOPPED
from lina.engine.onnx.feedback import Feedback
from lina.engine.onnx.files import OUTPUTS, GraphFolder
from lina.engine.onnx.session import Graph, Graphs, ort_value
from lina.speech.ahead import iterate_ahead
from lina.speech.graph_sound import Audio, Codes, GraphSound, grouped
from lina.speech.options import SpeechOptions
from lina.speech.segments import Segment, iterate_segments, list_segments
from lina.speech.shaping import FrameTag, shape_frames, tag_frames

if TYPE_CHECKING:
    from lina.core.protocols import Tokenizer
    from lina.speech.prompt import Prompt

log = logging.getLogger("lina")

FRAMES_AHEAD = 8
"""Frames that the language model may be ahead of the codec, each in a thread of its own."""


class GraphInput(NamedTuple):
    """The input of a segment."""

    text: str
    ids: list[int]


class GraphVoice:
    """``Voice`` in so far as graphs serve it; ``obstacle`` names what they do not."""

    def __init__(
        self, folder: GraphFolder, start: Graph, step: Graph, codec: Graphs, tokenizer: Tokenizer
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
        self._start, self.step, self._codec = start, step, codec

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

        def tagged_codes(some: Iterable[Segment]) -> Generator[tuple[Codes, FrameTag], None, None]:
            nonlocal seconds
            for segment in some:
                seconds = segment.seconds
                if segment.input is not None:
                    stream = _Stream(self, segment, options)
                    yield from tag_frames(stream, segment, stream)

        def frames() -> Iterator[tuple[Audio, FrameTag]]:
            codebooks = len(self._facts["codebook_sizes"])
            sound = GraphSound(self._codec, self._facts["decoder_state"], codebooks)
            # Texts that come one by one are read in the caller's thread, and no sooner than they are needed.
            together = [segments] if isinstance(segments, list) else ([one] for one in segments)
            for some in together:
                with contextlib.closing(iterate_ahead(tagged_codes(some), FRAMES_AHEAD)) as ahead:
                    for group in grouped(ahead):
                        audio = sound.decode([codes for codes, _ in group])
                        for place, (_, tag) in enumerate(group):
                            yield audio[:, place * self.hop : (place + 1) * self.hop], tag

        for chunk in shape_frames(self, frames(), lambda: seconds, lambda array: array):
            yield chunk.audio

    def first_state(
        self, ids: Sequence[int], options: SpeechOptions, key: int
    ) -> dict[str, npt.NDArray[Any]]:
        """The state of a text's stream."""
        text = np.array([ids], np.int64)
        speaker = np.array([self._speaker(options.speaker)])
        inputs = {
            "ids": ort_value(text),
            "mask": ort_value(np.ones_like(text, bool)),
            "speaker": ort_value(speaker),
        }
        names = self._start.outputs
        found = [value.numpy() for value in self._start.run(inputs, names)]
        state = dict(zip(names, found, strict=True))
        rate = self.sample_rate / self.hop
        rules = rules_of(options, len(self._facts["codebook_sizes"]))
        rules |= {"length": np.array([max(1, int(options.max_seconds * rate))]), "key": np.array([key])}
        return state | rules

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

    def __iter__(self) -> Iterator[Codes]:
        segment, item = self._segment, cast(Any, self._segment.input)
        key = stream_key(self._options.seed, 0, segment.number)
        state = self._voice.first_state(item.ids, self._options, key)
        steps = Feedback(self._voice.step, state, [OUTPUTS[0], OUTPUTS[2]])
        count, flags = 0, np.zeros((len(FLAGS), 1), bool)
        while not flags[FINISHED, 0]:
            codes, flags = steps.run().values()
            self.stopped = bool(flags[STOPPED, 0])
            if flags[COMPLETE, 0]:
                count += 1
                yield codes[:, None].copy()
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
