"""The laws themselves: honest plugins keep them, and each has a mutant that only it catches."""

import pytest

from lina.core.laws import law_cases, run_laws
from tests.core.mutants import MUTANTS
from tests.core.toy_backbone import Toy
from tests.core.toy_codec import ToyStreamingCodec, ToyWholeCodec
from tests.core.toy_frontend import ToyFrontend

HONEST = (Toy, ToyStreamingCodec, ToyWholeCodec, ToyFrontend)


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=f"{plugin.__name__}-{case}") for plugin in HONEST for case in law_cases(plugin)],
)
def test_honest_plugins_keep_every_law(case):
    case.check()


@pytest.mark.parametrize(("law", "mutant"), [pytest.param(*m, id=f"{m[0]}-{m[1].__name__}") for m in MUTANTS])
def test_only_its_law_catches_a_mutant(law, mutant):
    broken = {result.law.name: result.detail for result in run_laws(mutant) if not result.passed}
    assert broken.keys() == {law}, broken
