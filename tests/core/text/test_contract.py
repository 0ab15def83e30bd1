"""Tokenizers that return something else than their protocol says are one line with plugin and file."""

from typing import Any

import pytest

from lina.core.entry_points import Record
from lina.core.errors import ContractError
from lina.core.text.contract import check_tokenizer, read_ids
from tests.core.toy_tokenizer import Letters

RECORD = Record("tokenizer", "toy", "lina-toy", "0.2", "toy_mod:Toy")


class ReturnsInstead(Letters):
    answer: Any = None

    def parallel_forward(self, text: str) -> list[int]:
        return self.answer  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (None, "returned None for the text 'abc', expected a list of ids"),
        ((1, 2), "returned tuple for"),
        ([1, 2.0], "returned 2.0 (float) at 1 for the text 'abc', expected whole numbers 0 .. "),
        ([1, 10_000], "returned 10000 (int) at 1"),
        ([-1], "returned -1 (int) at 0"),
        ([True], "returned True (bool) at 0"),
    ],
)
def test_wrong_ids(answer: Any, found: str) -> None:
    tokenizer = ReturnsInstead()
    tokenizer.answer = answer
    with pytest.raises(ContractError) as refusal:
        read_ids(tokenizer, "abc")
    assert found in str(refusal.value)
    assert str(refusal.value).startswith(
        f"tokenizer ReturnsInstead ({__file__}): ReturnsInstead.parallel_forward "
    )
    assert "\n" not in str(refusal.value)


def test_long_texts_are_cut_in_the_message() -> None:
    with pytest.raises(ContractError, match=r"'a{40}'\.\.\., expected"):
        read_ids(ReturnsInstead(), 1_000 * "a")


def test_objects_that_are_no_tokenizer() -> None:
    check_tokenizer(Letters(), RECORD)
    with pytest.raises(
        ContractError, match=r"^tokenizer:toy \(lina-toy .*: build returned NoneType, which is no tok"
    ):
        check_tokenizer(None, RECORD)
    tokenizer: Any = Letters()
    tokenizer.vocab_size = None
    with pytest.raises(ContractError, match="its vocab_size is None, expected a whole number of at least 1"):
        check_tokenizer(tokenizer, RECORD)
