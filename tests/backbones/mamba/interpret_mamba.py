"""Runs the Triton kernels of the selective scan on a CPU, against the recurrence; needs TRITON_INTERPRET=1."""

import torch

from lina.backbones.fused import selective_scan as fused_scan
from tests.core.ops.recurrence import assert_near, with_gradients
from tests.core.ops.test_selective_scan import ROWS, inputs, loop


def main() -> None:
    fused_scan.CHUNK, fused_scan.TILE, fused_scan.GROUPS = 8, 4, 2
    for frames, restarts in ((1, False), (8, False), (19, False), (19, True)):
        tensors = inputs(frames)
        starts = torch.arange(frames).expand(ROWS, -1) % 7 == 6 if restarts else None
        found = with_gradients(fused_scan.selective_scan, tensors, starts)
        assert_near(found, with_gradients(loop, [tensor.double() for tensor in tensors], starts), 2e-6)
        print("agrees", flush=True)


if __name__ == "__main__":
    main()
