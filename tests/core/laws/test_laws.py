"""The laws themselves: correct plugins pass, and each law has a mutant that only it catches."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from lina.core.errors import PluginError
from lina.core.laws import (
    Conditions,
    LawCase,
    LawFailed,
    LawResult,
    frozen_json,
    law_cases,
    laws_for,
    run_laws,
)
from lina.core.laws.backbone import BackboneStream
from lina.core.laws.stream import SEED
from lina.core.model.stack import ResidualStack
from lina.core.plugin import CorpusPlugin, Plugin
from lina.core.protocols import takes_starts
from lina.core.utterance import Reject, Utterance
from tests.core.laws.mutants import MUTANTS, LouderStep, RoundsItsGradients, backbone
from tests.core.toy_backbone import DecayState, DiagonalDecay, Toy
from tests.core.toy_codec import Levels, ToyStreamingCodec, ToyWholeCodec
from tests.core.toy_tokenizer import ToyTokenizer

HONEST = (Toy, ToyStreamingCodec, ToyWholeCodec, ToyTokenizer)


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=f"{plugin.__name__}-{case}") for plugin in HONEST for case in law_cases(plugin)],
)
def test_honest_plugins_keep_every_law(case: LawCase) -> None:
    case.check()


@pytest.mark.parametrize(("law", "mutant"), [pytest.param(*m, id=f"{m[0]}-{m[1].__name__}") for m in MUTANTS])
def test_only_its_law_catches_a_mutant(law: str, mutant: type[Plugin]) -> None:
    results = run_laws(mutant, dtypes=(torch.float32,))
    broken = {result.law.name: result.detail for result in results if result.failed}
    assert broken.keys() == {law}, broken


@pytest.mark.parametrize("plugin", HONEST, ids=lambda plugin: plugin.__name__)
def test_every_law_has_a_mutant(plugin: type[Plugin]) -> None:
    mutants = {law for law, mutant in MUTANTS if issubclass(mutant, plugin)}
    laws = {law.name for law in laws_for(plugin)}
    assert laws - mutants - {"builds"} == set()


def check(module: type[DiagonalDecay], law: str, **conditions: Any) -> None:
    plugin = backbone(module)
    (chosen,) = [found for found in laws_for(plugin) if found.name == law]
    chosen.check(plugin, Conditions(**conditions))


def test_a_message_has_the_quantity_the_place_and_the_error() -> None:
    message = (
        r"^step_equals_parallel: folding step: outputs y: error .* allowed .* worst at \[\d, \d+, \d\]: "
    )
    with pytest.raises(LawFailed, match=message):
        check(LouderStep, "step_equals_parallel")


def test_a_backward_pass_that_differs_is_reported() -> None:
    message = (
        r"^gradients_repeat: gradient of input, by a second backward pass from the same inputs: x: must be equal bit "
        r"for bit; first at "
    )
    with pytest.raises(LawFailed, match=message):
        check(RoundsItsGradients, "gradients_repeat")


def test_a_gradient_of_nan_says_where_to_look() -> None:
    class RootAtItsEnd(DiagonalDecay):
        def parallel_forward(self, x: Tensor, state: DecayState) -> tuple[Tensor, DecayState]:
            y, final = super().parallel_forward(x, state)
            return y + (y - y).sqrt(), final

    message = (
        r"gradient of input x: expected finite numbers, found nan at .*sqrt\(1 - a \* a\) at a = 1: bound"
    )
    with pytest.raises(LawFailed, match=message):
        check(RootAtItsEnd, "step_equals_parallel")


def test_extreme_gates_drawn_at_random_are_the_truths_too() -> None:
    class Drawn(Toy):
        @classmethod
        def extreme(cls, backbone: nn.Module) -> None:
            assert isinstance(backbone, DiagonalDecay)
            torch.nn.init.normal_(backbone.decay.bias)

    stream = BackboneStream(Drawn, Conditions(torch.float32, "extreme"))
    assert torch.equal(stream.module.decay.bias.double(), stream.truth().module.decay.bias)


def test_extreme_gates_find_decays_that_overflow() -> None:
    class CumulativeExponent(DiagonalDecay):
        """exp(+cumsum): equal in exact arithmetic."""

        def chunk(self, log_a: Tensor, v: Tensor, memory: Tensor) -> Tensor:
            total = log_a.cumsum(1)
            return total.exp() * ((v * (-total).exp()).cumsum(1) + memory[:, None])

    check(CumulativeExponent, "step_equals_parallel", dtype=torch.float64)
    with pytest.raises(LawFailed, match="expected finite numbers"):
        check(CumulativeExponent, "step_equals_parallel", dtype=torch.float64, gates="extreme")


def test_growing_state_is_refused() -> None:
    class History(NamedTuple):
        inner: DecayState
        seen: torch.Tensor

    class Grows(DiagonalDecay):
        def initial_state(self, batch: int) -> Any:
            return History(super().initial_state(batch), self.gate.weight.new_zeros(batch, 0))

        def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
            y, inner = super().step(x, state.inner)
            return y, History(inner, torch.cat([state.seen, x[:, :1]], dim=1))

        def parallel_forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
            y, inner = super().parallel_forward(x, state.inner)
            return y, History(inner, torch.cat([state.seen, x[:, :, 0]], dim=1))

    with pytest.raises(
        LawFailed, match=r"state seen: expected \[3, 0\] torch.float32 on cpu, found \[3, 80\]"
    ):
        check(Grows, "state_is_fixed")


def test_positions_are_tensors_a_row() -> None:
    class CountsInPython(DiagonalDecay):
        def initial_state(self, batch: int) -> Any:
            return super().initial_state(batch)._replace(position=0)  # type: ignore[arg-type]

    with pytest.raises(LawFailed, match="position"):
        check(CountsInPython, "state_is_fixed")


def test_starts_are_checked_where_they_are_offered() -> None:
    class Restarts(DiagonalDecay):
        """Row by row and stretch by stretch: slow and right."""

        def parallel_forward(
            self, x: Tensor, state: DecayState, starts: Tensor | None = None
        ) -> tuple[Tensor, DecayState]:
            if starts is None:
                return super().parallel_forward(x, state)
            outputs, fresh = [], self.initial_state(1)
            finals = []
            for row in range(x.shape[0]):
                alone, parts = DecayState(*(leaf[row : row + 1] for leaf in state)), []
                edges = sorted({0, x.shape[1], *starts[row].nonzero().flatten().tolist()})
                for begin, end in pairwise(edges):
                    alone = fresh if starts[row, begin] else alone
                    y, alone = super().parallel_forward(x[row : row + 1, begin:end], alone)
                    parts.append(y)
                outputs.append(torch.cat(parts, dim=1))
                finals.append(alone)
            return torch.cat(outputs), DecayState(
                *(torch.cat(leaves) for leaves in zip(*finals, strict=True))
            )

    check(Restarts, "starts_restart_rows", dtype=torch.float64)


def test_a_stack_takes_starts_only_if_its_mixers_do() -> None:
    class Restarts(DiagonalDecay):
        def parallel_forward(
            self, x: Tensor, state: DecayState, starts: Tensor | None = None
        ) -> tuple[Tensor, DecayState]:
            raise NotImplementedError

    assert not takes_starts(ResidualStack([DiagonalDecay(8), Restarts(8)], 8))
    assert takes_starts(ResidualStack([Restarts(8), Restarts(8)], 8))


def test_a_law_that_cannot_run_is_broken() -> None:
    class Dies(DiagonalDecay):
        def step(self, x: Tensor, state: DecayState) -> tuple[Tensor, DecayState]:
            raise RuntimeError("no kernel\nfor this")

    with pytest.raises(
        LawFailed,
        match=r"^step_is_pure: could not be run: RuntimeError: no kernel \(test_laws.py, line \d+\)$",
    ):
        check(Dies, "step_is_pure")


def test_codec_that_does_not_build_has_one_failing_case() -> None:
    class Unbuildable(ToyWholeCodec):
        @classmethod
        def build(cls, *, config: Any) -> Levels:
            raise PluginError("weights are missing; put them into weights/")

    (result,) = run_laws(Unbuildable)
    assert (result.law.name, result.outcome) == ("builds", "failed")
    assert "weights are missing" in result.detail


def test_a_missing_method_is_named() -> None:
    class Incomplete(ToyTokenizer):
        @classmethod
        def build(cls, *, config: Any, trained: Any = None) -> Any:
            return object()

    detail = run_laws(Incomplete)[0].detail
    assert detail.startswith("object is no Tokenizer: it has no")
    assert "vocab_size" in detail


def test_corpora_have_no_laws() -> None:
    class Corpus(CorpusPlugin):
        @classmethod
        def example(cls) -> dict[str, Any]:
            return {"config": {}}

        @classmethod
        def read(cls, *, config: Any) -> Iterator[Utterance | Reject]:
            return iter(())

    with pytest.raises(PluginError, match="Corpus: no laws apply to it"):
        law_cases(Corpus)


def test_results_are_reported_as_they_come() -> None:
    reported: list[LawResult] = []
    results = run_laws(ToyWholeCodec, reported.append)
    assert reported == results
    assert all(not result.failed and result.seconds >= 0 for result in results)


def test_dtypes_replace_those_of_laws_that_depend_on_them() -> None:
    names = {str(case) for case in law_cases(Toy, dtypes=(torch.bfloat16,))}
    assert {"step_equals_parallel-bfloat16-extreme", "initial_state_is_a_parameter-float64"} <= names
    assert not any("step_equals_parallel-float" in name for name in names)


@pytest.mark.parametrize(
    "law", ["step_equals_parallel", "chunks_compose", "causality", "rows_are_independent"]
)
def test_bfloat16(law: str) -> None:
    check(DiagonalDecay, law, dtype=torch.bfloat16)


def test_the_random_state_of_the_caller_is_left_alone() -> None:
    torch.manual_seed(SEED + 1)
    expected = torch.rand(3)
    torch.manual_seed(SEED + 1)
    run_laws(ToyWholeCodec)
    assert torch.equal(torch.rand(3), expected)


def test_json_arrays_become_tuples_again() -> None:
    assert frozen_json(["a", [1, [None]], True]) == ("a", (1, (None,)), True)
