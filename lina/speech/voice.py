"""A trained model that speaks: text in, audio out, whole or as it is made.

voice = lina.load("runs/first")
audio = voice.say("Hello there.")              # float [C, samples] at voice.sample_rate
for chunk in voice.stream("Hello there."):     # the same speech, in pieces, as it is made
    play(chunk)
"""

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lina.config.loader import load_spec
from lina.config.resolve import ResolvedSpec, resolve
from lina.core.audio.codec import AnyCodec, frame_rate
from lina.core.errors import CheckpointError, LinaError, SpecError, did_you_mean
from lina.core.generation.generate import Ending, Frame, generate
from lina.core.generation.guidance import Guided, LanguageModel
from lina.core.generation.sampling import row_generator
from lina.core.malloc import keep_freed_memory
from lina.core.model.delay_lm import Conditions, DelayLM, LMState
from lina.core.model.text_encoder import pad_texts
from lina.core.protocols import Tokenizer
from lina.core.skip_init import SkipInit
from lina.core.state import take_rows
from lina.core.text.sentences import sentences_of_text
from lina.runs.build_model import build_lm
from lina.runs.checkpoint import load_weights
from lina.runs.checkpoint_store import newest_checkpoint
from lina.runs.device import Device, choose_device
from lina.runs.layout import SPEAKERS_FILE, SPEC_FILE, build_tokenizer, read_json
from lina.speech.long_form import read
from lina.speech.options import SpeechOptions
from lina.speech.prompt import Prompt, encoded
from lina.speech.request import Script, each_prompt, text_ids, with_codes, write_script
from lina.speech.result import Speech
from lina.speech.side_by_side import speak_side_by_side
from lina.speech.text_reading import plain_text, speaking_tokenizer
from lina.speech.threads import choose_threads

TEXT_BUCKET = 32
"""Texts are padded to a multiple of this, so that few shapes of memory ever occur."""


class Voice:
    """A language model with its codec and tokenizer.

    Options of ``say``, ``stream`` and ``speak``; what is left out is as in the run's spec:

    - ``speaker``: one of ``speakers``; by default the first, or nobody where training left speakers out.
    - ``prompt``: a ``lina.speech.prompt.Prompt`` (a recording and what is said in it) to go on from, in its voice.
    - ``temperature``, ``top_k``, ``top_p``, ``seed``: the sampling.
    - ``max_seconds``: a sentence that has not ended there is cut, and a warning logged.
    - ``guidance``: the scale of classifier-free guidance; 1 is none.
    - ``best_of``: speak each sentence so many times, with the seeds ``seed``, ``seed`` + 1, ..., and keep the best
      aligned.

    All of them speak sentence by sentence (``lina.core.text.sentences``), on ``threads`` CPU threads.
    """

    def __init__(
        self,
        resolved: ResolvedSpec,
        model: DelayLM,
        codec: AnyCodec,
        tokenizer: Tokenizer,
        speakers: Sequence[str],
        threads: int | None = None,
    ) -> None:
        self.resolved, self.model, self.codec, self.tokenizer = resolved, model.eval(), codec, tokenizer
        self.speakers = tuple(speakers)
        self.sample_rate = codec.sample_rate
        """Hz."""
        self.threads = choose_threads(threads, self.parameters)
        """CPU threads inside calls; None leaves PyTorch's number as it is."""

    @property
    def parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.model.parameters())

    def say(self, text: str, **options: Any) -> Float[Tensor, "C samples"]:
        """Speak a text of any length, or SSML, with silence where it has a pause such as ``<break time="300ms"/>``.

        Raises:
            TextError: the text cannot be spoken.
            DataError: a prompt's recording cannot be used.
            LinaError: an option is wrong, or this model cannot do it.
        """
        silent = torch.zeros(self.codec.channels, 0)
        return torch.cat([silent, *self.stream(text, **options)], dim=1)

    def stream(self, text: str, **options: Any) -> Iterator[Float[Tensor, "C n"]]:
        """The speech of ``say``, in chunks of a frame as they are made; with ``best_of``, sentence by sentence.

        The text is refused before the first chunk is computed.
        """
        if isinstance(options.get("prompt"), list | tuple):
            (options["prompt"],) = each_prompt(options["prompt"], 1)
        return self.read(sentences_of_text(plain_text(text, self.tokenizer)), **options)

    def read(self, texts: Iterable[str], **options: Any) -> Iterator[Float[Tensor, "C n"]]:
        """Sentences one after the other in one stream, in chunks as they are made; options as for ``say``.

        Memory and time per step are constant however many there are; see ``lina.speech.long_form.read``, which has two
        options more: ``carry`` and ``on_sentence``.
        """
        return (spoken.audio for spoken in read(self, texts, **options))

    def speak(self, texts: Sequence[str], **options: Any) -> list[Speech]:
        """Speak texts side by side; ``prompt`` may be one for all, or a list with one (or None) for each.

        Each sentence ends on its own and does not depend on the others; sampled, it draws by the seed, the place of
        its text in the list and its own place in the text. The audio is decoded whole: that of ``say``, or nearly that
        for the first text with a codec that does not stream.
        """
        if isinstance(texts, str):
            raise LinaError(
                "speak: expects a list of texts, and this is a single one; put it into [], or use say"
            )
        plain = [plain_text(text, self.tokenizer) for text in texts]
        return speak_side_by_side(self, plain, self.asked(options))

    def frames(
        self,
        scripts: Sequence[Script],
        asked: SpeechOptions,
        places: Sequence[tuple[int, int]],
        state: LMState | None = None,
    ) -> Generator[Frame, None, Ending]:
        """Rows: all scripts with the first seed, then all with the next, ``best_of`` times.

        ``places``: text and sentence of each script, by which it draws. ``state``: of the model before, for each row.
        """
        lm, times = self.language_model(asked), asked.best_of
        told = self.told(lm, [script.ids for script in scripts], asked.speaker)
        prompts = [script.prompt for script in scripts] * times
        return generate(
            lm,
            take_rows(told, torch.arange(len(scripts)).repeat(times)),
            sampling=asked.sampling,
            max_frames=max(1, int(asked.max_seconds * frame_rate(self.codec))),
            prompt=pad_sequence(prompts, batch_first=True),
            prompt_lengths=torch.tensor([len(prompt) for prompt in prompts]),
            generators=[
                row_generator(asked.seed + try_, *place) for try_ in range(times) for place in places
            ],
            state=state,
            window=asked.window(frame_rate(self.codec)),
            begin=torch.tensor([script.start for script in scripts] * times),
            repetition=asked.repetition,
        )

    def asked(self, options: dict[str, Any]) -> SpeechOptions:
        """What a call asks for, checked before anything is said; recordings of prompts are encoded.

        Raises:
            LinaError: an unknown option, a wrong value, what this model cannot do, or a recording that cannot be
                used.
        """
        spec = self.resolved.spec
        asked = SpeechOptions.of(spec.synthesize, options)
        asked.sampling.per_codebook(len(self.codec.codebook_sizes))
        self.language_model(asked)
        self._speaker_number(asked.speaker)
        bounds = spec.data.min_seconds, spec.data.max_seconds
        return replace(asked, prompt=with_codes(asked.prompt, lambda one: encoded(one, self.codec, *bounds)))

    def ids(self, text: str, prompt: Prompt | None = None) -> list[int]:
        """What the model reads of a text, and before it of a prompt's transcript.

        Raises:
            TextError: they cannot be spoken.
        """
        return text_ids(text, prompt, self.tokenizer, self.resolved.spec.text.max_characters)[0]

    def script(self, text: str, prompt: Prompt | None = None) -> Script | None:
        """The model's input for a text without a pause, with its encoded prompt; None if nothing of it is read.

        Raises:
            TextError: the text, or the prompt's transcript, cannot be spoken.
        """
        limit, codebooks = self.resolved.spec.text.max_characters, len(self.codec.codebook_sizes)
        return write_script(text, prompt, self.tokenizer, limit, codebooks)

    def language_model(self, asked: SpeechOptions) -> LanguageModel:
        """The model, guided if that is asked for; scale 1 is the model itself."""
        return self.model if asked.guidance == 1 else Guided(self.model, asked.guidance)

    @torch.inference_mode()
    def told(self, lm: LanguageModel, ids: Sequence[Sequence[int]], speaker: str | None) -> Conditions:
        """What the model is told: texts, and one of ``speakers``; None is the first, or nobody if that was learnt."""
        texts, mask = pad_texts(ids, TEXT_BUCKET)
        device = self.model.logits_head.weight.device
        who = torch.full((len(ids),), self._speaker_number(speaker), device=device)
        return lm.conditions(texts.to(device), mask.to(device), who)

    def _speaker_number(self, speaker: str | None) -> int:
        if speaker is None:
            # Nobody has learnt to speak where training never left out who spoke.
            return 1 if self.speakers and not self.resolved.spec.conditions.drop_speaker else 0
        if self.model.speaker_embed is None:
            raise LinaError(
                f"say: speaker {speaker!r}, but this run has learnt no speakers; "
                "leave it out, or train with conditions.speaker: true"
            )
        if speaker not in self.speakers:
            raise LinaError(f"say: unknown speaker {speaker!r}{did_you_mean(speaker, self.speakers)}")
        return self.speakers.index(speaker) + 1


