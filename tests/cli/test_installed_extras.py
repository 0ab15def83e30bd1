from importlib.metadata import PackageNotFoundError

import pytest

from lina.cli import installed_extras


def test_missing_packages_of_each_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        "torch>=2.7",
        'pytest>=8 ; extra == "dev"',
        "no-such-package[cuda]>=1; platform_system == 'Linux' and extra == 'fast'",
        'nor_this; extra == "fast"',
        "click>=8; extra=='whole'",
        'lina[fast,whole]; extra == "all"',
    ]
    monkeypatch.setattr(installed_extras, "requires", lambda name: lines)
    assert installed_extras.missing_packages() == {"fast": ["no-such-package", "nor_this"], "whole": []}


def test_a_source_tree_has_no_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(installed_extras, "requires", unknown)
    assert installed_extras.missing_packages() == {}
