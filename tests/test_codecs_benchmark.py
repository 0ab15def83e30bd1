"""benchmarks/codecs.py on toy codecs, recordings of a second and measures that need no package."""

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile

from benchmarks import codec_audio, codec_measure, codec_metrics, codecs
from lina.core.errors import DataError, LinaError, PluginError
from lina.core.registry import load
from lina.evaluation.normalization import identity
from tests.fakes import FakeDistributions

TOY = """
from typing import Any
import torch

from lina.core.plugin import CodecPlugin, PluginConfig

class Config(PluginConfig):
    levels: int = 255
    late: int = 0
    gain: float = 1.0
    hole: bool = False

class Toy(CodecPlugin):
    '''Each sample of a frame is a codebook; what comes out can be late, loud or full of holes.'''
    Config = Config
    sample_rate, hop, channels = 8000, 80, 1

    @classmethod
    def example(cls) -> dict[str, Any]:
        return {"config": Config()}

    @classmethod
    def build(cls, *, config):
        made = cls()
        made.config, made.codebook_sizes = config, (config.levels,) * 80
        return made

    def encode(self, audio):
        top = self.config.levels - 1
        return ((audio[:, 0] + 1) / 2 * top).round().long().clamp(0, top).unflatten(1, (-1, 80))

    def decode(self, codes):
        audio = (codes.flatten(1)[:, None] / (self.config.levels - 1) * 2 - 1) * self.config.gain
        audio = torch.nn.functional.pad(audio, (self.config.late, 0))[..., : audio.shape[-1]]
        return audio / 0 if self.config.hole else audio
"""
SECONDS = 1.2


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch, distributions: FakeDistributions) -> None:
    distributions.install("toys", {"lina.codecs": {"toy": "toys:Toy"}}, toys=TOY)

    def score(reference: Any, decoded: Any) -> float:
        return 4.0 - 10.0 * float(np.abs(reference - decoded).mean())

    monkeypatch.setattr(codec_metrics, "_pesq", lambda: score)
    monkeypatch.setattr(codec_metrics, "_stoi", lambda: lambda reference, decoded: None)
    monkeypatch.setattr(codec_metrics, "_visqol", lambda: score)
    monkeypatch.setattr(codec_metrics, "_without_reference", missing)
    hears(monkeypatch, "one two three")


def missing(name: str) -> None:
    raise ImportError(f"No module named {name!r}")


def hears(monkeypatch: pytest.MonkeyPatch, text: str, broken: bool = False, base: bool = False) -> None:
    """A recognizer that hears one text in whatever is loud enough; of other languages only with ``base``."""

    class Config(SimpleNamespace):
        model_validate = classmethod(lambda cls, keys: cls(**keys))

    def build(config: Any) -> Any:
        if not base and getattr(config, "model", None) == "base":
            raise PluginError("recognizer: no base; pip install base")
        if broken:
            raise PluginError("recognizer: no package; pip install it")
        return SimpleNamespace(
            sample_rate=16_000,
            language=config.language,
            transcribe=lambda audio: text if float(audio.abs().mean()) > 0.02 else "",
        )

    plugin = SimpleNamespace(Config=Config, build=build)
    monkeypatch.setattr(
        codec_measure, "load", lambda role, name: plugin if role == "recognizer" else load(role, name)
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_set(tmp_path / "known", ("en", "en", "nl-BE"))


def write_set(folder: Path, languages: tuple[str, ...]) -> Path:
    folder.mkdir()
    lines = []
    generator = np.random.default_rng(3)
    for number, language in enumerate(languages):
        # Bursts, so that the envelope tells where it begins.
        time = np.arange(int(SECONDS * 16_000)) / 16_000
        bursts = (np.sin(2 * np.pi * (2.0 + number) * time) > 0) * generator.uniform(0.3, 1.0)
        soundfile.write(
            folder / f"{number}.wav", 0.2 * bursts * np.sin(2 * np.pi * (300 + 50 * number) * time), 16_000
        )
        line = {"id": f"r{number}", "audio": f"{number}.wav", "text": "one two three"}
        lines.append(json.dumps(line | ({} if language == "en" else {"language": language})))
    lines.append(json.dumps({"id": "gone", "audio": "gone.wav", "text": "not there"}))
    (folder / "manifest.jsonl").write_text("\n".join(lines))
    return folder


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["codecs.py", *arguments])
        code = codecs.main()
        out, err = capsys.readouterr()
        return code, out, err

    return call


