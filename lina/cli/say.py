"""``lina say``: synthesize a text, to the loudspeaker or into a WAV file."""

import logging
import sys
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, Literal, cast

import click

from lina.cli.loudspeaker import find_player, loudspeaker
from lina.cli.run_path import RunPath
from lina.core.errors import CheckpointError, DataError, LinaError, TextError, did_you_mean
from lina.engine.backend_names import BACKENDS
from lina.speech.default_voice import shipped_voice

MAX_STDIN = 1_000_000
"""Maximum characters read from standard input."""


@click.command(short_help="Synthesize a text.")
@click.argument("text", required=False)
@click.option("--file", "text_file", type=Path, metavar="FILE", help="Synthesize a text file, by sentences.")
@click.option("--carry", is_flag=True, hidden=True)  # the page on speaking explains hidden options
@click.option(
    "--run",
    "directory",
    type=RunPath(),
    metavar="DIR",
    help="A run or voice, or hf://ORG/NAME; default: own.",
)
@click.option("-o", "--out", type=Path, metavar="FILE", help="Write a WAV file instead of playing.")
@click.option("--speaker", metavar="NAME", help="One of the run's speakers.")
@click.option("--prompt", type=Path, metavar="FILE", help="Continue this recording, in its voice.")
@click.option("--prompt-text", "transcript", metavar="TEXT", help="Transcript of the prompt, word for word.")
@click.option("--temperature", metavar="T[,T...]", help="0 is greedy; a list has one per codebook.")
@click.option("--top-k", metavar="K[,K...]", help="Sample from the K most likely codes.")
@click.option("--top-p", metavar="P[,P...]", help="Sample from the most likely, P in sum.")
@click.option("--guidance", metavar="S", help="Above 1: follow the text more closely.")
@click.option("--best-of", metavar="N", help="Synthesize N times, keep the best aligned.")
@click.option("--seed", metavar="N", help="Random seed; reproduces the same speech.")
@click.option("--max-seconds", hidden=True)
@click.option(
    "--device",
    default="auto",
    type=click.Choice(["auto", "cpu", "cuda"]),
    help="Device of the model; default: auto.",
)
@click.option("--threads", type=click.IntRange(1), hidden=True)
@click.option("--backend", default="auto", type=click.Choice(BACKENDS), hidden=True)  # docs/engine.md
@click.option("--lexicon", type=Path, metavar="FILE", help="Lines of word, tab, phonemes.")
@click.option("--set", "settings", multiple=True, hidden=True)  # docs/speaking.md, "The attention window"
@click.option("-v", "--verbose", is_flag=True, help="Print alignment scores of each candidate.")
def say(
    text: str | None,
    text_file: Path | None,
    carry: bool,
    directory: Path | None,
    out: Path | None,
    speaker: str | None,
    prompt: Path | None,
    transcript: str | None,
    settings: tuple[str, ...],
    device: Literal["auto", "cpu", "cuda"],
    threads: int | None,
    backend: str,
    lexicon: Path | None,
    verbose: bool,
    **sampling: str | None,
) -> None:
    """Synthesize TEXT (- is standard input) or a file, as the run's spec sets it.

    \b
    Example:
      lina say --run runs/first "Good morning." -o morning.wav
    """
    if text is None and text_file is None:
        raise click.UsageError("say: pass TEXT or --file FILE")
    if text is not None and text_file is not None:
        raise LinaError("say: pass either TEXT or --file FILE, not both")
    options = _parse_sampling(sampling)
    if speaker is not None:
        options["speaker"] = speaker
    text = _from_stdin() if text == "-" else text
    if text is not None and not text.strip():
        raise TextError("the text to say is empty; pass at least one word")
    directory = shipped_voice() if directory is None else directory
    check_run_exists(directory, "--run")
    player = find_player() if out is None else ""
    if out is not None:
        _check_output(out)
    if prompt is not None or transcript is not None:
        options["prompt"] = _prompt(prompt, transcript)

    from lina.cli.say_file import read_file
    from lina.speech.loaded import LoadedVoice

    logging.getLogger("lina.engine").setLevel(logging.INFO if verbose else logging.WARNING)
    loaded = LoadedVoice(directory, device, settings, threads, lexicon, cast(Any, backend))
    started = time.perf_counter()
    if carry:
        options["carry"] = True
    if verbose:
        options["on_sentence"] = lambda sentence: click.echo(_candidate_table(sentence))
    chunks = (
        read_file(loaded, cast(Path, text_file), **options)
        if text is None
        else loaded.stream(text, **options)
    )
    seconds = _output(out, player, loaded.sample_rate, chunks)
    click.echo(f"{out or 'played'}: {seconds:.2f} s of speech in {time.perf_counter() - started:.2f} s")


