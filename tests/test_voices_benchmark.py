"""The parts of benchmarks/voices.py that need no judge: texts, who speaks, what failed, numbers, bars and the page."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from benchmarks import (
    samples_page,
    voices,
    voices_clips,
    voices_judging,
    voices_process,
    voices_rows,
    voices_sets,
    voices_table,
)
from lina.core.errors import DataError, LinaError
from lina.core.registry import load
from lina.evaluation.error_rates import count_errors
from lina.evaluation.metrics import with_errors
from lina.evaluation.normalization import identity, normalize
from lina.evaluation.records import ClipFile, ClipRecord
from lina.evaluation.text_set import Item
from lina.speech.default_voice import shipped_voice

WORDS = 10


def clip(id: str, system: str, wrong: int = 0, seconds: float = 2.0, **more: Any) -> ClipRecord:
    """Ten words and fifty characters, of which some are wrong."""
    return ClipRecord(
        id=id,
        system=system,
        text=f"text of {id}",
        audio=Path(f"clips/{id}.wav"),
        seconds=seconds,
        transcript="heard",
        words=WORDS,
        wrong_words=wrong,
        characters=50,
        wrong_characters=5 * wrong,
        **more,
    )


def voice(name: str, wrong: Sequence[int], seconds: float = 2.0, dnsmos: float = 3.0, **more: Any) -> Any:
    ids = [f"{group}-{number:04d}" for group in voices_sets.SETS for number in range(len(wrong))]
    clips = [
        clip(id, name, wrong[place % len(wrong)], seconds, dnsmos=dnsmos, **more)
        for place, id in enumerate(ids)
    ]
    return voices_table.Voice(name, clips, clips)


def write_audio(path: Path, seconds: float = 0.5) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.sin(np.arange(int(24_000 * seconds)) / 20) / 4, 24_000)


# Texts


@pytest.mark.parametrize(
    ("development", "sizes"),
    [(False, {"everyday": 100, "long": 100, "hard": 50}), (True, {"everyday": 30, "long": 30, "hard": 20})],
)
def test_the_sets_are_as_documented(development: bool, sizes: dict[str, int]) -> None:
    sets = voices_sets.text_sets(development=development)
    assert {name: len(items) for name, items in sets.items()} == sizes
    lengths = {name: [len(item.text.split()) for item in items] for name, items in sets.items()}
    assert 3 <= min(lengths["everyday"]) <= max(lengths["everyday"]) <= 9
    assert 18 <= min(lengths["long"]) <= max(lengths["long"]) <= 35
    assert any(len(item.text.split()) == 1 for item in sets["hard"])
    assert sum(any(map(str.isdigit, item.text)) for item in sets["hard"]) >= sizes["hard"] // 5
    assert sum(item.text.endswith("?") for item in sets["hard"]) >= sizes["hard"] // 10
    items = [item for one in sets.values() for item in one]
    assert len({item.id for item in items}) == len(items)
    for place, item in enumerate(items):
        assert not voices_sets.shared([item.text], [other.text for other in items[:place]]), item.text


def test_no_text_of_development_is_nearly_one_of_the_test() -> None:
    test, development = (
        [item.text for items in voices_sets.text_sets(development=which).values() for item in items]
        for which in (False, True)
    )
    assert voices_sets.shared(development, test) == []
    assert len(voices_sets.all_texts()) == len(test) + len(development)


def test_all_texts_can_be_read() -> None:
    plugin = load("tokenizer", "phonemes")
    tokenizer: Any = plugin.build(config=plugin.Config(), trained=None)
    for text in voices_sets.all_texts().values():
        assert tokenizer.phonemes(text), text


def test_a_limit_takes_the_first_of_each_set() -> None:
    whole, some = voices_sets.text_sets(), voices_sets.text_sets(3)
    assert all(some[name] == whole[name][:3] for name in voices_sets.SETS)


def test_training_texts_that_are_nearly_a_test_text_are_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = voices_sets.text_sets()["everyday"][0].text
    clean, dirty = tmp_path / "clean.txt", tmp_path / "dirty.txt"
    clean.write_text("Nothing of that kind was ever written here.\n")
    dirty.write_text(f"Another one.\n{text.upper().rstrip('.')}!\n")
    assert voices_sets.main([str(clean)]) == 0
    assert voices_sets.main([str(clean), str(dirty)]) == 1
    assert text in capsys.readouterr().out
    assert voices_sets.main([str(tmp_path / "none.txt")]) == 2


def test_real_sentences_are_kept_out_ones_with_one_recording_each(tmp_path: Path) -> None:
    lines = []
    for number in range(60):
        for take in ("a", "b"):
            name = f"{number}{take}.wav"
            if not number:
                write_audio(tmp_path / name)
            else:
                (tmp_path / name).write_bytes((tmp_path / "0a.wav").read_bytes())
            text = f"Sentence number {number} is this one."
            lines.append(json.dumps({"id": name, "audio": name, "text": text, "speaker": "kathleen"}))
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text("\n".join(lines) + "\n")
    items = voices_sets.real_set(manifest)
    assert len(items) == 40
    assert len({item.text for item in items}) == 40
    assert all(item.speaker == "kathleen" and str(item.recording).endswith("a.wav") for item in items)
    assert voices_sets.real_set(manifest, 3) == items[:3]
    manifest.write_text("\n".join(lines[:6]) + "\n")
    with pytest.raises(DataError, match="sentences"):
        voices_sets.real_set(manifest)


# Numbers


def test_differences_to_the_ceiling_are_paired() -> None:
    """Texts differ much, the voices at each text by just one word: that difference is certain."""
    wrong = [0, 8, 1, 6, 0, 3, 9, 2]
    found = voices_table.summarize([voice("lina", [one + 1 for one in wrong]), voice("codec", wrong)])
    one = found["lina"]["all"]
    above = one.minus_ceiling["word_error_rate"]
    assert (above.value, above.low, above.high) == pytest.approx((0.1, 0.1, 0.1))
    alone = one.measures["word_error_rate"]
    assert alone.high - alone.low > 0.1
    assert alone.value == pytest.approx(sum(wrong) / (WORDS * len(wrong)) + 0.1)
    assert not found["codec"]["all"].minus_ceiling


@pytest.mark.parametrize(
    ("wrong", "seconds", "failed"),
    [(3, 2.0, False), (4, 2.0, True), (0, 1.19, True), (0, 1.21, False), (0, 3.19, False), (0, 3.21, True)],
)
def test_failed_texts(wrong: int, seconds: float, failed: bool) -> None:
    """Above 30 % wrong characters, or a duration beyond 0.6 to 1.6 times hibari's 2 s."""
    both = [voice("lina", [wrong], seconds), voice("hibari", [0])]
    rate = voices_table.summarize(both)["lina"]["all"].measures["failed"].value
    listed = voices_table.failures(both[0], voices_table.references(both))
    assert rate == float(failed)
    assert len(listed) == 3 * failed
    if failed:
        assert listed[0]["text"] == "text of everyday-0000"
        assert listed[0]["heard"] == "heard"
        assert listed[0]["duration_ratio"] == pytest.approx(seconds / 2)


