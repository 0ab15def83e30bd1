"""``lina run``: run the unfinished stages of a spec."""

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    pass


@click.command(short_help="Run a spec: train, evaluate, synthesize.")
@click.argument("spec")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
def run(spec: str, overrides: tuple[str, ...]) -> None:
    """Run the stages of SPEC: data, training, evaluation, synthesis, report.

    All goes into one directory (train.out, by default runs/NAME). The same command
    again goes on where the last one was stopped; finished work is not redone.

    \b
    Example:
      lina run specs/first.yaml
      lina run specs/first.yaml train.steps=100 name=quick
    """
    import lina

    directory = lina.run(spec, overrides)
    from lina.training.launcher import is_launched
    from lina.training.process_group import is_main_process

    if is_launched() or not is_main_process():
        return
    report = directory / "report.html"
    click.echo(f"done: {report if report.is_file() else directory}")
