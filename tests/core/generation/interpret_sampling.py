"""Runs the Triton kernel of sampling on a CPU, against the plain form; needs TRITON_INTERPRET=1."""

import torch

from lina.core.generation.sampling import sample, sampling_rules
from lina.core.generation.sampling_rules import SamplingRules
from lina.core.generation.sampling_triton import sample as fused
from lina.core.generation.settings import Sampling

ROWS, BOOKS, TOKENS = 6, 3, 37


def main() -> None:
    generator = torch.Generator().manual_seed(0)
    for sampling in (
        Sampling(1.0),
        Sampling(0.7, top_k=5),
        Sampling([0.0, 1.5, 1.0], top_k=[None, 3, 20]),
        Sampling(1.3, top_p=[0.9, 0.4, 1e-6]),
        Sampling(1.0, top_k=[10, 50, None], top_p=[0.8, None, 0.5]),
    ):
        rules = SamplingRules(
            *(rule.expand(ROWS, -1).contiguous() for rule in sampling_rules(sampling, BOOKS))
        )
        logits = torch.randn(ROWS, BOOKS, TOKENS, generator=generator) * 3
        allowed = torch.rand(ROWS, BOOKS, TOKENS, generator=generator) < 0.6
        logits[:, :, 5] = -torch.inf
        keys = torch.randint(-(2**62), 2**62, (ROWS, BOOKS), generator=generator)
        for mask in (allowed, allowed[:1].expand_as(allowed)):
            expected = sample(logits, mask, rules, keys)
            found = fused(logits, mask, *rules, keys, sampling.has_top_p)
            assert torch.equal(found, expected), (sampling, (found != expected).sum())
        print("agrees", flush=True)


if __name__ == "__main__":
    main()
