"""Models of transformers with weights from a folder or from the hub, complete or refused."""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch

from lina.codecs.hugging_face.config import HuggingFaceConfig
from lina.core.errors import PluginError
from lina.core.files.hub import fetch

CONFIG, MODEL = "config.json", "model.safetensors"


def load_model(plugin: str, model_class: str, config_class: str, config: HuggingFaceConfig) -> Any:
    """A model of transformers in evaluation mode, without gradients: trained, or with random weights of ``config``.

    Args:
        plugin: name of the codec, for messages.
        model_class, config_class: names in transformers, such as ``MimiModel`` and ``MimiConfig``.
        config: a source of weights that ``check_config`` has accepted.

    Raises:
        PluginError: transformers is missing; the folder lacks a file, or its files are damaged, incomplete or of
            another architecture; or ``config.sizes`` has values that the architecture refuses.
        DataError: the address has another form, huggingface_hub is not installed, the hub cannot be reached or has no
            such repository, or the cache cannot be written.
    """
    try:
        import transformers
    except ImportError as error:
        raise PluginError(
            f"codec:{plugin} needs transformers ({error}); pip install 'lina[codecs]'"
        ) from None
    sizes: Any = getattr(transformers, config_class)
    network: Any = getattr(transformers, model_class)
    if config.weights is None:
        try:
            shape = sizes(**config.sizes)
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(config.seed)
                model = network(shape)
        except Exception as error:
            raise PluginError(
                f"codec:{plugin}: config.sizes: {_line(error)}; use keys of config.json"
            ) from error
        _fill(model, config.seed)
        return model.requires_grad_(False).eval()
    return _read(plugin, network, sizes, weights_folder(plugin, config.weights))


def weights_folder(plugin: str, weights: str | Path) -> Path:
    """The folder with both files.

    Raises:
        PluginError: a file is missing.
    """
    folder = fetch(weights, (CONFIG, MODEL)) if isinstance(weights, str) else weights
    for name in (CONFIG, MODEL):
        if not (folder / name).is_file():
            raise PluginError(
                f"codec:{plugin}: {folder}: has no {name}; name a folder with {CONFIG} and {MODEL}"
            )
    return folder


def _read(plugin: str, network: Any, sizes: Any, folder: Path) -> Any:
    remedy = f"name a folder of {plugin} in transformers' layout"
    try:
        with _quiet():
            found = sizes.from_pretrained(folder, local_files_only=True)
            if found.model_type != sizes.model_type:
                raise PluginError(f"codec:{plugin}: {folder / CONFIG}: is of {found.model_type}; {remedy}")
            model, report = network.from_pretrained(
                folder, config=found, local_files_only=True, use_safetensors=True, output_loading_info=True
            )
    except PluginError:
        raise
    except Exception as error:
        raise PluginError(f"codec:{plugin}: {folder}: cannot be read ({_line(error)}); {remedy}") from error
    wrong = sorted({str(name) for key in ("missing_keys", "mismatched_keys") for name in report[key]})
    if wrong:
        raise PluginError(
            f"codec:{plugin}: {folder / MODEL}: {len(wrong)} tensors are missing or of another shape "
            f"({', '.join(wrong[:3])}); {remedy}"
        )
    return model.requires_grad_(False).eval()


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence transformers' warnings and progress bars within the context: lina reports what is wrong itself."""
    from huggingface_hub import utils
    from transformers.utils import logging as output

    own, hub = cast(Any, output), cast(Any, utils)
    level, bars, no_hub_bars = (
        own.get_verbosity(),
        own.is_progress_bar_enabled(),
        hub.are_progress_bars_disabled(),
    )
    own.set_verbosity(logging.CRITICAL)
    _switch(own.disable_progress_bar)
    try:
        yield
    finally:
        own.set_verbosity(level)
        if bars:
            _switch(own.enable_progress_bar)
        if hub.are_progress_bars_disabled() != no_hub_bars:  # transformers switches those of the hub, too
            _switch(hub.disable_progress_bars if no_hub_bars else hub.enable_progress_bars)


def _switch(function: Callable[[], object]) -> None:
    """Call a function that warns where an environment variable of the hub has the last word."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        function()


@torch.no_grad()
def _fill(model: Any, seed: int) -> None:
    """Random codebooks, where a model begins with zeros, so that codes differ."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in model.named_buffers():
        if name.endswith("embed_sum"):
            tensor.normal_(generator=generator)


def _line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:200]}"
