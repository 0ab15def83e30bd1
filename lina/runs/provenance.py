"""Provenance of a run, in ``run.json``: machine, versions, plugins, model size."""

import json
import logging
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from pydantic import BaseModel

from lina.config.resolve import PluginChoice
from lina.core.files.checks import sha256
from lina.core.files.hub import is_address, local_folder
from lina.core.registry import Record
from lina.runs.build_model import count_parameters
from lina.runs.checkpoint_store import has_checkpoints
from lina.runs.code_fingerprint import Definition, fingerprint
from lina.runs.files import read_run_info, write_run_info
from lina.runs.hooks import Run
from lina.runs.records import MachineInfo, ModelInfo, PluginInfo, RunInfo, StartInfo

PACKAGES = (
    "torch",
    "numpy",
    "safetensors",
    "flash-linear-attention",
    "fla-core",
    "mamba-ssm",
    "triton",
    "faster-whisper",
)
log = logging.getLogger("lina")


def record_run(run: Run, records: Sequence[Record], model: Any, codec: PluginChoice[Any]) -> None:
    """Write ``run.json`` of a run of job speech, with the SHA-256 of its codec's files."""
    backbone = count_parameters(model.encoder) + count_parameters(model.decoder)
    size = ModelInfo(parameters=count_parameters(model), backbone=backbone)
    write_info(run.directory, records, size, {codec.record: files_of(codec.config)})


def files_of(config: BaseModel) -> dict[str, str]:
    """SHA-256 of the files that a configuration names, by name; those fetched from the hub by their address."""
    found: dict[str, str] = {}
    for value in config.model_dump().values():
        if not isinstance(value, Path) and not is_address(value):
            continue
        path, prefix = (local_folder(value), f"{value}/") if isinstance(value, str) else (value, "")
        for file in sorted(path.glob("*.safetensors")) if path.is_dir() else [path]:
            if file.is_file():
                found[f"{prefix}{file.name}"] = sha256(file)
    return found


def write_info(
    directory: Path,
    records: Sequence[Record],
    model: ModelInfo,
    files: Mapping[Record, dict[str, str]] = MappingProxyType({}),
) -> None:
    """Write ``run.json`` at the first start; record and log later starts with other versions or code of plugins.

    The versions of the first start stay: they trained the run, or began to. A start with plugins of other names before
    the first checkpoint, as a changed spec has them, is the first.
    """
    before = read_run_info(directory)
    now = StartInfo(
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        lina=version("lina"),
        versions=_versions(),
        plugins=tuple(_plugin_info(record, files.get(record)) for record in records),
        commit=lina_commit(),
    )
    machine = MachineInfo(
        cpu=_processor(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        gpu=torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    )
    if before is not None and not has_checkpoints(directory):
        names = ({(one.role, one.name) for one in start.plugins} for start in (before, now))
        before = before if next(names) == next(names) else None
    if before is None:
        info = RunInfo(**now.model_dump(), machine=machine, model=model)
    else:
        last = before.later[-1] if before.later else before
        _log_changes(directory, last.plugins, now.plugins)
        same = all(
            getattr(last, name) == getattr(now, name) for name in ("lina", "versions", "plugins", "commit")
        )
        later = before.later if same else (*before.later, now)
        info = before.model_copy(update={"machine": machine, "model": model, "later": later})
    if info != before:
        write_run_info(directory, info)


def warn_of_changes(directory: Path, records: Sequence[Record]) -> None:
    """Log the plugins whose version or code is not that of the run. A voice, which records no code, is left alone."""
    info = read_run_info(directory)
    if info is None:
        return
    last = info.later[-1] if info.later else info
    before = [one for one in last.plugins if one.source]
    if before:
        _log_changes(directory, before, [_plugin_info(record) for record in records])


def exported(info: RunInfo) -> RunInfo:
    """The part of ``run.json`` that a voice has: distributions and versions, without the machine and the code."""
    last = info.later[-1] if info.later else info
    plugins = tuple(one.model_copy(update={"source": ""}) for one in last.plugins)
    return RunInfo(
        **{name: getattr(info, name) for name in ("lina", "started", "versions", "model", "commit")},
        plugins=plugins,
    )


def _plugin_info(record: Record, files: dict[str, str] | None = None) -> PluginInfo:
    return PluginInfo(
        role=record.role,
        name=record.name,
        distribution=record.distribution,
        version=record.version,
        source=source_fingerprint(record),
        files=files or {},
    )


def source_fingerprint(record: Record) -> str:
    """Fingerprint of a plugin's class and all that it uses of its own package, the operators and the stacks of core."""
    module, _, name = record.value.partition(":")
    package = module.partition(".")[0]
    own = ".".join(module.split(".")[:2]) if package == "lina" else package
    return fingerprint([Definition(module, name)], (own, "lina.core.ops", "lina.core.model"))


def _log_changes(directory: Path, before: Sequence[PluginInfo], now: Sequence[PluginInfo]) -> None:
    earlier = {(one.role, one.name): one for one in before}
    for one in now:
        then = earlier.get((one.role, one.name))
        if then is None:
            continue
        for file in sorted(then.files.keys() & one.files.keys()):
            if then.files[file] != one.files[file]:
                log.warning(
                    "%s: %s of %s:%s is another file than before; results may differ",
                    *(directory, file, one.role, one.name),
                )
        if (then.distribution, then.version) != (one.distribution, one.version):
            log.warning(
                "%s: %s:%s was %s %s, now it is %s %s; results may differ",
                *(
                    directory,
                    one.role,
                    one.name,
                    then.distribution,
                    then.version,
                    one.distribution,
                    one.version,
                ),
            )
        elif then.source and then.source != one.source:
            log.warning(
                "%s: the code of %s:%s (%s %s) has changed since this run used it: what is finished comes from "
                "the former code; choose another name to train with the new one",
                *(directory, one.role, one.name, one.distribution, one.version),
            )


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def lina_commit(checkout: Path | None = None) -> str | None:
    """Git commit of lina: of the checkout it runs from, or as recorded by pip (PEP 610); None if neither."""
    root = checkout or Path(__file__).parents[2]
    try:
        if (root / ".git").exists():
            command = ["git", "-C", str(root), "rev-parse", "HEAD"]
            result = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
            return result.stdout.strip() or None
        recorded = json.loads(distribution("lina").read_text("direct_url.json") or "{}")
        return recorded.get("vcs_info", {}).get("commit_id")  # type: ignore[no-any-return]
    except (OSError, ValueError, subprocess.SubprocessError, PackageNotFoundError):
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
