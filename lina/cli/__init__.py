"""Command line: the command ``lina``, one module per command, with heavy imports deferred until needed."""

import gc
import sys
from collections.abc import Sequence

from lina.core.files.atomic import remove_unfinished
from lina.runs.signals import RunStopped, raise_on_sigterm

__all__ = ["main"]

FEW_COLLECTIONS = (50_000, 10, 10)
"""Thresholds of the garbage collector: imports make some 100,000 objects to keep, and searching them for cycles again
and again took a tenth of the time of a cold ``lina say``."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run ``lina`` and exit with its exit code.

    Signals are handled from here on: importing PyTorch alone takes seconds.
    """
    gc.set_threshold(*FEW_COLLECTIONS)
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
