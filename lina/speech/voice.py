"""Text-to-speech with a trained model: the whole audio of a text, or a stream of chunks.

voice = lina.load("runs/first")
audio = voice.say("Hello there.")              # float [C, samples] at voice.sample_rate
for chunk in voice.stream("Hello there."):     # the same audio, frame by frame
    play(chunk)
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from lina.config.resolve import ResolvedSpec
from lina.core.audio.codec import AnyCodec, frame_rate
from lina.core.errors import LinaError, did_you_mean
from lina.core.generation.guidance import Guided, LanguageModel
from lina.core.generation.stream_key import stream_key
from lina.core.model.delay_lm import Conditions, DelayLM, LMState
from lina.core.model.text_encoder import pad_texts
from lina.core.protocols import Tokenizer
from lina.core.text.sentences import sentences_of_text
from lina.core.text.speakable import plain_text
from lina.engine.backend_names import BackendName
from lina.engine.onnx.files import GraphFolder
from lina.engine.onnx.session import Graphs
from lina.engine.onnx.weights import weight_of
from lina.engine.request import Request
from lina.speech.batch import synthesize_batch
from lina.speech.engines import Engines
from lina.speech.long_form import read
from lina.speech.options import SpeechOptions
from lina.speech.prompt import Prompt, encode_prompt
from lina.speech.result import Speech
from lina.speech.synthesis_input import (
    SynthesisInput,
    build_input,
    encode_prompts,
    encode_text,
    prompts_of_texts,
)
from lina.speech.threads import choose_threads

TEXT_BUCKET = 32
"""Texts are padded to a multiple of this, so that few shapes occur."""


class Voice:
    """A language model with its codec and tokenizer.

    Options of ``say``, ``stream`` and ``speak``, which default to the run's spec:

    - ``speaker``: one of ``speakers``; by default the first, or no speaker if training dropped speakers.
    - ``prompt``: a ``lina.speech.prompt.Prompt`` (a recording with its transcript) to continue in the same voice.
    - ``temperature``, ``top_k``, ``top_p``, ``seed``: sampling.
    - ``max_seconds``: a longer sentence is cut, with a warning.
    - ``guidance``: the scale of classifier-free guidance; 1 is off.
    - ``best_of``: synthesize each sentence so many times, with the seeds ``seed``, ``seed`` + 1, ..., and keep the
      best alignment.

    Texts are synthesized sentence by sentence (``lina.core.text.sentences``), on ``threads`` CPU threads.
    """

    def __init__(
        self,
        resolved: ResolvedSpec,
        model: DelayLM,
        codec: AnyCodec,
        tokenizer: Tokenizer,
        speakers: Sequence[str],
        threads: int | None = None,
        backend: BackendName = "auto",
        graphs: GraphFolder | None = None,
        lexicon: Path | None = None,
    ) -> None:
        """``graphs``: the model's, exported, for onnxruntime. ``lexicon``: the file that ``tokenizer`` has read."""
        self.resolved, self.model, self.codec, self.tokenizer = resolved, model.eval(), codec, tokenizer
        self.speakers = tuple(speakers)
        self.sample_rate = codec.sample_rate
        """Hz."""
        self.threads = choose_threads(threads, self.parameters)
        """CPU threads inside calls; None keeps PyTorch's number."""
        self.lexicon = lexicon
        loaded = None
        if graphs is not None:
            loaded = Graphs(graphs, weight_of(self.model), self.threads or torch.get_num_threads())
        self.engines = Engines(self.model, codec, backend, loaded)

    @property
    def parameters(self) -> int:
        """Number of the model's parameters."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    def say(self, text: str, **options: Any) -> Float[Tensor, "C samples"]:
        """Synthesize a text or SSML of any length, with silence at pauses such as ``<break time="300ms"/>``.

        Raises:
            TextError: the text cannot be spoken.
            DataError: a prompt's recording cannot be used.
            LinaError: an option is wrong, or this model does not support it.
        """
        silent = torch.zeros(self.codec.channels, 0)
        return torch.cat([silent, *self.stream(text, **options)], dim=1)

    def stream(self, text: str, **options: Any) -> Iterator[Float[Tensor, "C n"]]:
        """The audio of ``say`` in chunks of one frame, as they are computed; with ``best_of``, sentence by sentence.

        The text is validated before the first chunk is computed.
        """
        if isinstance(options.get("prompt"), list | tuple):
            (options["prompt"],) = prompts_of_texts(options["prompt"], 1)
        return self.read(sentences_of_text(plain_text(text, self.tokenizer)), **options)

    def read(self, texts: Iterable[str], **options: Any) -> Iterator[Float[Tensor, "C n"]]:
        """Synthesize sentences one after the other as one stream of chunks; options as for ``say``.

        Memory and time per step do not grow with their number. ``lina.speech.long_form.read`` documents the additional
        options ``carry`` and ``on_sentence``.
        """
        return (chunk.audio for chunk in read(self, texts, **options))

    def speak(self, texts: Sequence[str], *, whole: bool = False, **options: Any) -> list[Speech]:
        """Synthesize texts as a batch; ``prompt`` is one for all, or a list with one (or None) per text.

        Sentences do not depend on one another; the random numbers of each depend on the seed, the index of its text
        and its index in the text. The audio of a text is decoded at once: for the first text it equals that of
        ``say``, or nearly so with a codec that does not stream.

        ``whole``: each text is one utterance, as in training, and not cut into sentences.
        """
        if isinstance(texts, str):
            raise LinaError("speak: expects a list of texts, got a single text; put it into [], or use say")
        plain = [plain_text(text, self.tokenizer) for text in texts]
        return synthesize_batch(self, plain, self.resolve_options(options), whole)

    def requests(
        self,
        item: SynthesisInput,
        options: SpeechOptions,
        place: tuple[int, int],
        state: LMState | None = None,
        carry: bool = False,
    ) -> list[Request]:
        """Build the engine's requests for an input: ``best_of`` streams, one per seed.

        ``place``: indices of text and sentence, for the random numbers. ``state``: initial state of the model.
        ``carry``: the state after it is needed.
        """
        conditions = self.encode_conditions(self.language_model(options), [item.ids], options.speaker)
        rate = frame_rate(self.codec)
        return [
            Request(
                conditions,
                options.sampling,
                max_frames=max(1, int(options.max_seconds * rate)),
                key=stream_key(options.seed + attempt, *place),
                prompt=item.prompt,
                begin=item.start,
                state=state,
                window=options.window(rate),
                repetition=options.repetition,
                carry=carry,
            )
            for attempt in range(options.best_of)
        ]

    def resolve_options(self, options: dict[str, Any]) -> SpeechOptions:
        """Validate the options of a call, fill in the spec's defaults, and encode the recordings of prompts.

        Raises:
            LinaError: an option is unknown, wrong or not supported by this model, or a recording cannot be used.
        """
        spec = self.resolved.spec
        resolved = SpeechOptions.from_spec(spec.synthesize, options)
        resolved.sampling.spread(len(self.codec.codebook_sizes))
        self.language_model(resolved)
        self._speaker_number(resolved.speaker)
        bounds = spec.data.min_seconds, spec.data.max_seconds
        return replace(
            resolved,
            prompt=encode_prompts(resolved.prompt, lambda one: encode_prompt(one, self.codec, *bounds)),
        )

    def ids(self, text: str, prompt: Prompt | None = None) -> list[int]:
        """Ids of a prompt's transcript and a text, as the model reads them.

        Raises:
            TextError: the text or the transcript cannot be spoken.
        """
        return encode_text(text, prompt, self.tokenizer, self.resolved.spec.text.max_characters)[0]

    def input(self, text: str, prompt: Prompt | None = None) -> SynthesisInput | None:
        """Build the model's input of a text without pauses; None if the tokenizer reads nothing of it.

        The audio of ``prompt`` must be codes.

        Raises:
            TextError: the text or the prompt's transcript cannot be spoken.
        """
        limit, codebooks = self.resolved.spec.text.max_characters, len(self.codec.codebook_sizes)
        return build_input(text, prompt, self.tokenizer, limit, codebooks)

    def language_model(self, options: SpeechOptions) -> LanguageModel:
        """The model, with classifier-free guidance unless its scale is 1."""
        return self.model if options.guidance == 1 else Guided(self.model, options.guidance)

    @torch.inference_mode()
    def encode_conditions(
        self, lm: LanguageModel, ids: Sequence[Sequence[int]], speaker: str | None
    ) -> Conditions:
        """Encode texts and one of ``speakers``; None is the first, or no speaker if training dropped speakers."""
        texts, mask = pad_texts(ids, TEXT_BUCKET)
        device = self.model.logits_head.weight.device
        speakers = torch.full((len(ids),), self._speaker_number(speaker), device=device)
        return lm.conditions(texts.to(device), mask.to(device), speakers)

    def _speaker_number(self, speaker: str | None) -> int:
        if speaker is None:
            # Index 0, no speaker, has been trained only if training dropped speakers.
            return 1 if self.speakers and not self.resolved.spec.conditions.drop_speaker else 0
        if self.model.speaker_embed is None:
            raise LinaError(
                f"say: speaker {speaker!r}, but this run was trained without speakers; "
                "leave it out, or train with conditions.speaker: true"
            )
        if speaker not in self.speakers:
            raise LinaError(f"say: unknown speaker {speaker!r}{did_you_mean(speaker, self.speakers)}")
        return self.speakers.index(speaker) + 1
