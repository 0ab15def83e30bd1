import pytest

from lina.core import extras


def test_extras_say_what_they_lack(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        "torch>=2.7",
        'pytest>=8 ; extra == "dev"',
        "no-such-package[cuda]>=1; platform_system == 'Linux' and extra == 'fast'",
        'nor_this; extra == "fast"',
        "click>=8; extra=='whole'",
        'lina[fast,whole]; extra == "all"',
    ]
    monkeypatch.setattr(extras, "requires", lambda name: lines)
    assert extras.missing_packages() == {"fast": ["no-such-package", "nor_this"], "whole": []}


def test_a_source_tree_has_no_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(name: str) -> None:
        raise extras.PackageNotFoundError(name)

    monkeypatch.setattr(extras, "requires", unknown)
    assert extras.missing_packages() == {}
