from tests.cli.conftest import lina

__all__ = ["lina"]
