"""Operators for torch.compile, registered without importing it."""

import subprocess
import sys

import torch
from torch import Tensor

from lina.core.ops.dispatch import allows_fused_kernels, reference_kernels
from lina.core.ops.operator import operator

MODULE = """
import sys
import torch
from torch import Tensor
from lina.core.ops.operator import operator

def shape(x: Tensor, memory: Tensor) -> Tensor:
    return torch.empty_like(x)

@operator(fake=shape, mutates=["memory"])
def accumulated(x: Tensor, memory: Tensor) -> Tensor:
    memory.add_(x)
    return 2 * x

memory = torch.ones(3)
assert torch.equal(accumulated(torch.ones(3), memory), torch.full((3,), 2.0))
assert torch.equal(memory, torch.full((3,), 2.0))
assert "torch._dynamo" not in sys.modules
"""


def test_registration_and_calls_do_not_import_the_compiler() -> None:
    done = subprocess.run([sys.executable, "-c", MODULE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_shapes_are_known_without_values() -> None:
    def shape(x: Tensor, width: int) -> Tensor:
        return x.new_empty(len(x), width)

    @operator(fake=shape)
    def widened_for_a_test(x: Tensor, width: int) -> Tensor:
        return x[:, :1].expand(-1, width).clone()

    x = torch.randn(3, 2)
    assert torch.equal(widened_for_a_test(x, 5), x[:, :1].expand(-1, 5))
    assert widened_for_a_test(x.to("meta"), 5).shape == (3, 5)


def test_reference_kernels_are_selected_within_their_context_only() -> None:
    with reference_kernels():
        with reference_kernels():
            assert not allows_fused_kernels()
        assert not allows_fused_kernels()
    assert allows_fused_kernels()
