"""Every installed plugin keeps every law of its role; built-ins and anything else that is installed here."""

import pytest
from _pytest.mark import ParameterSet

from lina.cli.check import WITH_LAWS as LAWFUL
from lina.cli.check import cases_of
from lina.core.laws import LawCase
from lina.core.registry import load_record, records


def _cases() -> list[ParameterSet]:
    installed = [record for record in records() if record.role in LAWFUL]
    return [
        pytest.param(case, id=f"{record.full_name}-{case}")
        for record in installed
        for case in cases_of(record.role)(load_record(record))
    ]


@pytest.mark.parametrize("case", _cases())
def test_law(case: LawCase) -> None:
    case.check()


def test_all_roles_are_there() -> None:
    assert {record.role for record in records()} >= {*LAWFUL, "corpus", "hook", "recognizer"}
