"""Weights files: safetensors in bfloat16 whose metadata hold the sizes."""

import json
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from lina.codecs.lina.network import Network
from lina.codecs.lina.sizes import NetworkSizes
from lina.core.errors import PluginError, first_reason
from lina.core.model.skip_init import SkipInit

FORMAT = "lina-codec-1"


def save_weights(network: Network, path: Path) -> None:
    """Write a weights file atomically."""
    tensors = {
        name: value.detach().to("cpu", torch.bfloat16).contiguous()
        for name, value in network.codec_weights().items()
    }
    temporary = path.with_name(f".{path.name}.new")
    save_file(tensors, temporary, {"format": FORMAT, "sizes": network.sizes.model_dump_json()})
    temporary.replace(path)


def load_network(path: Path) -> Network:
    """Read the network of a weights file, in float32.

    Raises:
        PluginError: no such file, or not one of this codec.
    """
    if not path.exists():
        raise PluginError(
            f"{path}: no such weights file of codec lina; use one of a run with job: codec, such as "
            "specs/codec.yaml"
        )
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (OSError, SafetensorError) as error:
        raise PluginError(f"{path}: cannot be read as a weights file of codec lina: {error}") from None
    if metadata.get("format") != FORMAT:
        raise PluginError(
            f"{path}: its format is {metadata.get('format')!r}, not {FORMAT!r}; it is not a weights file of "
            "codec lina"
        )
    try:
        sizes = NetworkSizes.model_validate(json.loads(metadata.get("sizes", "null")))
    except ValidationError as error:
        raise PluginError(f"{path}: its sizes cannot be used: {first_reason(error)}") from None
    except ValueError as error:
        raise PluginError(f"{path}: its sizes cannot be used: {error}") from None
    with SkipInit():
        network = Network(sizes)
    expected = network.codec_weights()
    for name in sorted(expected.keys() | tensors.keys()):
        here, there = (list(side[name].shape) if name in side else "nothing" for side in (expected, tensors))
        if here != there:
            raise PluginError(f"{path}: {name} is {there}, but its sizes say {here}; the file is damaged")
    network.load_state_dict(tensors, strict=False, assign=True)
    return network
