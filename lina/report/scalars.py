"""Metrics of a step as single numbers with names that every tracker takes."""

import math
from collections.abc import Mapping
from typing import Any


def numbers(split: str, metrics: Mapping[str, Any]) -> dict[str, float]:
    """Numbers as ``split/name``; lists as their mean there, and each item under ``split_name/``."""
    found: dict[str, float] = {}
    for name, value in metrics.items():
        tag = name.replace("/", "_per_")
        if isinstance(value, (list, tuple)):
            if value:
                found[f"{split}/{tag}"] = math.fsum(value) / len(value)
            for number, part in enumerate(value, start=1):
                found[f"{split}_{tag}/codebook_{number:02d}"] = float(part)
        elif isinstance(value, (int, float)):
            found[f"{split}/{tag}"] = float(value)
    return found
