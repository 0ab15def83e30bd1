import math
from typing import Any

import pytest

from lina.report.chart import BOTTOM, HEIGHT, LEFT, MAX_POINTS, RIGHT, TOP, WIDTH, Chart, Curve, line_chart


def drawn(title: str, curves: list[Curve], **options: Any) -> Chart:
    chart = line_chart(title, curves, **options)
    assert chart is not None
    return chart


def coordinates(path: str) -> list[tuple[float, float]]:
    points = [point.split(",") for run in path.split("M") for point in run.strip().split("L") if point]
    return [(float(x), float(y)) for x, y in points]


def test_a_curve_fills_its_frame_from_corner_to_corner() -> None:
    chart = drawn("t", [Curve("a", [(0, 0.0), (10, 1.0)])], y_label="y", y_range=(0.0, 1.0))
    assert coordinates(chart.lines[0].path) == [(LEFT, HEIGHT - BOTTOM), (WIDTH - RIGHT, TOP)]


def test_a_log_scale_puts_equal_ratios_at_equal_distances() -> None:
    chart = drawn("t", [Curve("a", [(1, 100.0), (2, 10.0), (3, 1.0)])], y_label="y", log=True)
    (_, first), (_, second), (_, third) = coordinates(chart.lines[0].path)
    assert third - second == pytest.approx(second - first, abs=0.15)
    assert chart.y_label == "y, log scale"
    assert [tick.label for tick in chart.y_ticks] == ["1", "2", "5", "10", "20", "50", "100"]


def test_log_is_given_up_where_a_value_is_zero() -> None:
    chart = drawn("t", [Curve("a", [(1, 0.0), (2, 10.0)])], y_label="y", log=True)
    assert chart.y_label == "y"


def test_ticks_lie_within_the_frame() -> None:
    for values in ([3e-5, 7e-5], [0.0, 123_456.0], [-5.0, 5.0], [2.0, 2.0], [0.0, 0.0]):
        chart = drawn("t", [Curve("a", list(enumerate(values)))], y_label="y")
        assert len(chart.y_ticks) >= 2
        assert all(TOP <= tick.at <= HEIGHT - BOTTOM for tick in chart.y_ticks)
        assert all(LEFT <= tick.at <= WIDTH - RIGHT for tick in chart.x_ticks)


def test_many_records_become_means_and_the_note_says_so() -> None:
    count = 2 * MAX_POINTS + 1
    chart = drawn("t", [Curve("a", [(step, step % 3) for step in range(count)])], y_label="y")
    assert len(coordinates(chart.lines[0].path)) <= MAX_POINTS
    assert chart.note == "Each point is the mean of 3 records."
    assert {y for _, y in coordinates(chart.lines[0].path)[:-1]} == {
        coordinates(chart.lines[0].path)[0][1],
    }


def test_a_line_does_not_bridge_a_value_that_is_no_number() -> None:
    points = [(1, 1.0), (2, 2.0), (3, math.nan), (4, 1.0), (5, math.inf), (6, 2.0), (7, 1.0)]
    chart = drawn("t", [Curve("a", points)], y_label="y")
    line = chart.lines[0]
    assert line.path.count("M") == 2
    assert len(coordinates(line.path)) == 4
    assert len(line.dots) == 1
    assert chart.note == "a: 2 of 7 values not finite, the first at step 3."


def test_a_single_value_is_a_dot() -> None:
    line = drawn("t", [Curve("a", [(5, 2.0)])], y_label="y").lines[0]
    assert line.path == ""
    assert len(line.dots) == 1


@pytest.mark.parametrize("curves", [[Curve("a", [])], [Curve("a", [(1, math.nan)])]])
def test_nothing_finite_is_no_chart(curves: list[Curve]) -> None:
    assert line_chart("t", curves, y_label="y") is None
