import torch
from torch import nn

from lina.core.model.stack import MixerStack
from tests.core.toy_backbone import DiagonalDecay


def stack() -> MixerStack:
    torch.manual_seed(0)
    return MixerStack([DiagonalDecay(4), DiagonalDecay(4)], lambda: nn.RMSNorm(4))


@torch.no_grad()
def test_is_norms_and_residuals_around_mixers() -> None:
    model = stack()
    for norm in [module for module in model.modules() if isinstance(module, nn.RMSNorm)]:
        norm.weight.add_(torch.randn(4))
    x = torch.randn(2, 20, 4)
    y, state = model.parallel_forward(x, model.initial_state(2))
    reference = x
    for layer, after in zip(model.layers, state, strict=True):
        assert isinstance(layer.norm, nn.RMSNorm)
        mixer = layer.mixer
        assert isinstance(mixer, DiagonalDecay)
        mixed, expected = mixer.parallel_forward(layer.norm(reference), mixer.initial_state(2))
        reference = reference + mixed
        torch.testing.assert_close(after, expected)
    assert model.norm_f is not None
    torch.testing.assert_close(y, model.norm_f(reference))
    first, _ = model.step(x[:, 0], model.initial_state(2))
    torch.testing.assert_close(first, y[:, 0])


def test_names_are_those_of_mambas_files() -> None:
    names = {name.split(".", 2)[2] if name.startswith("layers") else name for name in stack().state_dict()}
    assert {"norm.weight", "mixer.decay.weight", "norm_f.weight"} <= names


def test_restarts_only_where_its_mixers_do() -> None:
    assert stack().takes_starts is False
