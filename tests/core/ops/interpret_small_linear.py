"""Runs the Triton kernel of the small linear layer on a CPU, against the plain form; needs TRITON_INTERPRET=1."""

from typing import Any

import torch

from lina.core.ops.small_linear import small_linear
from lina.core.ops.small_linear_triton import small_linear as fused


def main() -> None:
    torch.manual_seed(0)
    for rows, inputs, outputs, heads in ((1, 32, 24, 4), (3, 40, 17, 5), (2, 16, 100, 2)):
        x, residual = torch.randn(rows, inputs + 5)[:, :inputs] + 1.0, torch.randn(rows, outputs)
        weight, bias = torch.randn(outputs, inputs).bfloat16(), torch.randn(outputs)
        norm: dict[str, Any] = {
            "norm_weight": torch.randn(inputs),
            "norm_bias": torch.randn(inputs),
            "eps": 1e-5,
        }
        gated: dict[str, Any] = {"norm_weight": torch.randn(inputs // heads), "eps": 1e-5, "heads": heads}
        gated["gate"] = torch.randn(rows, inputs + 3)[:, :inputs]
        forms: list[dict[str, Any]] = [{}, norm, {"log_sigmoid": 0.25}, {"residual": residual}]
        forms += [{"residual": residual, **gated}]
        for options in forms:
            expected = small_linear(x, weight, bias, **options)
            torch.testing.assert_close(fused(x, weight, bias, **options), expected, atol=1e-4, rtol=1e-4)
        both, two = torch.randn(2 * outputs, inputs), torch.randn(2 * outputs)
        expected = small_linear(x, both, two, **norm, swiglu=True)
        torch.testing.assert_close(fused(x, both, two, **norm, swiglu=True), expected, atol=1e-4, rtol=1e-4)
        print("agrees", rows, inputs, outputs, flush=True)


if __name__ == "__main__":
    main()
