"""A text as the model gets it: ids, and what has been said of it before, by a prompt."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from lina.core.errors import LinaError
from lina.core.protocols import Tokenizer
from lina.core.text.pauses import literal
from lina.core.text.validate import check_text
from lina.speech.prompt import Prompt


@dataclass(frozen=True)
class Script:
    """One sentence to synthesize, or the part of one between two pauses."""

    text: str
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


def write_script(
    text: str, prompt: Prompt | None, tokenizer: Tokenizer, limit: int, codebooks: int
) -> Script | None:
    """The input of a text without a pause; None where the tokenizer reads nothing of it.

    ``limit``: characters of text and transcript together. The prompt's audio is codes.

    Raises:
        TextError: the text or the transcript cannot be spoken, or they are too long together.
    """
    ids, start = text_ids(text, prompt, tokenizer, limit)
    if not ids:
        return None
    if prompt is None:
        return Script(text, ids, start, torch.zeros(0, codebooks, dtype=torch.int64))
    if not isinstance(prompt.audio, Tensor):
        raise TypeError("the prompt's audio is not encoded; see lina.speech.prompt.encoded")
    return Script(text, ids, start, prompt.audio)


def text_ids(text: str, prompt: Prompt | None, tokenizer: Tokenizer, limit: int) -> tuple[list[int], int]:
    """The ids of a text after those of the prompt's transcript, and the first id to be synthesized.

    There are none where the tokenizer reads nothing of the text.

    Raises:
        TextError: as ``write_script``.
    """
    check_text(text, limit)
    text = literal(text)
    ids = tokenizer.parallel_forward(text)
    if prompt is None or not ids:
        return ids, 0
    check_text(prompt.transcript, limit, "the prompt's transcript")
    said = f"{prompt.transcript.strip()} "
    whole = said + text.lstrip()
    check_text(whole, limit, "the prompt's transcript with the text after it")
    ids = tokenizer.parallel_forward(whole)
    before, _ = tokenizer.step(said, tokenizer.initial_state())
    return ids, min(len(before), len(ids) - 1)
