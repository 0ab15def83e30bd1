"""``lina say``: a text spoken by a voice, aloud or into a WAV file."""

import sys
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, Literal, cast

import click

from lina.cli.loudspeaker import find_player, loudspeaker
from lina.core.errors import CheckpointError, DataError, LinaError, TextError, did_you_mean
from lina.speech.default_voice import shipped_voice

MAX_STDIN = 1_000_000
"""Characters read from standard input."""


@click.command(short_help="Speak a text.")
@click.argument("text", required=False)
@click.option("--file", "book", type=Path, metavar="FILE", help="Read this text file, sentence by sentence.")
@click.option("--carry", is_flag=True, help="One state of the model for all sentences.")
@click.option(
    "--run",
    "directory",
    type=Path,
    metavar="DIR",
    help="A run, or an exported voice; lina's own if left out.",
)
@click.option("-o", "--out", type=Path, metavar="FILE", help="WAV file to write, instead of playing it.")
@click.option("--speaker", metavar="NAME", help="One of the run's speakers.")
@click.option("--prompt", type=Path, metavar="FILE", help="Go on from this recording, in its voice.")
@click.option("--prompt-text", "transcript", metavar="TEXT", help="What is said in it.")
@click.option("--temperature", metavar="T[,T...]", help="0 is greedy; a list has one a codebook.")
@click.option("--top-k", metavar="K[,K...]", help="Sample among the K likeliest codes.")
@click.option("--top-p", metavar="P[,P...]", help="Sample among the likeliest, P in sum.")
@click.option("--guidance", metavar="S", help="Above 1: follow the text more closely.")
@click.option("--best-of", metavar="N", help="Speak each sentence N times, keep the best aligned.")
@click.option("--seed", metavar="N", help="The same seed says it the same way.")
@click.option("--max-seconds", metavar="S", help="Cut each sentence there.")
@click.option(
    "--device",
    default="auto",
    type=click.Choice(["auto", "cpu", "cuda"]),
    show_default=True,
    help="Of the model.",
)
@click.option(
    "--threads", type=click.IntRange(1), metavar="N", help="CPU threads; 1 for small models if left out."
)
@click.option(
    "--lexicon", type=Path, metavar="FILE", help="Words with phonemes, a tab between, one per line."
)
@click.option("--set", "settings", multiple=True, hidden=True)  # docs/speaking.md, "The attention window"
@click.option("-v", "--verbose", is_flag=True, help="Print alignment scores of each candidate.")
def say(
    text: str | None,
    book: Path | None,
    carry: bool,
    directory: Path | None,
    out: Path | None,
    speaker: str | None,
    prompt: Path | None,
    transcript: str | None,
    settings: tuple[str, ...],
    device: Literal["auto", "cpu", "cuda"],
    threads: int | None,
    lexicon: Path | None,
    verbose: bool,
    **sampling: str | None,
) -> None:
    """Speak TEXT (- is standard input) or a file; the run's spec has the defaults.

    \b
    Example:
      lina say --run runs/first "Good morning." -o morning.wav
    """
    if text is None and book is None:
        raise click.UsageError("say: pass TEXT or --file FILE")
    if text is not None and book is not None:
        raise LinaError("say: pass either TEXT or --file FILE, not both")
    options = _checked(sampling)
    if speaker is not None:
        options["speaker"] = speaker
    text = _from_stdin() if text == "-" else text
    if text is not None and not text.strip():
        raise TextError("the text to say is empty; give at least one word")
    directory = shipped_voice() if directory is None else directory
    look_at_run(directory, "--run")
    player = find_player() if out is None else ""
    if out is not None:
        _look_at_file(out)
    if prompt is not None or transcript is not None:
        options["prompt"] = _prompt(prompt, transcript)

    from lina.cli.reading import read_file
    from lina.speech import voice

    speaking = voice.load(directory, device, settings, threads, lexicon)
    began = time.perf_counter()
    if carry:
        options["carry"] = True
    if verbose:
        options["on_sentence"] = lambda sentence: click.echo(_table(sentence))
    chunks = (
        read_file(speaking, cast(Path, book), **options) if text is None else speaking.stream(text, **options)
    )
    seconds = _give(out, player, speaking.sample_rate, chunks)
    click.echo(f"{out or 'played'}: {seconds:.2f} s of speech in {time.perf_counter() - began:.2f} s")


