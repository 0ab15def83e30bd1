"""Command line: the command ``lina``, one module per command, with heavy imports deferred until needed."""

import sys
from collections.abc import Sequence

from lina.core.files.atomic import remove_unfinished
from lina.runs.signals import RunStopped, raise_on_sigterm

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run ``lina`` and exit with its exit code.

    Signals are handled from here on: importing PyTorch alone takes seconds.
    """
    try:
        with raise_on_sigterm("run the same command again"):
            from lina.cli.app import run_command

            code = run_command(arguments)
    except RunStopped as error:
        print(f"lina: {error}", file=sys.stderr)
        code = error.exit_code
    except KeyboardInterrupt:
        print("lina: stopped", file=sys.stderr)
        code = 130
    finally:
        remove_unfinished()
    sys.exit(code)
