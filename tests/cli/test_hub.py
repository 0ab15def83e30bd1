"""Voices on the Hugging Face hub from the shell: uploaded by ``export``, fetched by ``say``."""

from collections.abc import Callable, Sequence
from fnmatch import fnmatch
from pathlib import Path

import pytest

from lina.speech.default_voice import shipped_voice
from tests.cli.conftest import Lina

ADDRESS = "hf://org/voice"


def test_a_voice_is_uploaded(lina: Lina, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uploads: list[tuple[Path, str]] = []

    def upload(folder: Path, address: str, message: str, replaced: Sequence[str]) -> str:
        files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        assert "config.json" in files
        left = [name for name in files if not any(fnmatch(name, pattern) for pattern in replaced)]
        assert left == ["README.md"], "files that a later upload may lack, and leaves on the hub"
        assert not any(fnmatch("samples/one.wav", pattern) for pattern in replaced)
        uploads.append((folder, address))
        return f"{address}@abc"

    monkeypatch.setattr("lina.cli.export.upload", upload)
    out = tmp_path / "voice"
    done = lina("export", str(shipped_voice()), "-o", str(out), "--license", "cc0-1.0", "--hub", ADDRESS)
    assert done.code == 0
    assert uploads == [(out, ADDRESS)]
    assert done.out.splitlines()[-1] == f"{ADDRESS}@abc: uploaded"
    assert "license: cc0-1.0" in (out / "README.md").read_text()


def test_publishing_needs_a_license_and_an_address(refused: Callable[..., str], tmp_path: Path) -> None:
    voice, out = str(shipped_voice()), str(tmp_path / "voice")
    assert "state the license of the voice by --license ID" in refused(
        "export", voice, "-o", out, "--hub", ADDRESS
    )
    assert "is no address of the hub" in refused("export", voice, "-o", out, "--hub", "hf://voice")
    line = refused("export", voice, "-o", out, "--license", "apache2")
    assert "'apache2' is none that lina knows; did you mean 'apache-2.0'? (known: " in line
    assert line.endswith("; for another one pass other, and name it in README.md\n")
    assert not (tmp_path / "voice").exists()


def test_a_voice_is_fetched(lina: Lina, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched = []

    def fetch(address: str) -> Path:
        fetched.append(address)
        return shipped_voice()

    monkeypatch.setattr("lina.speech.default_voice.fetch", fetch)
    done = lina("say", "--run", f"{ADDRESS}@abc", "Hi.", "-o", str(tmp_path / "a.wav"))
    assert done.code == 0
    assert fetched == [f"{ADDRESS}@abc"]
    assert (tmp_path / "a.wav").stat().st_size > 1000


def test_without_a_network_it_is_one_line(
    refused: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setenv("LINA_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    line = refused("say", "--run", ADDRESS, "Hi.", "-o", str(tmp_path / "a.wav"))
    assert "hf://org/voice: cannot be reached, and is not in the cache" in line
