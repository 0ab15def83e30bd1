"""The graphs of a run or a voice, if they are of its model."""

import logging
from pathlib import Path

from lina.config.resolve import ResolvedSpec
from lina.core.model.delay_lm import DelayLM
from lina.engine.onnx.files import FOLDER, GraphFolder, read_folder
from lina.speech.graph_key import graph_key

log = logging.getLogger("lina")


def find_graphs(directory: Path, resolved: ResolvedSpec, model: DelayLM) -> GraphFolder | None:
    """The graphs in a run's folder ``onnx``; None if there are none, or those of another model, which is logged.

    Raises:
        CheckpointError: they are damaged.
    """
    folder = read_folder(directory / FOLDER)
    if folder is None or folder.facts.get("key") == graph_key(resolved, model):
        return folder
    log.warning("%s: not used, for these graphs are of another model; export them again", folder.path)
    return None
