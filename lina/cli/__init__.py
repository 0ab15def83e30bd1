"""Command line: the command ``lina``, one module per command, with heavy imports deferred until needed."""

from lina.cli.app import main

__all__ = ["main"]
