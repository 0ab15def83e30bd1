"""``init: {backbone: FILE}``: the halves of a backbone from another project's weights, as its plugin names them."""

from typing import get_args

from torch import Tensor

from lina.config.resolve import ResolvedSpec
from lina.core.errors import CheckpointError, PluginError
from lina.core.model.delay_lm import DelayLM
from lina.core.plugin import Half
from lina.training.init.foreign_tensors import read_tensors
from lina.training.init.transfer import Part, Transfer, part_of


def imported(resolved: ResolvedSpec, model: DelayLM) -> Transfer:
    """The state of ``model`` with what the plugin makes of the file; all else as it is.

    Raises:
        CheckpointError: the file cannot be read, or is no model that fits.
        PluginError: the plugin gives what the model has not.
    """
    path, section = resolved.spec.init.backbone, resolved.spec.backbone
    assert path is not None
    try:
        tensors = read_tensors(path)
    except CheckpointError as error:
        raise CheckpointError(f"init.backbone: {error}") from None
    own: dict[str, Tensor] = model.state_dict()
    state, whole, parts = dict(own), list[str](), dict[str, Part]()
    for half in get_args(Half):
        try:
            given = resolved.backbone.plugin.import_weights(
                tensors,
                d_model=section.d_model,
                n_layers=section.n_layers,
                config=resolved.backbone.config,
                half=half,
            )
        except CheckpointError as error:
            raise CheckpointError(f"init.backbone: {path}: {error}") from None
        for name, value in given.items():
            full = f"{half}.{name}"
            if full not in own or own[full].shape != value.shape:
                has = list(own[full].shape) if full in own else "nothing"
                raise PluginError(
                    f"{resolved.backbone.record}: import_weights gives {full} of shape {list(value.shape)}, "
                    f"where the model has {has}; tell its authors"
                )
            # The sketch of a model takes no values.
            state[full] = value.to(own[full]) if not own[full].is_meta else own[full]
            whole.append(full)
    for name, value in own.items():
        part = part_of(parts, name)
        if name in whole:
            part.loaded += value.numel()
        else:
            part.fresh += value.numel()
    left = sum(value.numel() for value in tensors.values()) - sum(part.loaded for part in parts.values())
    parts["the rest of the file"] = Part("the rest of the file", left=max(0, left))
    return Transfer(state, list(parts.values()), whole)
