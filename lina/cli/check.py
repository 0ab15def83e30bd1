"""``lina check``: run the laws on one plugin."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from lina.core.errors import PluginError, did_you_mean, one_line
from lina.core.registry import Record, find, load_record, records

if TYPE_CHECKING:
    from lina.core.laws import LawCase, LawResult

TRAINING = ("optimizer", "schedule", "loss")
WITH_LAWS = ("backbone", "codec", "tokenizer", *TRAINING, "hook")


@click.command(short_help="Check that a plugin passes the laws.")
@click.argument("name")
@click.option("--device", default="cpu", show_default=True, help="Device of the checks: cpu or cuda.")
@click.pass_context
def check(ctx: click.Context, name: str, device: str) -> None:
    """Run the laws on the plugin NAME (or role:name, such as codec:encodec).

    The plugin is built from its own example. The exit code is 1 if a law fails;
    a law that cannot be run counts as failed. Laws are in the order of causes:
    the first that fails is the likeliest cause of those after it.

    \b
    Example:
      lina check gla
    """
    record = _record(name)
    plugin = load_record(record)

    if device != "cpu":
        _require(device)
    click.echo(f"{record}")
    results = []
    for case in cases_of(record.role, device)(plugin):
        results.append(case.run())
        _print(results[-1])
    failed = [result for result in results if result.failed]
    inapplicable = sum(result.outcome == "not applicable" for result in results)
    if failed:
        click.echo(f"likeliest cause: {failed[0].case}: {' '.join(failed[0].detail.split())}")
    passed = len(results) - len(failed) - inapplicable
    click.echo(f"{passed} passed, {len(failed)} failed, {inapplicable} not applicable")
    ctx.exit(1 if failed else 0)


def cases_of(role: str, device: str = "cpu") -> "Callable[[Any], list[LawCase]]":
    """The function that gives all cases of a plugin of this role."""
    from lina.core.laws import law_cases
    from lina.core.laws.training import training_law_cases
    from lina.runs.hook_laws import hook_law_cases

    if role == "hook":
        return hook_law_cases
    return training_law_cases if role in TRAINING else partial(law_cases, device=device)


def _print(result: "LawResult") -> None:
    state = {"passed": "ok", "failed": "FAILED", "not applicable": "n/a"}[result.outcome]
    click.echo(f"{state:7}{result.case:60}{result.seconds:8.2f} s")
    if result.detail:
        click.echo(f"       {' '.join(result.detail.split())}")


def _require(device: str) -> None:
    import torch

    try:
        torch.empty(0, device=device)
    except Exception as error:
        raise PluginError(
            f"--device {device}: not usable here ({one_line(error)[:100]}); pass cpu, or cuda where there is a GPU"
        ) from None


def _record(name: str) -> Record:
    role, colon, plain = name.partition(":")
    if colon and role in WITH_LAWS:
        return find(role, plain)
    candidates = [record for record in records() if record.role in WITH_LAWS]
    found = sorted({record.role for record in candidates if record.name == name})
    if len(found) == 1:
        return find(found[0], name)
    if found:
        choices = " or ".join(f"{role}:{name}" for role in found)
        raise PluginError(f"{name!r} is the name of several plugins; use {choices}")
    known = {record.full_name if colon else record.name for record in candidates}
    raise PluginError(f"no plugin with laws is named {name!r}{did_you_mean(name, known)}")
