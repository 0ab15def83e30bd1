"""Parts of a corpus, each encoded by a process of its own."""

import re
from collections.abc import Mapping

from lina.core.errors import LinaError


def part_of(shard: str | None, environment: Mapping[str, str]) -> tuple[int, int]:
    """The part, from 0, and the number of parts: of ``I/N``, else of torchrun's rank, else the whole.

    Raises:
        LinaError: it is no such part.
    """
    if shard is None:
        if "RANK" not in environment or "WORLD_SIZE" not in environment:
            return 0, 1
        shard = f"{environment['RANK']}/{environment['WORLD_SIZE']}"
    found = re.fullmatch(r"(\d{1,7})/(\d{1,7})", shard)
    if found is None or int(found[1]) >= int(found[2]):
        raise LinaError(
            f"--shard {shard}: is no part of a corpus; write I/N with I from 0 to N - 1, such as 0/4"
        )
    return int(found[1]), int(found[2])
