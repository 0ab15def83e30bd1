"""Initialization of a model from other weights (``init`` in the spec), and the same model again on resuming.

The source is read once, at step 0. A report of the transfer goes to ``init.json`` and to the log.
"""

import logging
from collections.abc import Mapping
from typing import Any

from torch import nn

from lina.config.resolve import ResolvedSpec
from lina.config.run_files import SPEAKERS_FILE
from lina.config.spec import Spec, differences
from lina.core.errors import CheckpointError, SpecError
from lina.core.model.delay_lm import DelayLM
from lina.core.model.lora import adapt, choose_targets, train_only
from lina.data.prepare import PreparedData
from lina.runs.checkpoint_store import has_checkpoints
from lina.runs.files import INIT_FILE, init_table, read_init, write_init
from lina.runs.hooks import Run
from lina.runs.layout import read_speakers
from lina.runs.records import InitPart, InitRecord
from lina.speech.default_voice import voice_or_path
from lina.training.init.import_backbone import import_backbone
from lina.training.init.source import InitSource, TableLayout, open_source, row_labels, source_layout
from lina.training.init.transfer import TransferResult, transfer

MEANING_KEYS = ("backbone.config", "text.", "codec.", "tokenizer.")
"""Keys that may change the meaning of a tensor without changing its shape; differences are reported."""
NEUTRAL_KEYS = ("text.layers", "text.dropout", "text.max_characters")
"""Exceptions to ``MEANING_KEYS``."""

log = logging.getLogger("lina")


def check_init(resolved: ResolvedSpec, sketch: DelayLM) -> None:
    """Validate ``init`` of a run without checkpoints: an intact source of the same width, existing LoRA targets.

    Args:
        sketch: the model of the spec, on the meta device.

    Raises:
        CheckpointError: the source cannot be used.
        SpecError: the targets of LoRA do not exist.
    """
    init = resolved.spec.init
    if has_checkpoints(resolved.spec.train.out):
        return
    if init.lora is not None:
        _lora_targets(resolved.spec, sketch)
    if init.source is not None:
        _open_source(resolved.spec)
    if init.backbone is not None:
        import_backbone(resolved, sketch)


def source_speakers(run: Run) -> list[str]:
    """Speakers of the source of ``init.from``, which the model keeps; of a run with checkpoints, its own.

    Raises:
        CheckpointError: the source cannot be used.
    """
    if run.spec.init.source is None or not run.spec.conditions.speaker:
        return []
    if has_checkpoints(run.directory):
        return read_speakers(run.directory)
    source = _open_source(run.spec)
    known = source.spec.conditions.speaker and (source.path / SPEAKERS_FILE).exists()
    return read_speakers(source.path) if known else []


def initialize(run: Run, resolved: ResolvedSpec, model: DelayLM, prepared: PreparedData) -> None:
    """Load the initial weights of the spec into ``model``; for a run with checkpoints, only add its LoRA matrices.

    Raises:
        CheckpointError, SpecError, PluginError: the source cannot be used.
    """
    init = run.spec.init
    if init.source is None and init.backbone is None:
        if not has_checkpoints(run.directory):
            (run.directory / INIT_FILE).unlink(missing_ok=True)  # of a spec that has changed since
        return
    if has_checkpoints(run.directory):
        if init.lora is not None:
            record = read_init(run.directory)
            if record is None:
                raise CheckpointError(
                    f"{run.directory}: has no init.json, which lists the trained parameters of this run; "
                    "restore it, or delete that directory to train from the start"
                )
            _adapt(model, record, run.spec.seed)
        return
    result, source, remarks = _load(resolved, model, prepared)
    model.load_state_dict(result.state)
    record = _record(run.spec, model, result, source, remarks)
    if record.rank is not None:
        _adapt(model, record, run.spec.seed)
    record = record.model_copy(update=_counts(model))
    write_init(run.directory, record)
    for line in init_table(record):
        log.info("%s", line)


def _load(
    resolved: ResolvedSpec, model: DelayLM, prepared: PreparedData
) -> tuple[TransferResult, str, list[str]]:
    """Initial state, description of its source, and remarks."""
    spec = resolved.spec
    if spec.init.source is None:
        name = f"{spec.init.backbone}, imported by {resolved.backbone.record.full_name}"
        return import_backbone(resolved, model), name, []
    source = _open_source(spec)
    tensors = source.tensors()
    labels = row_labels(prepared.tokenizer, prepared.tokenizer.vocab_size)
    target_layout = TableLayout(prepared.codec.codebook_sizes, labels, prepared.speakers)
    layout, remarks = source_layout(source, tensors, target_layout)
    kind = "averaged weights" if source.averaged else "weights"
    name = f"{source.path}, step {source.checkpoint.step}, {kind}"
    result = transfer(model.state_dict(), tensors, target_layout, layout)
    return result, name, [*_spec_differences(source.spec, spec), *remarks]


def _open_source(spec: Spec) -> InitSource:
    init = spec.init
    assert init.source is not None
    source = open_source(voice_or_path(init.source), init.average)
    if source.width != spec.backbone.d_model:
        raise CheckpointError(
            f"init.from: {init.source}: is a model of width {source.width}, but backbone.d_model is "
            f"{spec.backbone.d_model}, so no tensor would fit; set d_model: {source.width}"
        )
    return source


def _spec_differences(source: Spec, target: Spec) -> list[str]:
    """Remarks on differences of the specs that change the meaning of tensors."""
    if source.backbone.plugin != target.backbone.plugin:
        return [
            f"the backbone is {target.backbone.plugin} and was {source.backbone.plugin} in the source: of its tensors, "
            "only those of the same name and shape are loaded"
        ]
    changed = [
        line
        for line in differences(source, target)
        if line.startswith(MEANING_KEYS) and not line.startswith(NEUTRAL_KEYS)
    ]
    remarks = []
    for section in ("backbone", "codec", "tokenizer", "text"):
        lines = [line for line in changed if line.startswith(f"{section}.")]
        # The configurations of two different plugins are not comparable.
        lines = [line for line in lines if line.startswith(f"{section}.plugin:")] or lines
        remarks += [f"differs from the source: {'; '.join(lines)}"] if lines else []
    return remarks


def _lora_targets(spec: Spec, model: nn.Module) -> list[str]:
    assert spec.init.lora is not None
    return choose_targets(model, spec.init.lora.targets)


def _record(
    spec: Spec, model: nn.Module, result: TransferResult, source: str, remarks: list[str]
) -> InitRecord:
    lora = spec.init.lora
    facts: dict[str, Any] = {}
    if lora is not None:
        loaded = set(result.loaded)
        # Fresh layers are trained in full, without LoRA.
        targets = [name for name in _lora_targets(spec, model) if f"{name}.weight" in loaded]
        if not targets:
            raise SpecError(
                f"init.lora: none of its {len(_lora_targets(spec, model))} layers was loaded from {source}; "
                "leave lora out to train all parameters"
            )
        whole = [
            name
            for name, parameter in model.named_parameters()
            if parameter.requires_grad and name not in loaded
        ]
        facts = {"rank": lora.rank, "alpha": lora.alpha, "targets": targets, "whole": whole}
    parts = [
        InitPart(part=part.name, loaded=part.loaded, fresh=part.fresh, left=part.left, how=tuple(part.how))
        for part in result.parts
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
