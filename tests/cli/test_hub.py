"""Voices on the Hugging Face hub from the shell: uploaded by ``export``, fetched by ``say``."""

from collections.abc import Callable, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from lina.speech.default_voice import shipped_voice
from tests.cli.conftest import Lina

ADDRESS = "hf://org/voice"


def test_a_voice_is_uploaded(lina: Lina, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uploads: list[tuple[Path, str]] = []

    def upload(
        folder: Path, address: str, message: str, replaced: Sequence[str], left_out: Sequence[str]
    ) -> str:
        assert left_out == ()
        files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        assert "config.json" in files
        left = [name for name in files if not any(fnmatch(name, pattern) for pattern in replaced)]
        assert left == ["README.md"], "files that a later upload may lack, and leaves on the hub"
        assert not any(fnmatch("samples/one.wav", pattern) for pattern in replaced)
        uploads.append((folder, address))
        return f"{address}@abc"

    monkeypatch.setattr("lina.cli.export.upload", upload)
    monkeypatch.setattr("lina.core.files.hub.read_remote", lambda address, name: None)
    out = tmp_path / "voice"
    done = lina("export", str(shipped_voice()), "-o", str(out), "--license", "cc0-1.0", "--hub", ADDRESS)
    assert done.code == 0
    assert uploads == [(out, ADDRESS)]
    assert done.out.splitlines()[-1] == f"{ADDRESS}@abc: uploaded"
    assert "license: cc0-1.0" in (out / "README.md").read_text()


def test_an_edited_card_stays_on_the_hub(
    lina: Lina, refused: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[Sequence[str]] = []
    there: list[bytes] = []

    def upload(*arguments: Any) -> str:
        left.append(arguments[-1])
        return f"{ADDRESS}@abc"

    monkeypatch.setattr("lina.cli.export.upload", upload)
    monkeypatch.setattr("lina.core.files.hub.read_remote", lambda address, name: there[-1])

    def exported(name: str, *options: str) -> str:
        out = str(tmp_path / name)
        arguments = ("export", str(shipped_voice()), "-o", out, "--license", "mit", *options)
        done = lina(*arguments)
        assert done.code == 0
        return done.out

    exported("zero", "--language", "en")
    there.append((tmp_path / "zero" / "README.md").read_bytes())
    hub = ("--hub", ADDRESS)
    assert "not as lina wrote it" not in exported("one", *hub), "a card of another export, as lina wrote it"
    there.append(there[0].replace(b"**How good.** ???", b"**How good.** Quite."))
    line = f"{ADDRESS}: its README.md is not as lina wrote it, and stays; update it there by {tmp_path}/two/README.md"
    assert line in exported("two", *hub)
    assert "not as lina wrote it" not in exported("three", *hub, "--replace-card")
    there.append(b"")
    assert "not as lina wrote it" in exported("four", *hub)
    assert left == [(), ("README.md",), (), ("README.md",)]
    line = refused("export", str(shipped_voice()), "-o", str(tmp_path / "five"), "--replace-card")
    assert "--replace-card is of an upload; add --hub ADDRESS" in line


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
