"""A trained run as a small directory that speaks anywhere, and that whatever takes a run takes for one.

spec.yaml                what makes a model of the weights; paths of the machine that trained it are left out
tokenizer.json, speakers.json
codec/, tokenizer/, backbone/    files that the spec's plugins read, where it names any
checkpoints/step-N/      model.safetensors (``lina.runs.weight_quantization``) and checkpoint.json
README.md                its card
"""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from lina.config.loader import load_spec
from lina.config.resolve import PluginChoice, ResolvedSpec, as_written, resolve
from lina.config.sections import EvaluateSection, InitSection
from lina.config.spec import Spec
from lina.core.errors import CheckpointError, DataError, did_you_mean
from lina.core.files import write_atomic
from lina.runs.checkpoint import read_weights
from lina.runs.checkpoint_store import (
    FORMAT,
    MODEL,
    Checkpoint,
    checkpoint_folder,
    commit_checkpoint,
    newest_checkpoint,
    seal,
    storable,
)
from lina.runs.files import read_data_summary, read_run_info
from lina.runs.layout import SPEAKERS_FILE, SPEC_FILE, TOKENIZER_FILE, read_json
from lina.runs.weight_quantization import LAYOUTS, pack
from lina.speech.model_card import model_card

CARD = "README.md"
SPEAKING = ("backbone", "codec", "tokenizer")
"""Sections of a spec whose plugins take part in speaking."""


@dataclass(frozen=True)
class Exported:
    path: Path
    step: int
    parameters: int
    size: int
    """Bytes of all files."""


def export(run: Path, out: Path, layout: str = LAYOUTS[0]) -> Exported:
    """Write ``out`` from the newest checkpoint of ``run``, with its averaged weights where it has kept them.

    It is written under another name and then renamed: whole or not there.

    Raises:
        CheckpointError: there is no run, no whole checkpoint, or a weight that is not finite.
        DataError: ``out`` is there already, or its folder is not.
    """
    if out.exists():
        raise DataError(f"{out}: is there already; name a new directory")
    if not out.parent.is_dir():
        raise DataError(f"{out}: there is no folder {out.parent}; make it first")
    if not (run / SPEC_FILE).is_file():
        raise CheckpointError(f"{run}: is not a run (it has no {SPEC_FILE}); make one with: lina run SPEC")
    checkpoint = newest_checkpoint(checkpoint_folder(run))
    if checkpoint is None:
        raise CheckpointError(
            f"{run}: has no whole checkpoint yet; train it with: lina run {run / SPEC_FILE}"
        )
    temporary = out.with_name(f".{out.name}.{os.getpid()}.part")
    temporary.mkdir()
    try:
        parameters = _write(run, temporary, checkpoint, layout)
        temporary.rename(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    return Exported(out, checkpoint.step, parameters, size)


def _write(run: Path, folder: Path, checkpoint: Checkpoint, layout: str) -> int:
    resolved = resolve(load_spec(run / SPEC_FILE))
    spec = _portable(resolved, folder)
    write_atomic(folder / SPEC_FILE, spec.to_yaml().encode())
    for name in (TOKENIZER_FILE, SPEAKERS_FILE):
        read_json(run / name)
        shutil.copyfile(run / name, folder / name)
    weights = read_weights(checkpoint, average=True)
    try:
        packed = pack(weights, layout)
    except CheckpointError as error:
        raise CheckpointError(f"{checkpoint.path}: {error}") from None
    facts: dict[str, Any] = {"format": FORMAT, "layout": layout, "step": checkpoint.step}
    facts |= {"seconds": checkpoint.seconds, "corpus": checkpoint.corpus}

    def fill(temporary: Path) -> dict[str, str]:
        save_file(storable(packed), temporary / MODEL)
        (temporary / MODEL).chmod(0o644)  # safetensors lets nobody else read it, and a voice is for everybody
        return seal(temporary, facts, (MODEL,))

    _, sums = commit_checkpoint(checkpoint_folder(folder), checkpoint.step, 1, fill)
    parameters = sum(value.numel() for value in weights.values())
    card = model_card(
        spec,
        speakers=[str(one) for one in read_json(run / SPEAKERS_FILE)],
        data=read_data_summary(run),
        info=read_run_info(run),
        step=checkpoint.step,
        seconds=checkpoint.seconds,
        parameters=parameters,
        layout=layout,
        sha256=sums[MODEL],
    )
    write_atomic(folder / CARD, card.encode())
    return parameters


def _portable(resolved: ResolvedSpec, folder: Path) -> Spec:
    """The spec without what is of the machine or of training's beginning; files that speaking needs are copied."""
    spec = resolved.spec
    sections: dict[str, Any] = {
        name: getattr(spec, name).model_copy(
            update={"config": _with_paths(getattr(resolved, name), _copier(folder / name))}
        )
        for name in SPEAKING
    }
    # Nobody reads the corpus again; its plugin still wants a path where its configuration has one.
    corpus = _with_paths(resolved.corpus, lambda path: path.name)
    sections["data"] = spec.data.model_copy(update={"config": corpus})
    sections["train"] = spec.train.model_copy(update={"out": Path("runs") / spec.name})
    return spec.model_copy(update={**sections, "init": InitSection(), "evaluate": EvaluateSection()})


def _copier(folder: Path) -> Callable[[Path], str]:
    def copy(path: Path) -> str:
        if not path.exists():
            near = did_you_mean(path.name, [one.name for one in path.parent.glob("*")][:20])
            raise CheckpointError(f"{path}: is not there, and the voice needs it{near}; put it back")
        if (folder / path.name).exists():
            raise CheckpointError(f"{path}: another file of that name is needed, too; rename one")
        folder.mkdir(exist_ok=True)
        (shutil.copytree if path.is_dir() else shutil.copyfile)(path, folder / path.name)
        return f"{folder.name}/{path.name}"

    return copy


def _with_paths(chosen: PluginChoice[Any], place: Callable[[Path], str]) -> dict[str, Any]:
    """The plugin's written configuration with ``place`` of each of its paths."""
    written = as_written(chosen.config)
    given = chosen.config.model_dump(exclude_unset=True)
    return {key: _placed(given[key], value, place) for key, value in written.items()}


def _placed(value: Any, written: Any, place: Callable[[Path], str]) -> Any:
    if isinstance(value, Path):
        return place(value)
    if isinstance(value, dict):
        return {key: _placed(value[key], written[key], place) for key in written}
    if isinstance(value, list | tuple):
        return [_placed(one, other, place) for one, other in zip(value, written, strict=True)]
    return written
