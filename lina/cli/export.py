"""``lina export``: export a run as a small, self-contained voice."""

from pathlib import Path

import click


@click.command(short_help="Make a small voice directory of a trained run.")
@click.argument("run", type=Path)
@click.option("-o", "--out", type=Path, metavar="DIR", help="The directory to write.")
@click.option("--onnx", type=Path, metavar="DIR", help="Write ONNX graphs for other programs instead.")
@click.option("--graphs", is_flag=True, help="Add graphs, for speed on CPUs.")
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
    help="A file outside of RUN to be copied, such as its codec's weights.",
)
def export(
    run: Path, out: Path | None, onnx: Path | None, graphs: bool, layout: str, files: tuple[Path, ...]
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
    if onnx is not None and (graphs or files or layout != "int8"):
        raise click.UsageError(
            "export: --graphs, --weights and --file are of voices; leave them out with --onnx"
        )
    check_run_exists(run, "RUN")
    if onnx is not None:
        from lina.speech.graph_export import export_graphs

        click.echo(f"{onnx}: {export_graphs(run, onnx) / 1e6:.2f} MB of graphs, weights and facts")
        return
    from lina.speech.export import CARD
    from lina.speech.export import export as write

    assert out is not None
    done = write(run, out, layout, files, graphs=graphs)
    click.echo(
        f"{out}: step {done.step}, {done.parameters / 1e6:.1f} million parameters, {done.size / 1e6:.2f} MB; "
        f"fill in {out / CARD}"
    )
