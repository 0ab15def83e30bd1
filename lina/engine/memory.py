"""Memory of a GPU that slots will take, before they take it."""

import logging

import torch

from lina.core.errors import LinaError
from lina.core.state import State, state_bytes

log = logging.getLogger("lina")

SHARE = 0.85
"""Of a GPU's free memory that slots may take; a step's own work needs the rest."""


def check_memory(row: State, count: int, device: torch.device, noun: str = "slots") -> None:
    """Log the bytes that ``count`` rows like ``row`` take.

    Raises:
        LinaError: they do not fit into the GPU's free memory; names the number that fits.
    """
    free, _ = torch.cuda.mem_get_info(device)
    free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    check_bytes(state_bytes(row), count, free, noun)


def check_bytes(each: int, count: int, free: int, noun: str) -> None:
    """The same for bytes of a row and free bytes that are known."""
    log.info("decode engine: %d %s of %.2f MB, %.3f GB", count, noun, each / 1e6, count * each / 1e9)
    if count * each > SHARE * free:
        raise LinaError(
            f"engine: {count} {noun} of {each / 1e6:.2f} MB take {count * each / 1e9:.1f} GB, but "
            f"{free / 1e9:.1f} GB of the GPU's memory are free; use at most {int(SHARE * free // each)} {noun}"
        )
