"""README.md and the pages of docs are true: their code runs, and commands too slow to run are checked."""

import re
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from lina.core.errors import LinaError
from lina.core.laws import laws_for
from lina.core.registry import load
from lina.pipeline.speech_job import FREE_KEYS
from tests.docs.command_checks import ROOT, check_lina, check_make, check_pip, check_python
from tests.docs.markdown import blocks

DOCS = ROOT / "docs"
GROUPS = {
    "readme": ["README.md", "docs/quick_start.md"],
    "runs": [
        f"docs/{name}.md"
        for name in (
            "specs",
            "data",
            "training",
            "scale",
            "fine_tuning",
            "evaluation",
            "codec_training",
            "hooks",
            "compare",
        )
    ],
    "speech": [
        f"docs/{name}.md"
        for name in ("speaking", "long_texts", "lina_speech", "hugging_face", "troubleshooting")
    ],
    "plugins": ["docs/plugins.md", "docs/codec_plugins.md", "docs/backbones.md"],
    "results": ["docs/codecs.md", "docs/voices.md", "docs/design.md"],
}
"""Pages that are followed in one clone, in this order: a later page may use files of an earlier one."""


@pytest.mark.parametrize("group", GROUPS)
def test_pages_can_be_followed(follow: Callable[[Path], None], group: str) -> None:
    for page in GROUPS[group]:
        follow(ROOT / page)


def test_every_page_with_code_is_followed() -> None:
    with_code = {
        str(page.relative_to(ROOT))
        for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.glob("*.md"))
        if any(block.language != "text" for block in blocks(page))
    }
    assert with_code <= {page for pages in GROUPS.values() for page in pages}


def test_training_names_every_file_of_a_run(run_directory: Path) -> None:
    text = (DOCS / "training.md").read_text().partition("## The run directory")[2]
    for path in run_directory.iterdir():
        assert f"`{path.name}" in text, path.name


def test_pages_name_every_exit_code_and_free_key() -> None:
    codes = re.findall(r"^\| (\d+) \|", (DOCS / "troubleshooting.md").read_text(), re.MULTILINE)
    assert {int(code) for code in codes} == {0, 1, 2, 75, 130}
    text = (DOCS / "training.md").read_text()
    assert all(f'"{key}",' in text for key in FREE_KEYS)


@pytest.mark.parametrize(
    ("role", "name"), [("backbone", "gla"), ("codec", "encodec"), ("codec", "codec2"), ("tokenizer", "bytes")]
)
def test_every_law_is_explained(role: str, name: str) -> None:
    plugins = "".join((DOCS / page).read_text() for page in ("plugins.md", "codec_plugins.md"))
    for text in (plugins, (DOCS / "design.md").read_text()):
        for law in laws_for(load(role, name)):  # type: ignore[call-overload]
            plain = law.name.removeprefix("encoder_").removeprefix("decoder_")
            assert f"`{plain}`" in text, law.name


@pytest.mark.parametrize(
    ("check", "arguments"),
    [
        (check_make, ["dmeo"]),
        (check_pip, ["install", ".[demos]"]),
        (check_python, ["-m", "benchmarks.voicse"]),
        (check_lina, ["rum", "specs/first.yaml"]),
        (check_lina, ["run", str(ROOT / "specs/first.yaml"), "train.stepz=1"]),
        (check_lina, ["say", "--rnu", "runs/first", "Hello."]),
        (check_lina, ["data", "get", "asterisk-de"]),
    ],
)
def test_a_wrong_command_is_found(check: Callable[[list[str]], None], arguments: list[str]) -> None:
    with pytest.raises((AssertionError, LinaError, click.ClickException)):
        check(arguments)
