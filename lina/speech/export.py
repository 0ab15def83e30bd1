"""Export of a trained run as a small, self-contained directory that can be used like a run.

spec.yaml                the spec, without paths of the training machine
run.json                 distributions and versions of its plugins, and of the packages that trained it
tokenizer.json, speakers.json
codec/, tokenizer/, backbone/    files that the plugins' configurations name
lexicon-HASH.tsv         the lexicon, if the spec names one
config.json              model type and facts of the weights (``lina.runs.weight_files``)
model.safetensors        weights (``lina.runs.weight_quantization``); in several files above 1 GB
onnx/                    graphs for onnxruntime, if they are asked for (``lina.engine.onnx.files``)
README.md                model card
SHA256SUMS               of all files but the model card, which is to be edited: ``sha256sum -c SHA256SUMS``
"""

import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lina.config.resolve import PluginChoice, ResolvedSpec, as_written, resolve
from lina.config.run_files import SPEAKERS_FILE, SPEC_FILE, TOKENIZER_FILE
from lina.config.sections import EvaluateSection, InitSection
from lina.config.spec import Spec
from lina.config.stored import load_run_spec
from lina.core.errors import CheckpointError, DataError, FileError, did_you_mean
from lina.core.files.atomic import sync_directory, write_atomic
from lina.core.files.checks import check_regular, is_inside, sha256
from lina.engine.onnx.files import FOLDER
from lina.runs.checkpoint import read_weights
from lina.runs.checkpoint_store import CONFIG, FORMAT, INDEX, Checkpoint, find_checkpoint
from lina.runs.files import RUN_FILE, read_data_summary, read_run_info, write_run_info
from lina.runs.layout import build_tokenizer, read_speakers
from lina.runs.lexicon_copy import PATTERN, copy_lexicon, lexicon_of
from lina.runs.made_with import made_with
from lina.runs.provenance import exported
from lina.runs.weight_files import write_voice_weights
from lina.runs.weight_quantization import LAYOUTS, pack
from lina.speech.model_card import LICENSES, UNKNOWN_LICENSE, model_card

CARD = "README.md"
SUMS = "SHA256SUMS"
SPEAKING = ("backbone", "codec", "tokenizer")
"""Sections of a spec whose plugins take part in synthesis."""
REPLACED = (
    *("*.safetensors", INDEX, CONFIG, SPEC_FILE, str(RUN_FILE), TOKENIZER_FILE, SPEAKERS_FILE, PATTERN, SUMS),
    *(f"{folder}/*" for folder in (*SPEAKING, FOLDER, "checkpoints")),
)
"""Files on the hub that belong to an earlier export; others there, such as samples, are the author's."""


@dataclass(frozen=True)
class Export:
    """An exported voice."""

    path: Path
    step: int
    parameters: int
    size: int
    """Bytes of all files together."""


