"""Model input of one synthesis: text ids, and the codes of a prompt."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from lina.core.errors import LinaError
from lina.core.protocols import Tokenizer
from lina.core.text.contract import read_ids
from lina.core.text.pauses import literal
from lina.core.text.speakable import part_ids
from lina.core.text.validate import check_text
from lina.speech.prompt import Prompt, Prompts


@dataclass(frozen=True)
class SynthesisInput:
    """Ids and prompt of a sentence, or of the part of one between two pauses."""

    text: str
    ids: list[int]
    """Ids of the prompt's transcript, then of the text."""
    start: int
    """Index of the first id to be spoken."""
    prompt: Int[Tensor, "P Q"]
    """Codes of the prompt; P is 0 without one."""


def prompts_of_texts(prompts: Prompts, texts: int) -> list[Prompt | None]:
    """List the prompt of each text.

    Raises:
        LinaError: the numbers of prompts and texts differ.
    """
    if prompts is None or isinstance(prompts, Prompt):
        return [prompts] * texts
    if len(prompts) != texts:
        raise LinaError(f"say: {len(prompts)} prompts for {texts} texts; give one for all, or one for each")
    return list(prompts)


def encode_prompts(prompts: Prompts, encode: Callable[[Prompt], Prompt]) -> Prompts:
    """Encode the audio of prompts; one that occurs several times is encoded once."""
    if prompts is None or isinstance(prompts, Prompt):
        return prompts and encode(prompts)
    codes = {one: encode(one) for one in dict.fromkeys(prompts) if one is not None}
    return [None if one is None else codes[one] for one in prompts]


def build_input(
    text: str, prompt: Prompt | None, tokenizer: Tokenizer, limit: int, codebooks: int
) -> SynthesisInput | None:
    """Build the input of a text without pauses; None if the tokenizer reads nothing of it.

    ``limit``: maximum characters of text and transcript together. The audio of ``prompt`` must be codes.

    Raises:
        TextError: the text or the transcript cannot be spoken, or together they are too long.
    """
    ids, start = encode_text(text, prompt, tokenizer, limit)
    if not ids:
        return None
    if prompt is None:
        return SynthesisInput(text, ids, start, torch.zeros(0, codebooks, dtype=torch.int64))
    if not isinstance(prompt.audio, Tensor):
        raise TypeError("the prompt's audio is not encoded; see lina.speech.prompt.encode_prompt")
    return SynthesisInput(text, ids, start, prompt.audio)


def encode_text(text: str, prompt: Prompt | None, tokenizer: Tokenizer, limit: int) -> tuple[list[int], int]:
    """Ids of the prompt's transcript and the text, and the index of the text's first id.

    Without ids if the tokenizer reads nothing of the text.

    Raises:
        TextError: as ``build_input``.
    """
    ids = part_ids(text, tokenizer, limit)
    text = literal(text)
    if prompt is None or not ids:
        return ids, 0
    check_text(prompt.transcript, limit, "the prompt's transcript")
    transcript = f"{prompt.transcript.strip()} "
    whole = transcript + text.lstrip()
    check_text(whole, limit, "the prompt's transcript with the text after it")
    ids = read_ids(tokenizer, whole)
    before, _ = tokenizer.step(transcript, tokenizer.initial_state())
    return ids, min(len(before), len(ids) - 1)
