"""``lina export``: a run as a small directory that speaks anywhere."""

from pathlib import Path

import click


@click.command(short_help="Make a small voice directory of a trained run.")
@click.argument("run", type=Path)
@click.option("-o", "--out", required=True, type=Path, metavar="DIR", help="The directory to write.")
@click.option(
    "--weights",
    "layout",
    type=click.Choice(["int8", "bfloat16", "float32"]),
    default="int8",
    show_default=True,
    help="How matrices are stored.",
)
def export(run: Path, out: Path, layout: str) -> None:
    """Write what RUN needs to speak, and nothing else, into a new directory.

    Taken are the newest checkpoint's weights, averaged where the run kept that.
    lina say, lina evaluate and a spec's init take DIR like a run. Its README.md
    is a card to fill in: what it was trained on, its licence, its limits.

    \b
    Example:
      lina export runs/first -o first-voice
      lina say --run first-voice "Good morning." -o morning.wav
    """
    from lina.cli.say import check_run_exists
    from lina.speech.export import CARD
    from lina.speech.export import export as write

    check_run_exists(run, "RUN")
    done = write(run, out, layout)
    click.echo(
        f"{out}: step {done.step}, {done.parameters / 1e6:.1f} million numbers, {done.size / 1e6:.2f} MB; "
        f"fill in {out / CARD}"
    )