def _prompt(recording: Path | None, transcript: str | None) -> Any:
    from lina.core.audio.read import check_file
    from lina.speech.prompt import Prompt

    if recording is None:
        raise LinaError("--prompt-text is what is said in a recording; name it with --prompt FILE")
    if transcript is None or not transcript.strip():
        raise LinaError(f"--prompt {recording}: say with --prompt-text what is said in it, word for word")
    return Prompt(check_file(recording), transcript)


def _table(sentence: Any) -> str:
    """A line for each candidate of a sentence, the best marked."""
    lines = [sentence.script.text, "  seed  frames  skipped  repeated  unread  stopped  badness"]
    for one in sentence.candidates:
        judged = one.alignment
        shares = f"{judged.skipped:7.1%}  {judged.repeated:8.1%}  {judged.unread:6.1%}"
        stopped = "yes" if judged.stopped else "no"
        lines.append(
            f"{'*' if one == sentence.candidate else ' '} {one.seed:4}  {one.frames:6}  {shares}  {stopped:>7}  "
            f"{judged.badness:7.3f}"
        )
    return "\n".join(lines)


def _give(out: Path | None, player: str, sample_rate: int, chunks: Iterator[Any]) -> float:
    """Write or play each chunk as it is made; the duration in seconds."""
    from lina.core.audio.read import WavWriter

    first = next(chunks, None)
    if first is None:
        raise LinaError("the model ended at once and said nothing; train it longer, or try another --seed")
    samples = 0
    channels = first.shape[0]
    if out is None:
        giving = loudspeaker(player, sample_rate, channels)
    else:
        giving = WavWriter(out, sample_rate, channels=channels)
    with giving as sink:
        give = sink if out is None else sink.write
        for chunk in chain([first], chunks):
            give(chunk)
            samples += chunk.shape[1]
    return samples / sample_rate


def _checked(typed: dict[str, str | None]) -> dict[str, Any]:
    """The sampling options as values, under the bounds of a spec's ``synthesize`` section."""
    from lina.config.loader import typed_values
    from lina.config.sections import SynthesizeSection
    from lina.config.validation import validate

    given = {name: value for name, value in typed.items() if value is not None}
    lists = {name: f"[{value}]" if "," in value else value for name, value in given.items()}
    tree, origin = typed_values([f"{name}={value}" for name, value in lists.items()])
    section = validate(SynthesizeSection, tree, origin)
    return {name: getattr(section, name) for name in given}


def _from_stdin() -> str:
    if sys.stdin is None:
        raise TextError("standard input is closed; give the text itself instead of -")
    try:
        text = sys.stdin.read(MAX_STDIN + 1)
    except UnicodeDecodeError as error:
        raise TextError(f"standard input is not text in {error.encoding}: {error.reason}") from None
    if len(text) > MAX_STDIN:
        raise TextError(f"standard input has more than {MAX_STDIN} characters; say it in parts")
    return text.strip()


def look_at_run(directory: Path, argument: str) -> None:
    """What can be seen to fail at once should not first cost the loading of a model."""
    if directory.is_file():
        raise CheckpointError(f"{directory}: is a file; {argument} names the directory of a run")
    if not directory.is_dir():
        runs = sorted(str(spec.parent) for spec in directory.parent.glob("*/spec.yaml"))[:20]
        hint = did_you_mean(str(directory), runs)
        raise CheckpointError(f"{directory}: there is no such run{hint}; make one with: lina run SPEC")


def _look_at_file(out: Path) -> None:
    if out.exists() and not out.is_file():
        raise DataError(f"{out}: is not a regular file; name a file such as out.wav")
    if out.suffix.lower() != ".wav":
        # Anything else is either a hope for another format or a slip that would overwrite a file of another kind.
        raise DataError(f"{out}: speech is written as WAV; name a file such as {out.stem or 'out'}.wav")
    if not out.parent.is_dir():
        raise DataError(f"{out}: there is no folder {out.parent}; make it first")
