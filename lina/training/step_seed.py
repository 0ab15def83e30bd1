"""Where the chance of a training step comes from, so that nothing of it has to be stored."""

PARTS = 0x1E3779B97F4A7C15
"""Far apart, so that no part of a step draws what the next step does."""


def step_seed(seed: int, step: int, part: int = 0) -> int:
    """What all random numbers of a step's part are drawn from, wherever it is computed."""
    return (seed * 1_000_000_007 + step + part * PARTS) % 2**63
