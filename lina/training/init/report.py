"""The table of what a run began with, as lines for the terminal; the report draws the same record."""

from lina.runs.records import InitRecord


def init_table(record: InitRecord) -> list[str]:
    """The record as lines: what was loaded, what is fresh, what was left, part by part."""
    header = ("", "loaded", "fresh", "left")
    rows = [
        (one.part, *(f"{n:,}" for n in (one.loaded, one.fresh, one.left)), one.how) for one in record.parts
    ]
    sums = (sum(getattr(one, name) for one in record.parts) for name in ("loaded", "fresh", "left"))
    rows.append(("in all", *(f"{n:,}" for n in sums), ()))
    widths = [max(len(str(row[i])) for row in (header, *rows)) for i in range(4)]
    lines = [f"init: from {record.source}", *(f"init: {remark}" for remark in record.remarks)]
    for name, loaded, fresh, left, *how in (header, *rows):
        numbers = (f"{text:>{width}}" for text, width in zip((loaded, fresh, left), widths[1:], strict=True))
        words = "; ".join(how[0]) if how else ""
        lines.append("  ".join((f"init: {name:<{widths[0]}}", *numbers, words)).rstrip())
    lines.append(f"init: trained {record.trained:,}, frozen {record.frozen:,}{_lora(record)}")
    return lines


def _lora(record: InitRecord) -> str:
    if record.rank is None:
        return ""
    return f" (LoRA of rank {record.rank}, alpha {record.alpha:g}, on {len(record.targets)} layers)"
