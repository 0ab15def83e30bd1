"""From lina's names of parameters to lina-speech's, and its tensors into lina's model."""

import re
from collections.abc import Mapping

from torch import Tensor

from lina.convert.lina_speech.sizes import ROTARY, NotConvertible
from lina.convert.lina_speech.tensors import some
from lina.core.model.delay_lm import DelayLM


def lina_speech_name(name: str, backbone: str) -> str:
    """What lina-speech called the parameter that lina calls ``name``."""
    stacked = re.fullmatch(r"(encoder|decoder|cross_att\.pos_net)\.(.+)", name)
    if stacked is None:
        return f"attentive_rnn.{name}" if name.startswith("cross_att.") else name
    stack, inside = stacked.groups()
    if backbone == "mamba":
        inside = f"backbone.{inside}"
    else:
        # The position network was a single layer there, without a number.
        inside = inside.removeprefix("layers.0." if stack == "cross_att.pos_net" else "layers.")
    return f"attentive_rnn.{stack}.{inside}"


def fill(model: DelayLM, tensors: Mapping[str, Tensor], backbone: str) -> None:
    """Give ``model`` the weights of a checkpoint; codebooks, one tensor there, lie one after the other here.

    Raises:
        NotConvertible: tensors are missing, of other shapes, or unknown; the first few are named.
    """
    own = model.state_dict()
    there = {name: lina_speech_name(name, backbone) for name in own}
    missing = [name for name in there.values() if name not in tensors]
    unknown = sorted(name for name in tensors.keys() - there.values() if not name.endswith(ROTARY))
    if missing or unknown:
        said = [f"{len(missing)} tensors are missing ({some(missing)})"] if missing else []
        said += [f"{len(unknown)} are unknown ({some(unknown)})"] if unknown else []
        later = any(re.search(r"[qkv]_conv1d|pos_embed|spk_encoder", name) for name in unknown)
        hint = "; it looks like one of its successor of November 2024" if later else ""
        raise NotConvertible(f"is no checkpoint of lina-speech (beta): {', '.join(said)}{hint}")
    weights = {}
    for name, value in own.items():
        given = tensors[there[name]]
        joined = name in ("rvq_embed.weight", "logits_head.weight")
        shaped = given.flatten(0, 1) if joined and given.dim() == 3 else given
        if shaped.shape != value.shape:
            raise NotConvertible(
                f"{there[name]} is {list(given.shape)}, but by the other tensors' shapes it should be "
                f"{list(value.shape)}{' (codebooks joined)' if joined else ''}"
            )
        weights[name] = shaped
    model.load_state_dict(weights)
