"""Initial weights of a fine-tuned run, in its report."""

from pathlib import Path

from lina.report.page import Report
from lina.report.render import page
from lina.runs.files import write_init
from lina.runs.hooks import Run
from lina.runs.records import InitPart, InitRecord
from tests.report.fake_run import fake_spec

RECORD = InitRecord(
    source="runs/<base>, step 3",
    remarks=("differs: a & b",),
    parts=(
        InitPart(part="heads", loaded=1200, fresh=34, left=5, how=("2 codebooks kept", "1 new: <é>")),
        InitPart(part="speakers", loaded=0, fresh=66, left=0),
    ),
    trained=1300,
    frozen=0,
)


def test_the_table_is_a_section_of_the_page(tmp_path: Path) -> None:
    run = Run(tmp_path, fake_spec("tuned"))
    write_init(tmp_path, RECORD)
    [section] = Report().report_sections(run)
    html = page(run, [section])
    assert section.html in html
    assert "From runs/&lt;base&gt;, step 3. 1,300 parameters trained, 0 frozen." in html
    assert '<p class="note">differs: a &amp; b</p>' in html
    assert (
        '<tr><td>heads</td><td class="number">1,200</td><td class="number">34</td><td class="number">5</td>'
        "<td>2 codebooks kept; 1 new: &lt;é&gt;</td></tr>"
    ) in html
    assert '<tr><th>Total</th><td class="number">1,200</td><td class="number">100</td>' in html
    assert "LoRA" not in html


def test_low_rank_matrices_are_reported(tmp_path: Path) -> None:
    write_init(
        tmp_path, RECORD.model_copy(update={"rank": 8, "alpha": 16.0, "targets": ("a", "b"), "frozen": 7})
    )
    [section] = Report().report_sections(Run(tmp_path, fake_spec("tuned")))
    assert "LoRA of rank 8, alpha 16, on 2 layers; 1,300 parameters trained, 7 frozen." in section.html


def test_a_run_that_began_anew_has_no_such_section(tmp_path: Path) -> None:
    assert Report().report_sections(Run(tmp_path, fake_spec("new"))) == []
