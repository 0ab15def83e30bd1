"""The benchmark of lost words: its texts and its counts."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from benchmarks import lost_words
from benchmarks.lost_words import TAKES, count_lost, lists, loudest, table


def test_the_texts() -> None:
    assert len(TAKES) * len(lost_words.SEEDS) == 162
    assert len(set(TAKES)) == len(TAKES)
    items = [text.count(",") + 1 for text in lists()]
    assert (min(items), max(items)) == (12, 40)
    assert len(set(lists())) == 20


@pytest.mark.parametrize(
    ("transcript", "lost", "substituted", "inserted"),
    [
        ("Apples, plums, and figs.", 0, 0, 0),
        ("Apples and figs", 1, 0, 0),
        ("apples plumes and figs", 0, 1, 0),
        ("apples plums plums and figs", 0, 0, 1),
        ("", 4, 0, 0),
    ],
)
def test_lost_words_are_counted(transcript: str, lost: int, substituted: int, inserted: int) -> None:
    found = count_lost("Apples, plums, and figs.", transcript)
    assert found == {"words": 4, "lost": lost, "substituted": substituted, "inserted": inserted}


def test_the_loudest_moment() -> None:
    audio = torch.zeros(1, 1000)
    speech: Any = SimpleNamespace(audio=audio)
    assert loudest(speech, 8000) == 0
    audio[:, 160:320] = 0.5
    assert loudest(speech, 8000) == pytest.approx(0.5)
    assert loudest(cast(Any, SimpleNamespace(audio=audio[:, :10])), 8000) == 0


def test_takes_that_are_silent_or_do_not_end() -> None:
    class Voice:
        sample_rate = 8000

        def speak(self, texts: Any, seed: int) -> list[Any]:
            return [
                SimpleNamespace(
                    audio=torch.full((1, 800), 0.0 if text == "A" and seed == 1 else 0.5), stopped=text != "B"
                )
                for text in texts
            ]

    found = lost_words.measure_takes(cast(Any, Voice()))
    assert {key: found[key] for key in ("takes", "silent", "not_ended", "longest")} == {
        "takes": 162,
        "silent": 1,
        "not_ended": 3,
        "longest": 0.1,
    }
    assert "| 162 | 1 | 3 | 0.10 |" in table({"takes": found})
