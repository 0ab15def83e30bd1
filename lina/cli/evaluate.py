"""``lina evaluate``: measure the speech of a run over a set of texts."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from lina.core.errors import DataError
from lina.speech.default_voice import shipped_voice

if TYPE_CHECKING:
    from lina.evaluation.records import TextSetEvaluation

NOBODY = "none"
WIDTH = 160


@click.command(short_help="Measure the quality of a voice.")
@click.argument("arguments", nargs=-1, metavar="[RUN] [KEY=VALUE]...")
@click.option(
    "--texts", required=True, type=Path, metavar="FILE", help="One text per line, or a .jsonl manifest."
)
@click.option("--json", "out", type=Path, metavar="OUT", help="Write all numbers there.")
@click.option(
    "--recognizer",
    default="faster-whisper",
    show_default=True,
    metavar="NAME",
    help="Speech recognizer; or none.",
)
@click.option("--speaker", metavar="NAME", help="One of the run's speakers.")
@click.option("--seed", type=click.IntRange(0), metavar="N", help="Random seed; default: the spec's.")
@click.option(
    "--set", "spoken_with", multiple=True, metavar="KEY=VALUE", help="Such as synthesize.best_of=3."
)
@click.option("--device", default="auto", type=click.Choice(["auto", "cpu", "cuda"]), show_default=True)
@click.option("-o", "--out", "kept", type=Path, metavar="DIR", help="Keep all there instead of in RUN.")
@click.option("--no-floor", is_flag=True, help="Leave espeak-ng out.")
def evaluate(
    arguments: tuple[str, ...],
    texts: Path,
    out: Path | None,
    recognizer: str,
    speaker: str | None,
    seed: int | None,
    spoken_with: tuple[str, ...],
    device: Literal["auto", "cpu", "cuda"],
    kept: Path | None,
    no_floor: bool,
) -> None:
    """Let RUN say the texts of a file, and measure what comes out.

    RUN is a run, or an exported voice; left out, the one that comes with lina. A
    manifest names recordings: they and their codec resynthesis, the ceiling, are
    measured beside it. KEY=VALUE configures the recognizer. All is kept in
    evaluations/ of RUN (of lina's own voice: in evaluated/NAME here), and the same
    command goes on where it was stopped.

    \b
    Example:
      lina evaluate runs/first --texts sentences.txt --json first.json
    """
    from lina.cli.say import check_run_exists

    if out is not None and (out.is_dir() or not out.parent.is_dir()):
        what = "is a folder" if out.is_dir() else f"there is no folder {out.parent}; create it first"
        raise DataError(f"{out}: {what}")
    named = bool(arguments) and "=" not in arguments[0]
    directory = Path(arguments[0]) if named else shipped_voice()
    check_run_exists(directory, "RUN")

    from lina.core.files.atomic import write_atomic
    from lina.pipeline.text_set_job import choose_recognizer, evaluate_voice

    found = evaluate_voice(
        directory,
        texts,
        # Where lina is installed is not always writable, and gone with the next version.
        out=kept or (directory if named else Path("evaluated") / directory.name),
        recognizer=choose_recognizer(None if recognizer == NOBODY else recognizer, arguments[named:]),
        settings=spoken_with,
        speaker=speaker,
        seed=seed,
        device=device,
        floor=not no_floor,
    )
    _print(found)
    if out is not None:
        write_atomic(out, found.model_dump_json(indent=2).encode())


def _print(found: "TextSetEvaluation") -> None:
    from rich.console import Console
    from rich.table import Table

    from lina.evaluation.summary import MEASURES

    table = Table("", box=None, pad_edge=False)
    for one in found.groups:
        table.add_column(one.name, no_wrap=True)
    table.add_row("texts", *(str(one.sentences) for one in found.groups))
    for key, measure in MEASURES.items():
        label = f"{measure.label} (%)" if measure.share else measure.label
        if any(key in one.measures for one in found.groups):
            table.add_row(label, *(_shown(one.measures.get(key), measure.share) for one in found.groups))
        if any(key in one.minus_ceiling for one in found.groups):
            table.add_row(
                "  above the ceiling",
                *(_shown(one.minus_ceiling.get(key), measure.share, "+") for one in found.groups),
            )
    # A terminal that is narrower may break lines as it likes; numbers are not to be cut.
    Console(markup=False, highlight=False, width=WIDTH).print(table)
    click.echo("[95 % confidence intervals by bootstrap over texts]")
    threads = f", {found.threads} thread{'s' * (found.threads > 1)}" if found.device == "cpu" else ""
    memory = f": {found.peak_memory_mib:.0f} MiB at most" if found.peak_memory_mib is not None else ""
    click.echo(f"spoken on {found.device}{threads}{memory}")
    for remark in found.remarks:
        click.echo(remark)


def _shown(one: Any, share: bool, sign: str = "") -> str:
    if one is None:
        return ""
    scale, digits = (100, 1) if share else (1, 2)
    value, low, high = (f"{scale * x:{sign}.{digits}f}" for x in (one.value, one.low, one.high))
    return f"{value} [{low}, {high}]"
