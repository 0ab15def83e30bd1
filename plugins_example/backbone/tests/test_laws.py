import pytest

from lina.core import law_cases
from lina_hgrn2 import Hgrn2Backbone


@pytest.mark.parametrize("case", law_cases(Hgrn2Backbone), ids=str)
def test_laws(case):
    case.check()
