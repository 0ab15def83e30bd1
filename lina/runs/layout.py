"""Names of the small files of a run directory, and the tokenizer that they describe."""

import json
from pathlib import Path
from typing import Any

from lina.config.resolve import PluginChoice, ResolvedSpec
from lina.core.errors import CheckpointError
from lina.core.plugin import TokenizerPlugin
from lina.core.protocols import Tokenizer

SPEC_FILE, TOKENIZER_FILE, SPEAKERS_FILE = "spec.yaml", "tokenizer.json", "speakers.json"


def build_tokenizer(resolved: ResolvedSpec, directory: Path) -> Tokenizer:
    """The run's tokenizer, as trained on the corpus."""
    return tokenizer_of(resolved.tokenizer, directory)


def tokenizer_of(chosen: PluginChoice[TokenizerPlugin], directory: Path) -> Tokenizer:
    """The tokenizer of the run in ``directory``, whose spec chose this plugin."""
    learned = read_json(directory / TOKENIZER_FILE)
    if not isinstance(learned, dict) or "trained" not in learned:
        raise CheckpointError(f"{directory / TOKENIZER_FILE}: has no key 'trained'; run the spec again")
    return chosen.plugin.build(config=chosen.config, trained=learned["trained"])


def read_json(path: Path) -> Any:
    """Read a small JSON file of a run.

    Raises:
        CheckpointError: it is missing or damaged.
    """
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error}); run the spec again") from None
