from pathlib import Path
from typing import Any

import pytest

from lina.evaluation.records import CODEC, FLOOR, MODEL, RECORDINGS, ClipRecord
from lina.evaluation.summary import failed, groups


def clip(id: str, system: str, **measured: Any) -> ClipRecord:
    defaults: dict[str, Any] = {"text": "two words", "audio": Path("a.wav"), "seconds": 2.0}
    return ClipRecord(**({"id": id, "system": system} | defaults | measured))


def errors(wrong: int, words: int = 2) -> dict[str, int]:
    return {
        "words": words,
        "wrong_words": wrong,
        "characters": 10 * words,
        "wrong_characters": 4 * wrong,
    }


CLIPS = [
    clip(
        "a", MODEL, **errors(1), seconds=1.0, dnsmos=3.0, synthesis_seconds=0.5, first_audio=0.1, stopped=True
    ),
    clip(
        "b",
        MODEL,
        **errors(0),
        seconds=3.0,
        dnsmos=2.0,
        synthesis_seconds=0.5,
        first_audio=0.3,
        stopped=False,
    ),
    clip("c", MODEL, **errors(3, words=4), seconds=2.0, first_audio=5.0),
    clip("a", RECORDINGS, **errors(0)),
    clip("b", RECORDINGS, **errors(0), seconds=1.0),
    clip("a", CODEC, **errors(1), dnsmos=3.5),
    clip("b", CODEC, **errors(1), dnsmos=2.5),
]


def test_groups_are_in_order_and_hold_the_measures() -> None:
    model, codec, recordings = groups(CLIPS)
    assert [one.name for one in (model, codec, recordings)] == [MODEL, CODEC, RECORDINGS]
    values = {name: one.value for name, one in model.measures.items()}
    assert values == {
        # 4 wrong of 8 words; rates are of all texts together.
        "word_error_rate": 0.5,
        "character_error_rate": 0.2,
        # a and b last half and three times as long as their recordings; c has none, and 30 % of errors are not more.
        "failed": pytest.approx(2 / 3),
        "dnsmos": 2.5,
        "duration_ratio": pytest.approx((0.5 + 3.0) / 2),
        "cut": 0.5,
        "real_time_factor": 0.25,
        "first_audio_median": pytest.approx(0.3),
    }
    assert model.word_error_rate == 0.5
    assert model.sentences == 3


def test_differences_to_the_ceiling_are_over_its_texts_only() -> None:
    model, codec, recordings = groups(CLIPS)
    assert codec.minus_ceiling == {}
    assert model.minus_ceiling["word_error_rate"].value == -0.25
    assert model.minus_ceiling["dnsmos"].model_dump() == {"value": -0.5, "low": -0.5, "high": -0.5}
    assert recordings.minus_ceiling["word_error_rate"].value == -0.5
    assert "dnsmos" not in recordings.minus_ceiling


def test_without_scores_there_are_no_measures() -> None:
    (floor,) = groups([clip("a", FLOOR)])
    assert floor.word_error_rate is None
    assert floor.measures == {}


@pytest.mark.parametrize(
    ("characters", "seconds", "reference", "expected"),
    [
        (30, 2.0, 2.0, 0.0),
        (31, 2.0, 2.0, 1.0),
        (31, 2.0, None, 1.0),
        (0, 1.3, 2.0, 0.0),
        (0, 1.1, 2.0, 1.0),
        (0, 3.1, 2.0, 0.0),
        (0, 3.3, 2.0, 1.0),
        (0, 9.0, None, 0.0),
        (None, 9.0, 2.0, None),
    ],
)
def test_a_text_fails_by_its_transcript_or_its_duration(
    characters: int | None, seconds: float, reference: float | None, expected: float | None
) -> None:
    one = clip("a", MODEL, seconds=seconds, characters=100, wrong_characters=characters)
    assert failed(one, reference) == expected
