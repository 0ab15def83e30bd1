"""A trained model that speaks: text in, audio out, whole or as it is made.

voice = lina.load("runs/first")
audio = voice.say("Hello there.")              # float [C, samples] at voice.sample_rate
for chunk in voice.stream("Hello there."):     # the same speech, in pieces, as it is made
    play(chunk)
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lina.core.batch import pad_texts
from lina.core.best_of import choose
from lina.core.checkpoint import load_weights
from lina.core.checkpoint_directory import newest_checkpoint
from lina.core.codec import AnyCodec, frame_rate
from lina.core.device import choose_device
from lina.core.errors import CheckpointError, LinaError, SpecError, did_you_mean
from lina.core.generate import Frame, collect, generate
from lina.core.guidance import Guided, LanguageModel
from lina.core.lm import Conditions, DelayLM
from lina.core.memory import keep_freed_memory
from lina.core.model import build_lm
from lina.core.pauses import has_pause
from lina.core.plugin import TokenizerPlugin
from lina.core.prompt import Prompt, encoded
from lina.core.protocols import Frontend
from lina.core.reading import read
from lina.core.resolve import Chosen, Resolved, resolve
from lina.core.sampling import row_generators
from lina.core.script import Script, each_prompt, text_ids, with_codes, write_script
from lina.core.spec_load import load_spec
from lina.core.speech import Speech, decode_frames, decoded
from lina.core.speech_options import SpeechOptions
from lina.core.state import take_rows

TEXT_BUCKET = 32
"""Texts are padded to a multiple of this, so that few shapes of memory ever occur."""

SPEC_FILE, TOKENIZER_FILE, SPEAKERS_FILE = "spec.yaml", "tokenizer.json", "speakers.json"


class Voice:
    """A language model with its codec and text frontend.

    Options of ``say``, ``stream`` and ``speak``; what is left out is as in the run's spec:

    - ``speaker``: one of ``speakers``; by default the first, or nobody where training left speakers out.
    - ``prompt``: a ``lina.core.prompt.Prompt`` (a recording and what is said in it) to go on from, in its voice.
    - ``temperature``, ``top_k``, ``top_p``, ``seed``: the sampling. ``max_seconds``: speech is cut there.
    - ``guidance``: the scale of classifier-free guidance; 1 is none.
    - ``best_of``: say it so many times, with the seeds ``seed``, ``seed`` + 1, ..., and keep the best aligned.
    """

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
        """Speak one text, with silence where it has a pause such as ``<break time="300ms"/>``.

        Raises:
            TextError: the text cannot be spoken.
            DataError: a prompt's recording cannot be used.
            LinaError: an option is wrong, or this model cannot do it.
        """
        if has_pause(text):
            return torch.cat(list(self.stream(text, **options)), dim=1)
        return self.speak([text], **options)[0].audio

    def stream(self, text: str, **options: Any) -> Iterator[Float[Tensor, "C n"]]:
        """The speech of ``say`` in chunks of a frame, each as soon as it is there; of several, once one is chosen.

        With a codec that streams, the chunks together are what ``say`` gives; with one that does not, nearly.
        """
        if has_pause(text):
            return self.read([text], **options)
        asked = self.asked(options)
        scripts = self.scripts([text], asked)
        frames = self.frames(scripts, asked)
        codes = ((one, None) for one in self._codes(frames, scripts, asked))
        return (audio for audio, _ in decode_frames(self.codec, scripts[0].prompt, codes))

    @staticmethod
    def _codes(
        frames: Iterator[Frame], scripts: Sequence[Script], asked: SpeechOptions
    ) -> Iterator[Int[Tensor, "1 Q"]]:
        if asked.best_of > 1:
            (chosen,) = choose(collect(frames), scripts, asked.seed)
            yield from chosen.said.codes.split(1)
        else:
            yield from (frame.codes for frame in frames if bool(frame.complete[0]))

    def read(
        self, texts: Iterable[str], *, carry: bool = False, **options: Any
    ) -> Iterator[Float[Tensor, "C n"]]:
        """Texts one after the other in one stream, in chunks as they are made; options as for ``say``.

        Memory and time a step are constant however many there are; see ``lina.core.reading.read``.
        """
        return (spoken.audio for spoken in read(self, texts, carry=carry, **options))

    def speak(self, texts: Sequence[str], **options: Any) -> list[Speech]:
        """Speak texts side by side; ``prompt`` may be one for all, or a list with one (or None) for each.

        Each ends on its own and hears nothing of the others; sampled, a text draws by the seed and its place.
        """
        if isinstance(texts, str):
            raise LinaError(
                "speak: wants a list of texts, and this is a single one; put it into [], or use say"
            )
        asked = self.asked(options)
        scripts = self.scripts(texts, asked)
        if not scripts:
            return []
        chosen = choose(collect(self.frames(scripts, asked)), scripts, asked.seed)
        return [
            decoded(script, choice, self.codec, self.frontend)
            for script, choice in zip(scripts, chosen, strict=True)
        ]

    def frames(self, scripts: Sequence[Script], asked: SpeechOptions) -> Iterator[Frame]:
        """Rows: all scripts with the first seed, then all with the next, ``best_of`` times."""
        lm, times, rows = self.language_model(asked), asked.best_of, len(scripts)
        told = self.told(lm, [script.ids for script in scripts], asked.speaker)
        prompts = [script.prompt for script in scripts] * times
        return generate(
            lm,
            take_rows(told, torch.arange(rows).repeat(times)),
            sampling=asked.sampling,
            max_frames=self.longest(asked),
            prompt=pad_sequence(prompts, batch_first=True),
            prompt_lengths=torch.tensor([len(prompt) for prompt in prompts]),
            generators=[one for place in range(times) for one in row_generators(asked.seed + place, rows)],
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
        return text_ids(text, prompt, self.frontend, self.resolved.spec.text.max_characters)[0]

    def scripts(self, texts: Sequence[str], asked: SpeechOptions) -> list[Script]:
        """What the model gets of each text, with its prompt.

        Raises:
            TextError: a text, or a prompt's transcript, cannot be spoken.
        """
        limit, codebooks = self.resolved.spec.text.max_characters, len(self.codec.codebook_sizes)
        return [
            write_script(text, prompt, self.frontend, limit, codebooks)
            for text, prompt in zip(texts, each_prompt(asked.prompt, len(texts)), strict=True)
        ]

    def language_model(self, asked: SpeechOptions) -> LanguageModel:
        """The model, guided if that is asked for; scale 1 is the model itself."""
        return self.model if asked.guidance == 1 else Guided(self.model, asked.guidance)

    def longest(self, asked: SpeechOptions) -> int:
        """Frames at which speech is cut."""
        return max(1, int(asked.max_seconds * frame_rate(self.codec)))

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
    directory: str | Path, device: Literal["auto", "cpu", "cuda"] = "auto", settings: Sequence[str] = ()
) -> Voice:
    """The newest checkpoint of a run, with its averaged weights where there are any.

    ``settings``: other values for how it speaks than those of the run's spec: ``synthesize.window.ahead=8``.

    Raises:
        SpecError: a setting is not of ``synthesize``, or wrong.
        CheckpointError: there is no run there, or it has no whole checkpoint yet.
    """
    directory = Path(directory)
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