def export(
    run: Path,
    out: Path,
    layout: str = LAYOUTS[0],
    files: Sequence[Path] = (),
    *,
    graphs: bool = False,
    license_id: str = UNKNOWN_LICENSE,
    language: str | None = None,
) -> Export:
    """Export the newest checkpoint of ``run`` to ``out``, with its averaged weights if it has them.

    Atomic: written under a temporary name, then renamed.

    Args:
        files: files and folders outside of ``run`` that may be copied. A run from elsewhere could name any file of this
            machine as the weights of its codec.
        graphs: with graphs for onnxruntime (``lina.speech.graph_export.write_voice_graphs``).
        license_id, language: of the model card (``lina.speech.model_card``).

    Raises:
        LinaError: the graphs cannot be exported.
        CheckpointError: ``run`` is no run or has no complete checkpoint, a weight is not finite, or the voice needs a
            file outside of ``run`` that is not in ``files``.
        DataError: ``out`` exists already, its parent folder does not exist, or there is no such license or language.
    """
    if license_id not in LICENSES:
        raise DataError(
            f"license: {license_id!r} is none that lina knows{did_you_mean(license_id, LICENSES)}; for another one "
            f"pass other, and name it in {CARD}"
        )
    if language is not None and not re.fullmatch("[a-z]{2,3}", language):
        raise DataError(
            f"language: {language!r} is no code of ISO 639; write two or three letters, such as en"
        )
    if out.exists():
        raise DataError(f"{out}: exists already; name a new directory")
    if not out.parent.is_dir():
        raise DataError(f"{out}: there is no folder {out.parent}; create it first")
    if not (run / SPEC_FILE).is_file():
        raise CheckpointError(f"{run}: is not a run (it has no {SPEC_FILE}); train one with: lina run SPEC")
    checkpoint = find_checkpoint(run)
    if checkpoint is None:
        raise CheckpointError(
            f"{run}: has no complete checkpoint yet; train it with: lina run {run / SPEC_FILE}"
        )
    temporary = out.with_name(f".{out.name}.{os.getpid()}.part")
    temporary.mkdir()
    try:
        card = {"license_id": license_id, "language": language}
        parameters = _write(run, temporary, checkpoint, layout, files, card)
        if graphs:
            from lina.speech.graph_export import write_voice_graphs

            write_voice_graphs(temporary)
        write_atomic(temporary / SUMS, sums_of(temporary).encode())
        temporary.rename(out)
        sync_directory(out.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    return Export(out, checkpoint.step, parameters, size)


def sums_of(folder: Path) -> str:
    """Lines of SHA-256 and name, as ``sha256sum`` writes them, of all files of a voice but its model card."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return "".join(f"{sha256(folder / name)}  {name}\n" for name in names if name not in (CARD, SUMS))


def _write(
    run: Path,
    folder: Path,
    checkpoint: Checkpoint,
    layout: str,
    files: Sequence[Path],
    own_facts: Mapping[str, Any],
) -> int:
    resolved = resolve(load_run_spec(run), made_with(run))
    lexicon = copy_lexicon(lexicon_of(run, resolved.spec.synthesize.lexicon), folder)
    permitted = _Permitted(run, files)
    spec = _portable(resolved, folder, lexicon, permitted)
    write_atomic(folder / SPEC_FILE, spec.to_yaml().encode())
    info = read_run_info(run)
    if info is not None:
        write_run_info(folder, exported(info))
    build_tokenizer(resolved, run)
    speakers = read_speakers(run)
    for name in (TOKENIZER_FILE, SPEAKERS_FILE):
        permitted.check(run / name)
        shutil.copyfile(run / name, folder / name)
    weights = read_weights(checkpoint, average=True)
    try:
        packed = pack(weights, layout)
    except CheckpointError as error:
        raise CheckpointError(f"{checkpoint.path}: {error}") from None
    facts: dict[str, Any] = {"format": FORMAT, "layout": layout, "step": checkpoint.step}
    facts |= {"seconds": checkpoint.seconds, "corpus": checkpoint.corpus}

    digest = write_voice_weights(folder, packed, facts)
    parameters = sum(value.numel() for value in weights.values())
    card = model_card(
        spec,
        speakers=speakers,
        data=read_data_summary(run),
        info=info,
        step=checkpoint.step,
        seconds=checkpoint.seconds,
        parameters=parameters,
        layout=layout,
        sha256=digest,
        **own_facts,
    )
    write_atomic(folder / CARD, card.encode())
    return parameters


@dataclass(frozen=True)
class _Permitted:
    """Files that may be copied into a voice: those of the run, and those that the user has named."""

    run: Path
    files: Sequence[Path]

    def check(self, path: Path) -> None:
        """Raise CheckpointError unless ``path``, and all within it, may be copied."""
        for one in (path, *sorted(path.rglob("*"))) if path.is_dir() else (path,):
            if not any(is_inside(one, root) for root in (self.run, *self.files)):
                raise CheckpointError(
                    f"{self.run}: its spec names {path}, outside of the run; if that file is yours to publish, "
                    f"export again with --file {path}"
                )
            try:
                if not one.is_dir():
                    check_regular(one)
            except FileError as error:
                raise CheckpointError(f"{error}; remove it") from None


def _portable(resolved: ResolvedSpec, folder: Path, lexicon: Path | None, permitted: _Permitted) -> Spec:
    """Copy the files that synthesis needs, and return the spec without paths and initialization."""
    spec = resolved.spec
    sections: dict[str, Any] = {
        name: getattr(spec, name).model_copy(
            update={"config": _with_paths(getattr(resolved, name), _copier(folder / name, permitted))}
        )
        for name in SPEAKING
    }
    # The corpus is not read again, but its plugin requires a path where its configuration has one.
    corpus = _with_paths(resolved.corpus, lambda path: path.name)
    sections["data"] = spec.data.model_copy(update={"config": corpus})
    sections["train"] = spec.train.model_copy(update={"out": Path("runs") / spec.name})
    name = None if lexicon is None else Path(lexicon.name)
    sections["synthesize"] = spec.synthesize.model_copy(update={"lexicon": name})
    return spec.model_copy(update={**sections, "init": InitSection(), "evaluate": EvaluateSection()})


def _copier(folder: Path, permitted: _Permitted) -> Callable[[Path], str]:
    def copy(path: Path) -> str:
        if not path.exists():
            near = did_you_mean(path.name, [one.name for one in path.parent.glob("*")][:20])
            raise CheckpointError(f"{path}: does not exist, and the voice needs it{near}; restore it")
        if (folder / path.name).exists():
            raise CheckpointError(f"{path}: the voice needs another file of this name, too; rename one")
        permitted.check(path)
        folder.mkdir(exist_ok=True)
        (shutil.copytree if path.is_dir() else shutil.copyfile)(path, folder / path.name)
        return f"{folder.name}/{path.name}"

    return copy


def _with_paths(chosen: PluginChoice[Any], relocate: Callable[[Path], str]) -> dict[str, Any]:
    """The plugin's configuration as written, with ``relocate`` applied to each of its paths."""
    written = as_written(chosen.config)
    values = chosen.config.model_dump(exclude_unset=True)
    return {key: _relocate(values[key], value, relocate) for key, value in written.items()}


def _relocate(value: Any, written: Any, relocate: Callable[[Path], str]) -> Any:
    if isinstance(value, Path):
        return relocate(value)
    if isinstance(value, dict):
        return {key: _relocate(value[key], written[key], relocate) for key in written}
    if isinstance(value, list | tuple):
        return [_relocate(one, other, relocate) for one, other in zip(value, written, strict=True)]
    return written
