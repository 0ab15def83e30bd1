"""Evaluation of a finished voice on a text set, outside of a run: ``lina evaluate`` and ``lina.evaluate``."""

from collections.abc import Sequence
from pathlib import Path

from lina.config.loader import typed_values
from lina.config.resolve import PluginChoice, choose_plugin
from lina.config.stored import load_run_spec
from lina.core.errors import LinaError
from lina.core.plugin import RecognizerPlugin
from lina.evaluation.records import TextSetEvaluation
from lina.evaluation.run import TextSetJob, evaluate_texts
from lina.evaluation.text_set import check_text_set, read_text_set
from lina.runs.checkpoint_store import find_checkpoint
from lina.runs.device import Device
from lina.runs.directory import locked, report
from lina.runs.hook_manager import build_manager
from lina.runs.hooks import Run
from lina.runs.signals import raise_on_sigterm
from lina.speech.voice_loading import load


def choose_recognizer(
    name: str | None, settings: Sequence[str] = ()
) -> PluginChoice[RecognizerPlugin] | None:
    """The recognizer plugin ``name``, configured by ``key=value`` pairs; None for no recognizer.

    Raises:
        LinaError: there is no such plugin, or a setting is wrong.
    """
    if name is None:
        if settings:
            raise LinaError(f"evaluate: {settings[0]}: there is no recognizer to configure; leave it out")
        return None
    return choose_plugin("recognizer", name, *typed_values(settings))


def evaluate_voice(
    directory: Path,
    texts: Path,
    *,
    out: Path,
    recognizer: PluginChoice[RecognizerPlugin] | None,
    settings: Sequence[str] = (),
    speaker: str | None = None,
    seed: int | None = None,
    device: Device = "auto",
    floor: bool = True,
) -> TextSetEvaluation:
    """Synthesize and score a text set with the voice in ``directory``; arguments as of ``lina.evaluate``.

    Raises:
        LinaError: the voice, the text set or a setting has a mistake; finished clips stay in ``out``.
    """
    items = read_text_set(texts)
    voice = load(directory, device, settings)
    check_text_set(items, voice)
    voice.resolve_options({"speaker": speaker, "seed": seed})
    spec = voice.resolved.spec
    job = TextSetJob(
        name=texts.stem,
        items=items,
        recognizer=recognizer,
        seed=spec.synthesize.seed if seed is None else seed,
        speaker=speaker,
        floor=floor,
        remarks=tuple(f"spoken with {setting}" for setting in settings),
    )
    with raise_on_sigterm(), locked(out):
        hooks = build_manager().hook
        checkpoint = find_checkpoint(directory)
        assert checkpoint is not None, "a voice was loaded from it"
        found = evaluate_texts(Run(out, spec), job, voice, checkpoint, hooks)
        report(Run(out, load_run_spec(directory)), hooks)
    return found