def load(
    directory: str | Path,
    device: Device = "auto",
    settings: Sequence[str] = (),
    threads: int | None = None,
    lexicon: str | Path | None = None,
) -> Voice:
    """The newest checkpoint of a run, with its averaged weights where there are any.

    ``device``: of the model, as ``train.device``. ``settings``: other values for how it speaks than those of the run's
    spec: ``synthesize.window.ahead=8``. ``threads``: as ``lina.speech.threads.choose_threads``. ``lexicon``: a file
    with a word, a tab and its phonemes per line, instead of the spec's ``synthesize.lexicon``.

    Raises:
        LinaError: the device is not there, or ``threads`` is no number of threads.
        SpecError: a setting is not of ``synthesize``, or wrong.
        CheckpointError: there is no run there, or it has no whole checkpoint yet.
        TextError: the lexicon cannot be read, or the run's tokenizer has no phonemes.
    """
    directory, place = Path(directory), choose_device(device)
    for setting in settings:
        if not setting.startswith("synthesize."):
            raise SpecError(
                f"command line: {setting!r} is not of synthesize: a finished run can only be told how to speak, "
                "such as synthesize.seed=1"
            )
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
    resolved = resolve(load_spec(directory / SPEC_FILE, settings))
    codec = resolved.codec.plugin.build(config=resolved.codec.config)
    synthesize = resolved.spec.synthesize
    path = synthesize.lexicon if lexicon is None else Path(lexicon)
    tokenizer = speaking_tokenizer(build_tokenizer(resolved, directory), synthesize.unknown, path)
    speakers = read_json(directory / SPEAKERS_FILE)
    with SkipInit():
        model = build_lm(
            resolved,
            codebook_sizes=codec.codebook_sizes,
            vocab_size=tokenizer.vocab_size,
            speakers=len(speakers),
            seed=resolved.spec.seed,
        )
    load_weights(model, checkpoint, average=True, assign=True)
    return Voice(resolved, model.to(place), codec, tokenizer, speakers, threads)
