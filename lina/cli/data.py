"""``lina data``: list, fetch, inspect and encode corpora."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from lina.config.resolve import PluginChoice
    from lina.core.plugin import CorpusPlugin
    from lina.data.inspect import CorpusStatistics
    from lina.runs.device import Device

SHOWN = 10
"""Maximum speakers and rejects that are printed; others are counted."""


@click.group(short_help="List, fetch, inspect, encode corpora.")
def data() -> None:
    """List, fetch, inspect and encode corpora.

    \b
    Example:
      lina data list
      lina data get asterisk-en
      lina data inspect asterisk-en
    """


@data.command("list", short_help="List the kinds of corpora that can be read.")
def list_() -> None:
    """List the corpus plugins with the format that each reads.

    \b
    Example:
      lina data list
    """
    from lina.core.errors import PluginError
    from lina.core.registry import load_record, records

    for record in records("corpus"):
        try:
            summary = (load_record(record).__doc__ or "").strip().partition("\n")[0]
        except PluginError as error:
            summary = f"broken: {error}"
        click.echo(f"{record.name:14} {summary}")


@data.command(short_help="Fetch a corpus.")
@click.argument("name")
@click.option("--into", type=Path, metavar="DIR", help="Destination; default: the cache.")
def get(name: str, into: Path | None) -> None:
    """Fetch the corpus NAME to where its plugin looks for it.

    The cache is $LINA_CACHE, or lina in your cache folder.

    \b
    Example:
      lina data get asterisk-en
    """
    from lina.core.registry import load

    plugin = load("corpus", name)

    from lina.data.inspect import get_corpus

    click.echo(f"{name}: {get_corpus(plugin, name, into)}")


@data.command(short_help="Count a corpus: durations, speakers, rejects.")
@click.argument("source")
@click.argument("settings", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--decode", is_flag=True, help="Decode every recording: slow, finds damaged ones.")
def inspect(source: str, settings: tuple[str, ...], decode: bool) -> None:
    """Count the corpus SOURCE: a corpus plugin with its settings, or a spec's.

    Bad recordings and texts are listed with their reasons.

    \b
    Example:
      lina data inspect folder path=recordings
      lina data inspect specs/first.yaml --decode
    """
    corpus = _corpus(source, settings)

    from lina.data.inspect import inspect_corpus

    _print(inspect_corpus(corpus.plugin.read(config=corpus.config), decode=decode))


@data.command(short_help="Encode a part of a spec's corpus.")
@click.argument("spec")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--shard", metavar="I/N", help="Part I of N, from 0; default: the rank of torchrun, else all.")
@click.option("--device", default="auto", metavar="NAME", help="Of the codec: auto, cpu or cuda.")
@click.option("--readers", type=click.IntRange(0, 256), default=2, help="Threads that decode recordings.")
@click.option("--ray", type=click.IntRange(1, 10**6), metavar="N", help="N parts as tasks of a Ray cluster.")
@click.option("--ray-gpus", type=click.FloatRange(0, 16), default=0, help="GPUs per task of Ray, or a share.")
def encode(
    spec: str,
    overrides: tuple[str, ...],
    shard: str | None,
    device: "Device",
    readers: int,
    ray: int | None,
    ray_gpus: float,
) -> None:
    """Encode part I of N of the corpus of SPEC to its run directory.

    All parts may run at once, on any machines that share the directory.
    `lina run` then finds the corpus encoded.

    \b
    Example:
      lina data encode specs/first.yaml
      seq 0 3 | xargs -P 4 -I I lina data encode specs/first.yaml --shard I/4
    """
    import os
    import time

    from lina.config.loader import load_spec
    from lina.config.resolve import resolve
    from lina.data.encode_part import encode_part
    from lina.data.parts import part_of
    from lina.runs.device import choose_own_device
    from lina.runs.signals import raise_on_sigterm

    if ray is not None:
        from lina.data.ray_encoding import encode_with_ray

        began = time.perf_counter()
        every = encode_with_ray(os.path.abspath(spec), overrides, ray, ray_gpus)
        seconds, hours = time.perf_counter() - began, sum(one.hours for one in every)
        click.echo(
            f"{ray} parts: {sum(one.utterances for one in every)} utterances, {hours:.2f} h in {seconds:.1f} s: "
            f"{hours / seconds * 3600:,.1f} hours of audio per hour"
        )
        return
    part, parts = part_of(shard, os.environ)
    resolved = resolve(load_spec(spec, overrides))
    began, finished = time.perf_counter(), []

    def report(done: int, total: int) -> None:
        finished.append((done, total))

    with raise_on_sigterm():
        found = encode_part(resolved, part, parts, choose_own_device(device), readers, report)
    seconds = time.perf_counter() - began
    kept = finished[0][0]
    rate = "" if kept else f": {found.hours / seconds * 3600:,.1f} hours of audio per hour"
    click.echo(
        f"part {part} of {parts}: {found.utterances} utterances, {found.rejects} rejects, {found.hours:.2f} h in "
        f"{seconds:.1f} s, {kept} kept{rate}"
    )


def _corpus(source: str, settings: tuple[str, ...]) -> "PluginChoice[CorpusPlugin]":
    from lina.config.loader import load_spec, typed_values

    if source.endswith((".yaml", ".yml")):
        spec = load_spec(source, settings)

        from lina.config.resolve import choose_plugin

        section, origin = spec.data, spec.origin
        return choose_plugin(
            "corpus", section.source, section.config, origin, ("data", "source"), ("data", "config")
        )
    tree, origin = typed_values(settings)

    from lina.config.resolve import choose_plugin

    return choose_plugin("corpus", source, tree, origin)


def _print(statistics: "CorpusStatistics") -> None:
    from lina.data.inspect import DURATION_EDGES

    click.echo(
        f"{statistics.utterances} utterances, {statistics.minutes:.1f} minutes, {statistics.words} words"
    )
    click.echo(
        f"durations: {statistics.shortest:.2f} s to {statistics.longest:.2f} s, median {statistics.median:.2f} s"
    )
    most = max(statistics.histogram, default=0)
    for low, high, count in zip(DURATION_EDGES, DURATION_EDGES[1:], statistics.histogram, strict=False):
        if count:
            click.echo(f"  {low:5g} to {high:4g} s {count:7} {'#' * -(-40 * count // most)}")
    speakers = [f"{name or '(unknown)'} {count}" for name, count in statistics.speakers.items()]
    click.echo(f"speakers: {_some(speakers)}")
    click.echo(f"characters: {''.join(statistics.characters)!r}")
    if not statistics.rejects:
        click.echo("rejects: none")
        return
    click.echo(f"rejects: {len(statistics.rejects)}")
    for kind, count in statistics.reject_kinds.items():
        click.echo(f"  {count:7} {kind}")
    for reject in statistics.rejects[:SHOWN]:
        click.echo(f"  {reject.where}: {reject.id}: {reject.reason}")
    if len(statistics.rejects) > SHOWN:
        click.echo(f"  and {len(statistics.rejects) - SHOWN} more")


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:SHOWN])
    return f"{shown} and {len(names) - SHOWN} more" if len(names) > SHOWN else shown or "none"
