"""``lina compare``: train combinations of settings on equal terms, and compare them over seeds."""

from pathlib import Path
from typing import Literal

import click

from lina.core.errors import LinaError


@click.command(short_help="Compare settings of a spec over seeds.")
@click.argument("spec")
@click.argument("settings", nargs=-1, required=True, metavar="KEY=A,B,C...")
@click.option("--seeds", type=click.IntRange(1, 100), default=3, show_default=True, metavar="N")
@click.option(
    "--budget",
    type=click.Choice(["steps", "seconds"]),
    help="Equal for all: steps, or seconds with --seconds.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0.1),
    metavar="S",
    help="Training time of each trial; implies --budget seconds, whose default is 300.",
)
@click.option(
    "--lr-sweep",
    "sweep",
    is_flag=False,
    flag_value="auto",
    metavar="[A,B,C]",
    help="Choose the learning rate of each: a third, once, three times the spec's, or these.",
)
@click.option(
    "--match-parameters", "match", is_flag=True, help="Choose layers for the size of the spec's model."
)
@click.option("--gpus", type=click.IntRange(0, 64), default=0, metavar="N", help="Train on so many at once.")
@click.option("-o", "--out", type=Path, metavar="DIR", help="Default: runs/compare-NAME of the spec.")
def compare(
    spec: str,
    settings: tuple[str, ...],
    seeds: int,
    budget: Literal["steps", "seconds"] | None,
    seconds: float | None,
    sweep: str | None,
    match: bool,
    gpus: int,
    out: Path | None,
) -> None:
    """Train SPEC with every combination of the values of KEY, on equal data and order.

    Other KEY=VALUE hold for all. The table has losses with intervals over seeds, speed,
    state and size; comparison.html in the output directory has the curves. The same
    command again goes on where the last one was stopped.

    \b
    Example:
      lina compare specs/first.yaml backbone.plugin=gla,retnet train.steps=100
      lina compare mine.yaml train.schedule=cosine,wsd --lr-sweep --seeds 5
    """
    from lina.pipeline.comparison import ComparisonJob
    from lina.pipeline.comparison import compare as run
    from lina.report.comparison import table, write_page

    if seconds is not None and budget == "steps":
        raise LinaError("--seconds is for a budget of seconds; leave out --seconds, or use --budget seconds")
    budget = budget or ("steps" if seconds is None else "seconds")
    directory = out or Path("runs") / f"compare-{Path(spec).stem}"
    rates = _rates(sweep)
    job = ComparisonJob(spec, settings, directory, seeds, budget, seconds or 300.0, rates, match, gpus)
    record = run(job, lambda line: click.echo(line, err=True))
    page = write_page(directory, record)
    click.echo(table(record))
    click.echo(f"done: {page}")
    if all(one.error for one in record.trials):
        raise LinaError("compare: every trial failed; the table names the reasons")


def _rates(sweep: str | None) -> bool | tuple[float, ...]:
    if sweep is None or sweep == "auto":
        return sweep is not None
    try:
        rates = tuple(float(one) for one in sweep.split(","))
    except ValueError:
        rates = ()
    if not rates or min(rates) <= 0:
        raise LinaError(f"--lr-sweep {sweep}: expected learning rates above 0, such as 3e-4,1e-3,3e-3")
    if len({f"{rate:.3g}" for rate in rates}) < len(rates):
        raise LinaError(
            f"--lr-sweep {sweep}: two rates agree in three digits, by which runs are named; leave out one"
        )
    return rates
