"""Text-to-speech with linear-attention language models over neural-codec tokens.

``load`` a voice, ``run`` a spec, ``evaluate`` and ``export`` a run; hook plugins use ``hookimpl``, ``Section`` and
``read_metrics``. Authors of other plugins use ``lina.core``. Importing ``lina`` imports no torch: modules are loaded at
the first use of a name.
"""

import importlib
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    __version__: str
    from lina.core.model.stack import Layers
    from lina.engine.backend_names import BackendName
    from lina.evaluation.records import TextSetEvaluation
    from lina.runs.device import Device
    from lina.runs.files import read_init
    from lina.runs.hooks import Run, Section, hookimpl
    from lina.runs.metrics import read_metrics
    from lina.speech.export import Export
    from lina.speech.loaded import LoadedVoice
    from lina.speech.model import SpeechModel
    from lina.speech.prompt import Prompt

__all__ = [
    "Prompt",
    "Run",
    "Section",
    "__version__",
    "build_backbone",
    "evaluate",
    "export",
    "hookimpl",
    "load",
    "load_model",
    "read_init",
    "read_metrics",
    "run",
]

_MODULE_OF = {
    "Prompt": "lina.speech.prompt",
    "Run": "lina.runs.hooks",
    "Section": "lina.runs.hooks",
    "hookimpl": "lina.runs.hooks",
    "read_init": "lina.runs.files",
    "read_metrics": "lina.runs.metrics",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF and name != "__version__":
        raise AttributeError(f"module 'lina' has no attribute {name!r}")
    value = _version() if name == "__version__" else getattr(importlib.import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version  # which parse mail headers

    for distribution in ("lina", "lina-voice"):
        with suppress(PackageNotFoundError):
            return version(distribution)
    return "0.0.0+source"  # a tree that is on the path without being installed


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _require_pytorch() -> None:
    from lina.core.process.pytorch import require_pytorch

    require_pytorch()


def load(
    run: str | Path | None = None,
    settings: Sequence[str] = (),
    *,
    device: "Device" = "auto",
    threads: int | None = None,
    lexicon: str | Path | None = None,
    backend: "BackendName" = "auto",
) -> "LoadedVoice":
    """Load the voice of a run, finished or not, or of a directory that ``export`` wrote.

    ``voice.say(text)`` returns audio as an array float32 [C, N] in [-1, 1]; ``voice.stream(text)`` yields it in chunks
    [C, n]. Where graphs have been exported, as for the voice that comes with lina, a CPU speaks without PyTorch.

    Args:
        run: the directory, such as ``runs/first``, or an address on the Hugging Face hub,
            ``hf://ORGANIZATION/NAME@REVISION``; by default the voice that comes with lina.
        settings: values for keys of the spec's ``synthesize``, such as ``"synthesize.window={}"``.
        device: ``auto`` (a CUDA device if there is one; exported graphs speak short texts on the CPU until it is
            ready), ``cpu`` or ``cuda``.
        threads: CPU threads of PyTorch within the voice's calls; by default 1 for a model of at most 64 million
            parameters, and PyTorch's own number for a larger one. ``torch.set_num_threads`` stays as it is outside.
        lexicon: a file with a word, a tab and its phonemes per line, instead of the spec's ``synthesize.lexicon``.
        backend: of the decode engine: ``auto``, ``eager`` (PyTorch), ``onnx`` (onnxruntime; exports the graphs of a run
            that has none) or ``onnx-int8`` (with products in 8 bits); for GPUs ``graph`` and ``compiled``.

    Raises:
        LinaError: there is no such device or backend, or ``threads`` is not a number of threads.
        SpecError: a setting is wrong.
        CheckpointError: the directory is missing or has no undamaged checkpoint.
        DataError: the hub cannot be reached, or has no such repository.
        PluginError: a plugin of the run is missing or has another version.
        TextError: the lexicon cannot be read, or the run's tokenizer has no phonemes.
    """
    from lina.speech.default_voice import voice_directory
    from lina.speech.loaded import LoadedVoice

    return LoadedVoice(voice_directory(run), device, settings, threads, lexicon, backend)


def build_backbone(
    name: str,
    *,
    d_model: int,
    n_layers: int,
    final_norm: Literal["own", "layer", "rms", "none"] = "own",
    **options: Any,
) -> "Layers":
    """Build a backbone by itself, with random weights: an ``nn.Module`` from [B, T, d_model] to [B, T, d_model].

    ``module(x)`` begins from the initial state, in time linear in T; ``module.step(x_t, state)`` takes one frame, and
    ``module.initial_state(batch)`` gives the state before the first.

    Args:
        name: the plugin, such as ``gla`` (``lina plugins`` lists them).
        d_model: width of inputs and outputs.
        n_layers: depth.
        final_norm: the norm of the outputs: as the architecture has it (``own``), or the same for all.
        options: the plugin's keys, such as ``n_heads=4``.

    Raises:
        PluginError: there is no such backbone, or its stack is none of ``lina.core.Layers``.
        SpecError: an argument or option is unknown, of another type or out of range, or sizes do not fit each other.
        LinaError: PyTorch is not installed.
    """
    _require_pytorch()
    from lina.runs.build_model import build_backbone as build

    return build(name, d_model=d_model, n_layers=n_layers, final_norm=final_norm, options=options)


def load_model(run: str | Path | None = None, *, device: "Device" = "auto") -> "SpeechModel":
    """Load the language model of a run or voice as an ``nn.Module`` in evaluation mode, in float32.

    ``model(codes, text)`` gives logits for training, ``model.generate(text, max_frames=...)`` codes;
    ``model.state_dict()`` has the names of ``model.safetensors``.

    Args:
        run: as in ``load``.
        device: as in ``load``.

    Raises:
        LinaError: as ``load``, or PyTorch is not installed.
    """
    _require_pytorch()
    from lina.speech.default_voice import voice_directory
    from lina.speech.voice_loading import load as load_voice

    model: SpeechModel = load_voice(voice_directory(run), device, backend="eager").model  # type: ignore[assignment]
    return model


def run(spec: str | Path, settings: Sequence[str] = ()) -> Path:
    """Run a spec of either job, as ``lina run SPEC KEY=VALUE...``, and return the run directory.

    The same call resumes an interrupted run; finished stages are not redone.

    Args:
        spec: a YAML file, such as ``specs/first.yaml``.
        settings: ``key=value`` pairs that override the spec, such as ``"train.steps=100"``.

    Raises:
        SpecError: the spec has a mistake; the message names file, line and key.
        PluginError: a plugin is missing or broken.
        LinaError: the data or the run directory has a mistake, or a signal stopped the run. Finished work stays.
    """
    _require_pytorch()
    from lina.config.loader import load_job
    from lina.config.spec import Spec
    from lina.config.training_choices import hook_choices
    from lina.runs.hook_manager import build_manager
    from lina.runs.made_with import made_with
    from lina.training.launcher import is_rank, launch
    from lina.training.process_group import is_main_process

    job = load_job(spec, settings)
    if isinstance(job, Spec):
        from lina.config.resolve import resolve
        from lina.pipeline.speech_job import run_spec

        start = partial(run_spec, resolve(job, made_with(job.train.out)))
    else:
        from lina.config.codec_resolve import resolve_codec
        from lina.pipeline.codec_job import run_codec_spec

        start = partial(run_codec_spec, resolve_codec(job))
    if job.train.gpus > 1 and not is_rank():
        launch(job.train, [str(spec), *settings])
        return job.train.out
    chosen = hook_choices(job)
    manager = build_manager(chosen=chosen) if is_main_process() else build_manager(())
    return start(manager.hook)


def evaluate(
    run: str | Path,
    texts: str | Path,
    settings: Sequence[str] = (),
    *,
    out: str | Path | None = None,
    recognizer: str | None = "faster-whisper",
    speaker: str | None = None,
    seed: int | None = None,
    device: "Device" = "auto",
) -> "TextSetEvaluation":
    """Synthesize a set of texts and measure error rates, naturalness and speed, as ``lina evaluate``.

    Clips and results are kept in ``out/evaluations``; the same call resumes an interrupted evaluation.

    Args:
        run: a run directory or an exported voice.
        texts: a file with one text per line, or a ``.jsonl`` manifest, whose recordings and their codec resynthesis are
            measured, too.
        settings: values for keys of the spec's ``synthesize``, such as ``"synthesize.best_of=3"``.
        out: directory for the results; by default ``run``.
        recognizer: name of a recognizer plugin; None measures no error rates.
        speaker: one of the run's speakers.
        seed: seed of the sampling; the spec's by default.
        device: as in ``load``.

    Raises:
        DataError: the texts cannot be read.
        LinaError: as in ``load``, or the recognizer is missing.
    """
    _require_pytorch()
    from lina.pipeline.text_set_job import choose_recognizer, evaluate_voice

    return evaluate_voice(
        Path(run),
        Path(texts),
        out=Path(run if out is None else out),
        recognizer=choose_recognizer(recognizer),
        settings=settings,
        speaker=speaker,
        seed=seed,
        device=device,
    )


def export(
    run: str | Path,
    out: str | Path,
    weights: Literal["int8", "bfloat16", "float32"] = "int8",
    files: Sequence[str | Path] = (),
    graphs: bool = False,
) -> "Export":
    """Write the files that a run needs to speak into the new directory ``out``, as ``lina export``.

    Args:
        run: a run directory with at least one checkpoint; its averaged weights are taken where it keeps them.
        out: the directory to create; ``load``, ``evaluate`` and a spec's ``init`` take it like a run.
        weights: storage of the weight matrices.
        files: files outside of ``run`` that its spec names and that may be copied, such as the weights of its codec.
        graphs: add graphs, by which CPUs speak without PyTorch; needs ``pip install 'lina[onnx]'``.

    Raises:
        LinaError: the graphs cannot be exported.
        CheckpointError: there is no run, no undamaged checkpoint, a weight is not finite, or a file outside of ``run``
            is not in ``files``.
        DataError: ``out`` exists, or its parent does not.
    """
    _require_pytorch()
    from lina.speech.export import export as write

    return write(Path(run), Path(out), weights, [Path(one) for one in files], graphs=graphs)
