import pytest

from lina.core import law_cases
from lina_letters import LettersTokenizer


@pytest.mark.parametrize("case", law_cases(LettersTokenizer), ids=str)
def test_laws(case):
    case.check()
