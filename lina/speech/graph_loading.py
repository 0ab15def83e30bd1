"""Loading of a voice of exported graphs. Imports no torch."""

from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lina.config.run_files import SPEAKERS_FILE, SPEC_FILE, TOKENIZER_FILE
from lina.core.errors import CheckpointError, LinaError, first_reason, one_line
from lina.core.files.checks import sha256
from lina.core.protocols import Tokenizer
from lina.core.registry import find, load_record
from lina.core.text.contract import check_tokenizer
from lina.core.text.speakable import speaking_tokenizer
from lina.engine.onnx.files import (
    DECODER_WEIGHTS,
    DECODERS,
    FACTS,
    FOLDER,
    LM,
    START,
    STEP,
    STEP_INT8,
    GraphFolder,
    read_folder,
)
from lina.engine.onnx.session import Graph, Graphs
from lina.engine.onnx.stored import StoredWeights
from lina.runs.lexicon_copy import PATTERN, lexicon_of
from lina.runs.made_with import made_with
from lina.speech.graph_voice import GraphVoice, log


def folder_obstacle(directory: Path) -> str | None:
    """The reason why a directory cannot be spoken by graphs alone; None if it can."""
    folder = read_folder(directory / FOLDER)
    if folder is None or not (folder.path / DECODER_WEIGHTS).is_file():
        return "it has no exported graphs"
    if not folder.facts.get("outside", {}).keys() >= set(DECODERS.values()):
        return "its graphs are of an older lina; export them again"
    if folder.facts["speech"]["tokenizer"] is None:
        return "its tokenizer reads files of its own"
    facts = folder.facts.get("weights")
    if facts is None:
        return "its graphs are for other programs"
    weights = directory / facts["file"]
    if (
        _weights_folders(directory) != [weights.parent]
        or not weights.is_file()
        or sha256(weights) != facts["sha256"]
    ):
        return "its weights are not those that were exported"
    if folder.facts.get("inputs") != inputs_of(directory):
        return "its spec, tokenizer or speakers are not those that were exported"
    return None if find_spec("onnxruntime") else "onnxruntime is not installed"


def _weights_folders(directory: Path) -> list[Path]:
    """Folders of weights, as ``find_checkpoint`` looks for them: a run's checkpoints, else the top of a voice."""
    checkpoints = directory / "checkpoints"
    return list(checkpoints.glob("step-*")) if checkpoints.is_dir() else [directory]


def inputs_of(directory: Path) -> dict[str, str]:
    """SHA-256 of the files whose contents ``facts.json`` repeats."""
    files = (directory / name for name in (SPEC_FILE, TOKENIZER_FILE, SPEAKERS_FILE))
    return {file.name: sha256(file) for file in files if file.is_file()}


def load_graph_voice(
    directory: Path, threads: int | None = None, lexicon: Path | None = None, int8: bool | None = False
) -> GraphVoice:
    """Load a directory that has no ``folder_obstacle``.

    ``int8``: products in 8 bits; None: where the weights are stored in 8 bits, unless this processor saturates.

    Raises:
        LinaError: 8-bit products are wrong on this processor, or a file is damaged.
        TextError: the lexicon cannot be read, or the run's tokenizer has no phonemes.
    """
    folder = read_folder(directory / FOLDER)
    assert folder is not None
    with ThreadPoolExecutor(1) as other:  # onnxruntime and the tokenizer's files take as long as each other
        graphs = other.submit(_graphs, directory, folder, threads or 1, int8)
        tokenizer = _tokenizer(directory, folder, lexicon)
        try:
            start, step, codec = graphs.result()
            return GraphVoice(folder, start, step, codec, tokenizer)
        except ValidationError as error:
            raise CheckpointError(
                f"{folder.path / FACTS}: synthesize: {first_reason(error)}; export the graphs again"
            ) from None


def _graphs(
    directory: Path, folder: GraphFolder, threads: int, int8: bool | None
) -> tuple[Graph, Graph, Graphs]:
    weights = StoredWeights(directory / folder.facts["weights"]["file"], LM)
    lm = Graphs(folder, weights, threads)
    codec = Graphs(folder, StoredWeights(folder.path / DECODER_WEIGHTS), threads)
    chosen = weights.in_8_bits if int8 is None else int8
    if chosen and (reason := lm.int8_obstacle()):
        if int8:
            raise LinaError(f"backend 'onnx-int8' cannot be used: {reason}; use auto")
        log.info("%s: products in float32, for %s", directory, reason)
        chosen = False
    codec.graph(DECODERS[1])  # loaded here; that of several frames when it is needed, after the first audio
    return lm.graph(START), lm.graph(STEP_INT8 if chosen else STEP), codec


def _tokenizer(directory: Path, folder: GraphFolder, lexicon: Path | None) -> Tokenizer:
    facts = folder.facts["speech"]["tokenizer"]
    record = find("tokenizer", facts["plugin"], made_with(directory).get(("tokenizer", facts["plugin"])))
    plugin: Any = load_record(record)
    try:
        built = plugin.build(config=plugin.Config.model_validate(facts["config"]), trained=facts["trained"])
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"{folder.path / FACTS}: tokenizer {facts['plugin']!r} cannot be built from it ({one_line(error)}); "
            "export the graphs again"
        ) from error
    check_tokenizer(built, record)
    if lexicon is None:
        lexicon = lexicon_of(directory, next(directory.glob(PATTERN), None))
    return speaking_tokenizer(built, facts["unknown"], lexicon)
