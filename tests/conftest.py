from pathlib import Path

import pytest

from tests.fakes import FakeDistributions


@pytest.fixture
def distributions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeDistributions:
    return FakeDistributions(tmp_path, monkeypatch)
