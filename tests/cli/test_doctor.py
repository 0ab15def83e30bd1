"""``lina doctor``: each damaged part is named with a remedy, and a whole part is reported as whole."""

import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lina.speech.export import export
from tests.cli.conftest import Lina
from tests.faults.conftest import change_weights, checkpoint, run, trained
from tests.pipeline.small_run import write_corpus

__all__ = ["run", "trained"]  # fixtures


def states(text: str) -> dict[str, str]:
    """Part -> state."""
    lines = [line.split(maxsplit=1) for line in text.splitlines()]
    return {rest.partition(": ")[0]: state for state, rest in lines}


def test_a_whole_run_has_no_fault(lina: Lina, run: Path) -> None:
    done = lina("doctor", str(run))
    assert done.code == 0, done
    found = states(done.out)
    assert set(found.values()) == {"ok"}
    assert {"spec.yaml", "checkpoints/step-00000002", "voice", "run.json", "data"} <= found.keys()


def test_a_voice_has_sums(lina: Lina, run: Path, tmp_path: Path) -> None:
    voice = export(run, tmp_path / "voice").path
    done = lina("doctor", str(voice))
    assert done.code == 0, done
    assert " files are as exported; it is not signed" in done.out
    (voice / "README.md").write_text("filled in")
    assert lina("doctor", str(voice)).code == 0
    (voice / "SHA256SUMS.minisig").write_text("untrusted comment: x")
    assert f"check its signature: lina doctor {voice} --key KEY.pub" in lina("doctor", str(voice)).out
    (voice / "speakers.json").write_text('["eve"]')
    done = lina("doctor", str(voice))
    assert done.code == 2
    assert "speakers.json: is not the file that was exported; get the voice again" in done.out


def test_a_signature_is_verified_by_a_key(lina: Lina, run: Path, tmp_path: Path) -> None:
    minisign = pytest.importorskip("minisign")
    voice = export(run, tmp_path / "voice").path
    author, other = minisign.KeyPair.generate(), minisign.KeyPair.generate()
    for name, pair in (("author.pub", author), ("other.pub", other)):
        (tmp_path / name).write_bytes(bytes(pair.public_key))

    def examined(key: str) -> tuple[int, str]:
        done = lina("doctor", str(voice), "--key", str(tmp_path / key))
        return done.code, next(line for line in done.out.splitlines() if "SHA256SUMS: " in line)

    sums = voice / "SHA256SUMS"
    assert examined("author.pub") == (
        2,
        f"fault  SHA256SUMS: {sums}: is not signed; ask its author for a signature, or leave out --key",
    )
    signature = author.secret_key.sign(sums.read_bytes(), trusted_comment="voice of Ann")
    (voice / "SHA256SUMS.minisig").write_bytes(bytes(signature))
    code, line = examined("author.pub")
    assert code == 0
    assert line.endswith(f" files are as exported and signed by {tmp_path / 'author.pub'}: voice of Ann")
    code, line = examined("other.pub")
    assert code == 2
    assert "does not fit SHA256SUMS and" in line
    code, line = examined("missing.pub")
    assert code == 2
    assert "missing.pub: No such file or directory" in line
    (tmp_path / "damaged.pub").write_bytes(b"untrusted comment: x\nRW\n")
    assert "damaged.pub: is no public key of minisign" in examined("damaged.pub")[1]
    sums.write_text(sums.read_text() + sums.read_text().splitlines(keepends=True)[0])
    assert "does not fit SHA256SUMS and" in examined("author.pub")[1]
    (voice / "SHA256SUMS.minisig").write_text("x")
    assert "SHA256SUMS.minisig: is no signature of minisign" in examined("author.pub")[1]


@pytest.mark.parametrize("name", ["checkpoints", "onnx", "lexicon-0.tsv"])
def test_files_that_no_signature_covers_are_a_fault(lina: Lina, run: Path, tmp_path: Path, name: str) -> None:
    voice = export(run, tmp_path / "voice").path
    (voice / name).symlink_to(tmp_path)
    done = lina("doctor", str(voice), "--key", str(tmp_path / "author.pub"))
    assert done.code == 2
    assert f"{voice / name}: is in no line of SHA256SUMS, so it is not signed; remove it" in done.out


