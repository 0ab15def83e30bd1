"""Parameter names of lina-speech, and loading of its tensors into lina's model."""

import re
from collections.abc import Mapping

from torch import Tensor

from lina.convert.lina_speech.sizes import ROTARY, NotConvertible
from lina.convert.lina_speech.tensors import some
from lina.core.model.delay_lm import DelayLM


def lina_speech_name(name: str, backbone: str) -> str:
    """Return the lina-speech name of a parameter of lina."""
    stacked = re.fullmatch(r"(encoder|decoder|cross_att\.pos_net)\.(.+)", name)
    if stacked is None:
        return f"attentive_rnn.{name}" if name.startswith("cross_att.") else name
    stack, inside = stacked.groups()
    if backbone == "mamba":
        inside = f"backbone.{inside}"
    else:
        # The position network of lina-speech is a single layer, without an index.
        inside = inside.removeprefix("layers.0." if stack == "cross_att.pos_net" else "layers.")
    return f"attentive_rnn.{stack}.{inside}"


def fill(model: DelayLM, tensors: Mapping[str, Tensor], backbone: str) -> None:
    """Load the weights of a checkpoint into ``model``; its codebook dimension is flattened.

    Raises:
        NotConvertible: Tensors are missing, of other shapes, or unknown; the message names the first few.
    """
    own = model.state_dict()
    source_names = {name: lina_speech_name(name, backbone) for name in own}
    missing = [name for name in source_names.values() if name not in tensors]
    unknown = sorted(name for name in tensors.keys() - source_names.values() if not name.endswith(ROTARY))
    if missing or unknown:
        problems = [f"{len(missing)} tensors are missing ({some(missing)})"] if missing else []
        problems += [f"{len(unknown)} are unknown ({some(unknown)})"] if unknown else []
        later = any(re.search(r"[qkv]_conv1d|pos_embed|spk_encoder", name) for name in unknown)
        hint = "; it looks like one of its successor of November 2024" if later else ""
        raise NotConvertible(f"is no checkpoint of lina-speech (beta): {', '.join(problems)}{hint}")
    weights = {}
    for name, value in own.items():
        source = tensors[source_names[name]]
        joined = name in ("rvq_embed.weight", "logits_head.weight")
        shaped = source.flatten(0, 1) if joined and source.dim() == 3 else source
        if shaped.shape != value.shape:
            raise NotConvertible(
                f"{source_names[name]} is {list(source.shape)}, but by the other tensors' shapes it should be "
                f"{list(value.shape)}{' (codebooks concatenated)' if joined else ''}"
            )
        weights[name] = shaped
    model.load_state_dict(weights)
