"""Words among marks and markup: the normalizer loses none of them, whatever stands around."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lina.tokenizers.english.normalizer import EnglishNormalizer

WORDS = ["badon", "kilurem", "Morenta", "tasive", "Felkado"]
"""Words of no rule and no language."""
JOINTS = [
    " ", ", ", ". ", "; ", ": ", "! ", "? ", "… ", " — ", " – ", " - ", "/", " / ", " (", ") ", " [", "] ", ' "', '" ',
    " “", "” ", " ‘", "’ ", " «", "» ", " *", "* ", " **", "** ", " _", "_ ", " `", "` ", "\n- ", "\n* ", "\n# ",
    "\n\n", "\n> ", " | ", " <b>", "</b> ", "<br/>", " <i>", "</i> ", " &amp; ", " & ", " + ", " = ", " ~~", "~~ ",
    "'s ", " @", " #", "\t", "\u00a0", "\u200b ", " 5 ", " 3.5 ", " $2 ", " [1] ", " 7% ",
]  # fmt: skip
_WORD = re.compile("|".join(WORDS), re.IGNORECASE)


@pytest.fixture(scope="module")
def normalizer() -> EnglishNormalizer:
    return EnglishNormalizer(unknown="skip")


@settings(max_examples=500, deadline=None)
@given(
    words=st.lists(st.sampled_from(WORDS), min_size=1, max_size=8),
    joints=st.lists(st.sampled_from(JOINTS), min_size=9, max_size=9),
)
def test_all_words_are_kept_in_their_order(
    normalizer: EnglishNormalizer, words: list[str], joints: list[str]
) -> None:
    text = joints[8] + "".join(word + joint for word, joint in zip(words, joints, strict=False))
    output = normalizer.parallel_forward(text)
    assert [word.lower() for word in _WORD.findall(output)] == [word.lower() for word in words]
    state, pieces = normalizer.initial_state(), []
    for character in text:
        piece, state = normalizer.step(character, state)
        pieces.append(piece)
    assert "".join(pieces) + normalizer.flush(state) == output
