"""Report section: initial weights of a fine-tuned run (loaded, resized, fresh, unused)."""

from html import escape

from lina.runs.hooks import Section
from lina.runs.records import InitRecord

COLUMNS = ("Loaded", "Fresh", "Unused")


def section(record: InitRecord) -> Section:
    """Render ``init.json`` as a table, as it was printed at the start of training."""
    notes = "".join(f'<p class="note">{escape(remark)}</p>' for remark in record.remarks)
    head = "".join(f'<th class="number">{name}</th>' for name in COLUMNS)
    rows = "".join(
        f"<tr><td>{escape(one.part)}</td>{_numbers(one.loaded, one.fresh, one.left)}"
        f"<td>{escape('; '.join(one.how))}</td></tr>"
        for one in record.parts
    )
    sums = _numbers(
        *(sum(getattr(one, name) for one in record.parts) for name in ("loaded", "fresh", "left"))
    )
    adapted = (
        f"LoRA of rank {record.rank}, alpha {record.alpha:g}, on {len(record.targets)} layers; "
        if record.rank is not None
        else ""
    )
    return Section(
        "Initial weights",
        f'<p class="note">From {escape(record.source)}. {adapted}{record.trained:,} parameters trained, '
        f'{record.frozen:,} frozen.</p>{notes}<div class="scroll"><table>'
        f"<thead><tr><th>Part</th>{head}<th>How</th></tr></thead>"
        f"<tbody>{rows}<tr><th>Total</th>{sums}<td></td></tr></tbody></table></div>",
    )


def _numbers(*counts: int) -> str:
    return "".join(f'<td class="number">{count:,}</td>' for count in counts)
