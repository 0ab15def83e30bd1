"""Whether flash-linear-attention's Triton kernels (MIT; Yang & Zhang 2024) can run on this machine."""

import functools

import torch


@functools.cache
def obstacle() -> str | None:
    """Why the kernels cannot run here, and what to do; None if they can.

    ``import fla`` alone proves nothing: without Triton it succeeds and is empty.
    """
    if not torch.cuda.is_available():
        return "there is no CUDA device"
    try:
        import fla.ops  # noqa: F401
    except Exception as error:
        return f"flash-linear-attention does not import ({type(error).__name__}: {error}); pip install 'lina[fla]'"
    return None
