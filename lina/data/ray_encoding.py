"""Encode the parts of a corpus by Ray Data, on whatever nodes and GPUs a Ray cluster has (``lina[ray]``)."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from lina.core.errors import LinaError
from lina.data.encode_part import EncodedPart


def encode_with_ray(spec: str, settings: Sequence[str], parts: int, gpus: float) -> list[EncodedPart]:
    """Encode the corpus of a spec in ``parts``, each a task with ``gpus`` GPUs (or a share of one).

    All nodes share the run directory, and read the spec and the recordings by the same paths.

    Raises:
        LinaError: Ray is not installed.
    """
    try:
        import ray
    except ImportError as error:
        raise LinaError(f"--ray needs Ray Data ({error}); pip install 'lina[ray]'") from None
    tasks = ray.data.range(parts, override_num_blocks=parts)
    encoded = tasks.map(partial(_encode, spec, tuple(settings), parts), num_gpus=gpus or None)
    return [EncodedPart(**row) for row in encoded.take_all()]


def _encode(spec: str, settings: tuple[str, ...], parts: int, row: dict[str, Any]) -> dict[str, Any]:
    """Task of one part, in a worker process of Ray."""
    from lina.config.loader import load_spec
    from lina.config.resolve import resolve
    from lina.data.encode_part import encode_part
    from lina.runs.device import choose_device

    resolved = resolve(load_spec(spec, settings))
    found = encode_part(resolved, int(row["id"]), parts, choose_device("auto"), 2, lambda done, total: None)
    return found._asdict()
