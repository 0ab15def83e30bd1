"""A run, a voice or a weights file from elsewhere: no name in it opens a device, a pipe or a file outside of it."""

import os
import resource
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lina.convert.lina_speech.run import convert
from lina.core.errors import CheckpointError, LinaError, SpecError
from lina.core.files.checks import sha256
from lina.runs.checkpoint_store import newest_checkpoint
from lina.speech.export import export
from lina.speech.voice_loading import load
from lina.training.init.import_backbone import read_foreign_tensors
from lina.training.init.source import open_source
from tests.faults.conftest import change_facts, change_spec, checkpoint

pytestmark = [pytest.mark.timeout(60), pytest.mark.skipif(os.name != "posix", reason="devices and pipes")]


@pytest.mark.parametrize("name", ["/dev/zero", "../../../spec.yaml", "..", "", "a/b", "C:x", "x\ny", "pipe"])
def test_a_name_in_checkpoint_json_opens_nothing_outside_of_it(run: Path, name: str) -> None:
    os.mkfifo(checkpoint(run) / "pipe")
    change_facts(run, lambda facts: facts["sha256"].update({name: "0" * 64}))
    with pytest.raises(
        CheckpointError, match=r"no name of a file in this folder|is a pipe, not a regular file"
    ):
        newest_checkpoint(run / "checkpoints")


