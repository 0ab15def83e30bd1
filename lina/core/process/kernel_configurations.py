"""Configurations of Triton's autotuned kernels: known ones for a kind of GPU, else the best of a few.

Trying all variants of flash-linear-attention's kernels takes minutes at the first start; most of that is compilation.
A file per kind of GPU holds what ``benchmarks.tune_kernels`` found; a kernel or a size that it does not cover is tried
in a few variants, spread over the list of its author.
"""

import json
import logging
import os
from collections.abc import Callable, Iterable, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from lina.core.process.chunk_tables import set_up_chunk_tables

log = logging.getLogger("lina")

FAULTY = {"fla.ops.generalized_delta_rule.dplr.chunk_o_bwd.chunk_dplr_bwd_o_kernel": {"num_warps": 2}}
"""Variants that are never tried. This one ended in an illegal instruction where rows of speech restart (fla 0.6.0,
Triton 3.6.0, H200, 2026-12-01).
"""
TRIED = 4
"""Variants tried of a kernel that no file covers, unless the user sets another number."""
PACKAGE = "fla."
OFFSETS = ("torch.int32", "torch.int64")
"""Types of tensors that say where sequences begin."""
COUNTS = ("B", "H", "HV", "HQ", "N", "T")
"""Names of tuning keys that are numbers of rows, heads, sequences or frames."""
OF_A_CONFIGURATION = ("kwargs", "num_warps", "num_stages", "num_ctas", "maxnreg")


class Known(NamedTuple):
    """The fastest configuration found of a kernel, and the tuning key that it was found for."""

    key: tuple[Any, ...]
    """Values of the tuner's keys, and the dtypes of the tensors, as Triton orders them."""
    config: dict[str, Any]


def install(known: dict[str, list[Known]], tried: int | None) -> None:
    """Let Triton's autotuner take a known configuration of a kernel of fla, or try ``tried`` variants; None: all.

    For the whole process: a tuner calls ``prune_configs`` once per tuning key, and times what that returns. Kernels of
    other packages are tried as these say.
    """
    from triton.runtime.autotuner import Autotuner

    every: Callable[..., list[Any]] = Autotuner.prune_configs

    def choose(tuner: Any, kwargs: dict[str, Any]) -> list[Any]:
        configs = list(every(tuner, kwargs))
        if not kernel_name(tuner).startswith(PACKAGE):
            return configs
        entries = known.get(kernel_name(tuner), [])
        found = nearest(entries, tuning_key(tuner, kwargs), counts_in(tuner, kwargs)) if entries else None
        own = [one for one in configs if found is not None and describe(one) == found.config]
        if own:
            return own
        faulty = FAULTY.get(kernel_name(tuner))
        configs = [one for one in configs if faulty is None or not faulty.items() <= describe(one).items()]
        some = spread(configs, tried)
        log.debug(f"{kernel_name(tuner)}: no known configuration, so {len(some)} variants are tried")
        return compile_side_by_side(tuner, kwargs, some)

    Autotuner.prune_configs = choose
    set_up_chunk_tables()


def compile_side_by_side(tuner: Any, kwargs: dict[str, Any], configs: list[Any]) -> list[Any]:
    """Compile a kernel in all ``configs``, where this version of Triton can do so in threads, and return them.

    The autotuner itself compiles each just before it times it, on one core.
    """
    try:
        from triton import AsyncCompileMode
    except ImportError:
        return configs
    if len(configs) > 1:
        threads = min(len(configs), os.cpu_count() or 1)
        # An error of a variant comes again, and is dealt with, where the variant is timed.
        with ThreadPoolExecutor(threads) as pool, AsyncCompileMode(pool, ignore_errors=True):
            for config in configs:
                tuner.fn.run(*tuner.nargs.values(), **{**kwargs, "warmup": True, **config.all_kwargs()})
    return configs


def kernel_name(tuner: Any) -> str:
    """Module and name of the function that a tuner tunes."""
    return f"{tuner.base_fn.__module__}.{tuner.base_fn.__qualname__}"


def tuning_key(tuner: Any, kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """The key under which the tuner is about to keep its result, as Triton's ``Autotuner.run`` makes it."""
    named = _named(tuner, kwargs)
    values = [named[name] for name in tuner.keys if name in named]
    return (*values, *(str(value.dtype) for value in named.values() if hasattr(value, "dtype")))


def counts_in(tuner: Any, kwargs: dict[str, Any]) -> set[int]:
    """Places in the tuning key of numbers that say how often a kernel's blocks are repeated, not how large they are."""
    named = _named(tuner, kwargs)
    present = [name for name in tuner.keys if name in named]
    return {place for place, name in enumerate(present) if name in COUNTS}


def _named(tuner: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**tuner.nargs, **kwargs}.items() if name in tuner.arg_names}


def nearest(entries: Iterable[Known], key: tuple[Any, ...], counts: Set[int] = frozenset()) -> Known | None:
    """The entry of the most similar sizes, none of which is smaller but at the places of ``counts``; None: none is.

    A configuration that fits sizes fits smaller ones: these need no more shared memory. Flags may differ, and so may
    offsets, which rows end to end have and padded rows have not; other types may not.
    """
    fitting = [
        (distance, entry) for entry in entries if (distance := _distance(entry.key, key, counts)) is not None
    ]
    return min(fitting, key=lambda one: one[0])[1] if fitting else None


def _distance(known: Sequence[Any], sizes: Sequence[Any], counts: Set[int]) -> float | None:
    known, sizes = ([part for part in key if part not in OFFSETS] for key in (known, sizes))
    if len(known) != len(sizes):
        return None
    distance = 0.0
    for place, (one, other) in enumerate(zip(known, sizes, strict=True)):
        if isinstance(one, bool) or isinstance(other, bool):
            distance += one is not other
        elif isinstance(one, int | float) and isinstance(other, int | float):
            if other > one and place not in counts:
                return None
            distance += 1 - min(one, other) / max(one, other) if one and other else one != other
        elif one != other:
            return None
    return distance


def spread(configs: list[Any], tried: int | None) -> list[Any]:
    """The first of ``configs`` and others at equal distances in the list, ``tried`` in all."""
    if tried is None or len(configs) <= tried:
        return configs
    return [configs[number * len(configs) // tried] for number in range(tried)]


def describe(config: Any) -> dict[str, Any]:
    """A configuration as its file has it."""
    return {name: getattr(config, name, None) for name in OF_A_CONFIGURATION}


def read_configurations(path: Path, versions: dict[str, str]) -> dict[str, list[Known]]:
    """The configurations in a file; none if there is no file, or if it was made with other ``versions``."""
    if not path.is_file():
        return {}
    found = json.loads(path.read_text())
    if found["versions"] != versions:
        return {}
    return {
        name: [Known(tuple(one["key"]), one["config"]) for one in entries]
        for name, entries in found["kernels"].items()
    }


def write_configurations(path: Path, versions: dict[str, str], found: dict[str, list[Known]]) -> None:
    """Write configurations; those of the same versions that the file had of other keys remain."""
    before = read_configurations(path, versions)
    kernels: dict[str, list[dict[str, Any]]] = {}
    for name in sorted(before.keys() | found.keys()):
        new = {one.key for one in found.get(name, [])}
        entries = [*found.get(name, []), *(one for one in before.get(name, []) if one.key not in new)]
        kernels[name] = [{"key": list(one.key), "config": one.config} for one in entries]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"versions": versions, "kernels": kernels}, indent=1) + "\n")
