"""``lina plugins``: list installed plugins and their states."""

import json

import click


@click.command(short_help="List every installed plugin and its state.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def plugins(as_json: bool) -> None:
    """List every installed plugin: role, name, distribution, version, state.

    Each is imported in a process of its own: a broken one is listed with its reason.
    The environment variable LINA_PLUGINS, if it is set, lists the only ones that are
    let in: role:name, distribution:name or distributions, separated by commas.

    \b
    Example:
      lina plugins
      lina plugins --json
    """
    from lina.cli.installed_extras import missing_packages
    from lina.cli.plugin_states import states

    found = states()
    if as_json:
        rows = [{**vars(one.record), "state": one.state, "reason": one.reason} for one in found]
        click.echo(json.dumps(rows, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("role", "name", "distribution", "version", "state", box=None, pad_edge=False)
    for one in found:
        record = one.record
        table.add_row(record.role, record.name, record.distribution, record.version, one.state)
    console = Console(markup=False, highlight=False)
    console.print(table)
    for one in found:
        if one.reason:
            console.print(f"{one.record.full_name}: {one.reason}", soft_wrap=True)
    for extra, missing in missing_packages().items():
        if missing:
            absent = ", ".join(missing)
            console.print(
                f"extra {extra}: {absent} not installed; pip install 'lina[{extra}]'", soft_wrap=True
            )
        else:
            console.print(f"extra {extra}: installed")
