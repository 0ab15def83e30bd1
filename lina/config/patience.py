"""Section ``train.patience`` of both jobs: after how long a rank counts as hung."""

from typing import Annotated

from pydantic import Field

from lina.config.sections import SpecSection

Limit = Annotated[float, Field(gt=0.0, le=1e7)]


class Patience(SpecSection):
    """Longest times on several ranks, in seconds; then all of them end, and the launcher may start them again."""

    compilation: Limit = 1800.0
    """Each of the first three steps, in which kernels are compiled and tuned."""
    step: Limit = 600.0
    """Any other step."""
    validation: Limit = 3600.0
    """One validation."""
    saving: Limit = 1800.0
    """One checkpoint."""
    silence: Limit = 20.0
    """Without a heartbeat of a rank, which it sends every second."""
