"""Runs the Triton kernels of the memory steps on a CPU, against the plain forms; needs TRITON_INTERPRET=1."""

import torch

from lina.backbones.fused.gated_norm import gated_norm
from lina.backbones.fused.gated_norm_triton import gated_norm as fused_norm
from lina.backbones.fused.memory_step import memory_step, packed_memory_step
from lina.backbones.fused.memory_step_triton import memory_step as fused
from lina.backbones.fused.memory_step_triton import packed_memory_step as fused_packed
from lina.backbones.fused.selective_step import selective_step
from lina.backbones.fused.selective_step_triton import selective_step as fused_selective

B, H = 2, 4


def main() -> None:
    torch.manual_seed(0)
    for keys, values, groups in ((16, 32, H), (24, 40, 2), (80, 33, H)):
        for form in ("decay per channel", "decay per head", "delta", "bonus"):
            q, k = torch.randn(2, B, groups, keys)
            v = torch.randn(B, H, values)
            log_decay = -torch.rand(B, H, 1 if form == "decay per head" else keys) * 3
            log_decay[0, 0] = -torch.inf
            own: tuple[torch.Tensor | None, ...] = (None, None, None)
            if form in ("delta", "bonus"):
                q, k = torch.randn(2, B, H, keys)
                own = (
                    (*torch.randn(2, B, H, keys), None)
                    if form == "delta"
                    else (None, None, torch.randn(H, keys))
                )
            for dtype in (torch.float32, torch.bfloat16):
                memory = torch.randn(B, H, keys, values).to(dtype)
                other = memory.clone()
                expected = memory_step(q, k, v, log_decay, memory, 0.3, *own)
                found = fused(q, k, v, log_decay, other, 0.3, *own)
                torch.testing.assert_close(found, expected, atol=2e-5, rtol=2e-5)
                torch.testing.assert_close(
                    other, memory, atol=1e-5 if dtype == torch.float32 else 0.04, rtol=1e-2
                )
        x, weight, gate = (
            torch.randn(B, H, values),
            torch.randn(values),
            torch.randn(B, H * values + 7)[:, 3:-4],
        )
        torch.testing.assert_close(
            fused_norm(x, weight, gate, 1e-5), gated_norm(x, weight, gate, 1e-5), atol=1e-5, rtol=1e-5
        )
        packed = torch.randn(B, H * (2 * keys + values) + 5)
        gates, offsets = torch.randn(B, H, keys) * 10, [0, H * keys, 2 * H * keys + 5]
        memory = torch.randn(B, H, keys, values)
        other = memory.clone()
        expected = packed_memory_step(packed, offsets, gates, memory, 0.3, 0.25)
        found = fused_packed(packed, offsets, gates, other, 0.3, 0.25)
        torch.testing.assert_close(found, expected, atol=2e-5, rtol=2e-5)
        torch.testing.assert_close(other, memory, atol=1e-5, rtol=1e-5)
        print("agrees", keys, values, flush=True)
    for channels, numbers in ((64, 16), (40, 5)):
        u, size = torch.randn(B, channels), torch.randn(B, channels) * 10
        a_log, skip = torch.randn(channels, numbers) * 3, torch.randn(channels)
        selected, entered = torch.randn(B, 3 + 2 * numbers), torch.randn(B, 2 * channels)
        for dtype in (torch.float32, torch.bfloat16):
            memory = torch.randn(B, channels, numbers).to(dtype)
            other = memory.clone()
            expected = selective_step(u, size, a_log, skip, selected, entered, memory)
            found = fused_selective(u, size, a_log, skip, selected, entered, other)
            torch.testing.assert_close(found, expected, atol=2e-5, rtol=2e-5)
            torch.testing.assert_close(
                other, memory, atol=1e-5 if dtype == torch.float32 else 0.04, rtol=1e-2
            )
        print("agrees", channels, numbers, flush=True)


if __name__ == "__main__":
    main()
