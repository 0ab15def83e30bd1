"""``lina evaluate`` as a shell would call it."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lina.evaluation import espeak
from lina.evaluation.records import TextSetEvaluation, read_text_set_evaluations
from lina.pipeline.speech_job import run_spec
from tests.cli.conftest import Lina
from tests.fakes import FakeDistributions
from tests.pipeline.small_run import hooks_of, small
from tests.pipeline.test_speech_job import RECOGNIZER

Refused = Callable[..., str]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    return run_spec(small(folder, "train.steps=1", "text.max_characters=20"), hooks_of())


@pytest.fixture
def run(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, distributions: FakeDistributions
) -> Path:
    monkeypatch.setattr(espeak, "is_installed", lambda: False)
    distributions.install("fake-ears", {"lina.recognizers": {"fake": "fake_ears:Fake"}}, fake_ears=RECOGNIZER)
    return Path(shutil.copytree(trained, tmp_path / "run"))


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    (tmp_path / "texts.txt").write_text("one\ntwo words\n")
    return tmp_path / "texts.txt"


def test_table_json_and_report(lina: Lina, run: Path, texts: Path, tmp_path: Path) -> None:
    arguments = (
        "evaluate",
        str(run),
        "--texts",
        str(texts),
        "--recognizer",
        "fake",
        "--json",
        str(tmp_path / "o"),
    )
    done = lina(*arguments)
    assert done.code == 0, done.err
    rows = [line.split() for line in done.out.splitlines()]
    assert ["texts", "2"] in rows
    # "one" and "one" heard of "one" and "two words".
    assert any(row[:3] == ["word", "errors", "(%)"] and row[3] == "66.7" for row in rows)
    assert any(row[:3] == ["spoken", "on", "cpu,"] for row in rows)
    assert "espeak-ng is left out: it is not installed" in done.out
    found = TextSetEvaluation.model_validate_json((tmp_path / "o").read_text())
    assert found.name == "texts"
    assert [clip.transcript for clip in found.clips] == ["one", "one"]
    page = (run / "report.html").read_text()
    assert "Text set texts" in page
    assert page.count("<audio controls") == 2
    assert "<del>words</del>" in page
    again = lina(*arguments)
    assert again.out == done.out, "no text is synthesized again, and the times are those of then"


def test_a_manifest_and_nobody_listening(lina: Lina, run: Path, trained: Path) -> None:
    manifest = trained.parent / "corpus/manifest.jsonl"
    done = lina(
        "evaluate", str(run), "--texts", str(manifest), "--recognizer", "none", "--no-floor", "--seed", "4"
    )
    assert done.code == 0, done.err
    assert done.out.split()[:4] == ["lina", "codec", "resynthesis", "recordings"]
    assert "word errors" not in done.out
    assert "espeak" not in done.out


def test_another_value_than_the_run_has(lina: Lina, run: Path, texts: Path) -> None:
    arguments = ("evaluate", str(run), "--texts", str(texts), "--recognizer", "none")
    usual = lina(*arguments)
    set_so = lina(*arguments, "--set", "synthesize.max_seconds=0.1", "--set", "synthesize.window={}")
    assert set_so.code == 0, set_so.err
    assert "spoken with synthesize.window={}" in set_so.out
    assert "spoken with" not in usual.out

    def seconds() -> float:
        [(_, found)] = read_text_set_evaluations(run)
        return max(clip.seconds for clip in found.clips)

    assert seconds() <= 0.1
    assert "max_seconds: 0.2" in (run / "report.html").read_text(), "the run's own spec"
    assert "spoken with" not in lina(*arguments).out
    assert seconds() > 0.1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        ("", "holds no text"),
        ("one\n" + 30 * "a", "texts.txt:2: text has 30 characters, the limit"),
    ],
)
def test_bad_texts(refused: Refused, run: Path, texts: Path, content: str | None, message: str) -> None:
    texts.unlink() if content is None else texts.write_text(content)
    assert message in refused("evaluate", str(run), "--texts", str(texts), "--recognizer", "none")
    assert not (run / "evaluations").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--recognizer", "fake-"), "did you mean 'fake'"),
        (("--recognizer", "fake", "model=base"), "model: unknown key"),
        (("--recognizer", "none", "model=base"), "there is no recognizer to configure; leave it out"),
        (("--json", "nowhere/o.json"), "there is no folder nowhere; create it first"),
        (("--json", "."), "is a folder"),
        (("--seed", "-1"), "--seed"),
        (("--set", "train.lr=1", "--recognizer", "none"), "'train.lr=1': only synthesize.* keys"),
        (
            ("--set", "synthesize.sed=1", "--recognizer", "none"),
            "synthesize.sed: unknown key; did you mean 'seed'",
        ),
        (("--speaker", "anna", "--recognizer", "none"), "this run was trained without speakers"),
    ],
)
def test_bad_options(
    refused: Refused, run: Path, texts: Path, arguments: tuple[str, ...], message: str
) -> None:
    assert message in refused("evaluate", str(run), "--texts", str(texts), *arguments)
    assert not (run / "evaluations").exists()


def test_no_such_run(refused: Refused, tmp_path: Path, texts: Path) -> None:
    assert "there is no such run" in refused(
        "evaluate", str(tmp_path / "none"), "--texts", str(texts), "--recognizer", "none"
    )
    assert "is a file; RUN names" in refused(
        "evaluate", str(texts), "--texts", str(texts), "--recognizer", "none"
    )
    (tmp_path / "empty").mkdir()
    assert "is not a run" in refused(
        "evaluate", str(tmp_path / "empty"), "--texts", str(texts), "--recognizer", "none"
    )
    assert list((tmp_path / "empty").iterdir()) == []
