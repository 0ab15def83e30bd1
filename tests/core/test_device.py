"""What a run computes on, and in which precision."""

import pytest
import torch

from lina.core import device as module
from lina.core.device import choose_device, choose_precision, mixed_precision
from lina.core.errors import LinaError

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("wanted", "there", "chosen"),
    [
        ("auto", False, "cpu"),
        ("cpu", False, "cpu"),
        ("auto", True, "cuda"),
        ("cpu", True, "cpu"),
        ("cuda", True, "cuda"),
    ],
)
def test_a_gpu_is_taken_if_there_is_one_and_it_is_not_refused(
    monkeypatch: pytest.MonkeyPatch, wanted: str, there: bool, chosen: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert choose_device(wanted).type == chosen  # type: ignore[arg-type]


def test_cuda_without_cuda_is_an_error_not_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(LinaError, match=r"device: 'cuda', but PyTorch sees no CUDA device here; say auto"):
        choose_device("cuda")


@pytest.mark.parametrize(
    ("wanted", "fast", "chosen"),
    [
        ("auto", True, torch.bfloat16),
        ("auto", False, torch.float32),
        ("float32", True, torch.float32),
        ("bfloat16", False, torch.bfloat16),
    ],
)
def test_bfloat16_is_chosen_only_where_it_is_fast(
    monkeypatch: pytest.MonkeyPatch, wanted: str, fast: bool, chosen: torch.dtype
) -> None:
    monkeypatch.setattr(module, "_cpu_multiplies_bfloat16", lambda: fast)
    assert choose_precision(wanted, CPU) is chosen  # type: ignore[arg-type]


def test_mixed_precision_is_of_products_only() -> None:
    layer = torch.nn.Linear(2, 2)
    for dtype in (torch.float32, torch.bfloat16):
        with mixed_precision(CPU, dtype):
            y = layer(torch.ones(1, 2))
        assert y.dtype == dtype
        assert layer.weight.dtype == torch.float32
