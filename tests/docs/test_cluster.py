"""Commands for several ranks in docs/scale.md and docs/cluster: ``train.accumulate`` suits their number of ranks."""

import math
import re
from pathlib import Path

import pytest

from lina.config.loader import load_spec
from lina.config.spec import Spec
from lina.training.process_group import check_share

ROOT = Path(__file__).parents[2]
RANKS = r"(?:train\.gpus=|--nproc-per-node |--nodes |--gpus-per-node )(\d+)"
SETTING = r"\b(?:train|data)\.\w+=[^\s,`\]]+"


def commands() -> list[tuple[str, str]]:
    """Each command that trains a spec on so many ranks, with its place."""
    found = []
    for path in (ROOT / "docs/scale.md", *sorted((ROOT / "docs/cluster").iterdir())):
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            if "spec.yaml" in line and "encode" not in line and re.search(RANKS, line):
                found.append((f"{path.name}:{number}", line))
    return found


def test_the_commands_are_found() -> None:
    assert {where.partition(":")[0] for where, _ in commands()} == {"scale.md", "job.yaml", "train.sbatch"}


@pytest.mark.parametrize("line", [pytest.param(line, id=where) for where, line in commands()])
def test_ranks_of_a_command_share_its_micro_batches(line: str) -> None:
    ranks = math.prod(int(number) for number in re.findall(RANKS, line))
    spec = load_spec(ROOT / "specs/first.yaml", re.findall(SETTING, line))
    assert isinstance(spec, Spec)
    check_share("accumulate", spec.train.accumulate, ranks, "micro-batches")