def test_failures_follow_the_second_recognizer() -> None:
    first, second = voice("lina", [9]), voice("lina", [0])
    one = voices_table.summarize([voices_table.Voice("lina", first.clips, second.clips)])["lina"]["all"]
    assert one.measures["word_error_rate"].value == 0.9
    assert one.measures["failed"].value == 0.0
    alone = voices_table.summarize([voices_table.Voice("lina", first.clips)])["lina"]["all"]
    assert "failed" not in alone.measures


def test_a_recording_is_the_reference_where_there_is_one() -> None:
    read = voices_table.Voice("hibari", [clip("real-0001", "hibari", seconds=2.0), clip("hard-1", "hibari")])
    recorded = voices_table.Voice("recordings", [clip("real-0001", "recordings", seconds=4.0)])
    assert voices_table.references([recorded, read]) == {"real-0001": 4.0, "hard-1": 2.0}
    assert voices_table.sets_of([recorded, read]) == ["hard", "all", "real"]
    assert voices_table.summarize([recorded, read])["hibari"]["all"].sentences == 1, (
        "all is of the sets alone"
    )


def test_speed_and_first_audio() -> None:
    clips = [
        clip(f"hard-{number}", "lina", seconds=4.0, synthesis_seconds=1.0, first_audio=number / 100)
        for number in range(101)
    ]
    found = voices_table.speed(clips)
    assert found == pytest.approx({"times_real_time": 4.0, "first_audio_median": 0.5, "first_audio_95": 0.95})
    assert voices_table.speed([clip("hard-1", "codec")]) is None


