"""What a process that speaks says of its memory."""

import sys
from types import SimpleNamespace

import pytest

from lina.core.evaluation.speaking import memory_mib, peak_memory_mib


@pytest.mark.skipif(sys.platform != "linux", reason="proc(5) is Linux's")
def test_memory_is_of_this_process_and_not_of_the_one_that_started_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("resource.getrusage", lambda who: SimpleNamespace(ru_maxrss=2**40))
    resident, most = memory_mib("VmRSS"), peak_memory_mib()
    assert resident is not None
    assert most is not None
    assert 10 < resident <= most < 2**20
    assert memory_mib("VmNothing") is None