def _prompt(recording: Path | None, transcript: str | None) -> Any:
    from lina.core.audio.read import check_file
    from lina.speech.prompt import Prompt

    if recording is None:
        raise LinaError(
            "--prompt-text is the transcript of a recording; pass the recording with --prompt FILE"
        )
    if transcript is None or not transcript.strip():
        raise LinaError(f"--prompt {recording}: pass its transcript with --prompt-text, word for word")
    return Prompt(check_file(recording), transcript)


def _candidate_table(sentence: Any) -> str:
    """Format one line per candidate of a sentence, with the best marked."""
    lines = [sentence.input.text, "  seed  frames  skipped  repeated  unread  stopped     cost"]
    for one in sentence.candidates:
        errors = one.alignment
        shares = f"{errors.skipped:7.1%}  {errors.repeated:8.1%}  {errors.unread:6.1%}"
        stopped = "yes" if errors.stopped else "no"
        lines.append(
            f"{'*' if one == sentence.candidate else ' '} {one.seed:4}  {one.frames:6}  {shares}  {stopped:>7}  "
            f"{errors.alignment_cost:7.3f}"
        )
    return "\n".join(lines)


def _output(out: Path | None, player: str, sample_rate: int, chunks: Iterator[Any]) -> float:
    """Write or play the chunks as they are computed; return the duration in seconds."""
    from lina.core.audio.wav import WavWriter

    first = next(chunks, None)
    if first is None:
        raise LinaError("the model ended at once, without speech; train it longer, or try another --seed")
    samples = 0
    channels = first.shape[0]
    if out is None:
        context = loudspeaker(player, sample_rate, channels)
    else:
        context = WavWriter(out, sample_rate, channels=channels)
    with context as sink:
        write = sink if out is None else sink.write
        for chunk in chain([first], chunks):
            write(chunk)
            samples += chunk.shape[1]
    return samples / sample_rate


def _parse_sampling(arguments: dict[str, str | None]) -> dict[str, Any]:
    """Parse the sampling options, with the types and bounds of a spec's ``synthesize`` section."""
    values = {name: value for name, value in arguments.items() if value is not None}
    if not values:
        return {}
    from lina.config.option_values import option_values
    from lina.config.sections import SynthesizeSection
    from lina.config.validation import validate

    section = validate(SynthesizeSection, *option_values(values))
    return {name: getattr(section, name) for name in values}


def _from_stdin() -> str:
    if sys.stdin is None:
        raise TextError("standard input is closed; pass the text itself instead of -")
    try:
        text = sys.stdin.read(MAX_STDIN + 1)
    except UnicodeDecodeError as error:
        raise TextError(f"standard input is not text in {error.encoding}: {error.reason}") from None
    if len(text) > MAX_STDIN:
        raise TextError(
            f"standard input has more than {MAX_STDIN} characters; synthesize it in parts, or use --file"
        )
    return text.strip()


def check_run_exists(directory: Path, argument: str) -> None:
    """Fail before a model is loaded if there is no such run.

    Raises:
        CheckpointError: ``directory`` is a file or does not exist.
    """
    if directory.is_file():
        raise CheckpointError(f"{directory}: is a file; {argument} names the directory of a run")
    if not directory.is_dir():
        runs = sorted(str(spec.parent) for spec in directory.parent.glob("*/spec.yaml"))[:20]
        hint = did_you_mean(str(directory), runs)
        raise CheckpointError(f"{directory}: there is no such run{hint}; train one with: lina run SPEC")


def _check_output(out: Path) -> None:
    if out.exists() and not out.is_file():
        raise DataError(f"{out}: is not a regular file; name a file such as out.wav")
    if out.suffix.lower() != ".wav":
        # Another suffix means another format, or a slip that would overwrite a file of another kind.
        raise DataError(f"{out}: speech is written as WAV; name a file such as {out.stem or 'out'}.wav")
    if not out.parent.is_dir():
        raise DataError(f"{out}: there is no folder {out.parent}; create it first")
