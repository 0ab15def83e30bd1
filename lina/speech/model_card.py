"""Model card of an exported voice: the facts that its run records, and ``???`` for the author to fill in."""

import hashlib
from collections.abc import Sequence

from lina.config.spec import Spec
from lina.runs.records import DataSummary, RunInfo

UNKNOWN = "???"
UNKNOWN_LICENSE = "unknown"
MARK = "\n<!-- As lina export wrote it while the SHA-256 of the text above is "
"""Beginning of the comment at a card's end, by which an upload knows a card that its author has edited."""
LICENSES = (
    "apache-2.0",
    "mit",
    "bsd-2-clause",
    "bsd-3-clause",
    "isc",
    "mpl-2.0",
    "lgpl-3.0",
    "gpl-2.0",
    "gpl-3.0",
    "agpl-3.0",
    "cc0-1.0",
    "cc-by-3.0",
    "cc-by-4.0",
    "cc-by-sa-3.0",
    "cc-by-sa-4.0",
    "cc-by-nc-4.0",
    "cc-by-nc-sa-4.0",
    "cc-by-nd-4.0",
    "cc-by-nc-nd-4.0",
    "unlicense",
    "openrail",
    "other",
    UNKNOWN_LICENSE,
)
"""Identifiers that the Hugging Face hub knows and that suit a voice; ``other`` is named in the card."""


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
    license_id: str = UNKNOWN_LICENSE,
    language: str | None = None,
) -> str:
    """Render the card as Markdown with the YAML front matter of model hubs.

    ``license_id`` is one of ``LICENSES``; ``language`` a code of ISO 639, such as ``en``.
    """
    corpus = f"`{spec.data.source}`"
    if data is not None:
        corpus = f"{corpus}: {data.utterances:,} utterances, {data.seconds / 60:,.0f} minutes"
    speaker_names = (
        ", ".join(f"`{one}`" for one in speakers) if spec.conditions.speaker else "one voice, without a name"
    )
    started = info.started[:10] if info else UNKNOWN
    machine = (info.machine.gpu or info.machine.cpu) if info else ""
    languages = f"language:\n- {language}\n" if language else ""
    text = f"""---
license: {license_id}
{languages}library_name: lina
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
    return text + _mark(text)


def is_untouched(card: str) -> bool:
    """Test for a card as ``model_card`` rendered it, for whichever voice, in which an author has changed nothing."""
    text = card[: max(0, card.rfind(MARK))]
    return bool(text) and card == text + _mark(text)


def _mark(text: str) -> str:
    return f"{MARK}{hashlib.sha256(text.encode()).hexdigest()} -->\n"
