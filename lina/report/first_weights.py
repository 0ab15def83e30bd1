"""Where a fine-tuned run began, as a section of the report: what was loaded, resized, fresh and left behind."""

from html import escape

from lina.runs.hooks import Section
from lina.runs.records import InitRecord

COLUMNS = ("Loaded", "Fresh", "Left behind")


def section(record: InitRecord) -> Section:
    """The table of ``init.json``, as it was printed when training began."""
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
        "First weights",
        f'<p class="note">From {escape(record.source)}. {adapted}{record.trained:,} numbers trained, '
        f'{record.frozen:,} frozen.</p>{notes}<div class="scroll"><table>'
        f"<thead><tr><th>Part</th>{head}<th>How</th></tr></thead>"
        f"<tbody>{rows}<tr><th>In all</th>{sums}<td></td></tr></tbody></table></div>",
    )


def _numbers(*counts: int) -> str:
    return "".join(f'<td class="number">{count:,}</td>' for count in counts)
