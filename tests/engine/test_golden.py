"""Outputs of lina-speech's own code (tests/golden/lina_speech), through every backend of the engine."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lina.convert.lina_speech.run import convert
from lina.core.generation.settings import Sampling
from lina.core.model.delay_lm import DelayLM
from lina.engine.backend import build_backend
from lina.engine.backend_names import BackendName
from lina.engine.numerics import Numerics
from lina.engine.onnx.session import Graphs
from lina.engine.onnx.weights import weight_of
from lina.engine.request import Request
from lina.engine.state import Features, first_state
from lina.engine.step import DecodeStep
from tests.golden.lina_speech.rebuild import checkpoint, expected

STEPS = 12
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
GPU: tuple[BackendName, ...] = ("reference-graph", "graph", "compiled")


@pytest.fixture(scope="module", params=["gla", "mamba", "rwkv6"])
def golden(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, DelayLM]:
    folder = tmp_path_factory.mktemp("golden")
    torch.save({"model": checkpoint(request.param)}, folder / "lina-speech.pt")
    models: list[DelayLM] = []
    convert(folder / "lina-speech.pt", folder / "run", check=models.append)
    return request.param, models[0].eval().requires_grad_(False)


def attention_of(
    lm: DelayLM, backend: BackendName, reference: dict[str, Tensor], graphs: Graphs | None = None
) -> Tensor:
    """Attention [S, J] of ``STEPS`` steps of a backend that reads the columns of the golden file."""
    device = lm.logits_head.weight.device
    text = reference["text"][:1].to(device)
    columns = reference["delayed"][:1].to(device)
    with torch.inference_mode():
        conditions = lm.conditions(text, torch.ones_like(text, dtype=torch.bool))
    codebooks = len(lm.codebook_sizes)
    request = Request(conditions, Sampling(0.0), max_frames=1000)
    recent = 0 if graphs is None else graphs.folder.recent
    features = Features.of([request], codebooks).join(Features(0, False, None, False, False, recent))
    row = first_state(lm, [request], features)
    step = DecodeStep(lm.codebook_sizes, features, device)
    built: Any = build_backend(backend, lm, step, row, 1, Numerics(), graphs=graphs)
    found = []
    for place in range(STEPS):
        with torch.inference_mode():
            row = (row if not place else built.state)._replace(column=columns[:, place].clone())
            built.insert([0], row)
        block = built.run(1).wait()
        found.append(torch.from_numpy(block.attention[0, 0, : text.shape[1]].copy()))
    return torch.stack(found)


def assert_golden(lm: DelayLM, name: str, backend: BackendName, graphs: Graphs | None = None) -> None:
    reference = expected(name)
    maps = reference["attention"][0, 1, :STEPS]
    torch.testing.assert_close(attention_of(lm, backend, reference, graphs), maps, atol=1e-4, rtol=0)


def test_eager(golden: tuple[str, DelayLM]) -> None:
    name, lm = golden
    assert_golden(lm, name, "eager")


@pytest.mark.no_shape_checks
def test_onnxruntime(golden: tuple[str, DelayLM], tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    from tests.engine.test_onnx import export

    name, lm = golden
    if name != "gla":
        pytest.skip("exports of the other backbones are compared with eager in test_onnx.py")
    assert_golden(lm, name, "onnx", Graphs(export(lm, name, tmp_path), weight_of(lm)))


@needs_gpu
@pytest.mark.parametrize("backend", GPU)
def test_a_gpu(golden: tuple[str, DelayLM], backend: BackendName) -> None:
    name, lm = golden
    torch._dynamo.reset()
    assert_golden(lm.cuda(), name, backend)
    lm.cpu()
