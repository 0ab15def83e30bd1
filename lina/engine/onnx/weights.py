"""The weights of a model as its graphs name them."""

from lina.core.model.delay_lm import DelayLM
from lina.engine.onnx.files import LM
from lina.engine.onnx.session import Array, Weight


def weight_of(lm: DelayLM) -> Weight:
    """The numbers of a model's weights by their names in graphs, without copies."""
    own = lm.state_dict()

    def weight(name: str) -> Array:
        array: Array = own[name.removeprefix(LM)].detach().float().cpu().numpy()
        return array

    return weight
