"""A text as the model gets it: ids, and what has been said of it before, by a prompt."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from lina.core.codec import AnyCodec
from lina.core.errors import LinaError, TextError
from lina.core.prompt import Prompt, prompt_codes
from lina.core.protocols import Frontend
from lina.core.spec import Spec
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


def write_scripts(
    texts: Sequence[str],
    prompts: Prompt | Sequence[Prompt | None] | None,
    frontend: Frontend,
    codec: AnyCodec,
    spec: Spec,
) -> list[Script]:
    """A script for each text; ``prompts``: one for all, or one (or None) for each.

    Raises:
        TextError: a text or transcript cannot be spoken, or they are too long together.
        DataError: a prompt's recording cannot be used.
        LinaError: another number of prompts than of texts, or something that is no ``Prompt``.
    """
    each = [prompts] * len(texts) if prompts is None or isinstance(prompts, Prompt) else list(prompts)
    if len(each) != len(texts):
        raise LinaError(f"say: {len(each)} prompts for {len(texts)} texts; give one for all, or one for each")
    for prompt in each:
        if not isinstance(prompt, Prompt | None):
            raise LinaError(f"say: prompt {prompt!r} is not a lina.core.prompt.Prompt(audio, transcript)")
    codes = {
        prompt: prompt_codes(prompt, codec, spec.data.min_seconds, spec.data.max_seconds)
        for prompt in dict.fromkeys(each)
        if prompt is not None
    }
    nothing = torch.zeros(0, len(codec.codebook_sizes), dtype=torch.int64)
    limit = spec.text.max_characters
    written = []
    for text, prompt in zip(texts, each, strict=True):
        ids, start = _read(text, prompt, frontend, limit)
        written.append(Script(ids, start, nothing if prompt is None else codes[prompt]))
    return written


def _read(text: str, prompt: Prompt | None, frontend: Frontend, limit: int) -> tuple[list[int], int]:
    check_text(text, limit)
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
