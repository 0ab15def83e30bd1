"""Text-set section of the report: table, players, and missing clips."""

from pathlib import Path

import pytest
import torch

from lina.core.audio.wav import write_wav
from lina.evaluation.records import CODEC, MODEL, RECORDINGS, ClipRecord, TextSetEvaluation
from lina.evaluation.summary import groups
from lina.report import text_sets
from lina.report.page import Report
from lina.report.render import page
from lina.runs.hooks import Run
from tests.report.fake_run import fake_spec
from tests.report.test_page import Page


def evaluation(folder: Path, texts: int = 1) -> TextSetEvaluation:
    folder.mkdir(parents=True)
    write_wav(folder / "a.wav", 0.1 * torch.sin(torch.arange(800) * 0.3), 8000)
    clips = [
        ClipRecord(
            id=f"{number:03d}",
            system=system,
            text=f"<b> & {number}",
            audio=Path("a.wav"),
            seconds=0.1,
            transcript=transcript,
            words=4,
            wrong_words=wrong,
            characters=10,
            wrong_characters=wrong + number,
            dnsmos=2.5,
        )
        for number in range(texts)
        for system, transcript, wrong in (
            (MODEL, "<i> & 0", 1),
            (CODEC, "b & 0", 0),
            (RECORDINGS, "b & 0", 0),
        )
    ]
    return TextSetEvaluation(
        name="my <set>",
        run="runs/first",
        step=1200,
        lina="0.1.0",
        recognizer="<ears>",
        seed=3,
        device="cpu",
        threads=2,
        remarks=("DNSMOS & co. are left out",),
        peak_memory_mib=123.4,
        groups=groups(clips),
        clips=tuple(clips),
    )


def test_table_players_and_remarks_are_on_the_page(tmp_path: Path) -> None:
    folder = tmp_path / "evaluations/set"
    found = evaluation(folder)
    (folder / "evaluation.json").write_text(found.model_dump_json())
    run = Run(tmp_path, fake_spec("run"))
    [section] = Report().report_sections(run)
    html = page(run, [section])
    read = Page(html)
    assert read.wrong == []
    assert html.count("<audio controls") == 3
    for expected in (
        "Step 1,200, seed 3, synthesis on cpu with 2 threads, 123 MiB at peak; recognizer <ears>.",
        "DNSMOS & co. are left out",
        "25.0 %",
        "above the ceiling",
        "<b> & 0",
    ):
        assert expected in read.text, expected
    assert "<ins>&lt;i&gt;</ins>" in html
    assert "Text set my &lt;set&gt;" in html


def test_of_many_texts_the_worst_have_players(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_sets, "MOST_TEXTS", 2)
    html = text_sets.section(tmp_path / "set", evaluation(tmp_path / "set", texts=4)).html
    assert html.count("<article>") == 2
    assert "The 2 of 4 texts with the highest error rate; all others are in evaluations/set." in html
    assert "&lt;b&gt; &amp; 3</h3>" in html
    assert "&lt;b&gt; &amp; 0</h3>" not in html


def test_a_missing_clip_is_reported(tmp_path: Path) -> None:
    found = evaluation(tmp_path / "set")
    (tmp_path / "set/a.wav").unlink()
    html = text_sets.section(tmp_path / "set", found).html
    assert html.count('<p class="warning">a.wav is missing</p>') == 3
    assert "<audio" not in html
