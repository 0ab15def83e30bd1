"""Examination of a run, an exported voice or a corpus: each part with its state and, if it is faulty, what to do."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from lina.config.codec_resolve import resolve_codec
from lina.config.codec_spec import CodecSpec
from lina.config.loader import load_job
from lina.config.resolve import choose_plugin, resolve
from lina.config.run_files import SPEC_FILE
from lina.config.source_map import Origin
from lina.config.spec import Spec
from lina.core.errors import FileError, LinaError
from lina.core.files.checks import check_regular, entry, is_inside, read_bounded, sha256
from lina.core.files.tensor_file import read_safetensors
from lina.data.inspect import inspect_corpus
from lina.data.token_dataset import TokenDataset
from lina.engine.onnx.files import FOLDER, read_folder
from lina.evaluation import records as evaluations
from lina.pipeline.signature import SUFFIX, verify
from lina.runs import files
from lina.runs.checkpoint import check_finite
from lina.runs.checkpoint_store import CONFIG, FACTS, checkpoint_folder, open_checkpoint
from lina.runs.metrics import METRICS_FILE, read_metrics
from lina.speech.export import CARD, SUMS
from lina.speech.voice_loading import load

State = Literal["ok", "note", "fault"]
LARGEST_SUMS = 1_000_000
"""Bytes of ``SHA256SUMS``."""
SHOWN = 5
"""Rejects of a corpus that are listed."""
FUTURE = 60.0
"""Seconds by which a file's time may be ahead of the clock."""


@dataclass(frozen=True)
class Finding:
    state: State
    part: str
    text: str
    """Reason and remedy where the part is faulty."""

    def __str__(self) -> str:
        return f"{self.state:5}  {self.part}: {self.text}"


def examine(path: Path, key: Path | None = None) -> Iterator[Finding]:
    """Examine a run or voice, a corpus (a folder, a JSONL manifest, or LJSpeech's layout), or a folder of token shards.

    Nothing is changed or fetched. A plugin that the run names is imported.

    Args:
        key: a public key of minisign, by which a voice's hashes must be signed.

    Raises:
        LinaError: there is nothing of the kind at ``path``.
    """
    if (path / SPEC_FILE).exists():
        yield from _examine_run(path, key)
    elif (path / "manifest.json").is_file():
        yield _checked("tokens", lambda: _describe_tokens(path))
    elif path.is_dir() or path.suffix == ".jsonl":
        yield from _examine_corpus(path)
    else:
        there = "is a file" if path.exists() else "does not exist"
        raise LinaError(
            f"{path}: {there}; name a run, an exported voice, a folder of recordings or a .jsonl manifest"
        )


def _checked(part: str, describe: Callable[[], str]) -> Finding:
    try:
        return Finding("ok", part, describe())
    except LinaError as error:
        return Finding("fault", part, " ".join(str(error).split()))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return Finding("fault", part, f"{where}{error.strerror or error}; fix this and examine it again")


def _examine_run(run: Path, key: Path | None) -> Iterator[Finding]:
    yield from _special_files(run)
    spec: Spec | CodecSpec | None = None

    def read_spec() -> str:
        nonlocal spec
        found = load_job(run / SPEC_FILE, includes=False)
        plugins = resolve(found).records if isinstance(found, Spec) else resolve_codec(found).records
        spec = found
        return f"job {found.job}, plugins {', '.join(record.full_name for record in plugins)}"

    yield _checked(SPEC_FILE, read_spec)
    steps = sorted(checkpoint_folder(run).glob("step-*"), reverse=True)
    exported = (run / CONFIG).is_file() and not steps
    if exported:
        yield _checked(CONFIG, lambda: _describe_checkpoint(run, CONFIG))
    for step in steps:
        yield _checked(f"checkpoints/{step.name}", lambda step=step: _describe_checkpoint(step))  # type: ignore[misc]
    if not steps and not exported:
        yield Finding(
            "fault", "checkpoints", f"there are none yet; train it with: lina run {run / SPEC_FILE}"
        )
    if isinstance(spec, Spec):
        yield _checked("voice", lambda: _describe_voice(run))
    for name, read in _SMALL_FILES.items():
        yield _checked(name, lambda read=read: "readable" if read(run) else "not there, or empty")  # type: ignore[misc]
    if (run / "data" / "manifest.json").exists():
        yield _checked("data", lambda: _describe_tokens(run / "data"))
    if (run / SUMS).exists() or key is not None:
        yield _checked(SUMS, lambda: _check_sums(run, key))
    yield from _surroundings(run, steps)


_SMALL_FILES: dict[str, Callable[[Path], object]] = {
    str(files.RUN_FILE): files.read_run_info,
    str(files.DATA_FILE): files.read_data_summary,
    str(files.SAMPLES_FILE): files.read_samples,
    str(files.EVALUATION_FILE): files.read_evaluation,
    str(files.CODEC_EVALUATION_FILE): files.read_codec_evaluation,
    str(evaluations.FOLDER): evaluations.read_text_set_evaluations,
    str(files.INIT_FILE): files.read_init,
    str(METRICS_FILE): read_metrics,
    FOLDER: lambda run: read_folder(run / FOLDER),
}


