"""A text as the model gets it: ids, and what has been said of it before, by a prompt."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from lina.core.errors import LinaError, TextError
from lina.core.pauses import has_pause, literal
from lina.core.prompt import Prompt
from lina.core.protocols import Frontend
from lina.core.text import check_text


@dataclass(frozen=True)
class Script:
    """One text to say."""

    ids: list[int]
    """Of the prompt's transcript, then of the text."""
    start: int
    """The first id that is to be said."""
    prompt: Int[Tensor, "P Q"]
    """Codes of what was said before; P is 0 without a prompt."""


Prompts = Prompt | Sequence[Prompt | None] | None
"""One for all texts, or one (or None) for each."""


def each_prompt(prompts: Prompts, texts: int) -> list[Prompt | None]:
    """The prompt of each text.

    Raises:
        LinaError: another number of prompts than of texts.
    """
    if prompts is None or isinstance(prompts, Prompt):
        return [prompts] * texts
    if len(prompts) != texts:
        raise LinaError(f"say: {len(prompts)} prompts for {texts} texts; give one for all, or one for each")
    return list(prompts)


def with_codes(prompts: Prompts, encode: Callable[[Prompt], Prompt]) -> Prompts:
    """The same prompts with codes for audio; one that comes several times is encoded once."""
    if prompts is None or isinstance(prompts, Prompt):
        return prompts and encode(prompts)
    codes = {one: encode(one) for one in dict.fromkeys(prompts) if one is not None}
    return [None if one is None else codes[one] for one in prompts]


def write_script(text: str, prompt: Prompt | None, frontend: Frontend, limit: int, codebooks: int) -> Script:
    """``limit``: characters of text and transcript together. The prompt's audio is codes.

    Raises:
        TextError: the text or the transcript cannot be spoken, or they are too long together.
    """
    ids, start = text_ids(text, prompt, frontend, limit)
    if prompt is None:
        return Script(ids, start, torch.zeros(0, codebooks, dtype=torch.int64))
    if not isinstance(prompt.audio, Tensor):
        raise TypeError("the prompt's audio is not encoded; see lina.core.prompt.encoded")
    return Script(ids, start, prompt.audio)


def text_ids(text: str, prompt: Prompt | None, frontend: Frontend, limit: int) -> tuple[list[int], int]:
    """What the model reads of a text, the prompt's transcript before it, and the first id that is to be said.

    Raises:
        TextError: as ``write_script``.
    """
    check_text(text, limit)
    if has_pause(text):
        raise TextError(
            f"text {text[:40]!r} has a pause: only say, stream and read without best_of know pauses"
        )
    text = literal(text)
    ids = frontend.parallel_forward(text)
    if not ids:
        raise TextError(f"text {text[:40]!r} holds nothing that this run's tokenizer reads; write words")
    if prompt is None:
        return ids, 0
    check_text(prompt.transcript, limit, "the prompt's transcript")
    said = f"{prompt.transcript.strip()} "
    whole = said + text.lstrip()
    check_text(whole, limit, "the prompt's transcript with the text after it")
    ids = frontend.parallel_forward(whole)
    before, _ = frontend.step(said, frontend.initial_state())
    return ids, min(len(before), len(ids) - 1)
