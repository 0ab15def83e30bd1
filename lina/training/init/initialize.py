"""The first weights of a run, where its spec has an ``init``; and the same model again when the run is resumed.

The source is read once, at step 0. What was done is kept in ``init.json`` and told as a table.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from lina.config.resolve import ResolvedSpec
from lina.config.spec import Spec, differences
from lina.core.errors import CheckpointError, SpecError
from lina.core.model.delay_lm import DelayLM
from lina.core.model.lora import adapt, choose_targets, train_only
from lina.data.prepare import PreparedData
from lina.runs.checkpoint_store import checkpoint_folder
from lina.runs.files import init_table, read_init, write_init
from lina.runs.hooks import Run
from lina.runs.records import InitPart, InitRecord
from lina.training.init.import_backbone import imported
from lina.training.init.source import Rows, Source, open_source, row_labels, source_rows
from lina.training.init.transfer import Transfer, transfer

TOLD = ("backbone.config", "text.", "codec.", "tokenizer.")
"""Where source and spec may differ so that tensors of one shape mean other things,"""
PLAIN = ("text.layers", "text.dropout", "text.max_characters")
"""and where they may not."""

log = logging.getLogger("lina")


def check_init(resolved: ResolvedSpec, sketch: DelayLM) -> None:
    """Whether a run that has not begun can begin: its source is there, whole and as wide; LoRA's targets exist.

    Raises:
        CheckpointError, SpecError: it cannot.
    """
    init = resolved.spec.init
    if _begun(resolved.spec.train.out):
        return
    if init.lora is not None:
        _targets(resolved.spec, sketch)
    if init.source is not None:
        _opened(resolved.spec)
    if init.backbone is not None:
        imported(resolved, sketch)


def initialise(run: Run, resolved: ResolvedSpec, model: DelayLM, prepared: PreparedData) -> None:
    """Give ``model`` the first weights that the spec asks for, or only its shape where training has begun.

    Raises:
        CheckpointError, SpecError, PluginError: the source cannot be used.
    """
    init = run.spec.init
    if init.source is None and init.backbone is None:
        return
    if _begun(run.directory):
        if init.lora is not None:
            record = read_init(run.directory)
            if record is None:
                raise CheckpointError(
                    f"{run.directory}: has no init.json, which says what of this run is trained; "
                    "put it back, or delete that directory to train from the start"
                )
            _adapt(model, record, run.spec.seed)
        return
    done, source, remarks = _loaded(resolved, model, prepared)
    model.load_state_dict(done.state)
    record = _record(run.spec, model, done, source, remarks)
    if record.rank is not None:
        _adapt(model, record, run.spec.seed)
    record = record.model_copy(update=_counts(model))
    write_init(run.directory, record)
    for line in init_table(record):
        log.info("%s", line)


def _loaded(
    resolved: ResolvedSpec, model: DelayLM, prepared: PreparedData
) -> tuple[Transfer, str, list[str]]:
    """The state to begin with, where it is from, and what else is to be said."""
    spec = resolved.spec
    if spec.init.source is None:
        name = f"{spec.init.backbone}, imported by {resolved.backbone.record.full_name}"
        return imported(resolved, model), name, []
    source = _opened(spec)
    tensors = source.tensors()
    labels = row_labels(prepared.tokenizer, prepared.tokenizer.vocab_size)
    here = Rows(prepared.codec.codebook_sizes, labels, prepared.speakers)
    there, remarks = source_rows(source, tensors, here)
    kind = "averaged weights" if source.averaged else "weights"
    name = f"{source.path}, step {source.checkpoint.step}, {kind}"
    return (
        transfer(model.state_dict(), tensors, here, there),
        name,
        [*_differing(source.spec, spec), *remarks],
    )


def _begun(directory: Path) -> bool:
    return any(checkpoint_folder(directory).glob("step-*"))


def _opened(spec: Spec) -> Source:
    init = spec.init
    assert init.source is not None
    source = open_source(init.source, init.average)
    if source.width != spec.backbone.d_model:
        raise CheckpointError(
            f"init.from: {init.source}: is a model of width {source.width}, but backbone.d_model is "
            f"{spec.backbone.d_model}, so that nothing of it would fit; say d_model: {source.width}"
        )
    return source


def _differing(there: Spec, here: Spec) -> list[str]:
    if there.backbone.plugin != here.backbone.plugin:
        return [
            f"the backbone was {there.backbone.plugin} and is {here.backbone.plugin} now: "
            "of it only tensors of the same name and shape are loaded"
        ]
    changed = [
        line for line in differences(there, here) if line.startswith(TOLD) and not line.startswith(PLAIN)
    ]
    told = []
    for section in ("backbone", "codec", "tokenizer", "text"):
        lines = [line for line in changed if line.startswith(f"{section}.")]
        # Of another plugin, the configuration says nothing more.
        lines = [line for line in lines if line.startswith(f"{section}.plugin:")] or lines
        told += [f"differs from the source: {'; '.join(lines)}"] if lines else []
    return told


def _targets(spec: Spec, model: nn.Module) -> list[str]:
    assert spec.init.lora is not None
    return choose_targets(model, spec.init.lora.targets)


def _record(spec: Spec, model: nn.Module, done: Transfer, source: str, remarks: list[str]) -> InitRecord:
    lora = spec.init.lora
    facts: dict[str, Any] = {}
    if lora is not None:
        loaded = set(done.whole)
        # A layer that is fresh has nothing to adapt: it is trained as it is.
        targets = [name for name in _targets(spec, model) if f"{name}.weight" in loaded]
        if not targets:
            raise SpecError(
                f"init.lora: none of its {len(_targets(spec, model))} layers was loaded from {source}; "
                "leave lora out to train all"
            )
        whole = [name for name, one in model.named_parameters() if one.requires_grad and name not in loaded]
        facts = {"rank": lora.rank, "alpha": lora.alpha, "targets": targets, "whole": whole}
    parts = [
        InitPart(part=part.name, loaded=part.loaded, fresh=part.fresh, left=part.left, how=tuple(part.how))
        for part in done.parts
    ]
    return InitRecord(source=source, remarks=tuple(remarks), parts=tuple(parts), trained=0, frozen=0, **facts)


def _adapt(model: nn.Module, record: InitRecord, seed: int) -> None:
    assert record.rank is not None
    assert record.alpha is not None
    adapt(model, record.targets, rank=record.rank, alpha=record.alpha, seed=seed)
    train_only(model, record.whole)


def _counts(model: nn.Module) -> Mapping[str, int]:
    trained = sum(one.numel() for one in model.parameters() if one.requires_grad)
    return {"trained": trained, "frozen": sum(one.numel() for one in model.parameters()) - trained}
