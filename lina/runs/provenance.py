"""Provenance of a run, in ``run.json``: machine, versions, plugins, model size."""

import json
import logging
import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from typing import Any

import torch

from lina.config.resolve import ResolvedSpec
from lina.core.registry import Record
from lina.runs.build_model import count_parameters
from lina.runs.files import read_run_info, write_run_info
from lina.runs.hooks import Run
from lina.runs.records import MachineInfo, ModelInfo, PluginInfo, RunInfo

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


def record_run(run: Run, resolved: ResolvedSpec, model: Any) -> None:
    """Write ``run.json`` of a run of job speech."""
    backbone = count_parameters(model.encoder) + count_parameters(model.decoder)
    size = ModelInfo(parameters=count_parameters(model), backbone=backbone)
    write_info(run.directory, resolved.records, size)


def write_info(directory: Path, records: Sequence[Record], model: ModelInfo) -> None:
    """Write ``run.json``; log plugins whose version has changed since the last start."""
    before = read_run_info(directory)
    plugins = tuple(
        PluginInfo(role=one.role, name=one.name, distribution=one.distribution, version=one.version)
        for one in records
    )
    if before:
        _log_changes(directory, before.plugins, plugins)
    info = RunInfo(
        lina=version("lina"),
        started=before.started if before else datetime.now(UTC).isoformat(timespec="seconds"),
        machine=MachineInfo(
            cpu=_processor(),
            cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            gpu=torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        ),
        versions=_versions(),
        plugins=plugins,
        model=model,
        commit=lina_commit(),
    )
    if info != before:
        write_run_info(directory, info)


def _log_changes(directory: Path, before: Sequence[PluginInfo], now: Sequence[PluginInfo]) -> None:
    versions = {(one.role, one.name): f"{one.distribution} {one.version}" for one in before}
    for one in now:
        then = versions.get((one.role, one.name))
        if then not in (None, f"{one.distribution} {one.version}"):
            log.warning(
                "%s: %s:%s was %s, now it is %s %s; results may differ",
                *(directory, one.role, one.name, then, one.distribution, one.version),
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
