"""The exported step in onnxruntime equals the eager one, for every backbone."""

import logging
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch

from lina.core.errors import LinaError
from lina.core.generation.settings import Repetition, Sampling, Window
from lina.core.model.delay_lm import DelayLM
from lina.core.registry import load
from lina.engine.backend import _log_choice
from lina.engine.backend_names import BackendName
from lina.engine.engine import Engine
from lina.engine.onnx.export import Rules, trace, translations, without_weights
from lina.engine.onnx.files import FACTS, GraphFolder, read_folder
from lina.engine.onnx.session import Graphs
from lina.engine.onnx.weights import weight_of
from lina.engine.onnx.write import write_graphs
from lina.engine.request import RowResult
from tests.core.toy_model import toy_conditions
from tests.engine.decoding import TEXTS, requests
from tests.engine.test_backends import BACKBONES, model_of

pytest.importorskip("onnxscript")
pytestmark = pytest.mark.no_shape_checks  # the other backends check the same step; exports take minutes
FAMILIES = ("gated_deltanet", "gla", "mamba2", "rwkv7", "transformer")
"""A backbone of each; the others are exported with ``pytest -m all_exports``."""
WINDOW = Window(ahead=6, back=3, pace=1.0, stall=4, stop_within=2, linger=3)
SAMPLED = Sampling([0.9, 0.7, 0.0], top_k=[4, None, 3], top_p=[1.0, 0.8, 1.0])
RULES: dict[str, Any] = {"window": WINDOW, "repetition": Repetition(last=4, ratio=0.25)}


def export(lm: DelayLM, name: str, path: Path, widest: int | None = None) -> GraphFolder:
    extreme = load("backbone", name).extreme
    rules = Rules(repetition=Repetition(last=4, ratio=0.25))
    return write_graphs(path, lm, widest=widest, rules=rules, extreme=extreme, others={}, facts={})


@pytest.fixture(scope="module")
def gla(tmp_path_factory: pytest.TempPathFactory) -> tuple[DelayLM, GraphFolder]:
    lm = model_of("gla", "plain", "ordinary", "cpu")
    return lm, export(lm, "gla", tmp_path_factory.mktemp("graphs"))


def decode(
    lm: Any, graphs: Graphs | None, backend: BackendName, slots: int = 4, **options: Any
) -> list[RowResult]:
    many = requests(toy_conditions(lm, *TEXTS), **options)
    engine = Engine(lm, slots, backend=backend, graphs=graphs)
    found = list(engine.run(many))
    if backend.startswith("onnx"):
        assert engine.backend_name is not None
        assert engine.backend_name.startswith("onnxruntime")
    return found


def assert_equal(found: list[RowResult], expected: list[RowResult]) -> None:
    for own, other in zip(found, expected, strict=True):
        assert torch.equal(own.codes, other.codes)
        assert (own.stopped, own.ended_by_window) == (other.stopped, other.ended_by_window)
        torch.testing.assert_close(own.attention, other.attention, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    "name",
    [name if name in FAMILIES else pytest.param(name, marks=pytest.mark.all_exports) for name in BACKBONES],
)
@pytest.mark.timeout(600)
def test_the_exported_step_says_what_eager_says(name: str, tmp_path: Path) -> None:
    """The export itself compares ordinary and extreme parameters."""
    lm = model_of(name, "position" if name == "gla" else "plain", "ordinary", "cpu")
    folder = export(lm, name, tmp_path / "onnx")
    assert folder.facts["differences"]["ordinary"] < 1e-4
    graphs = Graphs(folder, weight_of(lm))
    for slots in (4, 1):
        options: dict[str, Any] = {"sampling": SAMPLED, "max_frames": 12, "slots": slots, **RULES}
        assert_equal(decode(lm, graphs, "onnx", **options), decode(lm, None, "eager", **options))


def test_auto_takes_onnxruntime_on_a_cpu_and_says_so_once(
    gla: tuple[DelayLM, GraphFolder], caplog: pytest.LogCaptureFixture
) -> None:
    lm, folder = gla
    _log_choice.cache_clear()
    with caplog.at_level(logging.INFO, "lina.engine"):
        for _ in range(2):
            decode(lm, Graphs(folder, weight_of(lm)), "auto", max_frames=3)
    assert [one.message for one in caplog.records] == ["decode engine: onnxruntime"]