def _special_files(run: Path) -> Iterator[Finding]:
    """Pipes, devices, and links that lead out of the run."""
    for path in sorted(run.rglob("*")):
        name = str(path.relative_to(run))
        try:
            if not path.is_dir():
                check_regular(path)
        except FileError as error:
            yield Finding("fault", name, f"{error.reason}; remove it")
        except OSError as error:
            yield Finding("fault", name, f"{error.strerror}; remove or restore it")
        else:
            if path.is_symlink() and not is_inside(path, run):
                yield Finding(
                    "note", name, f"is a link to {path.resolve()}; lina export copies it only with --file"
                )


def _describe_checkpoint(path: Path, facts: str = FACTS) -> str:
    found = open_checkpoint(path, facts)
    numbers = 0
    for file in sorted(path.glob("*.safetensors")):
        tensors = read_safetensors(file)
        check_finite(file, tensors)
        numbers += sum(value.numel() for value in tensors.values())
    return f"whole: {numbers:,} finite numbers, {found.layout}, hashes as listed"


def _describe_voice(run: Path) -> str:
    voice = load(run, "cpu")
    speakers = f"{len(voice.speakers)} speakers" if voice.speakers else "no speakers"
    return f"loads: {voice.parameters:,} parameters, {speakers}, {voice.sample_rate} Hz; lina say, export and init work"


def _describe_tokens(folder: Path) -> str:
    data = TokenDataset(folder)
    return f"whole: {len(data)} utterances, {data.seconds:.0f} s, {data.rejects} rejected"


def _check_sums(voice: Path, key: Path | None) -> str:
    content = read_bounded(voice / SUMS, LARGEST_SUMS).decode(errors="replace")
    listed = [line.partition("  ") for line in content.splitlines()]
    if not listed:
        raise LinaError(f"{voice / SUMS}: is empty; export the voice again")
    for digest, _, name in listed:
        path = voice
        for part in name.split("/"):
            path = entry(path, part)
        if sha256(path) != digest:
            raise LinaError(f"{path}: is not the file that was exported; get the voice again")
    if key is not None:
        _refuse_unlisted(voice, {name for _, _, name in listed})
        return f"{len(listed)} files are as exported and signed by {key}: {verify(voice / SUMS, key)}"
    signed = (voice / f"{SUMS}{SUFFIX}").exists()
    advice = f"check its signature: lina doctor {voice} --key KEY.pub" if signed else "it is not signed"
    return f"{len(listed)} files are as exported; {advice}"


def _refuse_unlisted(voice: Path, listed: set[str]) -> None:
    """Refuse files that no signature covers: another checkpoint or graphs would be spoken by."""
    listed = listed | {CARD, SUMS, SUMS + SUFFIX}
    for path in sorted(voice.rglob("*")):
        name = path.relative_to(voice).as_posix()
        if (path.is_symlink() or not path.is_dir()) and name not in listed:
            raise LinaError(f"{path}: is in no line of {SUMS}, so it is not signed; remove it")


def _surroundings(run: Path, steps: list[Path]) -> Iterator[Finding]:
    """Leftovers of killed writers, other processes, room on the disk, and the clock."""
    leftovers = [*run.rglob(".*.part"), *checkpoint_folder(run).glob(".step-*")]
    if leftovers:
        yield Finding("note", leftovers[0].name, "a killed writer left it; the next lina run removes it")
    if (run / "lock").exists():
        try:
            FileLock(run / "lock").acquire(timeout=0).lock.release()
        except Timeout:
            yield Finding("note", "lock", "another lina process is running there")
        except OSError as error:
            yield Finding("fault", "lock", f"{error.strerror}; lina run cannot lock this directory")
    if steps:
        size = sum(file.stat().st_size for file in steps[0].glob("*") if file.is_file())
        free = shutil.disk_usage(run).free
        if free < 2 * size:
            yield Finding("note", "disk", f"{free:,} bytes are free, a checkpoint needs {size:,}; make room")
        if any(step.stat().st_mtime > time.time() + FUTURE for step in steps):
            yield Finding(
                "note", "clock", "a checkpoint is of the future; runs go by steps, so nothing is lost"
            )
    if not os.access(run, os.W_OK):
        yield Finding(
            "note", "permissions", "the directory cannot be written; lina run needs that, lina say does not"
        )


def _examine_corpus(path: Path) -> Iterator[Finding]:
    manifest = path / "manifest.jsonl" if path.is_dir() else path
    if manifest.is_file():
        plugin, config = "jsonl", {"path": str(manifest.resolve())}
    elif (path / "metadata.csv").is_file():
        plugin, config = "ljspeech", {"path": str(path.resolve())}
    else:
        plugin, config = "folder", {"path": str(path.resolve())}
    chosen = choose_plugin("corpus", plugin, config, Origin())
    found = inspect_corpus(chosen.plugin.read(config=chosen.config), decode=True)
    yield Finding(
        "ok" if found.utterances else "fault",
        f"corpus ({plugin})",
        f"{found.utterances} usable utterances, {found.minutes:.1f} minutes, {len(found.speakers)} speakers",
    )
    for reject in found.rejects[:SHOWN]:
        yield Finding("fault", reject.where, f"{reject.reason}; fix or remove it")
    if len(found.rejects) > SHOWN:
        kinds = ", ".join(f"{count} {kind}" for kind, count in found.reject_kinds.items())
        yield Finding(
            "fault", "rejects", f"{len(found.rejects)} in all: {kinds}; list them with: lina data inspect"
        )