def good(**more: Any) -> list[Any]:
    lina = voice("lina", [1], dnsmos=3.15, synthesis_seconds=0.5, first_audio=0.1)
    process = {
        "peak_memory_mib": 500.0,
        "long": {"peak_memory_mib": 520.0, "memory_mib": [400.0, 404.0], "carry": True},
    }
    return [
        replace(lina, process=process | more),
        voice("hibari", [1], dnsmos=3.4),
        voice("codec", [1], dnsmos=3.2),
        *(voice(name, [2], dnsmos=2.9) for name in voices_table.FLOORS),
    ]


def test_a_good_voice_holds_all_bars() -> None:
    found = voices_table.bars(good())
    assert len(found) == 3 + 1 + 1 + 3 + 3 + 3
    assert all(bar.holds for bar in found)
    assert "DOES NOT HOLD" not in voices_table.verdict(found)
    assert not voices_table.bars(good()[1:])


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("everyday: WER", {"wrong": [2]}),
        ("texts failed", {"wrong": [4]}),
        ("DNSMOS minus the ceiling", {"dnsmos": 3.05}),
        ("DNSMOS minus flite", {"dnsmos": 2.85}),
        ("times real time", {"synthesis_seconds": 1.0}),
        ("first audio", {"first_audio": 0.16}),
    ],
)
def test_a_bar_that_does_not_hold_is_reported(what: str, change: dict[str, Any]) -> None:
    how: dict[str, Any] = {
        "wrong": [1],
        "dnsmos": 3.15,
        "synthesis_seconds": 0.5,
        "first_audio": 0.1,
    } | change
    others = good()
    found = voices_table.bars([replace(voice("lina", **how), process=others[0].process), *others[1:]])
    broken = [bar.what for bar in found if not bar.holds]
    assert any(one.startswith(what) for one in broken), broken
    assert "DOES NOT HOLD" in voices_table.verdict(found)


@pytest.mark.parametrize(
    ("what", "process"),
    [
        ("memory at most", {"peak_memory_mib": 601.0}),
        ("memory of a long", {"long": {"peak_memory_mib": 601.0, "memory_mib": [1.0, 1.0]}}),
        ("its last minute", {"long": {"peak_memory_mib": 1.0, "memory_mib": [100.0, 106.0]}}),
    ],
)
def test_memory_has_bars(what: str, process: dict[str, Any]) -> None:
    broken = [bar.what for bar in voices_table.bars(good(**process)) if not bar.holds]
    assert len(broken) == 1
    assert broken[0].startswith(what)


def test_the_table_has_a_line_for_each_voice_and_set() -> None:
    lines = voices_table.table(good()).splitlines()
    assert [line for line in lines if line.endswith("texts)")] == [
        "everyday (1 texts)", "long (1 texts)", "hard (1 texts)", "all (3 texts)"
    ]  # fmt: skip
    row = next(line for line in lines if line.strip().startswith("lina"))
    for part in ("10.0 [10.0, 10.0]", "+0.0 [+0.0, +0.0]", "3.15", "-0.05", "4.0"):
        assert part in row


