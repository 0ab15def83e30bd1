import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from lina.core.process import kernel_configurations
from lina.core.process.kernel_configurations import (
    TRIED,
    Known,
    describe,
    install,
    nearest,
    read_configurations,
    spread,
    write_configurations,
)


def config(**values: Any) -> Any:
    return SimpleNamespace(
        **{"kwargs": {}, "num_warps": 4, "num_stages": 2, "num_ctas": 1, "maxnreg": None} | values
    )


def kernel() -> None: ...


kernel.__module__ = "fla.ops"


class Tuner:
    """The attributes of Triton's autotuner that are read here."""

    arg_names = ("x", "K", "BLOCK")
    keys = ("K",)
    base_fn = staticmethod(kernel)

    def __init__(self, k: int) -> None:
        self.nargs = {"x": torch.zeros(1, dtype=torch.bfloat16), "K": k}
        self.configs = [config(num_warps=1 + number) for number in range(10)]

    def prune_configs(self, kwargs: dict[str, Any]) -> list[Any]:
        return self.configs


@pytest.fixture
def tuner_class(monkeypatch: pytest.MonkeyPatch) -> type[Tuner]:
    triton = ModuleType("triton.runtime.autotuner")
    own = type("Autotuner", (Tuner,), {"prune_configs": Tuner.prune_configs})
    triton.Autotuner = own  # type: ignore[attr-defined]
    for name in ("triton", "triton.runtime"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, "triton.runtime.autotuner", triton)
    return own


NAME = f"{kernel.__module__}.kernel"
KEY = (64, "torch.bfloat16")


def warps(tuner: Any) -> list[int]:
    return [one.num_warps for one in tuner.prune_configs({"BLOCK": 8})]


def test_a_known_configuration_is_the_only_one(tuner_class: type[Tuner]) -> None:
    install({NAME: [Known(KEY, describe(config(num_warps=7)))]}, TRIED)
    assert warps(tuner_class(64)) == [7]
    assert warps(tuner_class(32)) == [7]  # fits a smaller size
    assert len(warps(tuner_class(128))) == TRIED  # may not fit a larger one


def test_a_configuration_of_fewer_heads_is_taken(tuner_class: type[Tuner]) -> None:
    install({NAME: [Known(KEY, describe(config(num_warps=7)))]}, TRIED)
    tuner = tuner_class(128)
    tuner.arg_names, tuner.keys = ("x", "H", "BLOCK"), ("H",)
    tuner.nargs["H"] = tuner.nargs.pop("K")
    assert warps(tuner) == [7]


def test_a_known_configuration_that_the_kernel_does_not_have_is_not_taken(tuner_class: type[Tuner]) -> None:
    install({NAME: [Known(KEY, describe(config(num_warps=64)))]}, 2)
    assert warps(tuner_class(64)) == [1, 6]


def test_variants_are_compiled_side_by_side(
    tuner_class: type[Tuner], monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled, modes = [], []

    class Mode:
        def __init__(self, executor: Any, *, ignore_errors: bool) -> None:
            modes.append(ignore_errors)

        def __enter__(self) -> None: ...

        def __exit__(self, *error: object) -> None: ...

    monkeypatch.setattr(sys.modules["triton"], "AsyncCompileMode", Mode, raising=False)

    def run(*args: Any, **kwargs: Any) -> None:
        compiled.append((args[1], kwargs["warmup"], kwargs["num_warps"], kwargs["BLOCK"]))

    install({}, 2)
    tuner = tuner_class(64)
    tuner.fn = SimpleNamespace(run=run)  # type: ignore[attr-defined]
    for one in tuner.configs:
        one.all_kwargs = lambda one=one: {"num_warps": one.num_warps}
    tuner.prune_configs({"BLOCK": 8, "warmup": False})
    assert compiled == [(64, True, 1, 8), (64, True, 6, 8)]
    assert modes == [True]


def test_kernels_of_other_packages_are_left_alone(
    tuner_class: type[Tuner], monkeypatch: pytest.MonkeyPatch
) -> None:
    install({}, 2)
    monkeypatch.setattr(kernel, "__module__", "another_package.kernels")
    assert warps(tuner_class(64)) == list(range(1, 11))


def test_a_faulty_variant_is_not_tried(tuner_class: type[Tuner], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_configurations, "FAULTY", {NAME: {"num_warps": 1}})
    install({}, None)
    assert warps(tuner_class(64)) == list(range(2, 11))


def test_without_limit_all_are_tried(tuner_class: type[Tuner]) -> None:
    install({}, None)
    assert warps(tuner_class(64)) == list(range(1, 11))


def test_the_nearest_of_the_sizes_that_fit() -> None:
    entries = [Known((size, flag, "bf16"), {"size": size}) for size in (64, 256, 128) for flag in (False,)]
    assert nearest(entries, (100, True, "bf16")) == entries[2]
    assert nearest(entries, (300, False, "bf16")) is None
    assert nearest(entries, (64, False, "f32")) is None
    assert nearest(entries, (64, "bf16")) is None


def test_heads_may_be_more_and_offsets_missing() -> None:
    known = Known((4, 64, "torch.bfloat16", "torch.int64", "torch.int64"), {})
    assert nearest([known], (5, 64, "torch.bfloat16", "torch.int64", "torch.int64")) is None
    assert nearest([known], (5, 64, "torch.bfloat16"), {0}) == known
    assert nearest([known], (4, 65, "torch.bfloat16"), {0}) is None
    fewer = Known((2, 64, "torch.bfloat16"), {})
    assert nearest([fewer, known], (4, 64, "torch.bfloat16"), {0}) == known


def test_few_variants_are_spread_over_the_list() -> None:
    assert spread([1, 2, 3], 4) == [1, 2, 3]
    assert spread(list(range(12)), 4) == [0, 3, 6, 9]
    assert spread(list(range(5)), 2) == [0, 2]


def test_a_file_keeps_other_keys_and_drops_other_versions(tmp_path: Path) -> None:
    path, versions = tmp_path / "new" / "sm_90.json", {"triton": "3.6.0"}
    first, second = Known((1, "a"), {"num_warps": 1}), Known((2, "a"), {"num_warps": 2})
    write_configurations(path, versions, {"kernel": [first]})
    write_configurations(path, versions, {"kernel": [second], "other": [first]})
    assert read_configurations(path, versions) == {"kernel": [second, first], "other": [first]}
    better = Known((1, "a"), {"num_warps": 8})
    write_configurations(path, versions, {"kernel": [better]})
    assert read_configurations(path, versions)["kernel"] == [better, second]
    assert read_configurations(path, {"triton": "3.7.0"}) == {}
    assert read_configurations(tmp_path / "none.json", versions) == {}
