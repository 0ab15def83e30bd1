"""Synthesis options of a call, with the run's spec for defaults."""

from dataclasses import dataclass, fields
from typing import Any

from lina.config.sections import MAX_BEST_OF, MAX_GUIDANCE, MAX_SEED, SynthesizeSection, WindowSection
from lina.core.errors import LinaError, did_you_mean
from lina.core.generation.settings import Repetition, Sampling, Window
from lina.speech.prompt import Prompt, Prompts

MAX_SECONDS = 3600
"""Largest ``max_seconds``, as in a spec."""

SAMPLING = tuple(field.name for field in fields(Sampling))
FROM_SPEC = (*SAMPLING, "seed", "max_seconds", "guidance", "best_of")
"""Options that default to the spec's ``synthesize`` section."""


@dataclass(frozen=True)
class SpeechOptions:
    """Resolved options of one synthesis call."""

    sampling: Sampling
    seed: int
    max_seconds: float
    guidance: float
    best_of: int
    speaker: str | None = None
    prompt: Prompts = None
    window_section: WindowSection | None = None
    repetition: Repetition | None = None

    @classmethod
    def from_spec(cls, section: SynthesizeSection, options: dict[str, Any]) -> "SpeechOptions":
        """Merge ``options`` over the spec's section; None counts as left out.

        Raises:
            LinaError: an option is unknown or out of range, or options contradict each other.
        """
        for name in options:
            if name not in (*FROM_SPEC, "speaker", "prompt"):
                hint = did_you_mean(name, [*FROM_SPEC, "speaker", "prompt"])
                raise LinaError(f"say: unknown option {name!r}{hint}")
        values = {name: getattr(section, name) for name in FROM_SPEC}
        values |= {name: value for name, value in options.items() if value is not None}
        sampling = Sampling(**{name: values.pop(name) for name in SAMPLING})
        rule = section.repetition
        repetition = None if rule is None else Repetition(rule.last, rule.ratio)
        resolved = cls(sampling, **values, window_section=section.window, repetition=repetition)
        resolved._check()
        return resolved

    def window(self, frame_rate: float) -> Window | None:
        """The attention window, with times in frames; None without one."""
        section = self.window_section
        if section is None:
            return None
        stall, linger, settle = (
            None if seconds is None else round(seconds * frame_rate)
            for seconds in (section.stall, section.linger, section.settle)
        )
        return Window(
            section.ahead, section.back, section.pace / frame_rate, stall, section.stop_within, linger, settle
        )

    def _check(self) -> None:
        prompts = self.prompt if isinstance(self.prompt, list | tuple) else [self.prompt]
        for prompt in prompts:
            if not isinstance(prompt, Prompt | None):
                raise LinaError(
                    f"say: prompt {prompt!r} is not a lina.speech.prompt.Prompt(audio, transcript)"
                )
        for name, value in (("max_seconds", self.max_seconds), ("guidance", self.guidance)):
            if not isinstance(value, int | float):
                raise LinaError(f"say: {name} = {value!r} is not a number")
        if not (isinstance(self.seed, int) and 0 <= self.seed <= MAX_SEED):
            raise LinaError(f"say: seed = {self.seed!r} is not a whole number in 0 .. {MAX_SEED}")
        if not isinstance(self.speaker, str | None):
            raise LinaError(f"say: speaker = {self.speaker!r} is not a name")
        if not 0 < self.max_seconds <= MAX_SECONDS:
            raise LinaError(f"say: max_seconds = {self.max_seconds} is not in 0 .. {MAX_SECONDS}")
        if not 0 <= self.guidance <= MAX_GUIDANCE:
            raise LinaError(f"say: guidance = {self.guidance} is not in 0 .. {MAX_GUIDANCE:g}")
        if not (isinstance(self.best_of, int) and 1 <= self.best_of <= MAX_BEST_OF):
            raise LinaError(f"say: best_of = {self.best_of} is not a whole number in 1 .. {MAX_BEST_OF}")
        if self.best_of > 1 and self.sampling.is_greedy:
            raise LinaError(
                f"say: best_of = {self.best_of}, but at temperature 0 all candidates are identical; "
                "set a temperature above 0, such as 0.7"
            )
