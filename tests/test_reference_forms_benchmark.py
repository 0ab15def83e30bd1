"""The table of reference forms: each operator runs with gradients, and no floor lies above what was measured."""

import torch

from benchmarks.reference_forms import ROWS, cases, floor, seconds


def test_every_operator_is_measured_above_its_floor() -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for name, case in cases(33).items():
            # An absurdly fast machine: a floor that the machine at hand reaches would be no floor.
            least = floor(case, 33, operations=1e13, moved=1e13)
            assert 0 < least < seconds(case, 1), name
            assert floor(case, 33, 1e9, 1e13) >= 2 * case.operations * ROWS * 33 / 1e9, name
    finally:
        torch.set_num_threads(threads)
