"""Laws: contract tests of plugins. The test file of a plugin is

    @pytest.mark.parametrize("case", law_cases(MyPlugin), ids=str)
    def test_laws(case):
        case.check()

and ``lina check NAME`` runs the same from a shell. docs/design.md gives the reason for each law.
"""

from lina.core.laws.cases import law_cases, laws_for, run_laws
from lina.core.laws.law import Conditions, Law, LawCase, LawFailed, LawResult
from lina.core.laws.tokenizer import frozen_json

__all__ = [
    "Conditions",
    "Law",
    "LawCase",
    "LawFailed",
    "LawResult",
    "frozen_json",
    "law_cases",
    "laws_for",
    "run_laws",
]
