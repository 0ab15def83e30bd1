"""Device and precision of a run."""

import contextlib
import logging
import os
from typing import Any, Literal, get_args

import torch

from lina.core.errors import CheckpointError, LinaError, did_you_mean

Device = Literal["auto", "cpu", "cuda"]
DEVICES: tuple[Device, ...] = get_args(Device)

log = logging.getLogger("lina")


def choose_device(requested: Device) -> torch.device:
    """The CUDA device if there is one, unless ``requested`` is cpu.

    Raises:
        LinaError: ``requested`` is cuda and there is none, or it is not a device name.
    """
    if requested not in DEVICES:
        hint = did_you_mean(str(requested), DEVICES)
        raise LinaError(f"device: {requested!r} is not auto, cpu or cuda{hint}")
    if requested == "cuda" and not torch.cuda.is_available():
        raise LinaError("device: 'cuda', but PyTorch sees no CUDA device here; use auto or cpu")
    return torch.device("cuda" if requested != "cpu" and torch.cuda.is_available() else "cpu")


def choose_own_device(requested: Device) -> torch.device:
    """As ``choose_device``; in a rank of a launcher the GPU of its number becomes the current one of this process."""
    device = choose_device(requested)
    if device.type == "cuda" and "LOCAL_RANK" in os.environ:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    return device


def choose_precision(requested: Literal["auto", "float32", "bfloat16"], device: torch.device) -> torch.dtype:
    """The requested precision; for auto bfloat16 where the hardware supports it, else float32."""
    if requested != "auto":
        return torch.float32 if requested == "float32" else torch.bfloat16
    fast = torch.cuda.is_bf16_supported() if device.type == "cuda" else _cpu_multiplies_bfloat16()
    return torch.bfloat16 if fast else torch.float32


def keep_precision(recorded: str, here: torch.dtype, device: torch.device, where: object) -> torch.dtype:
    """The precision in which a run resumes: ``recorded``, whatever this machine would choose (``here``).

    Raises:
        CheckpointError: the machine does not support it.
    """
    known = {precision_name(one): one for one in (torch.float32, torch.bfloat16)}
    if recorded not in known:
        raise CheckpointError(
            f"{where}: was trained in {recorded!r}, which this lina does not know; use a newer one"
        )
    if known[recorded] == here:
        return here
    if known[recorded] == torch.bfloat16 and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise CheckpointError(
            f"{where}: was trained in bfloat16, which this GPU does not compute; "
            "resume with train.device=cpu, or on another machine"
        )
    log.warning(
        "%s: resuming in %s as trained, although precision: auto would select %s on this machine",
        *(where, recorded, precision_name(here)),
    )
    return known[recorded]


def precision_name(dtype: torch.dtype) -> str:
    """Name of a precision in a spec."""
    return str(dtype).removeprefix("torch.")


def mixed_precision(device: torch.device, dtype: torch.dtype) -> contextlib.AbstractContextManager[Any]:
    """Autocast context: matrix products in ``dtype``; weights, states and losses stay in float32."""
    if dtype == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=dtype)


def _cpu_multiplies_bfloat16() -> bool:
    checks = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, check, lambda: False)() for check in checks)
