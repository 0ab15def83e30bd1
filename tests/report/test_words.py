import pytest

from lina.report.words import Mark, compare


def kinds(said, heard):
    return [(mark.kind, mark.said, mark.heard) for mark in compare(said, heard)]


def test_case_and_punctuation_do_not_count_but_are_kept():
    assert kinds("Dial it, now!", "dial IT now") == [
        ("right", "Dial", "dial"),
        ("right", "it,", "IT"),
        ("right", "now!", "now"),
    ]


def test_wrong_missing_and_extra_words():
    assert kinds("please enter your number", "enter the your lumber") == [
        ("missing", "please", ""),
        ("right", "enter", "enter"),
        ("extra", "", "the"),
        ("right", "your", "your"),
        ("wrong", "number", "lumber"),
    ]


@pytest.mark.parametrize(
    ("said", "heard", "marks"),
    [
        ("", "", []),
        ("a b", "", [Mark("missing", "a", ""), Mark("missing", "b", "")]),
        ("", "a", [Mark("extra", "", "a")]),
        ("don't", "dont", [Mark("wrong", "don't", "dont")]),
        ("?", "!", [Mark("wrong", "?", "!")]),
    ],
)
def test_ends(said, heard, marks):
    assert compare(said, heard) == marks


def test_the_alignment_is_the_cheapest():
    marks = compare("a b c d e f", "b c x e f g")
    assert sum(mark.kind != "right" for mark in marks) == 3
    assert " ".join(mark.said for mark in marks if mark.said) == "a b c d e f"
    assert " ".join(mark.heard for mark in marks if mark.heard) == "b c x e f g"