def test_streams_that_need_more_than_the_exported_step_go_on_with_eager(
    gla: tuple[DelayLM, GraphFolder], caplog: pytest.LogCaptureFixture
) -> None:
    lm, folder = gla
    graphs, rule = Graphs(folder, weight_of(lm)), Repetition(last=9, ratio=0.25)
    _log_choice.cache_clear()
    with caplog.at_level(logging.INFO, "lina.engine"):
        decode(lm, graphs, "auto", sampling=SAMPLED, max_frames=3, repetition=rule)
    assert (
        "no onnxruntime, because the exported step looks at 4 recent tokens, and 9 are needed" in caplog.text
    )
    with pytest.raises(LinaError, match="'onnx' cannot be used: the exported step looks at 4"):
        decode(lm, graphs, "onnx", sampling=SAMPLED, max_frames=3, repetition=rule)


def test_a_step_that_sorts_few_tokens_serves_small_top_k_alone(tmp_path: Path) -> None:
    lm = model_of("gla", "plain", "ordinary", "cpu")
    graphs = Graphs(export(lm, "gla", tmp_path, widest=5), weight_of(lm))
    options: dict[str, Any] = {"sampling": Sampling(0.9, top_k=5), "max_frames": 12}
    assert_equal(decode(lm, graphs, "onnx", **options), decode(lm, None, "eager", **options))
    with pytest.raises(LinaError, match="serves top_k up to 5"):
        decode(lm, graphs, "onnx", sampling=Sampling(0.9, top_k=6), max_frames=3)


def test_without_graphs_onnx_is_refused(gla: tuple[DelayLM, GraphFolder]) -> None:
    with pytest.raises(LinaError, match="graphs have not been exported"):
        decode(gla[0], None, "onnx", max_frames=3)


def test_graphs_of_other_weights_fall_back_to_eager(
    gla: tuple[DelayLM, GraphFolder], caplog: pytest.LogCaptureFixture
) -> None:
    lm, folder = gla
    other = model_of("gla", "plain", "ordinary", "cpu")
    other.logits_head.weight.mul_(1.1)
    with caplog.at_level(logging.INFO, "lina.engine"):
        found = decode(lm, Graphs(folder, weight_of(other)), "auto", max_frames=8)
    assert "onnxruntime failed its check (it differs from eager by" in caplog.text
    assert_equal(found, decode(lm, None, "eager", max_frames=8))


def test_a_graph_that_differs_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exporter's own logsigmoid is -inf where gates are extreme."""
    own = translations()
    own = {operator: one for operator, one in own.items() if "log_sigmoid" not in str(operator)}
    monkeypatch.setattr("lina.engine.onnx.export.translations", lambda: own)
    lm = model_of("gla", "plain", "ordinary", "cpu")
    with pytest.raises(LinaError, match="with extreme parameters the exported step differs from eager"):
        export(lm, "gla", tmp_path)
    assert read_folder(tmp_path) is None


def test_cosines_are_of_a_type_that_older_onnxruntime_has() -> None:
    """Before 1.30 it has no cosine in float64, and lina-voice runs from 1.22 on."""

    class Cosine(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.cos()

    x = torch.linspace(-3000, 3000, 1001, dtype=torch.float64)
    model = without_weights(trace(Cosine(), {"x": x}, ["y"], {"x": {}}), [])
    assert "Cos" not in {node.op_type for node in model.graph.node}
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (found,) = session.run(None, {"x": x.numpy()})
    torch.testing.assert_close(torch.from_numpy(found), x.cos(), atol=1e-12, rtol=0)


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lina.engine.onnx.export.PACKAGES", ("onnx", "no_such_package"))
    with pytest.raises(LinaError, match=r"no_such_package not installed; pip install 'lina\[onnx\]'"):
        export(model_of("gla", "plain", "ordinary", "cpu"), "gla", tmp_path)


def test_damaged_facts_are_named(tmp_path: Path) -> None:
    (tmp_path / FACTS).write_text("{")
    with pytest.raises(LinaError, match=r"facts\.json: cannot be read"):
        read_folder(tmp_path)
    (tmp_path / FACTS).write_text('{"format": "other"}')
    with pytest.raises(LinaError, match="its format is 'other'"):
        read_folder(tmp_path)