def test_the_record_is_json_and_holds_the_bars(tmp_path: Path) -> None:
    requests = voices.parse(["--run", "runs/x", "--out", str(tmp_path)])
    found = json.loads(json.dumps(voices.record(requests, good(), ["flite is left out"]), allow_nan=False))
    assert found["rows"]["lina"]["sets"]["hard"]["measures"]["word_error_rate"]["value"] == 0.1
    assert found["rows"]["lina"]["speed"]["times_real_time"] == 4.0
    assert all(bar["holds"] for bar in found["bars"])
    assert found["remarks"] == ["flite is left out"]


def test_a_busy_machine_is_reported() -> None:
    assert voices.busy(good(busy_before=0.1)) == []
    assert "0.9 cores" in voices.busy(good(busy_before=0.9))[0]
    assert voices.busy(good(long={"busy_before": 1.5, "memory_mib": []}))


# Who speaks


def test_existing_clips_are_not_synthesized_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output: list[str] = []

    def say(item: Item, path: Path) -> None:
        output.append(item.text)
        write_audio(path)

    monkeypatch.setattr(voices_rows, "rows", lambda: {"toy": voices_rows.Row(lambda _: say, "")})
    items = [Item("hard-1", "One."), Item("hard-2", "Two.")]
    first = voices_rows.read_row("toy", items, tmp_path, [])
    assert output == ["One.", "One.", "Two."], "the first one warms up"
    assert voices_rows.read_row("toy", items, tmp_path, []) == first
    assert len(output) == 3
    changed = voices_rows.read_row("toy", [items[0], Item("hard-2", "Three.")], tmp_path, [])
    assert first is not None
    assert changed is not None
    assert output[3:] == ["Three.", "Three."]
    assert changed[0] == first[0]
    assert changed[1].text == "Three."
    voices_judging.forget_row(tmp_path / "toy")
    voices_rows.read_row("toy", items, tmp_path, [])
    assert len(output) == 8


def test_a_missing_system_is_left_out_with_a_remark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    remarks: list[str] = []
    for name in ("espeak-ng", "flite", "festival"):
        assert voices_rows.read_row(name, [Item("hard-1", "One.")], tmp_path, remarks) is None
    assert len(remarks) == 3
    assert remarks[1] == "flite is left out: there is no program flite; apt-get install flite"


