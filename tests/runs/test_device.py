"""Device and precision of a run."""

import pytest
import torch

import lina
from lina.core.errors import CheckpointError, LinaError
from lina.runs import device as module
from lina.runs.device import (
    choose_device,
    choose_own_device,
    choose_precision,
    keep_precision,
    mixed_precision,
    precision_name,
)

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("requested", "there", "chosen"),
    [
        ("auto", False, "cpu"),
        ("cpu", False, "cpu"),
        ("auto", True, "cuda"),
        ("cpu", True, "cpu"),
        ("cuda", True, "cuda"),
    ],
)
def test_a_gpu_is_taken_if_there_is_one_and_it_is_not_refused(
    monkeypatch: pytest.MonkeyPatch, requested: str, there: bool, chosen: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert choose_device(requested).type == chosen  # type: ignore[arg-type]


def test_cuda_without_cuda_is_an_error_not_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(LinaError, match=r"device: 'cuda', but PyTorch sees no CUDA device here; use auto"):
        choose_device("cuda")


@pytest.mark.parametrize(
    ("requested", "fast", "chosen"),
    [
        ("auto", True, torch.bfloat16),
        ("auto", False, torch.float32),
        ("float32", True, torch.float32),
        ("bfloat16", False, torch.bfloat16),
    ],
)
def test_bfloat16_is_chosen_only_where_it_is_fast(
    monkeypatch: pytest.MonkeyPatch, requested: str, fast: bool, chosen: torch.dtype
) -> None:
    monkeypatch.setattr(module, "_cpu_multiplies_bfloat16", lambda: fast)
    assert choose_precision(requested, CPU) is chosen  # type: ignore[arg-type]


def test_mixed_precision_is_of_products_only() -> None:
    layer = torch.nn.Linear(2, 2)
    for dtype in (torch.float32, torch.bfloat16):
        with mixed_precision(CPU, dtype):
            y = layer(torch.ones(1, 2))
        assert y.dtype == dtype
        assert layer.weight.dtype == torch.float32


def test_a_run_resumes_in_its_own_precision(caplog: pytest.LogCaptureFixture) -> None:
    assert keep_precision("float32", torch.float32, CPU, "run") is torch.float32
    assert not caplog.messages
    assert keep_precision("bfloat16", torch.float32, CPU, "run") is torch.bfloat16
    assert keep_precision("float32", torch.bfloat16, CPU, "run") is torch.float32
    assert caplog.messages == [
        f"run: resuming in {then} as trained, although precision: auto would select {now} on this machine"
        for then, now in (("bfloat16", "float32"), ("float32", "bfloat16"))
    ]


def test_an_unsupported_precision_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    with pytest.raises(
        CheckpointError, match=r"run: was trained in bfloat16, which this GPU does not compute"
    ):
        keep_precision("bfloat16", torch.float32, torch.device("cuda"), "run")
    with pytest.raises(CheckpointError, match=r"run: was trained in 'float8', which this lina does not know"):
        keep_precision("float8", torch.float32, CPU, "run")


def test_precisions_are_named_as_in_a_spec() -> None:
    assert [precision_name(one) for one in (torch.float32, torch.bfloat16)] == ["float32", "bfloat16"]


def test_a_voice_is_loaded_on_the_device_that_is_requested(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused before anything is read; the shipped voice is on the CPU where that is requested."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(
        LinaError, match=r"device: 'cuda', but PyTorch sees no CUDA device here; use auto or cpu"
    ):
        lina.load("no/such/run", device="cuda")
    with pytest.raises(LinaError, match=r"device: 'gpu' is not auto, cpu or cuda"):
        lina.load(device="gpu")  # type: ignore[arg-type]
    voice = lina.load(device="cpu", threads=2)
    assert voice.model.logits_head.weight.device.type == "cpu"
    assert voice.threads == 2
    assert lina.load().threads == 1


def test_each_rank_has_the_gpu_of_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert choose_own_device("auto").type == "cuda"
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert choose_own_device("cpu").type == "cpu"
    assert chosen == []
    choose_own_device("auto")
    assert chosen == [3]