def pipe(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("special", [pipe, device])
@pytest.mark.parametrize(
    "name",
    [
        "spec.yaml",
        "tokenizer.json",
        "speakers.json",
        "checkpoints/step-00000002/checkpoint.json",
        "checkpoints/step-00000002/model.safetensors",
        "checkpoints/step-00000002/average.safetensors",
    ],
)
def test_a_pipe_or_device_in_place_of_a_file_is_refused(
    run: Path, name: str, special: Callable[[Path], None]
) -> None:
    (run / name).unlink()
    special(run / name)
    with pytest.raises(LinaError, match=r"regular file|is not a run|is not a file"):
        load(run, "cpu")
    with pytest.raises(LinaError):
        export(run, run.parent / "voice")


@pytest.mark.parametrize("special", [pipe, device])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_pipe_or_device_as_weights_is_refused(
    tmp_path: Path, suffix: str, special: Callable[[Path], None]
) -> None:
    path = tmp_path / f"weights{suffix}"
    special(path)
    with pytest.raises(CheckpointError, match=r"is a (pipe|device), not a regular file"):
        read_foreign_tensors(path)
    with pytest.raises(CheckpointError, match=r"is a (pipe|device), not a regular file"):
        convert(path, tmp_path / "out")
    with pytest.raises(CheckpointError, match=r"init\.from: .*is a file|init\.from: .*does not exist"):
        open_source(path if path.is_file() else tmp_path / "none", average=True)


def test_init_from_a_run_with_a_device_is_refused(run: Path) -> None:
    path = checkpoint(run) / "average.safetensors"
    path.unlink()
    device(path)
    with pytest.raises(CheckpointError, match=r"init\.from: .*is a device, not a regular file"):
        open_source(run, average=True)


def test_export_copies_no_file_outside_of_the_run(run: Path, tmp_path: Path) -> None:
    secret = tmp_path / "id_rsa"
    secret.write_text("PRIVATE")
    change_spec(run, "plugin: codec2\n  config: {}", f"plugin: lina\n  config: {{weights: {secret}}}")
    with pytest.raises(CheckpointError, match=r"id_rsa, outside of the run; .* --file"):
        export(run, tmp_path / "voice")
    assert not (tmp_path / "voice").exists()
    (run / "inside").symlink_to(secret)
    change_spec(run, str(secret), "inside")
    with pytest.raises(CheckpointError, match=r"inside, outside of the run"):
        export(run, tmp_path / "voice")


def test_export_copies_no_linked_speakers_or_tokenizer(run: Path, tmp_path: Path) -> None:
    for name in ("speakers.json", "tokenizer.json"):
        shutil.move(run / name, tmp_path / name)
        (run / name).symlink_to(tmp_path / name)
    with pytest.raises(CheckpointError, match=r"tokenizer\.json, outside of the run"):
        export(run, tmp_path / "voice")


def test_the_spec_of_a_run_includes_nothing(run: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.yaml").write_text("password: swordfish\n")
    (run / "spec.yaml").write_text("include: ../secret.yaml\n" + (run / "spec.yaml").read_text())
    with pytest.raises(SpecError, match="the spec of a run includes no files") as refused:
        load(run, "cpu")
    assert "swordfish" not in str(refused.value)


@pytest.mark.parametrize("link", [False, True])
def test_a_spec_includes_only_files_of_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, link: bool
) -> None:
    from lina.config.loader import load_spec

    (tmp_path / "secret.yaml").write_text("password: swordfish\n")
    folder, elsewhere = tmp_path / "foreign", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    if link:
        (folder / "inside.yaml").symlink_to(tmp_path / "secret.yaml")
    spec = folder / "spec.yaml"
    spec.write_text(f"include: {'inside.yaml' if link else '../secret.yaml'}\nlina: 1\n")
    with pytest.raises(SpecError, match=r"include: .* is outside of .*foreign; put it there") as refused:
        load_spec(spec)
    assert "swordfish" not in str(refused.value)
    (tmp_path / ".git").mkdir()  # the work tree holds both
    with pytest.raises(SpecError, match="password: unknown key"):
        load_spec(spec)
    (tmp_path / ".git").rmdir()
    monkeypatch.chdir(tmp_path)  # the working directory holds both
    with pytest.raises(SpecError, match="password: unknown key"):
        load_spec(spec)


def test_a_lexicon_outside_of_a_run_is_not_read(run: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("swordfish:x:0:0\n")
    change_spec(run, "lexicon: null", f"lexicon: {tmp_path / 'secret'}")
    with pytest.raises(CheckpointError, match="has no copy of its lexicon secret") as refused:
        load(run, "cpu")
    assert "swordfish" not in str(refused.value)


GROWTH = 200_000
"""KiB by which a refused file may raise the peak of resident memory."""

MEASURE = """
import resource, sys
from pathlib import Path
import torch
from lina.core.errors import LinaError
from lina.speech.voice_loading import load
from lina.convert.lina_speech.run import convert
from lina.training.init.import_backbone import read_foreign_tensors
from lina.training.init.source import open_source
kind, path = sys.argv[1], Path(sys.argv[2])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    if kind == "load":
        load(path, "cpu")
    elif kind == "merge":
        open_source(path, True).tensors()
    elif kind == "convert":
        convert(path, path.parent / "out")
    else:
        read_foreign_tensors(path)
except LinaError as error:
    print(error)
else:
    print("accepted")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def growth(kind: str, path: Path) -> tuple[str, int]:
    """Message and growth of the peak of resident memory, in KiB, of a process that reads ``path``."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (24 << 30, 24 << 30))

    done = subprocess.run(
        [sys.executable, "-c", MEASURE, kind, str(path)],
        capture_output=True,
        text=True,
        preexec_fn=limit,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    message, more = done.stdout.splitlines()
    return message, int(more)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("d_model: 16", "d_model: 65536"),
        ("n_layers: 1", "n_layers: 1000"),
        ("position_dim: 8", "position_dim: 65536"),
    ],
)
def test_a_spec_larger_than_its_weights_allocates_nothing(run: Path, old: str, new: str) -> None:
    change_spec(run, old, new)
    message, more = growth("load", run)
    assert "larger than its weights" in message or "but the spec's model has" in message
    assert more < GROWTH


def test_low_rank_matrices_of_any_size_are_not_multiplied(run: Path) -> None:
    path = checkpoint(run) / "average.safetensors"
    path.unlink()
    mark = "x.parametrizations.weight."
    names = {"original": (4, 4), "0.down": (1, 65_536), "0.up": (65_536, 1), "0.scale": ()}
    tensors = {f"{mark}{name}": torch.ones(shape) for name, shape in names.items()}
    tensors |= {"txt_embed.weight": torch.ones(4, 16), "rvq_embed.weight": torch.ones(4, 16)}
    save_file(tensors, path)
    change_facts(run, lambda facts: facts["sha256"].update({path.name: sha256(path)}))
    message, more = growth("merge", run)
    assert "LoRA matrices do not fit their layers" in message
    assert more < GROWTH


@pytest.mark.parametrize("kind", ["convert", "read"])
def test_a_compressed_file_of_torch_is_refused_unread(tmp_path: Path, kind: str) -> None:
    plain, path = tmp_path / "plain.pt", tmp_path / "bomb.pt"
    torch.save({"state_dict": {"txt_embed.weight": torch.zeros(100_000_000)}}, plain)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for one in source.infolist():
            with source.open(one) as content, target.open(one.filename, "w", force_zip64=True) as packed:
                shutil.copyfileobj(content, packed)
    plain.unlink()
    assert path.stat().st_size < 1_000_000
    message, more = growth(kind, path)
    assert "is a compressed zip file, as torch.save never writes" in message
    assert more < GROWTH


@pytest.mark.parametrize("kind", ["convert", "read"])
def test_a_view_larger_than_its_storage_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "view.pt"
    torch.save({"state_dict": {"txt_embed.weight": torch.zeros(1).expand(65_536, 65_536)}}, path)
    message, more = growth(kind, path)
    assert "plain tensor" in message or "no tensors of numbers" in message
    assert more < GROWTH
