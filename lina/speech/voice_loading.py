"""Loading of a run or an exported voice as a ``Voice``."""

from collections.abc import Sequence
from pathlib import Path

from lina.config.resolve import resolve
from lina.config.run_files import SPEC_FILE
from lina.config.stored import load_run_spec
from lina.core.errors import CheckpointError, LinaError, SpecError, did_you_mean
from lina.core.model.allocation_limit import AllocationLimit, TooLargeError
from lina.core.model.skip_init import SkipInit
from lina.core.process.malloc import keep_freed_memory
from lina.core.text.speakable import speaking_tokenizer
from lina.engine.backend_names import BACKENDS, BackendName
from lina.runs.build_model import build_codec, build_lm
from lina.runs.checkpoint import count_numbers, load_weights
from lina.runs.checkpoint_store import find_checkpoint
from lina.runs.device import Device, choose_device
from lina.runs.layout import build_tokenizer, read_speakers
from lina.runs.lexicon_copy import lexicon_of
from lina.runs.made_with import made_with
from lina.runs.provenance import warn_of_changes
from lina.speech.graphs import find_graphs
from lina.speech.model import SpeechModel
from lina.speech.voice import Voice
from lina.speech.warm_up import open_device, warm_up


def load(
    directory: str | Path,
    device: Device = "auto",
    settings: Sequence[str] = (),
    threads: int | None = None,
    lexicon: str | Path | None = None,
    backend: BackendName = "auto",
) -> Voice:
    """Load the newest checkpoint of a run, with its averaged weights if it has them.

    ``device``: as ``train.device``. ``settings``: overrides of the spec's ``synthesize`` section, such as
    ``synthesize.window.ahead=8``. ``threads``: as in ``lina.speech.threads.choose_threads``. ``lexicon``: a file with a
    word, a tab and its phonemes per line, instead of the spec's ``synthesize.lexicon``. ``backend``: of the engine.

    Raises:
        LinaError: the device is not available, ``threads`` is not a number of threads, or there is no such backend.
        SpecError: a setting is not a key of ``synthesize``, or has a wrong value.
        CheckpointError: there is no such run, or it has no complete checkpoint.
        TextError: the lexicon cannot be read, or the run's tokenizer has no phonemes.
    """
    directory, torch_device = Path(directory), choose_device(device)
    if backend not in BACKENDS:
        raise LinaError(f"backend: unknown backend {backend!r}{did_you_mean(backend, BACKENDS)}")
    open_device(torch_device)
    for setting in settings:
        if not setting.startswith("synthesize."):
            raise SpecError(
                f"command line: {setting!r}: only synthesize.* keys can be overridden for a finished run, "
                "e.g. synthesize.seed=1"
            )
    keep_freed_memory()
    if not (directory / SPEC_FILE).is_file():
        raise CheckpointError(
            f"{directory}: is not a run (it has no {SPEC_FILE}); train one with: lina run SPEC"
        )
    checkpoint = find_checkpoint(directory)
    if checkpoint is None:
        raise CheckpointError(
            f"{directory}: has no complete checkpoint yet; train it with: lina run {directory / SPEC_FILE}"
        )
    resolved = resolve(load_run_spec(directory, settings), made_with(directory))
    backbones = [one.record for one in resolved.backbones]
    warn_of_changes(directory, [*backbones, resolved.codec.record, resolved.tokenizer.record])
    codec = build_codec(resolved.codec)
    synthesize = resolved.spec.synthesize
    if lexicon is None:
        overridden = any(setting.startswith("synthesize.lexicon") for setting in settings)
        path = synthesize.lexicon if overridden else lexicon_of(directory, synthesize.lexicon)
    else:
        path = Path(lexicon)
    tokenizer = speaking_tokenizer(build_tokenizer(resolved, directory), synthesize.unknown, path)
    speakers = read_speakers(directory)
    try:
        with SkipInit(), AllocationLimit(count_numbers(checkpoint, average=True)):
            model = build_lm(
                resolved,
                codebook_sizes=codec.codebook_sizes,
                vocab_size=tokenizer.vocab_size,
                speakers=len(speakers),
                seed=resolved.spec.seed,
                model_class=SpeechModel,
            )
    except TooLargeError as error:
        raise CheckpointError(f"{checkpoint.path}: {error}; use the run's own spec") from None
    load_weights(model, checkpoint, average=True, assign=True)
    model = model.to(torch_device)
    on_cpu = torch_device.type == "cpu" and backend != "eager"
    graphs = find_graphs(directory, resolved, model) if on_cpu else None
    voice = Voice(resolved, model, codec, tokenizer, speakers, threads, backend, graphs, path)
    warm_up(voice)
    return voice
