"""A trained model that speaks: text in, audio out, whole or as it is made.

voice = lina.load("runs/first")
audio = voice.say("Hello there.")              # float [C, samples] at voice.sample_rate
for chunk in voice.stream("Hello there."):     # the same speech, in pieces, as it is made
    play(chunk)
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lina.core.batch import pad_texts
from lina.core.checkpoint import load_weights, newest_checkpoint
from lina.core.codec import AnyCodec, decode, decoder_stream, frame_rate
from lina.core.device import choose_device
from lina.core.errors import CheckpointError, LinaError, TextError, did_you_mean
from lina.core.generate import Frame, generate
from lina.core.lm import Conditions, DelayLM
from lina.core.memory import keep_freed_memory
from lina.core.model import build_lm
from lina.core.plugin import TokenizerPlugin
from lina.core.protocols import Frontend
from lina.core.reading import read
from lina.core.resolve import Chosen, Resolved, resolve
from lina.core.sampling import Sampling
from lina.core.spec_load import load_spec
from lina.core.text import check_text

TEXT_BUCKET = 32
"""Texts are padded to a multiple of this, so that few shapes of memory ever occur."""

MAX_SECONDS = 3600
"""The longest that a limit may be, as in a spec."""

SPEC_FILE, TOKENIZER_FILE, SPEAKERS_FILE = "spec.yaml", "tokenizer.json", "speakers.json"


@dataclass(frozen=True)
class Speech:
    """What was said for one text."""

    audio: Float[Tensor, "C samples"]
    codes: Int[Tensor, "T Q"]
    attention: Float[Tensor, "T J"]
    """Where each frame (of codebook 0) read the text."""
    labels: tuple[str, ...]
    """The J text positions."""
    stopped: bool
    """False: cut at the limit, the model did not end by itself."""


class Voice:
    """A language model with its codec and text frontend."""

    def __init__(
        self, resolved: Resolved, model: DelayLM, codec: AnyCodec, frontend: Frontend, speakers: Sequence[str]
    ) -> None:
        self.resolved, self.model, self.codec, self.frontend = resolved, model.eval(), codec, frontend
        self.speakers = tuple(speakers)
        self.sample_rate = codec.sample_rate
        """Hz."""

    @property
    def parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.model.parameters())

    def say(self, text: str, **options: Any) -> Float[Tensor, "C samples"]:
        """Speak one text. Options: speaker, temperature, top_k, top_p, seed, max_seconds (the spec's by default).

        Raises:
            TextError: the text cannot be spoken.
        """
        return self.speak([text], **options)[0].audio

    def stream(self, text: str, **options: Any) -> Iterator[Float[Tensor, "C n"]]:
        """The speech of ``say`` in chunks, each as soon as its frames are there.

        With a codec that streams, the chunks together are what ``say`` gives; with one that does not, nearly.
        """
        frames = self._frames([text], **options)  # checks the text now, not at the first chunk
        return self._decoded(frames)

    def read(
        self, texts: Iterable[str], *, carry: bool = False, **options: Any
    ) -> Iterator[Float[Tensor, "C n"]]:
        """Texts one after the other in one stream, in chunks as they are made; options as for ``say``.

        Memory and time a step are constant however many there are; see ``lina.core.reading.read``.
        """
        return (spoken.audio for spoken in read(self, texts, carry=carry, **options))

    @torch.no_grad()
    def _decoded(self, frames: Iterator[Frame]) -> Iterator[Float[Tensor, "C n"]]:
        decoder = decoder_stream(self.codec)
        state = decoder.initial_state(1)
        heard, filler = False, decoder.latency
        for frame in frames:
            if not bool(frame.complete[0]):
                continue
            heard = True
            chunk, state = decoder.step(frame.codes.cpu(), state)
            if filler:
                filler -= 1
            else:
                yield chunk[0]
        if heard:
            rest = decoder.flush(state)[0]
            yield rest[:, filler * self.codec.hop :]

    @torch.no_grad()
    def speak(self, texts: Sequence[str], **options: Any) -> list[Speech]:
        """Speak texts side by side. Options as for ``say``.

        Each ends on its own and hears nothing of the others; sampled, a text draws by the seed and its place.
        """
        frames = self._frames(texts, **options)
        labels = [tuple(self.frontend.labels(self.frontend.parallel_forward(text))) for text in texts]
        codes: list[list[Tensor]] = [[] for _ in texts]
        attention: list[list[Tensor]] = [[] for _ in texts]
        stopped = [False] * len(texts)
        for frame in frames:
            complete, speaking = frame.complete.tolist(), frame.speaking.tolist()
            rows, weights = frame.codes.cpu(), frame.attention.float().cpu()
            for row in range(len(texts)):
                if complete[row]:
                    codes[row].append(rows[row])
                if speaking[row]:
                    attention[row].append(weights[row])
            stopped = frame.stopped.tolist()
        return [
            Speech(
                decode(self.codec, torch.stack(codes[row])[None])[0],
                torch.stack(codes[row]),
                torch.stack(attention[row])[:, : len(labels[row])],
                labels[row],
                stopped[row],
            )
            for row in range(len(texts))
        ]

    def _frames(
        self,
        texts: Sequence[str],
        *,
        speaker: str | None = None,
        **options: Any,
    ) -> Iterator[Frame]:
        chosen = self.choices(**options)
        return generate(self.model, self.conditions(texts, speaker), **chosen)

    def choices(
        self, *, seed: int | None = None, max_seconds: float | None = None, **sampling: Any
    ) -> dict[str, Any]:
        """What ``generate`` is told besides the conditions."""
        spec = self.resolved.spec.synthesize
        chosen = {name: getattr(spec, name) for name in ("temperature", "top_k", "top_p")}
        unknown = sampling.keys() - chosen.keys()
        if unknown:
            name = min(unknown)
            options = [*chosen, "speaker", "seed", "max_seconds"]
            raise LinaError(f"say: unknown option {name!r}{did_you_mean(name, options)}")
        chosen |= {name: value for name, value in sampling.items() if value is not None}
        seconds = spec.max_seconds if max_seconds is None else max_seconds
        if not 0 < seconds <= MAX_SECONDS:
            raise LinaError(f"say: max_seconds = {seconds} is not in 0 .. {MAX_SECONDS}")
        return {
            "sampling": Sampling(**chosen),
            "max_frames": max(1, int(seconds * frame_rate(self.codec))),
            "seed": spec.seed if seed is None else seed,
        }

    def ids(self, text: str) -> list[int]:
        """What the model reads of a text.

        Raises:
            TextError: the text cannot be spoken.
        """
        check_text(text, self.resolved.spec.text.max_characters)
        ids = self.frontend.parallel_forward(text)
        if not ids:
            raise TextError(f"text {text[:40]!r} holds nothing that this run's tokenizer reads; write words")
        return ids

    @torch.inference_mode()
    def conditions(self, texts: Sequence[str], speaker: str | None) -> Conditions:
        """What the model is told of texts and of one of ``speakers``, or of nobody."""
        ids, mask = pad_texts([self.ids(text) for text in texts], TEXT_BUCKET)
        device = self.model.logits_head.weight.device
        number = 0
        if speaker is not None:
            if self.model.speaker_embed is None:
                raise LinaError(
                    f"say: speaker {speaker!r}, but this run has learnt no speakers; "
                    "leave it out, or train with conditions.speaker: true"
                )
            if speaker not in self.speakers:
                raise LinaError(f"say: unknown speaker {speaker!r}{did_you_mean(speaker, self.speakers)}")
            number = self.speakers.index(speaker) + 1
        who = torch.full((len(texts),), number, device=device)
        return self.model.conditions(ids.to(device), mask.to(device), who)


def load(directory: str | Path, device: Literal["auto", "cpu", "cuda"] = "auto") -> Voice:
    """The newest checkpoint of a run, with its averaged weights where there are any.

    Raises:
        CheckpointError: there is no run there, or it has no whole checkpoint yet.
    """
    directory = Path(directory)
    keep_freed_memory()
    if not (directory / SPEC_FILE).is_file():
        raise CheckpointError(
            f"{directory}: is not a run (it has no {SPEC_FILE}); make one with: lina run SPEC"
        )
    checkpoint = newest_checkpoint(directory / "checkpoints")
    if checkpoint is None:
        raise CheckpointError(
            f"{directory}: has no whole checkpoint yet; train it with: lina run {directory / SPEC_FILE}"
        )
    resolved = resolve(load_spec(directory / SPEC_FILE))
    codec = resolved.codec.plugin.build(config=resolved.codec.config)
    frontend = build_frontend(resolved, directory)
    speakers = read_json(directory / SPEAKERS_FILE)
    model = build_lm(
        resolved,
        codebook_sizes=codec.codebook_sizes,
        vocab_size=frontend.vocab_size,
        speakers=len(speakers),
        seed=resolved.spec.seed,
    )
    load_weights(model, checkpoint, average=True)
    return Voice(resolved, model.to(choose_device(device)), codec, frontend, speakers)


def build_frontend(resolved: Resolved, directory: Path) -> Frontend:
    """The run's text frontend, with what it learnt from the corpus."""
    return frontend_of(resolved.tokenizer, directory)


def frontend_of(chosen: Chosen[TokenizerPlugin], directory: Path) -> Frontend:
    """The frontend of the run in ``directory``, whose spec chose this plugin."""
    learnt = read_json(directory / TOKENIZER_FILE)
    if not isinstance(learnt, dict) or "trained" not in learnt:
        raise CheckpointError(f"{directory / TOKENIZER_FILE}: has no key 'trained'; run the spec again")
    return chosen.plugin.build(config=chosen.config, trained=learnt["trained"])


def read_json(path: Path) -> Any:
    """What a small file of a run holds.

    Raises:
        CheckpointError: it is missing or damaged.
    """
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error}); run the spec again") from None
