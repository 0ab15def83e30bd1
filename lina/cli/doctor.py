"""``lina doctor``: examine a run, a voice or a corpus."""

from pathlib import Path

import click

from lina.core.errors import LinaError


@click.command(short_help="Examine a run, a voice or a corpus.")
@click.argument("path", type=Path, metavar="RUN|VOICE|CORPUS")
@click.option(
    "--key", type=Path, metavar="KEY.pub", help="Public key of minisign that a voice must be signed by."
)
def doctor(path: Path, key: Path | None) -> None:
    """Check the files of a run, an exported voice or a corpus.

    Those that lina reads are read as lina would, and hashes are compared. Each part
    is listed as ok, note or fault, with what to do. Nothing is changed.
    The exit code is 2 if there is a fault.

    \b
    Example:
      lina doctor runs/first
      lina doctor recordings
    """
    from lina.pipeline.doctor import examine

    faults = 0
    for finding in examine(path, key):
        click.echo(str(finding))
        faults += finding.state == "fault"
    if faults:
        raise LinaError(f"{path}: {faults} {'fault' if faults == 1 else 'faults'}; see above")
