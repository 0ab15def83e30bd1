"""A graph that is run on its own outputs, against plain runs of the same graph."""

from pathlib import Path

import numpy as np
import pytest

from lina.engine.onnx.feedback import Feedback
from lina.engine.onnx.session import Graph, ort_value

onnx = pytest.importorskip("onnx")


@pytest.fixture
def graph(tmp_path: Path) -> Graph:
    """sum' = sum + step, outputs the double of the sum; ``step`` stays."""
    helper, real = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [
        helper.make_node("Add", ["sum", "step"], ["next.sum"]),
        helper.make_node("Add", ["next.sum", "next.sum"], ["double"]),
    ]
    shape = ["N"]
    inputs = [helper.make_tensor_value_info(name, real, shape) for name in ("sum", "step")]
    outputs = [helper.make_tensor_value_info(name, real, shape) for name in ("next.sum", "double")]
    model = helper.make_model(
        helper.make_graph(nodes, "sums", inputs, outputs), opset_imports=[helper.make_opsetid("", 18)]
    )
    model.ir_version = 10
    path = tmp_path / "graph.onnx"
    path.write_bytes(model.SerializeToString())
    return Graph(path)


def test_runs_follow_each_other(graph: Graph) -> None:
    first = {
        "sum": np.zeros(2, np.float32),
        "step": np.array([1, 2], np.float32),
        "other": np.ones(3, np.float32),
    }
    loop = Feedback(graph, first, ["double"])
    for count in range(1, 6):
        np.testing.assert_array_equal(loop.run()["double"], np.array([2, 4]) * count)
        np.testing.assert_array_equal(loop.values["sum"], np.array([1, 2]) * count)
    np.testing.assert_array_equal(first["sum"], 0)
    assert list(loop.values) == list(first)


def test_numbers_may_be_written_between_runs(graph: Graph) -> None:
    loop = Feedback(graph, {name: np.zeros(1, np.float32) for name in ("sum", "step")}, ["double"])
    for count in range(4):
        loop.values["sum"][...], loop.values["step"][...] = 10 * count, 1
        assert loop.run()["double"] == 2 * (10 * count + 1)


def test_a_run_for_other_outputs_goes_on_with_the_same_values(graph: Graph) -> None:
    values = {"sum": np.zeros(1, np.float32), "step": np.ones(1, np.float32)}
    loop = Feedback(graph, values, ["double"])
    for count in range(1, 7):
        found = loop.run_for(["next.sum", "double"]) if count in (1, 4) else loop.run()
        assert found["double"] == 2 * count
    plain = graph.run({name: ort_value(array) for name, array in loop.values.items()}, ["double"])
    assert plain[0].numpy() == 14
