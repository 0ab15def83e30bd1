"""Outputs of lina-speech's own code (tests/golden/lina_speech), through every backend of the engine."""

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lina.convert.lina_speech.run import convert
from lina.core.generation.settings import Sampling
from lina.core.model.delay_lm import DelayLM
from lina.core.state import tree_map
from lina.engine.backend import build_backend
from lina.engine.backend_names import BackendName
from lina.engine.buffers import BufferBackend
from lina.engine.numerics import Numerics
from lina.engine.onnx.session import Graphs
from lina.engine.onnx.weights import weight_of
from lina.engine.request import Request
from lina.engine.state import Features, empty_slots, first_state
from lina.engine.step import DecodeStep
from tests.golden.lina_speech.rebuild import checkpoint, expected

STEPS = 12
IN_PLACE = BufferBackend.name
"""The body of the CUDA graphs, which runs on a CPU as well."""
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
    lm: DelayLM, backend: Any, reference: dict[str, Tensor], graphs: Graphs | None = None
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
    built: Any
    if backend == IN_PLACE:
        built = BufferBackend(lm, step, empty_slots(row, 1), Numerics(), running=False)
    else:
        built = build_backend(backend, lm, step, row, 1, Numerics(), graphs=graphs)
    found = []
    for place in range(STEPS):
        with torch.inference_mode():
            if place:
                row = tree_map(torch.clone, built.state)
            built.insert([0], row._replace(column=columns[:, place].clone()))
        block = built.run(1).wait()
        found.append(torch.from_numpy(block.attention[0, 0, : text.shape[1]].copy()))
    return torch.stack(found)


def assert_golden(lm: DelayLM, name: str, backend: Any, graphs: Graphs | None = None) -> None:
    reference = expected(name)
    maps = reference["attention"][0, 1, :STEPS]
    torch.testing.assert_close(attention_of(lm, backend, reference, graphs), maps, atol=1e-4, rtol=0)


@pytest.mark.parametrize("backend", ["eager", IN_PLACE])
def test_pytorch(golden: tuple[str, DelayLM], backend: str) -> None:
    name, lm = golden
    assert_golden(lm, name, backend)


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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the compiler, about itself, from its import on
        torch._dynamo.reset()
        assert_golden(lm.cuda(), name, backend)
    lm.cpu()
