import pytest

from lina.core import law_cases
from lina_vocoder import VocoderCodec


@pytest.mark.parametrize("case", law_cases(VocoderCodec), ids=str)
def test_laws(case):
    case.check()