def test_a_key_without_the_library_says_what_to_install(
    lina: Lina, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    voice = export(run, tmp_path / "voice").path
    monkeypatch.setitem(sys.modules, "minisign", None)
    done = lina("doctor", str(voice), "--key", "key.pub")
    assert done.code == 2
    assert "pip install 'lina[signature]'" in done.out


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\0", b"no sum\n", b"0  a/../../b\n", b"0" * 2_000_000])
def test_damaged_sums_are_a_fault(lina: Lina, run: Path, content: bytes) -> None:
    (run / "SHA256SUMS").write_bytes(content)
    done = lina("doctor", str(run))
    assert done.code == 2
    assert states(done.out)["SHA256SUMS"] == "fault"
    assert "Traceback" not in done.out + done.err


def unlink(name: str) -> Callable[[Path], object]:
    return lambda run: (run / name).unlink()


def overwrite(name: str, content: str) -> Callable[[Path], object]:
    def write(run: Path) -> None:
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text(content)

    return write


def flip(name: str) -> Callable[[Path], object]:
    def change(run: Path) -> None:
        content = bytearray((run / name).read_bytes())
        content[-1] ^= 1
        (run / name).write_bytes(bytes(content))

    return change


def pipe(name: str) -> Callable[[Path], object]:
    def replace(run: Path) -> None:
        (run / name).unlink(missing_ok=True)
        os.mkfifo(run / name)

    return replace


def not_finite(run: Path) -> None:
    change_weights(run, lambda tensors: next(iter(tensors.values())).fill_(float("nan")))


STEP = "checkpoints/step-00000002"


@pytest.mark.parametrize(
    ("damage", "part"),
    [
        (overwrite("spec.yaml", "lina: 1"), "spec.yaml"),
        (flip(f"{STEP}/model.safetensors"), STEP),
        (flip(f"{STEP}/optimizer.safetensors"), STEP),
        (unlink(f"{STEP}/checkpoint.json"), STEP),
        (not_finite, STEP),
        (unlink("speakers.json"), "voice"),
        (overwrite("tokenizer.json", "[" * 10_000), "voice"),
        (overwrite("run.json", "{"), "run.json"),
        (overwrite("samples/index.json", "[7]"), "samples/index.json"),
        (flip("data/shard-00000.safetensors"), "data"),
        (overwrite("codec_evaluation.json", "[]"), "codec_evaluation.json"),
        (overwrite("evaluations/texts/evaluation.json", "{}"), "evaluations"),
        (overwrite("onnx/facts.json", "{}"), "onnx"),
        (pipe("pipe"), "pipe"),
        *((pipe(name), name) for name in ("metrics.jsonl", "run.json", "samples/index.json", "spec.yaml")),
        (lambda run: shutil.rmtree(run / "checkpoints"), "checkpoints"),
    ],
)
def test_a_damaged_part_is_named(lina: Lina, run: Path, damage: Callable[[Path], object], part: str) -> None:
    (run / "samples").mkdir(exist_ok=True)
    damage(run)
    done = lina("doctor", str(run))
    assert done.code == 2
    assert states(done.out)[part] == "fault"
    assert "Traceback" not in done.out + done.err


def test_leftovers_and_the_clock_are_notes(lina: Lina, run: Path) -> None:
    (run / ".a.wav.1.part").write_bytes(b"")
    later = time.time() + 86_400
    os.utime(checkpoint(run), (later, later))
    done = lina("doctor", str(run))
    assert done.code == 0
    assert states(done.out)[".a.wav.1.part"] == "note"
    assert states(done.out)["clock"] == "note"


def test_a_corpus_lists_its_rejects(lina: Lina, tmp_path: Path) -> None:
    manifest = write_corpus(tmp_path / "corpus")
    assert lina("doctor", str(manifest)).code == 0
    assert lina("doctor", str(manifest.parent)).out == lina("doctor", str(manifest)).out
    (manifest.parent / "1.wav").write_bytes(b"RIFF")
    with manifest.open("a") as file:
        file.write(json.dumps({"id": "x", "audio": "../secret.wav", "text": "x"}) + "\n")
    done = lina("doctor", str(manifest))
    assert done.code == 2
    assert "5 usable utterances" in done.out
    assert "1.wav: cannot be decoded" in done.out
    assert "outside the corpus" in done.out
    assert "2 faults" in done.err


def test_nothing_there_is_one_line(refused: Callable[..., str], tmp_path: Path) -> None:
    assert "does not exist; name a run" in refused("doctor", str(tmp_path / "none"))
