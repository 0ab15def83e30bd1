"""With LINA_CHECK_SHAPES set (``make shapes``), the tests of tensor code run with all shape annotations checked."""

import os
from pathlib import Path

import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

from tests.shapes import checked_modules, runs_tensor_code_alone

CHECK_SHAPES = "LINA_CHECK_SHAPES" in os.environ
if CHECK_SHAPES:
    install_import_hook(sorted(checked_modules()), "tests.shapes.check")

from tests.fakes import FakeDistributions  # noqa: E402 (after the hook)

# How long an example takes depends on what else the machine does.
settings.register_profile("lina", deadline=None)
settings.load_profile("lina")


@pytest.fixture
def distributions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeDistributions:
    return FakeDistributions(tmp_path, monkeypatch)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if CHECK_SHAPES:
        items[:] = [item for item in items if item.get_closest_marker("no_shape_checks") is None]


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    if CHECK_SHAPES and collection_path.suffix == ".py" and not runs_tensor_code_alone(collection_path):
        return True
    return None
