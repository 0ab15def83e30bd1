"""Words with two readings, distinguished by the words around them: "I read it every day", "I read it yesterday".

Each heteronym has clues, tried in their order: sets of words just before, just after, or anywhere near. If none
applies, the phonemizer's tagger decides.
"""

from collections.abc import Sequence

from lina.tokenizers.english.clue import Clue
from lina.tokenizers.english.heteronym_clues import CLUES
from lina.tokenizers.english.heteronym_readings import READINGS

_NEAR = 8
"""Words on each side."""
_CLAUSE_MARKS = frozenset(";:.!?—()")


def heteronym(tokens: Sequence[str], place: int, british: bool) -> str | None:
    """The phonemes of a token, if it is a heteronym and a clue decides it. Tokens are words and marks."""
    word = tokens[place].lower()
    for clue in CLUES.get(word, ()):
        if _holds(clue, tokens, place):
            return READINGS[word][clue.reading][british]
    return None


def _holds(clue: Clue, tokens: Sequence[str], place: int) -> bool:
    start, end = place, place + 1
    while start > 0 and tokens[start - 1] not in _CLAUSE_MARKS and place - start < 4 * _NEAR:
        start -= 1
    while end < len(tokens) and tokens[end] not in _CLAUSE_MARKS and end - place < 4 * _NEAR:
        end += 1
    before = [token.lower() for token in tokens[start:place]]
    after = [token.lower() for token in tokens[place + 1 : end]]
    last, following = (before[-1] if before else ""), (after[0] if after else "")
    first = not before
    return not (
        (clue.before and last not in clue.before)
        or (clue.after and following not in clue.after)
        or (clue.near and clue.near.isdisjoint(before[-_NEAR:] + after[:_NEAR]))
        or (clue.earlier and clue.earlier.isdisjoint(before))
        or last in clue.not_before
        or following in clue.not_after
        or (clue.capital is not None and clue.capital != tokens[place][0].isupper())
        or (clue.first is not None and clue.first != first)
    )
