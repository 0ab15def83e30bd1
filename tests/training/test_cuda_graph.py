"""Capture of training steps, with the thread beside it that pins coming batches."""

import threading

import pytest
import torch
from torch import nn

from lina.training.cuda_graph import CapturedFunction


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_batches_are_pinned_while_a_step_is_captured() -> None:
    device, over = torch.device("cuda"), threading.Event()
    kept = []

    def pin() -> None:
        size = 1
        while not over.is_set():  # another size each time, so that page-locked memory is allocated
            kept.append(torch.ones(4096 * size).pin_memory())
            size += 1

    thread = threading.Thread(target=pin)
    thread.start()
    try:
        for width in range(8, 16):
            layers = nn.Sequential(*(nn.Linear(width, width) for _ in range(50))).to(device)
            step = CapturedFunction(
                lambda x, layers=layers: layers(x).sum(), list(layers.parameters()), device, eager_calls=1
            )
            x = torch.randn(4, width)
            found = [step(x).item() for _ in range(3)]
            assert found == pytest.approx([layers(x.to(device)).sum().item()] * 3, rel=1e-5, abs=1e-5)
    finally:
        over.set()
        thread.join()


def test_a_capture_leaves_other_threads_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a CUDA graph's global mode forbids them to allocate page-locked memory."""
    modes = []

    class Graph:
        def __init__(self, graph: object, **options: object) -> None:
            modes.append(options["capture_error_mode"])

        def __enter__(self) -> None: ...

        def __exit__(self, *error: object) -> None: ...

    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: None)
    monkeypatch.setattr(torch.cuda, "graph", Graph)
    function = CapturedFunction(torch.sum, [], torch.device("cpu"), eager_calls=0)
    function._capture((torch.ones(2),))
    assert modes == ["thread_local"]
