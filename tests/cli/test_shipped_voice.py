"""``lina export``, and ``lina say`` and ``lina evaluate`` with the voice that comes with lina."""

import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
import torch

import lina as package
from lina.cli import loudspeaker
from lina.cli.export import export as command
from lina.core.audio.wav import write_wav
from lina.engine.backend import _log_choice
from lina.pipeline.speech_job import run_spec
from lina.runs.weight_quantization import LAYOUTS
from lina.speech import default_voice
from lina.speech.export import export
from tests.cli.conftest import Lina
from tests.pipeline.small_run import hooks_of, small

Refused = Callable[..., str]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_spec(small(tmp_path_factory.mktemp("shipped"), "train.steps=1"), hooks_of())


@pytest.fixture
def voice(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Exported, and come with lina."""
    (tmp_path / "voices").mkdir()
    export(run, tmp_path / "voices" / "tone-1")
    monkeypatch.setattr(default_voice.shipped_voice, "__defaults__", (tmp_path / "voices",))
    return tmp_path / "voices" / "tone-1"


@pytest.fixture
def no_voice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(default_voice.shipped_voice, "__defaults__", (tmp_path,))


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Nothing plays sound here but the shell scripts that this makes."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setitem(sys.modules, "sounddevice", None)

    def make(name: str, script: str) -> None:
        path = tmp_path / "bin" / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    return make


def test_export(lina: Lina, run: Path, tmp_path: Path) -> None:
    done = lina("export", str(run), "-o", str(tmp_path / "v"))
    assert done.code == 0, done.err
    assert done.out.startswith(f"{tmp_path}/v: step 1, 0.0 million parameters, 0.")
    assert done.out.endswith(f" MB; fill in {tmp_path}/v/README.md\n")
    done = lina("say", "--run", str(tmp_path / "v"), "Hi.", "-o", str(tmp_path / "o.wav"))
    assert done.code == 0, done.err


def test_export_offers_every_layout_and_the_smallest_first() -> None:
    (option,) = (one for one in command.params if one.name == "layout")
    assert tuple(option.type.choices) == LAYOUTS  # type: ignore[attr-defined]
    assert option.default == LAYOUTS[0]


def test_export_refuses(refused: Refused, run: Path, tmp_path: Path) -> None:
    assert "there is no such run" in refused("export", str(tmp_path / "no"), "-o", str(tmp_path / "v"))
    assert "exists already" in refused("export", str(run), "-o", str(tmp_path))
    message = refused("export", str(run), "-o", str(tmp_path / "v"), "--weights", "int4")
    assert all(name in message for name in ("--weights", "int4", "int8", "bfloat16", "float32"))


@pytest.mark.usefixtures("voice")
def test_say_without_a_run(lina: Lina, tmp_path: Path) -> None:
    done = lina("say", "Hi.", "-o", str(tmp_path / "o.wav"))
    assert done.code == 0, done.err
    assert soundfile.info(tmp_path / "o.wav").frames > 0
    assert package.load().say("Hi.").shape[0] == 1


@pytest.mark.usefixtures("voice")
@pytest.mark.parametrize("text", ["...", '"', "?!", "—", "* * *", "<speak></speak>"])
def test_a_text_without_a_letter_or_digit_is_refused_in_one_line(
    refused: Refused, tmp_path: Path, text: str
) -> None:
    expected = "has no letter or digit|is empty|nothing that this run's tokenizer reads|holds no sentence"
    out = ("-o", str(tmp_path / "o.wav"))
    assert re.search(expected, refused("say", text, *out))
    (tmp_path / "t.txt").write_text(f"{text}\n")
    assert re.search(expected, refused("say", "--file", str(tmp_path / "t.txt"), *out))
    assert not (tmp_path / "o.wav").exists()


@pytest.mark.usefixtures("voice")
def test_a_text_file_is_regular(refused: Refused, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # opening it would wait, and it cannot be read twice
    for path, kind in ((tmp_path / "pipe", "a pipe"), (tmp_path, "a directory")):
        message = refused("say", "--file", str(path), "-o", str(tmp_path / "o.wav"))
        assert (
            f"{path}: is {kind}, not a regular file; pass text that is not in a file by standard" in message
        )


@pytest.mark.usefixtures("voice")
def test_a_rate_in_a_text_and_in_files(lina: Lina, refused: Refused, tmp_path: Path) -> None:
    _log_choice.cache_clear()

    def samples(*arguments: str) -> int:
        done = lina("say", *arguments, "--max-seconds", "0.2", "-o", str(tmp_path / "o.wav"))
        assert done.code == 0, done.err
        assert "decode engine" not in done.err
        frames: int = soundfile.info(tmp_path / "o.wav").frames
        return frames

    document = "<speak><prosody rate='50%'>One two. Three four.</prosody></speak>"
    usual = samples("One two. Three four.")
    assert samples(document) == 2 * usual
    (tmp_path / "t.xml").write_text(f'\ufeff<?xml version="1.0"?>\n{document}\n', encoding="utf-8")
    assert samples("--file", str(tmp_path / "t.xml")) == 2 * usual
    (tmp_path / "t.txt").write_text('One two. <prosody rate="50%">Three four.</prosody>\n')
    assert usual < samples("--file", str(tmp_path / "t.txt")) < 2 * usual
    (tmp_path / "t.xml").write_bytes(b"<speak>" + b" a" * 500_000)
    out = str(tmp_path / "o.wav")
    assert "at most 1000000 bytes; split it" in refused("say", "--file", str(tmp_path / "t.xml"), "-o", out)
    (tmp_path / "t.xml").write_bytes(b"<speak>\xff</speak>")
    assert "is not UTF-8 text" in refused("say", "--file", str(tmp_path / "t.xml"), "-o", out)
    _log_choice.cache_clear()
    assert "decode engine: eager" in lina("say", "One.", "-v", "-o", str(tmp_path / "o.wav")).err


@pytest.mark.usefixtures("no_voice")
def test_an_installation_without_a_voice(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("Hi.\n")
    expected = "lina: error: this installation of lina ships no voice; name a run, or train one"
    assert refused("say", "Hi.", "-o", str(tmp_path / "o.wav")).startswith(expected)
    texts = ("--texts", str(tmp_path / "t.txt"), "--recognizer", "none")
    assert refused("evaluate", *texts).startswith(expected)
    assert list(tmp_path.glob("o.wav")) == []


def test_evaluate_without_a_run_writes_nothing_into_lina(
    lina: Lina, refused: Refused, voice: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.txt").write_text("one\n")
    before = sorted(voice.rglob("*"))
    options = ("--texts", "t.txt", "--recognizer", "none", "--no-floor")
    done = lina("evaluate", *options)
    assert done.code == 0, done.err
    assert sorted(voice.rglob("*")) == before
    assert (tmp_path / "evaluated/tone-1/evaluations/t/evaluation.json").is_file()
    assert (tmp_path / "evaluated/tone-1/report.html").is_file()
    assert lina("evaluate", str(voice), *options, "-o", "there").code == 0
    assert (tmp_path / "there/report.html").is_file()
    assert "model=base: there is no recognizer to configure" in refused("evaluate", "model=base", *options)


@pytest.mark.usefixtures("voice")
@pytest.mark.parametrize("player", ["aplay", "paplay", "ffplay"])
def test_say_without_a_file_plays(
    lina: Lina, tmp_path: Path, programs: Callable[[str, str], None], player: str
) -> None:
    programs(player, f"echo $* > {tmp_path}/asked; while read -r line; do :; done; exit 0")
    done = lina("say", "Hi.")
    assert done.code == 0, done.err
    assert done.out.startswith("played: 0.")
    assert "8000" in (tmp_path / "asked").read_text()


@pytest.mark.parametrize("channels", [1, 2])
def test_played_audio_equals_written_audio(
    tmp_path: Path, programs: Callable[[str, str], None], channels: int
) -> None:
    programs("aplay", f"{shutil.which('cat', path=os.defpath)} > {tmp_path}/played")
    audio = torch.rand(channels, 4000, generator=torch.Generator().manual_seed(0)) * 2.2 - 1.1
    with loudspeaker.loudspeaker("aplay", 8000, channels) as play:
        for piece in audio.split(1500, dim=1):
            play(piece)
    write_wav(tmp_path / "o.wav", audio, 8000)
    assert (tmp_path / "played").read_bytes() == (tmp_path / "o.wav").read_bytes()[44:]


@pytest.mark.usefixtures("voice")
def test_a_player_of_files_gets_one(lina: Lina, tmp_path: Path, programs: Callable[[str, str], None]) -> None:
    programs("afplay", f'read -r head < "$1"; echo "$head" > {tmp_path}/head')
    assert lina("say", "Hi.").code == 0
    assert (tmp_path / "head").read_bytes().startswith(b"RIFF")
    programs("afplay", "echo no such device >&2; exit 1")
    done = lina("say", "Hi.")
    assert done.code == 2
    assert "lina: error: say: afplay cannot play: no such device; pass -o FILE" in done.err


@pytest.mark.usefixtures("voice")
@pytest.mark.parametrize(
    "script", ["echo no sound card >&2; exit 1", "exec 0<&-; echo no sound card >&2; exit 1"]
)
def test_a_failing_player_is_reported(
    refused: Refused, programs: Callable[[str, str], None], script: str
) -> None:
    programs("aplay", script)
    assert "say: aplay cannot play: no sound card; pass -o FILE to write a WAV file" in refused("say", "Hi.")


@pytest.mark.usefixtures("voice", "programs")
def test_a_missing_player_is_reported_before_the_voice_is_loaded(
    refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lina.speech.voice_loading", None)
    message = refused("say", "Hi.")
    assert (
        "neither the package sounddevice nor aplay, paplay, ffplay or afplay is installed; pass -o" in message
    )


class FakeDevice:
    """The part of the package sounddevice that lina uses."""

    class PortAudioError(Exception):
        pass

    def __init__(self, error: str = "") -> None:
        self.error, self.played = error, 0

    def OutputStream(self, samplerate: int, channels: int, dtype: str) -> "FakeDevice":  # noqa: N802
        assert (samplerate, channels, dtype) == (8000, 1, "float32")
        if self.error:
            raise self.PortAudioError(self.error)
        return self

    def __enter__(self) -> "FakeDevice":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def write(self, samples: "object") -> None:
        frames, channels = samples.shape  # type: ignore[attr-defined]
        assert channels == 1
        self.played += frames


@pytest.mark.usefixtures("voice", "programs")
def test_sounddevice(lina: Lina, refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    device = FakeDevice()
    monkeypatch.setitem(sys.modules, "sounddevice", device)
    done = lina("say", "Hi.")
    assert done.code == 0, done.err
    assert done.out.startswith(f"played: {device.played / 8000:.2f} s")
    monkeypatch.setitem(sys.modules, "sounddevice", FakeDevice("no device"))
    assert "sounddevice cannot play: no device; pass -o FILE" in refused("say", "Hi.")


def test_stopping_lina_stops_the_player(tmp_path: Path, programs: Callable[[str, str], None]) -> None:
    programs("aplay", f"exec {shutil.which('sleep', path=os.defpath)} 60")
    began = []

    class Process(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, *arguments: object, **options: object) -> None:
            super().__init__(*arguments, **options)  # type: ignore[call-overload]
            began.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess, "Popen", Process)
        with pytest.raises(KeyboardInterrupt), loudspeaker.loudspeaker("aplay", 8000, 1):
            raise KeyboardInterrupt
    assert began[0].returncode is not None


@pytest.mark.parametrize("option", [["--graphs"], ["--weights", "float32"], ["--file", "weights"]], ids=str)
def test_options_of_voices_are_refused_for_graphs_alone(
    refused: Refused, run: Path, tmp_path: Path, option: list[str]
) -> None:
    message = refused("export", str(run), "--onnx", str(tmp_path / "graphs"), *option)
    assert "leave them out with --onnx" in message
    assert not (tmp_path / "graphs").exists()
