"""Former names of keys and values: accepted, logged with file and line, and by their current names from then on."""

import logging
from pathlib import Path
from typing import ClassVar, Literal

import pytest

from lina.config.loader import load_spec
from lina.config.renames import apply_renames
from lina.config.resolve import resolve
from lina.config.sections import SpecSection
from lina.config.source_map import Origin, SpecSource
from lina.core.errors import SpecError
from lina.core.renames import Renames
from tests.config.test_loader import GOOD, refusal, write

FORMER = GOOD.replace("{root: clips}}", "{root: clips}, processes: 3}") + "text: {attention: blind}\n"


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_former_names_load_with_a_line_for_each(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path, FORMER)
    spec = load_spec(path)
    assert (spec.data.workers, spec.text.attention) == (3, "position")
    assert warnings(caplog) == [
        f"{path}:8: data.processes is now called workers; rename it",
        f"{path}:11: text.attention: blind is now called position; rename it",
    ]
    assert spec.origin.where(("data", "workers")) == f"{path}:8"
    caplog.clear()
    assert load_spec(write(tmp_path, spec.to_yaml(), "again.yaml")) == spec
    assert warnings(caplog) == []


def test_an_error_names_the_line_of_the_former_name(tmp_path: Path) -> None:
    text = GOOD.replace(
        "data: {source: folder", "data:\n  source: folder\n  processes: 0\n  max_rejects: 0.5\n#"
    )
    assert refusal(write(tmp_path, text)).startswith(
        f"{tmp_path}/spec.yaml:10: data.workers: expected a number"
    )


@pytest.mark.parametrize(
    ("line", "workers"), [("data.workers=5", 5), ("data.processes=6", 6), ("text.heads=8", 3)]
)
def test_the_command_line_wins_under_either_name(tmp_path: Path, line: str, workers: int) -> None:
    assert load_spec(write(tmp_path, FORMER), [line]).data.workers == workers
    current = FORMER.replace("processes", "workers")
    assert load_spec(write(tmp_path, current), [line]).data.workers == workers


def test_both_names_in_one_file_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, FORMER.replace("processes: 3", "processes: 3, workers: 3"))
    assert refusal(path) == (
        f"{path}:8: processes is the former name of workers, which is set too; remove processes"
    )


@pytest.mark.parametrize(("former", "current"), [("plain", "reference"), ("fast", "fused")])
@pytest.mark.parametrize("plugin", ["gla", "gated_deltanet"])
def test_a_plugins_former_values_are_read_too(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, plugin: str, former: str, current: str
) -> None:
    text = GOOD.replace("plugin: gla", f"plugin: {plugin}\n  config: {{kernels: {former}}}").replace(
        "root:", "path:"
    )
    resolved = resolve(load_spec(write(tmp_path, text)))
    assert resolved.spec.backbone.config == {"kernels": current}
    assert warnings(caplog) == [
        f"{tmp_path}/spec.yaml:5: backbone.config.kernels: {former} is now called {current}; rename it"
    ]


class Inner(SpecSection):
    renames = Renames(keys={"old": "new"})

    new: int


class Outer(SpecSection):
    renames: ClassVar[Renames] = Renames(
        keys={"before": "inner", "many": "several"}, values={"kind": {"x": "y"}}
    )

    inner: Inner
    several: tuple[Inner, ...] = ()
    kind: Literal["y"] = "y"


def test_sections_and_lists_of_them_are_renamed_too(caplog: pytest.LogCaptureFixture) -> None:
    text = "a:\n  before:\n    old: 1\n  many:\n  - new: 2\n  - old: 3\n  kind: x\n"
    tree = {"before": {"old": 1}, "many": [{"new": 2}, {"old": 3}], "kind": "x"}
    origin = Origin((SpecSource("f.yaml", Path(), {"a": tree}, text),))
    current, traced = apply_renames(Outer, tree, origin, ("a",))
    assert current == {"inner": {"new": 1}, "several": [{"new": 2}, {"new": 3}], "kind": "y"}
    assert [traced.where(key) for key in (("a", "inner", "new"), ("a", "several", 1, "new"))] == [
        "f.yaml:3",
        "f.yaml:6",
    ]
    assert sorted(line.split(": ", 1)[0] for line in warnings(caplog)) == [
        f"f.yaml:{n}" for n in (2, 3, 4, 6, 7)
    ]


def test_values_other_than_sections_stay(tmp_path: Path) -> None:
    assert "data: expected a section" in refusal(write(tmp_path, GOOD), "data=3")
    with pytest.raises(SpecError, match=r"unknown key"):
        load_spec(write(tmp_path, GOOD), ["train.processes=3"])
