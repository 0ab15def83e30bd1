"""Model card of an exported voice: the facts that its run records, and ``???`` for the author to fill in."""

from collections.abc import Sequence

from lina.config.spec import Spec
from lina.runs.records import DataSummary, RunInfo

UNKNOWN = "???"


def model_card(
    spec: Spec,
    *,
    speakers: Sequence[str],
    data: DataSummary | None,
    info: RunInfo | None,
    step: int,
    seconds: float,
    parameters: int,
    layout: str,
    sha256: str,
) -> str:
    """Render the card as Markdown with the YAML front matter of model hubs."""
    corpus = f"`{spec.data.source}`"
    if data is not None:
        corpus = f"{corpus}: {data.utterances:,} utterances, {data.seconds / 60:,.0f} minutes"
    speaker_names = (
        ", ".join(f"`{one}`" for one in speakers) if spec.conditions.speaker else "one voice, without a name"
    )
    started = info.started[:10] if info else UNKNOWN
    machine = (info.machine.gpu or info.machine.cpu) if info else ""
    return f"""---
license: "{UNKNOWN}"
language: "{UNKNOWN}"
library_name: lina
pipeline_tag: text-to-speech
---

# {spec.name}

{parameters / 1e6:.1f} million parameters, stored as {layout}. Speakers: {speaker_names}.

**What it is for.** {UNKNOWN} **What it is not for.** {UNKNOWN}

**What it was trained on.** Corpus {corpus}.

| source | minutes | license |
|---|---:|---|
| {UNKNOWN} | {UNKNOWN} | {UNKNOWN} |

**How.** {step:,} steps in {seconds / 60:.1f} minutes, started {started} on {machine or UNKNOWN}, \
by lina {info.lina if info else UNKNOWN}: backbone `{spec.backbone.plugin}`, codec \
`{spec.codec.plugin}`, tokenizer `{spec.tokenizer.plugin}`; `spec.yaml` has every key.

**How good.** {UNKNOWN}

SHA-256 of `model.safetensors`: `{sha256}`
"""
