"""``lina export``: export a run as a small, self-contained voice."""

from pathlib import Path

import click

from lina.core.files.hub import parse_address, upload


@click.command(short_help="Make a small voice directory of a trained run.")
@click.argument("run", type=Path)
@click.option("-o", "--out", type=Path, metavar="DIR", help="The directory to write.")
@click.option("--onnx", type=Path, metavar="DIR", help="Write graphs for other programs.")
@click.option("--graphs", is_flag=True, help="Add graphs, for speed on CPUs.")
@click.option("--hub", metavar="ADDRESS", help="Upload DIR, too, to hf://ORGANIZATION/NAME.")
@click.option("--replace-card", is_flag=True, help="Replace an edited README.md on the hub, too.")
@click.option("--license", "license_id", metavar="ID", help="Of the model card, such as apache-2.0.")
@click.option("--language", metavar="CODE", help="Of the model card, such as en.")
@click.option(
    "--weights",
    "layout",
    type=click.Choice(["int8", "bfloat16", "float32"]),
    default="int8",
    show_default=True,
    help="Storage format of matrices.",
)
@click.option(
    "--file",
    "files",
    multiple=True,
    type=Path,
    metavar="FILE",
    help="A file outside of RUN to be copied.",
)
def export(
    run: Path,
    out: Path | None,
    onnx: Path | None,
    graphs: bool,
    hub: str | None,
    replace_card: bool,
    license_id: str | None,
    language: str | None,
    layout: str,
    files: tuple[Path, ...],
) -> None:
    """Write the files of RUN that synthesis needs into a new directory.

    The weights are those of the newest checkpoint, averaged if the run has averages.
    lina say, lina evaluate and a spec's init take DIR like a run. Its README.md
    is a model card to fill in: training data, license, limits.

    \b
    Example:
      lina export runs/first -o first-voice
      lina say --run first-voice "Good morning." -o morning.wav
    """
    from lina.cli.say import check_run_exists

    if (out is None) == (onnx is None):
        raise click.UsageError("export: pass either -o DIR for a voice or --onnx DIR for graphs")
    if onnx is not None and (graphs or files or hub or license_id or language or layout != "int8"):
        raise click.UsageError(
            "export: --graphs, --weights, --file, --hub, --license and --language are of voices; leave them out "
            "with --onnx"
        )
    if replace_card and hub is None:
        raise click.UsageError("export: --replace-card is of an upload; add --hub ADDRESS, or leave it out")
    if hub is not None:
        parse_address(hub)
        if license_id is None:
            raise click.UsageError("export: --hub publishes; state the license of the voice by --license ID")
    check_run_exists(run, "RUN")
    if onnx is not None:
        from lina.speech.graph_export import export_graphs

        click.echo(f"{onnx}: {export_graphs(run, onnx) / 1e6:.2f} MB of graphs, weights and facts")
        return
    from lina.speech.export import CARD, REPLACED
    from lina.speech.export import export as write
    from lina.speech.model_card import UNKNOWN_LICENSE

    assert out is not None
    done = write(
        run, out, layout, files, graphs=graphs, license_id=license_id or UNKNOWN_LICENSE, language=language
    )
    click.echo(
        f"{out}: step {done.step}, {done.parameters / 1e6:.1f} million parameters, {done.size / 1e6:.2f} MB; "
        f"fill in {out / CARD}"
    )
    if hub is not None:
        kept = () if replace_card else _edited_card(hub, out / CARD)
        click.echo(f"{upload(out, hub, f'Export {out.name} by lina', REPLACED, kept)}: uploaded")


def _edited_card(hub: str, card: Path) -> tuple[str, ...]:
    """The name of the model card if the one on the hub has been edited, which an upload then keeps."""
    from lina.core.files.hub import read_remote
    from lina.speech.model_card import is_untouched

    there = read_remote(hub, card.name)
    if there is None or is_untouched(there.decode(errors="replace")):
        return ()
    click.echo(
        f"{hub}: its {card.name} is not as lina wrote it, and stays; update it there by {card}, or replace it with "
        "--replace-card"
    )
    return (card.name,)
