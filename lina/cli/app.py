"""Entry point of the command line: commands, error messages and exit codes.

Exit codes: 0 success, 1 a failed law or a bug (with traceback), 2 a user error (one line), 75 stopped by a signal and
resumable, 130 stopped by Ctrl-C.
"""

import importlib
import io
import logging
import os
import sys
from collections.abc import Sequence

import click

import lina
from lina.cli.extra import extra_commands
from lina.core.errors import SYSTEM_ERRORS, LinaError, did_you_mean, is_out_of_memory, out_of_memory
from lina.core.process.pytorch import require_pytorch

COMMANDS = {
    "run": "lina.cli.run",
    "plan": "lina.cli.plan",
    "say": "lina.cli.say",
    "compare": "lina.cli.compare",
    "evaluate": "lina.cli.evaluate",
    "export": "lina.cli.export",
    "plugins": "lina.cli.plugins",
    "check": "lina.cli.check",
    "new": "lina.cli.new",
    "data": "lina.cli.data",
    "doctor": "lina.cli.doctor",
    "convert": "lina.cli.convert",
}
"""Name of each command -> module with an attribute of that name."""


class LazyCommands(click.Group):
    """Command group that imports commands on demand, including those of hook plugins."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS, *extra_commands(COMMANDS)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return extra_commands(COMMANDS).get(cmd_name)
        try:
            command: click.Command = getattr(importlib.import_module(COMMANDS[cmd_name]), cmd_name)
        except ModuleNotFoundError as error:
            if error.name != COMMANDS[cmd_name]:
                raise
            return None
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if self.get_command(ctx, args[0]) is None and not ctx.resilient_parsing:
            ctx.fail(f"no command {args[0]!r}{did_you_mean(args[0], self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)


def _show_version(ctx: click.Context, option: click.Parameter, value: bool) -> None:
    if value:
        click.echo(f"lina, version {lina.__version__}")
        ctx.exit()


@click.group(
    cls=LazyCommands, context_settings={"max_content_width": 80, "help_option_names": ["-h", "--help"]}
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
def cli() -> None:
    """Text-to-speech with linear-attention language models.

    \b
    Example:
      lina say "Good morning." -o morning.wav
    """


def run_command(arguments: Sequence[str] | None = None) -> int:
    """Run ``lina`` and return its exit code."""
    _let_waiting_threads_sleep()
    _log_to_stderr()
    _print_any_name()
    return _run(arguments)


def _let_waiting_threads_sleep() -> None:
    """Let waiting OpenMP threads spin briefly, then sleep, unless the environment configures this.

    Long spinning (GNU's default) takes cores from threads with work as soon as another program runs; without spinning,
    waking threads slows training by a sixth on two idle cores. OpenMP reads the variable when PyTorch is imported.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "2000")


def _run(arguments: Sequence[str] | None) -> int:
    try:
        code = cli.main(args=arguments, prog_name="lina", standalone_mode=False)
    except LinaError as error:
        kind = "error: " if error.exit_code == LinaError.exit_code else ""
        click.echo(f"lina: {kind}{' '.join(str(error).split())}", err=True)
        return error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.ClickException as error:
        context = error.ctx if isinstance(error, click.UsageError) else None
        help_at = f"; see: {context.command_path} --help" if context else ""
        message = " ".join(error.format_message().split())
        click.echo(f"lina: error: {message.removesuffix('.')}{help_at}", err=True)
        return error.exit_code
    except OSError as error:
        if error.errno not in SYSTEM_ERRORS:
            _name_plugin(error)
            raise
        where = f"{_short(str(error.filename))}: " if error.filename else ""
        click.echo(f"lina: error: {where}{error.strerror}; fix this and try again", err=True)
        return LinaError.exit_code
    except click.Abort:
        click.echo("lina: stopped", err=True)
        return 130
    except Exception as error:
        known = out_of_memory(error) if is_out_of_memory(error) else _missing_pytorch(error)
        if known is not None:
            click.echo(f"lina: error: {known}", err=True)
            return LinaError.exit_code
        _name_plugin(error)
        raise
    return code if isinstance(code, int) else 0


def _missing_pytorch(error: Exception) -> LinaError | None:
    """The line for a command that imports PyTorch, or what comes with it, where that is missing: in ``lina-voice``.

    None for a plugin that lacks a package of its own.
    """
    if not isinstance(error, ModuleNotFoundError):
        return None
    from lina.cli.plugin_traceback import plugin_at_fault

    if (error.name or "").partition(".")[0] in ("lina", "torch") or plugin_at_fault(error) is None:
        try:
            require_pytorch()
        except LinaError as missing:
            return missing
    return None


def _name_plugin(error: Exception) -> None:
    """Print which installed plugin raised an error, if one did, before its traceback."""
    from lina.cli.plugin_traceback import plugin_at_fault

    if line := plugin_at_fault(error):
        click.echo(f"lina: {line}", err=True)


def _print_any_name() -> None:
    """Escape bytes of file names that are not text, instead of failing to print them."""
    out = sys.stdout
    if isinstance(out, io.TextIOWrapper) and out.errors == "strict":
        out.reconfigure(errors="backslashreplace")


def _short(path: str) -> str:
    return path if len(path) <= 200 else f"{path[:100]} ... {path[-50:]}"


def _log_to_stderr() -> None:
    log = logging.getLogger("lina")
    # Users see which kernels run and which parts a spec's initialization leaves out.
    log.setLevel(logging.INFO)
    if not any(isinstance(handler, _ToStderr) for handler in log.handlers):
        log.addHandler(_ToStderr())


class _ToStderr(logging.Handler):
    """Handler that prints ``lina: MESSAGE`` or ``lina: warning: MESSAGE``."""

    def emit(self, record: logging.LogRecord) -> None:
        level = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        click.echo(f"lina: {level}{self.format(record)}", err=True)
