import base64
import io
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy
import pytest
import soundfile
import torch
from safetensors.torch import save_file

from lina.core.errors import CheckpointError
from lina.report import audio
from lina.report.page import Report
from lina.report.render import page
from lina.runs.files import RUN_FILE, read_evaluation, write_samples
from lina.runs.hooks import Run, Section
from lina.runs.metrics import METRICS_FILE, append_metrics
from lina.runs.records import MetricsRecord, Sample
from tests.report.fake_run import TEXTS, fake_spec, make_run

VOID = {"meta", "br", "hr", "img", "input", "link", "line", "rect", "circle", "path", "image"}
MUST_HOLD = {
    "table",
    "tbody",
    "figure",
    "section",
    "article",
    "svg",
    "ul",
    "dl",
    "p",
    "td",
    "th",
    "pre",
    "nav",
    "h3",
}


class Page(HTMLParser):
    """Collects the elements that the tests need; parses strictly, unlike a browser."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[tuple[str, bool]] = []
        """Open elements, outermost first, and True for those that hold something."""
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.empty: list[str] = []
        self.wrong: list[str] = []
        self.sources: list[str] = []
        self.ids: list[str] = []
        self.anchors: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()
        self.wrong += [tag for tag, _ in self.open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.elements.append((tag, attributes))
        self._fill()
        if tag not in VOID:
            self.open.append((tag, tag == "audio" and bool(attributes.get("src"))))
        self.sources += [
            attributes[name] for name in ("src", "xlink:href", "data", "poster") if name in attributes
        ]
        if "href" in attributes:
            (self.anchors if tag == "a" else self.sources).append(attributes["href"])
        self.ids += [attributes["id"]] if "id" in attributes else []

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        opened, filled = self.open.pop()
        if opened != tag:
            self.wrong.append(f"{opened} closed by {tag}")
        if tag in MUST_HOLD | {"audio"} and not filled:
            self.empty.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data
        if data.strip():
            self._fill()

    def _fill(self) -> None:
        self.open = [(tag, True) for tag, _ in self.open]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_run(tmp_path_factory.mktemp("run"), samples=4)


@pytest.fixture(scope="module")
def html(run: Run) -> str:
    extra = Section("From <a plugin>", "<p>Its words.</p>")
    path = Report().write_report(run, [extra, Section("Nothing to say", " \n")])
    assert path == run.directory / "report.html"
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def parsed(html: str) -> Page:
    return Page(html)


def test_every_element_is_closed_and_none_is_empty(parsed: Page) -> None:
    assert parsed.wrong == []
    assert parsed.empty == []
    assert {"table", "figure", "section", "audio", "svg", "image"} <= {tag for tag, _ in parsed.elements}


def test_the_page_is_self_contained(html: str, parsed: Page) -> None:
    assert "http://" not in html
    assert "https://" not in html
    assert "url(" not in html
    assert {tag for tag, _ in parsed.elements}.isdisjoint({"script", "link", "iframe", "object"})
    assert all(source.startswith("data:") for source in parsed.sources)
    assert len(parsed.ids) == len(set(parsed.ids))
    assert parsed.anchors
    assert {anchor.removeprefix("#") for anchor in parsed.anchors} <= set(parsed.ids)


def decoded(uri: str) -> tuple[str, bytes]:
    found = re.fullmatch(r"data:([a-z/]+);base64,(.+)", uri)
    assert found is not None
    media, content = found.groups()
    return media, base64.b64decode(content, validate=True)


def test_every_data_uri_is_a_picture_or_a_clip(parsed: Page) -> None:
    from PIL import Image

    clips, pictures = 0, 0
    for uri in parsed.sources:
        media, content = decoded(uri)
        if media == "image/png":
            pictures += 1
            assert min(Image.open(io.BytesIO(content)).convert("RGBA").size) > 10
        else:
            clips += 1
            assert media == "audio/flac"
            samples, rate = soundfile.read(io.BytesIO(content))
            assert rate == 8000
            assert numpy.abs(samples).max() > 0.1
    assert clips == 3 * 3 + 1
    assert pictures == clips + 4


def test_flac_keeps_every_sample_of_a_16_bit_recording(run: Run, parsed: Page) -> None:
    first = next(attributes["src"] for tag, attributes in parsed.elements if tag == "audio")
    samples, _ = soundfile.read(io.BytesIO(decoded(first)[1]), dtype="int16")
    stored, _ = soundfile.read(run.directory / "samples/000-audio.wav", dtype="int16")
    assert numpy.array_equal(samples, stored)


def test_texts_are_text(html: str, parsed: Page) -> None:
    assert "<script" not in html
    assert TEXTS[2] in parsed.text
    assert "first <run>" in parsed.text
    assert "# <b>wide</b>" in parsed.text
    assert "From <a plugin>" in parsed.text
    assert "Its words." in parsed.text
    assert "Nothing to say" not in parsed.text


def test_the_numbers_of_the_evaluation_appear(run: Run, parsed: Page) -> None:
    evaluation = read_evaluation(run.directory)
    assert evaluation is not None
    for group in evaluation.groups:
        assert group.word_error_rate is not None
        assert group.character_error_rate is not None
        row = parsed.text.index(group.name)
        expected = parsed.text[row : row + 80]
        assert str(group.sentences) in expected
        assert f"{100 * group.word_error_rate:.1f} %" in expected
        assert f"{100 * group.character_error_rate:.1f} %" in expected


def test_facts_versions_plugins_and_spec_appear(parsed: Page) -> None:
    for expected in (
        "5.23 M",
        "1 min 44 s",
        "1 min 58 s",
        "30 utterances, 2 held out, 1 rejected",
        "8 kHz, 50 frames/s, 14 codebooks of 2 to 128 entries",
        "Example 9000",
        "2.9.0+cpu",
        "gla",
        "plugin: gla",
        "codebook 14",
        "no end of speech predicted",
        "A model learns its training sentences by heart long before it reads others",
    ):
        assert expected in parsed.text, expected


def test_errors_of_a_transcript_are_marked(html: str) -> None:
    assert "<del>Please</del>" in html
    assert "<del>number,</del> <ins>lumber,</ins>" in html


def test_the_text_is_on_the_axis_of_its_attention(parsed: Page) -> None:
    letters = [attributes for tag, attributes in parsed.elements if attributes.get("class") == "letter"]
    assert len(letters) == sum(len(TEXTS[index]) for index in range(4))


def test_the_same_files_give_the_same_bytes(run: Run, html: str, tmp_path: Path) -> None:
    extra = Section("From <a plugin>", "<p>Its words.</p>")
    assert page(run, [extra]) == html
    assert page(make_run(tmp_path, samples=4), [extra]) == html


def test_a_young_run_has_only_what_it_has(tmp_path: Path) -> None:
    parsed = Page(page(Run(tmp_path, fake_spec("young")), []))
    assert parsed.wrong == []
    assert parsed.empty == []
    assert {tag for tag, _ in parsed.elements}.isdisjoint({"table", "figure", "audio", "dl", "article"})
    assert parsed.anchors == ["#spec"]


@pytest.mark.parametrize(
    "missing", ["run.json", "data/summary.json", "metrics.jsonl", "samples/index.json", "evaluation.json"]
)
def test_any_file_may_be_missing(tmp_path: Path, missing: str) -> None:
    run = make_run(tmp_path, samples=1, steps=20)
    (tmp_path / missing).unlink()
    parsed = Page(page(run, []))
    assert parsed.wrong == []
    assert parsed.empty == []
    assert {anchor.removeprefix("#") for anchor in parsed.anchors} <= set(parsed.ids)


def test_a_damaged_file_is_an_error(tmp_path: Path) -> None:
    run = make_run(tmp_path, samples=0, steps=1)
    (tmp_path / RUN_FILE).write_text("{}")
    with pytest.raises(CheckpointError, match=r"run\.json: .*lina: is missing"):
        Report().write_report(run=run, sections=[])
    assert not (tmp_path / "report.html").exists()


def test_damaged_metrics_are_left_out(tmp_path: Path) -> None:
    run = make_run(tmp_path, samples=0, steps=2)
    before = page(run, [])
    with (tmp_path / METRICS_FILE).open("a") as file:
        file.write("{}\n")
    assert page(run, []) == before


def one_sample(directory: Path, **changes: Any) -> Page:
    sample = Sample(id="a", kind="train", text="hello", audio=directory / "a.wav", sample_rate=8000)
    record = sample.model_copy(update=changes)
    write_samples(directory, [record])
    return Page(page(Run(directory, fake_spec("one")), []))


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda path: None, "is missing"),
        (lambda path: path.write_bytes(b"RIFF but no wave"), "is not a readable audio file"),
        (lambda path: soundfile.write(path, numpy.zeros(0), 8000), "has no samples"),
    ],
)
def test_audio_that_cannot_be_shown_says_why(
    tmp_path: Path, make: Callable[[Path], object], expected: str
) -> None:
    make(tmp_path / "a.wav")
    parsed = one_sample(tmp_path)
    assert expected in parsed.text
    assert parsed.empty == []
    assert "audio" not in {tag for tag, _ in parsed.elements}


@pytest.mark.parametrize(
    ("tensors", "expected"),
    [
        (None, "is missing"),
        (b"nothing", "is not a readable safetensors file"),
        ({"weights": torch.ones(2, 2)}, "holds no tensor 'attention'"),
        ({"attention": torch.ones(2, 2, 2)}, "of shape [2, 2, 2], not [T, J]"),
        ({"attention": torch.ones(0, 4)}, "of shape [0, 4], not [T, J]"),
    ],
)
def test_attention_that_cannot_be_shown_says_why(
    tmp_path: Path, tensors: bytes | dict[str, torch.Tensor] | None, expected: str
) -> None:
    path = tmp_path / "attention.safetensors"
    if isinstance(tensors, bytes):
        path.write_bytes(tensors)
    elif tensors:
        save_file(tensors, path)
    soundfile.write(tmp_path / "a.wav", numpy.zeros(800), 8000)
    parsed = one_sample(tmp_path, attention=path)
    assert expected in parsed.text
    assert parsed.empty == []


@pytest.mark.parametrize("labels", [("$x$", "<b>", "\x00", ""), ("a",), ()])
def test_strange_or_missing_labels_are_shown_as_text(tmp_path: Path, labels: tuple[str, ...]) -> None:
    save_file({"attention": torch.eye(4)}, tmp_path / "attention.safetensors")
    soundfile.write(tmp_path / "a.wav", numpy.zeros(800), 8000)
    parsed = one_sample(tmp_path, attention=tmp_path / "attention.safetensors", text_labels=labels)
    letters = [element for element in parsed.elements if element[1].get("class") == "letter"]
    assert len(letters) == (4 if len(labels) == 4 else 0)
    assert "b" not in {tag for tag, _ in parsed.elements}
    assert ("$x$" in parsed.text) == (len(labels) == 4)
    assert "\x00" not in parsed.text


def test_stereo_silence_and_one_sample_are_drawn(tmp_path: Path) -> None:
    for clip in (numpy.zeros((4800, 2)), numpy.ones(1)):
        soundfile.write(tmp_path / "a.wav", clip, 24000)
        parsed = one_sample(tmp_path)
        assert [tag for tag, _ in parsed.elements].count("audio") == 1
        assert parsed.empty == []


def test_a_kind_that_is_not_known_gets_its_own_section(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", numpy.zeros(800), 8000)
    assert "serenade" in one_sample(tmp_path, kind="serenade").text


def test_much_audio_becomes_mp3_and_the_page_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio, "LOSSLESS_LIMIT", 10_000)
    run = make_run(tmp_path, samples=1, steps=1)
    parsed = Page(page(run, []))
    clips = [decoded(attributes["src"]) for tag, attributes in parsed.elements if tag == "audio"]
    assert {media for media, _ in clips} == {"audio/mpeg"}
    assert all(soundfile.info(io.BytesIO(content)).format == "MP3" for _, content in clips)
    assert "Audio is MP3" in parsed.text


def test_a_rate_that_mp3_does_not_have_stays_flac(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio, "LOSSLESS_LIMIT", 0)
    soundfile.write(tmp_path / "a.wav", numpy.zeros(7000), 7000)
    clip = next(attributes["src"] for tag, attributes in one_sample(tmp_path).elements if tag == "audio")
    assert decoded(clip)[0] == "audio/flac"


def test_a_loss_that_is_not_a_number_is_reported(tmp_path: Path) -> None:
    for step, loss in enumerate((3.0, float("nan"), 2.0, 1.0), start=1):
        append_metrics(tmp_path, MetricsRecord(step=step, split="train", loss=loss))
    parsed = Page(page(Run(tmp_path, fake_spec("nan")), []))
    assert "training: 1 of 4 values not finite, the first at step 2." in parsed.text
    assert "nan" not in "".join(str(attributes.get("d")) for _, attributes in parsed.elements)


def test_thirty_samples_stay_small(tmp_path: Path) -> None:
    html = page(make_run(tmp_path, samples=6, steps=30, rate=24000), [])
    assert len(html) * 5 < 15_000_000
