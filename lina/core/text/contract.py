"""Check results of tokenizers where they are used: a plugin's mistake is one line instead of a traceback."""

from typing import Any

from lina.core.errors import ContractError
from lina.core.protocols import Tokenizer, implements
from lina.core.registry import Record, origin


def check_tokenizer(tokenizer: Any, record: Record) -> None:
    """Check the object that a plugin has built.

    Raises:
        ContractError: it is no tokenizer, or its vocabulary has no size.
    """
    if not implements(tokenizer, Tokenizer):
        raise ContractError(
            f"{record}: build returned {type(tokenizer).__name__}, which is no tokenizer: it needs vocab_size, "
            "initial_state, parallel_forward, step, flush and labels; check it: lina check "
            f"{record.full_name}"
        )
    size = tokenizer.vocab_size
    if type(size) is not int or size < 1:
        raise ContractError(
            f"{record}: its vocab_size is {size!r}, expected a whole number of at least 1; "
            f"check it: lina check {record.full_name}"
        )


def read_ids(tokenizer: Tokenizer, text: str) -> list[int]:
    """Ids of a whole text.

    Raises:
        TextError: the tokenizer refuses a character.
        ContractError: it returned something else than a list of ids.
    """
    ids: Any = tokenizer.parallel_forward(text)
    if type(ids) is not list:
        found = "None" if ids is None else type(ids).__name__
        raise _wrong(tokenizer, text, found, "a list of ids")
    for place, one in enumerate(ids):
        if type(one) is not int or not 0 <= one < tokenizer.vocab_size:
            expected = f"whole numbers 0 .. {tokenizer.vocab_size - 1}"
            raise _wrong(tokenizer, text, f"{one!r} ({type(one).__name__}) at {place}", expected)
    return ids


def _wrong(tokenizer: Tokenizer, text: str, found: str, expected: str) -> ContractError:
    shown = f"{text[:40]!r}{'...' if len(text) > 40 else ''}"
    return ContractError(
        f"{origin(tokenizer, 'tokenizer')}: {type(tokenizer).__name__}.parallel_forward returned {found} for the text "
        f"{shown}, expected {expected}; check the tokenizer: lina check"
    )
