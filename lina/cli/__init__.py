"""What a person types: the command ``lina``, a file a command. Imports nothing heavy before it is needed."""

from lina.cli.app import main

__all__ = ["main"]
