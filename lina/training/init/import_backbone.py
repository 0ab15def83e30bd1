"""``init: {backbone: FILE}``: import backbone weights of another project through the plugin's ``import_weights``.

Pickles are read by PyTorch's ``weights_only`` loader, which executes nothing in them.
"""

from pathlib import Path
from typing import Any, get_args

from torch import Tensor

from lina.config.resolve import ResolvedSpec
from lina.core.errors import CheckpointError, FileError, LinaError, PluginError, one_line
from lina.core.files.tensor_file import (
    PickledObjects,
    is_whole,
    not_finite,
    read_pickled_tensors,
    read_safetensors,
)
from lina.core.model.delay_lm import DelayLM
from lina.core.plugin import Half
from lina.training.init.transfer import PartReport, TransferResult, part_of

WRAPPERS = ("state_dict", "model", "module")
"""Keys under which training programs nest the state dict."""


def read_foreign_tensors(path: Path) -> dict[str, Tensor]:
    """Read a ``.safetensors`` file, or a state dict written by ``torch.save``, to the CPU.

    Raises:
        CheckpointError: the file is missing or damaged, or is not a dictionary of tensors.
    """
    try:
        if path.suffix == ".safetensors":
            return _checked(path, read_safetensors(path))
        content: Any = read_pickled_tensors(path, legacy=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: does not exist; name a file of weights, such as model.pth") from None
    except PickledObjects:
        raise CheckpointError(
            f"{path}: is not a PyTorch file, or has objects other than tensors, which are not loaded because they "
            "could execute code; save its state_dict() alone"
        ) from None
    except FileError as error:
        if path.is_file() and not path.stat().st_size:
            raise CheckpointError(
                f"{path}: cannot be read as weights (it is empty); download or save it again"
            ) from None
        remedy = (
            "download or save it again" if path.is_file() else "name a file of weights, such as model.pth"
        )
        raise CheckpointError(f"{path}: {error.reason}; {remedy}") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read as weights ({error.strerror or error})") from None
    for wrapper in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not content:
        raise CheckpointError(
            f"{path}: holds a {type(content).__name__}, not tensors by name; save a state_dict() alone"
        )
    tensors = {name: value for name, value in content.items() if isinstance(value, Tensor)}
    if not tensors or not all(isinstance(name, str) for name in tensors):
        raise CheckpointError(f"{path}: holds no tensors by name; save a state_dict() alone")
    return _checked(path, tensors)


def _checked(path: Path, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    odd = [name for name, value in tensors.items() if not is_whole(value)]
    if odd:
        raise CheckpointError(
            f"{path}: {odd[0]} is no plain tensor, or smaller than its shape; save a state_dict() alone"
        )
    if broken := not_finite(tensors):
        raise CheckpointError(f"{path}: {broken[0]} holds NaN or infinity; download or save it again")
    return tensors


def import_backbone(resolved: ResolvedSpec, model: DelayLM) -> TransferResult:
    """State dict of ``model`` with its backbone replaced by the plugin's import of ``init.backbone``.

    Raises:
        CheckpointError: the file cannot be read, or is of a model that does not fit.
        PluginError: the plugin returns tensors that do not belong to the model.
    """
    path, section = resolved.spec.init.backbone, resolved.spec.backbone
    assert path is not None
    try:
        tensors = read_foreign_tensors(path)
    except CheckpointError as error:
        raise CheckpointError(f"init.backbone: {error}") from None
    target: dict[str, Tensor] = model.state_dict()
    state, loaded, parts = dict(target), list[str](), dict[str, PartReport]()
    for half in get_args(Half):
        try:
            weights = resolved.backbone.plugin.import_weights(
                tensors,
                d_model=section.d_model,
                n_layers=section.n_layers,
                config=resolved.backbone.config,
                half=half,
            )
        except CheckpointError as error:
            raise CheckpointError(f"init.backbone: {path}: {error}") from None
        except LinaError:
            raise
        except Exception as error:  # tensors of other shapes or dtypes than the plugin expects
            raise CheckpointError(
                f"init.backbone: {path}: {resolved.backbone.record} cannot import it "
                f"({type(error).__name__}: {one_line(error)}); name weights of this kind of model"
            ) from error
        for short, value in weights.items():
            name = f"{half}.{short}"
            if name not in target or target[name].shape != value.shape:
                needed = list(target[name].shape) if name in target else "no such tensor"
                raise PluginError(
                    f"{resolved.backbone.record}: import_weights returned {name} of shape {list(value.shape)}, but the "
                    f"model has {needed}; report this to the authors of the plugin"
                )
            # A model on the meta device, built for validation, stays there.
            state[name] = value.to(target[name]) if not target[name].is_meta else target[name]
            loaded.append(name)
    for name, value in target.items():
        part = part_of(parts, name)
        if name in loaded:
            part.loaded += value.numel()
        else:
            part.fresh += value.numel()
    unused = sum(value.numel() for value in tensors.values()) - sum(part.loaded for part in parts.values())
    parts["rest of the file"] = PartReport("rest of the file", left=max(0, unused))
    return TransferResult(state, list(parts.values()), loaded)
