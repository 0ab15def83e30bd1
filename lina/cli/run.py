"""``lina run``: everything that a spec asks for, or what is left of it."""

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pathlib import Path

    from lina.config.codec_spec import CodecSpec
    from lina.config.spec import Spec


@click.command(short_help="Train, evaluate and speak as a spec asks.")
@click.argument("spec")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
def run(spec: str, overrides: tuple[str, ...]) -> None:
    """Do what SPEC asks: data, training, evaluation, speech, report.

    All goes into one directory (train.out, by default runs/NAME). The same command
    again goes on where the last one was stopped; finished work is not redone.

    \b
    Example:
      lina run specs/first.yaml
      lina run specs/first.yaml train.steps=100 name=quick
    """
    from lina.config.loader import load_job
    from lina.config.spec import Spec

    asked = load_job(spec, overrides)
    directory = _speech(asked) if isinstance(asked, Spec) else _codec(asked)
    report = directory / "report.html"
    click.echo(f"done: {report if report.is_file() else directory}")


def _speech(spec: "Spec") -> "Path":
    from lina.config.resolve import resolve
    from lina.pipeline.speech_job import run_spec
    from lina.runs.hook_manager import build_manager

    resolved = resolve(spec)
    return run_spec(resolved, build_manager().hook)


def _codec(spec: "CodecSpec") -> "Path":
    from lina.config.codec_resolve import resolve_codec
    from lina.pipeline.codec_job import run_codec_spec
    from lina.runs.hook_manager import build_manager

    resolved = resolve_codec(spec)
    return run_codec_spec(resolved, build_manager().hook)
