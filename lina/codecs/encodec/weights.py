"""Weights of EnCodec: the original release's or transformers', old or new weight norm, from a file or the hub.

A pickle is read as tensors only.
"""

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lina.codecs.encodec.network import Network
from lina.core.errors import FileError, PluginError
from lina.core.files.hub import fetch
from lina.core.files.tensor_file import is_whole, read_pickled_tensors, read_safetensors

_RENAMES = (
    (r"^(encoder|decoder)\.model\.", r"\1.layers."),
    (r"\.(conv|convtr)\.\1\.", ".conv."),
    (r"\.(conv|convtr)\.norm\.", ".norm."),
    (r"\.parametrizations\.weight\.original0$", ".weight_g"),
    (r"\.parametrizations\.weight\.original1$", ".weight_v"),
    (r"^quantizer\.vq\.", "quantizer."),
    (r"\._codebook\.", ".codebook."),
)
MODEL = "model.safetensors"
_TRAINING_ONLY = ("codebook.inited", "codebook.cluster_size", "codebook.embed_avg")
_CODEBOOK = re.compile(r"quantizer\.layers\.(\d+)\.codebook\.embed")


def load_weights(network: Network, source: str | Path) -> None:
    """Fill ``network`` from a file, a directory with ``model.safetensors``, or an address on the hub; use as many
    codebooks as the network has.

    Weight norm is multiplied out here by the operation that would otherwise run at every call, so results are the
    same.

    Raises:
        PluginError: no such file, unreadable, or tensors missing, unknown or of other shapes (count, names).
        DataError: the hub cannot be reached, or has no such repository.
    """
    path = fetch(source, (MODEL,)) if isinstance(source, str) else source
    file = path / MODEL if path.is_dir() else path
    found = _canonical(_read(file))
    expected = network.state_dict()
    embed = expected["quantizer.embed"]
    books = [found.pop(f"quantizer.layers.{q}.codebook.embed", None) for q in range(len(embed))]
    missing = [f"quantizer.layers.{q}.codebook.embed" for q, book in enumerate(books) if book is None]
    present = [book for book in books if book is not None]
    unknown = [name for name in found if name not in expected and not _CODEBOOK.fullmatch(name)]
    missing += [name for name in expected if name != "quantizer.embed" and name not in found]
    if missing or unknown:
        raise PluginError(
            f"{file}: not the weights of this EnCodec: {_names(missing)} missing, {_names(unknown)} unknown; "
            "use the file of this variant, and the sizes that it was trained with"
        )
    shapes = {name: (found[name], value) for name, value in expected.items() if name in found}
    shapes |= {
        f"quantizer.layers.{q}.codebook.embed": pair
        for q, pair in enumerate(zip(present, embed, strict=True))
    }
    for name, (tensor, like) in shapes.items():
        if tensor.shape != like.shape:
            raise PluginError(
                f"{file}: {name} is {list(tensor.shape)}, but this EnCodec's is {list(like.shape)}; "
                "use the file of this variant, and the sizes that it was trained with"
            )
    weights = {name: found[name] for name in expected if name in found}
    network.load_state_dict({**weights, "quantizer.embed": torch.stack(present)})


def _read(file: Path) -> dict[str, Any]:
    try:
        if file.suffix == ".safetensors":
            return read_safetensors(file)
        content = read_pickled_tensors(file, legacy=True)
    except FileNotFoundError:
        raise PluginError(f"{file}: no such file; {REMEDY}") from None
    except FileError as error:
        raise PluginError(f"{file}: cannot be read as weights ({error.reason}); {REMEDY}") from error
    except OSError as error:
        raise PluginError(f"{file}: cannot be read as weights ({error.strerror}); {REMEDY}") from error
    if not isinstance(content, dict) or not all(map(is_whole, content.values())):
        raise PluginError(f"{file}: holds no dictionary of tensors; {REMEDY}")
    return content


REMEDY = (
    "config.weights must be encodec_24khz-d7cc33bc.th or encodec_48khz-7e698e3e.th of EnCodec's release "
    "(dl.fbaipublicfiles.com/encodec/v0), model.safetensors of facebook/encodec_24khz or encodec_48khz in "
    "transformers' layout, or hf://facebook/encodec_24khz@REVISION"
)


def _canonical(stored: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename tensors to this network's names and multiply out weight norm."""
    renamed: dict[str, Tensor] = {}
    for name, tensor in stored.items():
        for pattern, replacement in _RENAMES:
            name = re.sub(pattern, replacement, name)
        if not name.endswith(_TRAINING_ONLY):
            renamed[name] = tensor
    for name in [name for name in renamed if name.endswith(".weight_g")]:
        base = name.removesuffix("_g")
        if base + "_v" in renamed:
            renamed[base] = torch._weight_norm(renamed.pop(base + "_v"), renamed.pop(name), 0)
    return renamed


def _names(names: list[str]) -> str:
    return f"{len(names)} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})" if names else "none"


def fill_randomly(network: Network, seed: int) -> None:
    """Random weights, codebooks included, the same for the same seed: for tests only."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if name.endswith("norm.weight"):
                tensor.fill_(1.0)
            elif tensor.dim() == 1 or "lstm" in name:
                tensor.uniform_(-0.2, 0.2, generator=generator)
            elif name == "quantizer.embed":
                # Later codebooks code smaller residuals.
                for depth, entries in enumerate(tensor):
                    entries.normal_(0.0, 0.3 * 0.8**depth, generator=generator)
            else:
                fan_in = tensor[0].numel()
                tensor.normal_(0.0, fan_in**-0.5, generator=generator)
