"""Configuration that Mimi and DAC share."""

from typing import Any

from pydantic import Field

from lina.core.errors import PluginError, SpecError
from lina.core.files.weights_source import WeightsSource
from lina.core.plugin import PluginConfig


class HuggingFaceConfig(PluginConfig):
    codebooks: int | None = Field(default=None, ge=1, le=64)
    """Number of codebooks, from the first on; by default all of the weights."""
    weights: WeightsSource | None = None
    """A folder with config.json and model.safetensors, or its address on the hub: hf://ORGANIZATION/NAME@REVISION."""
    random_weights: bool = False
    """Random weights instead of trained ones: for tests only."""
    sizes: dict[str, Any] = Field(default={})
    """Of random weights: keys of config.json."""
    seed: int = Field(default=0, ge=0)
    """Of the random weights."""


def check_config(plugin: str, config: HuggingFaceConfig, published: str) -> None:
    """Validate that there is one source of weights.

    Raises:
        PluginError: there is none.
        SpecError: there are two, or ``sizes`` of trained weights.
    """
    if config.weights is None and not config.random_weights:
        raise PluginError(
            f"codec:{plugin} has no weights; write config.weights: FOLDER (config.json and model.safetensors), or "
            f"config.weights: hf://{published}@REVISION"
        )
    if config.weights is not None and (config.random_weights or config.sizes):
        raise SpecError(f"codec:{plugin}: config.weights has its own sizes; remove random_weights and sizes")
