"""Weights files: safetensors in bfloat16 whose metadata hold the sizes."""

from pathlib import Path

import torch
from pydantic import TypeAdapter
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from lina.codecs.lina.network import Network
from lina.codecs.lina.sizes import NetworkSizes
from lina.core.errors import FileError, PluginError
from lina.core.files.atomic import write_atomic
from lina.core.files.checks import check_regular
from lina.core.files.json_file import parse_json
from lina.core.files.tensor_file import without_panics
from lina.core.model.allocation_limit import AllocationLimit, TooLargeError
from lina.core.model.skip_init import SkipInit

FORMAT = "lina-codec-1"
_SIZES = TypeAdapter(NetworkSizes)


def save_weights(network: Network, path: Path) -> None:
    """Write a weights file atomically."""
    tensors = {
        name: value.detach().to("cpu", torch.bfloat16).contiguous()
        for name, value in network.codec_weights().items()
    }
    write_atomic(path, save(tensors, {"format": FORMAT, "sizes": network.sizes.model_dump_json()}))


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
        check_regular(path)
        with without_panics(path), safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 (no mapping)
    except FileError as error:
        raise PluginError(f"{error}; it is not a weights file of codec lina") from None
    except (OSError, SafetensorError) as error:
        raise PluginError(f"{path}: cannot be read as a weights file of codec lina: {error}") from None
    if metadata.get("format") != FORMAT:
        raise PluginError(
            f"{path}: its format is {metadata.get('format')!r}, not {FORMAT!r}; it is not a weights file of "
            "codec lina"
        )
    try:
        sizes = parse_json(metadata.get("sizes", "null"), _SIZES, strict=False)
    except ValueError as error:
        raise PluginError(f"{path}: its sizes cannot be used: the entry {error}") from None
    try:
        with SkipInit(), AllocationLimit(sum(value.numel() for value in tensors.values())):
            network = Network(sizes)
    except TooLargeError:
        raise PluginError(f"{path}: its sizes are larger than its tensors; the file is damaged") from None
    expected = network.codec_weights()
    for name in sorted(expected.keys() | tensors.keys()):
        here, there = (list(side[name].shape) if name in side else "nothing" for side in (expected, tensors))
        if here != there:
            raise PluginError(f"{path}: {name} is {there}, but its sizes say {here}; the file is damaged")
    network.load_state_dict(tensors, strict=False, assign=True)
    return network
