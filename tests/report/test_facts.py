"""A rate of 214 % of unseen sentences is explained, and a good one is not."""

import pytest

from lina.report.facts import unseen_note
from lina.runs.records import DataSummary, Evaluation, EvaluationGroup, MetricsRecord

DATA = DataSummary(utterances=30, valid=3, seconds=95.0)
METRICS = [MetricsRecord(step=step, split="train", loss=1.0) for step in (1, 1_200)]


def evaluated(rate: float | None) -> Evaluation:
    group = EvaluationGroup(name="unseen sentences", sentences=6, word_error_rate=rate)
    return Evaluation(recognizer="whisper", groups=(group,))


def test_a_high_rate_of_a_small_run() -> None:
    note = unseen_note(evaluated(2.14), DATA, METRICS)
    assert "after 1,200 steps on 1 min 35 s of speech it has not learned to read" in note
    assert "Above 100 %, the recognizer hears more words than the text has" in note
    assert "Above 100 %" not in unseen_note(evaluated(0.87), DATA, METRICS)


@pytest.mark.parametrize("evaluation", [None, evaluated(0.2), evaluated(None), Evaluation(recognizer="x")])
def test_nothing_to_explain(evaluation: Evaluation | None) -> None:
    assert unseen_note(evaluation, DATA, METRICS) == ""


def test_without_data() -> None:
    assert "after 0 steps it has not" in unseen_note(evaluated(1.0), None, [])
