"""Texts, splits and the law of tokenizers, for the tests of this folder."""

import json

from hypothesis import strategies as st

from lina.core.protocols import Tokenizer

# Half of them from characters on which streaming goes wrong: marks, sigmas, joiners, blanks, quotes, dots.
AWKWARD = "aAéΣσς e\u0301\u0308\u1100\u1161\u11a8İß' .…!?\"”)\n\t\u00a0\u2028\u200d👩🏽日。、٣3,;:-—[]"
texts = st.one_of(
    st.text(st.sampled_from(AWKWARD), max_size=40),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
)


def split(text: str, cuts: list[int]) -> list[str]:
    """``text`` in pieces cut at the given places (repeats give empty pieces)."""
    places = sorted(min(cut, len(text)) for cut in cuts)
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]


cuts = st.lists(st.integers(0, 40), max_size=12)


def in_pieces(tokenizer: Tokenizer, pieces: list[str]) -> list[int]:
    """The fold of ``step`` and ``flush``; every state takes a trip through JSON and is used twice."""
    ids: list[int] = []
    state = tokenizer.initial_state()
    for piece in pieces:
        state = json.loads(json.dumps(state))
        serialized = json.dumps(state)
        found, after = tokenizer.step(piece, state)
        assert (found, after) == tokenizer.step(piece, state)
        assert json.dumps(state) == serialized
        ids, state = ids + found, after
    assert tokenizer.flush(state) == tokenizer.flush(state)
    return ids + tokenizer.flush(state)