def test_a_program_that_fails_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "flite"
    program.write_text("#!/bin/sh\necho no such voice >&2\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(LinaError, match=r"flite failed at 'One\.': no such voice"):
        voices_rows.read_row("flite", [Item("hard-1", "One.")], tmp_path / "out", [])


def test_the_codec_wants_something_to_read(tmp_path: Path) -> None:
    with pytest.raises(LinaError, match="let hibari read first"):
        voices_rows.read_row("codec", [Item("hard-1", "One.")], tmp_path, [])


def test_a_clip_that_was_synthesized_anew_is_judged_anew(tmp_path: Path) -> None:
    errors = dict.fromkeys(voices_clips.DERIVED)
    found = clip("hard-1", "toy", dnsmos=3.0).model_copy(update=errors)
    plain = found.model_copy(update=dict.fromkeys(voices_judging.FOUND))
    file = ClipFile(tmp_path / f"{voices_judging.FIRST}.jsonl")
    assert not voices_judging.is_scored(file, plain)
    file.append(found)
    assert voices_judging.is_scored(file, plain, metrics=["dnsmos"])
    assert voices_judging.scored_clips(tmp_path, voices_judging.FIRST, [plain]) == [with_errors(found)]
    assert not voices_judging.is_scored(file, plain.model_copy(update={"seconds": 2.1}))
    file.append(found.model_copy(update={"dnsmos": None}))
    assert voices_judging.is_scored(file, plain)
    assert not voices_judging.is_scored(file, plain, metrics=["dnsmos"])


def test_busy_cores_are_counted() -> None:
    busy = voices_process.busy_cores(0.05)
    assert busy is None or (busy >= 0 and math.isfinite(busy))


# The command line


def test_requested_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    assert voices.parse(["--rows", "espeak,codec"]).rows == ["hibari", "codec", "espeak-ng"]
    everybody = voices.parse(["--run", "runs/voice"]).rows
    assert everybody == [name for name in voices.NAMES if name != "recordings"]
    assert voices.parse(["--real", "m.jsonl", "--rows", "codec"]).rows == ["recordings", "hibari", "codec"]
    monkeypatch.setattr(voices, "shipped_voice", lambda: Path("lina/voices/english-1"))
    assert voices.lina_folder(voices.parse(["--rows", "lina"])).name == "lina-english-1"
    requests = voices.parse(["--run", "runs/voice", "--again", "lina"])
    assert requests.rows[0] == "lina"
    assert voices.lina_folder(requests).name == "lina-voice"


@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        (["--rows", "flit"], "did you mean 'flite'"),
        (["--rows", "lina"], "needs --run"),
        (["--rows", "flite", "--limit", "0"], "at least 1"),
    ],
)
def test_mistyped_options(
    arguments: list[str], output: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(voices, "shipped_voice", lambda: shipped_voice(Path("none")))
    with pytest.raises(SystemExit) as ended:
        voices.parse(arguments)
    assert ended.value.code == 2
    assert output in capsys.readouterr().err


# The page


def audio_out(folder: Path, row: str, ids: Sequence[str]) -> None:
    (folder / row).mkdir(parents=True)
    file = ClipFile(folder / row / voices_rows.CLIP_FILE)
    for id in ids:
        write_audio(folder / row / f"clips/{id}.wav")
        file.append(ClipRecord(id=id, system=row, text="", audio=Path(f"clips/{id}.wav"), seconds=0.5))


def test_the_page_plays_some_texts_of_each_set(tmp_path: Path) -> None:
    ids = [item.id for items in voices_sets.text_sets(3).values() for item in items]
    for row in ("hibari", "codec", "lina-voice"):
        audio_out(tmp_path / "audio", row, ids)
    out = tmp_path / "page"
    written = samples_page.make(tmp_path / "audio", None, None, out, "Not <picked>.")
    text = (out / "index.html").read_text()
    assert text.count("<audio ") == len(written) - 1 == 3 * 3 * samples_page.EACH
    for path in written[:-1]:
        assert f'src="{path.name}"' in text
        assert soundfile.info(path).subtype == "OPUS"
    assert "Not &lt;picked&gt;." in text
    assert "http" not in text
    assert "espeak" not in text, "it has said nothing"
    again = samples_page.make(tmp_path / "audio", "voice", None, out, "")
    assert sorted(again) == sorted(out.iterdir())


def test_a_page_needs_audio_and_one_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no hibari"):
        samples_page.make(tmp_path, None, None, tmp_path / "page", "")
    for row in ("hibari", "lina-a", "lina-b"):
        audio_out(tmp_path, row, ["hard-0001"])
    with pytest.raises(DataError, match="say which with --lina a"):
        samples_page.make(tmp_path, None, None, tmp_path / "page", "")
    with pytest.raises(DataError, match="has no lina-c; it has lina-a, lina-b"):
        samples_page.make(tmp_path, "c", None, tmp_path / "page", "")


def test_a_page_stays_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    audio_out(tmp_path, "hibari", ["hard-0001"])
    monkeypatch.setattr(samples_page, "MOST_BYTES", 100)
    with pytest.raises(DataError, match="more than 100"):
        samples_page.make(tmp_path, None, None, tmp_path / "page", "")


def transcribed(id: str, row: str, transcript: str, **more: Any) -> ClipRecord:
    texts = {item.id: item.text for items in voices_sets.text_sets().values() for item in items}
    return ClipRecord(
        id=id,
        system=row,
        text=texts.get(id, "The real one."),
        audio=Path(f"clips/{id}.wav"),
        seconds=2.0,
        transcript=transcript,
        **more,
    )


def stored(tmp_path: Path) -> Path:
    """Numbers and clips of two rows, as a measurement leaves them."""
    numbers = tmp_path / "numbers.json"
    rows = {}
    for name in ("lina", "codec"):
        clips = [
            transcribed(id, name, "The.", dnsmos=3.00004, synthesis_seconds=0.5, first_audio=0.1)
            for id in ("everyday-0001", "real-0001")
        ]
        rows[name] = voices_table.Voice(name, clips, [clips[0].model_copy(update={"transcript": "More."})])
    voices_clips.write_clips(voices_clips.clips_file(numbers), list(rows.values()))
    known = {"lina": {"speed": {"times_real_time": 9.0}, "process": {"peak_memory_mib": 1.0}}}
    facts = {"run": "r", "settings": [], "limit": None, "cores": 3, "remarks": ["slow"], "rows": known}
    numbers.write_text(json.dumps(facts))
    return numbers


def test_errors_are_counted_again_from_stored_transcripts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    numbers = stored(tmp_path)
    (lina, codec) = voices_clips.read_clips(voices_clips.clips_file(numbers))
    text = transcribed("everyday-0001", "lina", "").text
    assert lina.clips[0].text == text
    assert lina.clips[0].words == len(normalize(text, "en"))
    assert lina.clips[0].wrong_words == count_errors(text, "The.", "en").wrong_words
    assert lina.clips[1].text == "The real one."
    assert (lina.clips[0].dnsmos, lina.clips[0].first_audio, codec.name) == (3.0, None, "codec")
    assert [clip.transcript for clip in lina.again] == ["More."]
    monkeypatch.setattr("sys.argv", ["voices", "--recount", str(numbers)])
    voices.main()
    found = json.loads(numbers.read_text())
    assert (found["run"], found["cores"], found["remarks"]) == ("r", 3, ["slow"])
    assert found["rows"]["lina"]["speed"] == {"times_real_time": 9.0}
    assert found["rows"]["lina"]["process"] == {"peak_memory_mib": 1.0}
    assert found["rows"]["codec"]["speed"] is None
    assert found["rows"]["lina"]["sets"]["real"]["word_error_rate"] == pytest.approx(2 / 3)
    assert len(found["rows"]["lina"]["failures"]) == 1
    assert found["normalization"] == identity()
    before = voices_clips.clips_file(numbers).read_text()
    voices.main()
    assert voices_clips.clips_file(numbers).read_text() == before
    assert "9.0" in capsys.readouterr().out


@pytest.mark.parametrize(
    "line", ["", "[]", "{}", '{"row": "lina"}', '{"row": "lina", "id": "everyday-0001"}', "x"]
)
def test_damaged_clips_are_named(tmp_path: Path, line: str) -> None:
    path = voices_clips.clips_file(stored(tmp_path))
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(DataError, match=r"line 5 is no clip of this benchmark"):
        voices_clips.read_clips(path)


def test_missing_clips_or_numbers_say_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DataError, match=r"clips\.jsonl: No such file or directory; measure first"):
        voices_clips.read_clips(tmp_path / "clips.jsonl")
    with pytest.raises(DataError, match="no numbers of this benchmark"):
        voices.known_numbers(tmp_path / "numbers.json")
    (tmp_path / "numbers.json").write_text('{"rows": {}}')
    with pytest.raises(DataError, match="no numbers of this benchmark"):
        voices.known_numbers(tmp_path / "numbers.json")
    with pytest.raises(SystemExit):
        voices.parse(["--keep-speed", "--json", str(tmp_path / "none.json")])
    assert "--keep-speed needs --json FILE" in capsys.readouterr().err