def test_rows_of_codecs_on_the_same_recordings(run: Any, folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "codecs.json"
    codecs = ("--codec=toy", "--codec=toy levels=4 late=80")
    code, out, err = run(f"--audio={folder}", *codecs, "--against=toy", f"--json={file}")
    assert code == 0
    results = json.loads(file.read_text())
    assert results["sets"]["known"]["ids"] == ["r0", "r1", "r2"]
    assert results["sets"]["known"]["languages"] == ["en", "en", "nl"]
    assert results["sets"]["known"]["left_out"] == 1
    assert results["columns"] == ["pesq", "stoi", "visqol", "mel", "lag", "errors"]
    fine, coarse = results["codecs"]["toy"], results["codecs"]["toy levels=4 late=80"]
    assert fine["bits_per_second"] == pytest.approx(8000 * math.log2(255), rel=1e-4)
    assert coarse["bits_per_second"] == 16_000
    assert fine["delay"] == 0.0
    assert coarse["delay"] == pytest.approx(10.0, abs=0.5), "80 samples at 8 kHz"
    good, bad = fine["sets"]["known"], coarse["sets"]["known"]
    assert bad["summary"]["lag"] == pytest.approx(0.0, abs=0.5), "the delay was taken off"
    assert good["summary"]["pesq"]["value"] > 3.9
    assert bad["summary"]["mel"]["value"] > good["summary"]["mel"]["value"]
    assert bad["summary"]["against"]["pesq"]["high"] < 0
    assert good["summary"]["stoi"] is None
    assert good["summary"]["wer"]["value"] == 0.0
    assert good["recordings"]["errors"] == [0, 0, None]
    assert good["codebooks"]["frames"] == round(3 * SECONDS * 100)
    assert max(bad["codebooks"]["entropy_bits"]) <= 2.0
    assert fine["speed"]["decode_steps"] > 0
    assert fine["latency"] == {"encoder": None, "decoder": 10.0}
    assert "dnsmos is left out: No module named 'dnsmos'; pip install 'lina[bench]'" in err
    assert "distill_mos is left out: No module named 'distill_mos'; pip install --no-deps distillmos" in err
    assert (
        "WER is left out for nl: recognizer: no base; pip install base, or name a Whisper by --multi" in err
    )
    assert "toy levels=4 late=80: its audio comes 10 ms late" in out
    assert "differences to toy, paired" in out
    assert "EnCodec 24 kHz, 2 codebooks (published)" in out
    assert results["machine"]["cores"] > 0
    assert "torch" in results["versions"]


def test_errors_are_counted_again_from_stored_transcripts(
    run: Any, monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path
) -> None:
    file = tmp_path / "codecs.json"
    run(f"--audio={folder}", "--codec=toy", f"--json={file}")
    results = json.loads(file.read_text())
    known = results["codecs"]["toy"]["sets"]["known"]
    assert known["transcripts"][2] is None
    known["transcripts"][0] += " one bird"
    known["recordings"]["errors"] = [7, 7, None]
    results["sets"]["known"]["words"] = [9, 9, 9]
    file.write_text(json.dumps(results))
    monkeypatch.setattr(codecs, "measure_all", None)
    assert run(f"--audio={folder}", "--codec=toy", f"--json={file}")[0] == 0
    again = json.loads(file.read_text())
    assert again["codecs"]["toy"]["sets"]["known"]["recordings"]["errors"] == [2, 0, None]
    assert again["sets"]["known"]["words"] == [1, 1, 3]
    assert again["sets"]["known"]["normalization"] == identity()


def test_rows_without_transcripts_are_transcribed_again_and_keep_their_measures(
    run: Any, monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path
) -> None:
    file = tmp_path / "codecs.json"
    run(f"--audio={folder}", "--codec=toy", f"--json={file}")
    results = json.loads(file.read_text())
    known = results["codecs"]["toy"]["sets"]["known"]
    del known["transcripts"]
    known["recordings"]["errors"] = [7, 7, None]
    known["recordings"]["pesq"] = [2.5, 2.5, 2.5]
    file.write_text(json.dumps(results))
    requests: list[tuple[str, ...]] = []
    measure = codec_measure.measure_all

    def logged(plan: codec_measure.Plan, *rest: Any) -> Any:
        requests.append((plan.only, *plan.columns))
        return measure(plan, *rest)

    monkeypatch.setattr(codecs, "measure_all", logged)
    assert run(f"--audio={folder}", "--codec=toy", f"--json={file}")[0] == 0
    assert requests == [("toy", "errors")]
    again = json.loads(file.read_text())["codecs"]["toy"]["sets"]["known"]
    assert again["recordings"]["errors"] == [0, 0, None]
    assert again["recordings"]["pesq"] == [2.5, 2.5, 2.5]
    assert len(again["transcripts"]) == 3


def test_other_languages_are_transcribed_by_whisper_base(
    run: Any, monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path
) -> None:
    hears(monkeypatch, "one two", base=True)
    file = tmp_path / "codecs.json"
    code, _, err = run(f"--audio={folder}", "--codec=toy", f"--json={file}")
    assert code == 0
    assert "WER" not in err
    found = json.loads(file.read_text())
    assert found["codecs"]["toy"]["sets"]["known"]["recordings"]["errors"] == [1, 1, 1]
    assert found["sets"]["known"]["unheard"] == []


def test_known_rows_are_not_measured_again(
    run: Any, monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path
) -> None:
    file = tmp_path / "codecs.json"
    run(f"--audio={folder}", "--codec=toy", f"--json={file}")
    before = json.loads(file.read_text())["codecs"]
    measured: list[str] = []
    measure = codec_measure.measure_all

    def logged(plan: codec_measure.Plan, *rest: Any) -> Any:
        measured.append(plan.only)
        return measure(plan, *rest)

    monkeypatch.setattr(codecs, "measure_all", logged)
    code, out, _ = run(f"--audio={folder}", "--codec=toy levels=16", f"--json={file}")
    after = json.loads(file.read_text())["codecs"]
    assert code == 0
    assert measured == ["toy levels=16"]
    assert after["toy"] == before["toy"]
    run(f"--audio={folder}", "--codec=toy", f"--json={file}", "--speed")
    again = json.loads(file.read_text())["codecs"]
    assert again["toy"]["speed"] != before["toy"]["speed"]
    assert again["toy"]["sets"] == before["toy"]["sets"]
    assert again["toy levels=16"] == after["toy levels=16"]
    assert "| toy | " in out


def test_rows_that_do_not_go_together_are_refused(run: Any, folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "codecs.json"
    run(f"--audio={folder}", "--codec=toy", f"--json={file}")
    for arguments, output in (
        (("--quick=2",), "made with the measures"),
        (("--recordings=2",), "has other recordings"),
        (("--against=tox",), "--against 'tox' is not measured; did you mean 'toy'?"),
    ):
        code, _, err = run(f"--audio={folder}", "--codec=toy", f"--json={file}", *arguments)
        assert code == 2
        assert output in err
    file.write_text("[]")
    code, _, err = run(f"--audio={folder}", "--codec=toy", f"--json={file}")
    assert code == 2
    assert "not results of this benchmark" in err


def test_quick_takes_few_recordings_and_few_measures(run: Any, folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "codecs.json"
    code, _, err = run(f"--audio={folder}", "--codec=toy", "--quick=2", f"--json={file}")
    results = json.loads(file.read_text())
    assert code == 0
    assert results["columns"] == ["pesq", "stoi", "visqol", "mel", "lag"]
    assert results["sets"]["known"]["ids"] == ["r0", "r2"]
    assert "speed" not in results["codecs"]["toy"]
    assert "WER" not in err


def test_without_a_recogniser_the_rest_is_measured(
    run: Any, monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path
) -> None:
    hears(monkeypatch, "", broken=True)
    file = tmp_path / "codecs.json"
    code, _, err = run(f"--audio={folder}", "--codec=toy", f"--json={file}")
    assert code == 0
    assert "WER is left out: recognizer: no package; pip install it" in err
    found = json.loads(file.read_text())["codecs"]["toy"]["sets"]["known"]["summary"]
    assert found["wer"] is None
    assert found["pesq"]["value"] > 0


@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        ((), "no --audio"),
        (("--audio=nowhere",), "nowhere/manifest.jsonl: no such file"),
        (("--codec=", "--audio={known}"), "--codec is empty"),
        (("--codec=toy levels", "--audio={known}"), "'levels' is not KEY=VALUE"),
        (("--codec=toy level=4", "--audio={known}"), "did you mean 'levels'?"),
        (("--codec=toy levels=many", "--audio={known}"), "levels"),
        (("--codec=tox", "--audio={known}"), "no codec named 'tox' is installed; did you mean 'toy'?"),
        (("--codec=toy", "--codec=toy", "--audio={known}"), "'toy' is given twice"),
        (("--codec=toy", "--audio={known}", "--audio={known}"), "two --audio folders have one name"),
        (("--codec=toy", "--audio={known}", "--lyra={known}"), "no soundstream_encoder.tflite"),
    ],
)
def test_mistakes_are_one_line(run: Any, folder: Path, arguments: tuple[str, ...], output: str) -> None:
    code, out, err = run(*(one.replace("{known}", str(folder)) for one in arguments))
    assert code == 2
    assert out == ""
    assert output in err
    assert err.startswith("codecs: ")
    assert err.count("\n") == 1


def test_a_set_without_recordings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no usable recording of 0\.4 to 15 s in 1 lines"):
        codec_audio.read_set(write_set(tmp_path / "empty", ()))


def test_selected_recordings_are_spread_evenly(tmp_path: Path) -> None:
    chosen = codec_audio.read_set(write_set(tmp_path / "many", ("en",) * 7), 4, 2).recordings
    assert [(one.id, one.rated) for one in chosen] == [
        ("r0", True),
        ("r2", False),
        ("r4", False),
        ("r6", True),
    ]


def test_metrics_without_a_reference_rate_only_some(
    run: Any, monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr(codec_metrics, "_without_reference", lambda name: lambda reference, decoded: 3.0)
    file = tmp_path / "codecs.json"
    assert run(f"--audio={folder}", "--codec=toy", "--rated=2", f"--json={file}")[0] == 0
    row = json.loads(file.read_text())["codecs"]["toy"]["sets"]["known"]
    assert row["recordings"]["dnsmos"] == [3.0, None, 3.0]
    assert row["summary"]["dnsmos"]["value"] == 3.0
    assert row["recordings"]["distill_mos"] == [3.0, None, 3.0]
    assert None not in row["recordings"]["visqol"]
    code, _, err = run(f"--audio={folder}", "--codec=toy", "--rated=1", f"--json={file}")
    assert code == 2
    assert "another number of recordings rated" in err


def test_recordings_of_every_level_go_in_alike(folder: Path) -> None:
    for recording in codec_audio.read_set(folder).recordings:
        audio = codec_audio.source_audio(recording)
        assert len(audio) == SECONDS * 24_000
        assert float(np.sqrt(np.mean(audio**2))) == pytest.approx(10 ** (-23 / 20), rel=1e-3)
        recording.audio.unlink()
        with pytest.raises(LinaError, match="changed while they were measured"):
            codec_audio.source_audio(recording)


def test_stress_finds_what_is_loud_or_not_finite(run: Any) -> None:
    code, out, _ = run("--codec=toy", "--stress")
    assert code == 0
    assert "BROKEN" not in out
    assert out.count("holds") == 12
    code, out, _ = run("--codec=toy", "--codec=toy gain=2.1", "--stress")
    assert code == 1
    assert "white noise     6.4     6.4  BROKEN" in out
    code, out, _ = run("--codec=toy hole=true", "--stress")
    assert code == 1
    assert "BROKEN: not finite" in out
