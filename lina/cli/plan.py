"""``lina plan``: forecast of a training."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from lina.pipeline.forecast import Forecast

GPUS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


@click.command(short_help="Forecast frames, memory and days of a training.")
@click.argument("spec")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--hours", type=click.FloatRange(min=0, min_open=True), help="Of a corpus like the spec's.")
@click.option(
    "--throughput",
    type=click.FloatRange(min=0, min_open=True),
    metavar="FRAMES",
    help="Frames per second per GPU; default: as measured by the run.",
)
@click.option("--json", "file", type=Path, metavar="FILE", help="Write the numbers there, too.")
def plan(
    spec: str, overrides: tuple[str, ...], hours: float | None, throughput: float | None, file: Path | None
) -> None:
    """Forecast the training of SPEC before it begins.

    Lengths are those of the encoded corpus, or of the recordings' headers.
    Communication between GPUs is not counted.

    \b
    Example:
      lina plan specs/first.yaml
      lina plan specs/voice.yaml --hours 100000 --throughput 200000
    """
    from lina.config.loader import load_spec
    from lina.config.resolve import resolve
    from lina.core.files.atomic import write_atomic
    from lina.pipeline.forecast import forecast

    found = forecast(resolve(load_spec(spec, overrides)), hours=hours, throughput=throughput, gpus=GPUS)
    click.echo("\n".join(_lines(found)))
    if file is not None:
        write_atomic(file, (found.model_dump_json(indent=1) + "\n").encode())


def _lines(found: "Forecast") -> list[str]:
    memory = ", ".join(f"{name} {size:.2f}" for name, size in found.memory_gib.items() if size)
    rate = "" if found.throughput is None else f"{found.throughput:,.0f} frames/s per GPU, "
    lines = [
        f"corpus      {found.utterances:,} utterances, {found.hours:,.2f} h ({found.corpus})",
        f"batches     {found.micro_batches_per_epoch:,} micro-batches per epoch, {found.padding:.1%} padding",
        f"training    {found.steps:,} steps, {found.epochs:,.2f} epochs, {found.frames:,.0f} frames",
        f"model       {found.parameters:,} parameters",
        f"memory      {sum(found.memory_gib.values()):.2f} GiB per GPU at most: {memory}",
        f"throughput  {rate}{found.throughput_origin}",
        f"{'GPUs':>6}{'micro-batches per GPU':>24}{'busy':>8}{'days':>12}",
    ]
    for one in found.by_gpus:
        if one.gpus > found.micro_batches_per_step:
            lines.append(
                f"{one.gpus:>6}  more GPUs than micro-batches per step; set a larger train.accumulate"
            )
            break
        days = "" if one.days is None else f"{one.days:,.3g}"
        lines.append(f"{one.gpus:>6}{one.micro_batches:>24}{one.busy:>8.0%}{days:>12}".rstrip())
    return lines
