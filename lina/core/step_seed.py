"""Where the chance of a training step comes from, so that nothing of it has to be stored."""


def step_seed(seed: int, step: int) -> int:
    """What all random numbers of a step are drawn from."""
    return (seed * 1_000_000_007 + step) % 2**63
