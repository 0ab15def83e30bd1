"""Mamba against transformers' layer of the same names, an implementation that shares no line with mamba-ssm's."""

from typing import Any

import pytest
import torch
from torch import Tensor

from lina.backbones.mamba.mamba import MambaConfig, MambaMixer

FRAMES = 20


@pytest.fixture(scope="module")
def layers() -> tuple[MambaMixer, Any]:
    from transformers import MambaConfig as TheirConfig
    from transformers.models.mamba.modeling_mamba import MambaMixer as TheirMixer

    torch.manual_seed(0)
    ours = MambaMixer(24, MambaConfig(d_state=8, d_conv=3))
    with torch.no_grad():
        ours.dt_proj.bias.add_(2 * torch.randn_like(ours.dt_proj.bias))
        ours.A_log.add_(torch.randn_like(ours.A_log))
    config = TheirConfig(
        hidden_size=24, state_size=8, conv_kernel=3, expand=2, num_hidden_layers=1, use_mambapy=False
    )
    theirs = TheirMixer(config, layer_idx=0)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def test_outputs_and_gradients_agree(layers: tuple[MambaMixer, Any]) -> None:
    ours, theirs = layers
    x, weight = torch.randn(2, 2, FRAMES, 24, generator=torch.Generator().manual_seed(1))

    def outcome(layer: Any) -> dict[str, Tensor]:
        inputs = x.clone().requires_grad_()
        y = layer(inputs) if layer is theirs else layer.parallel_forward(inputs, layer.initial_state(2))[0]
        named = dict(layer.named_parameters())
        gradients = torch.autograd.grad((y * weight).sum(), [inputs, *named.values()])
        return {"y": y.detach(), **dict(zip(["x", *named], gradients, strict=True))}

    found, expected = outcome(ours), outcome(theirs)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=1e-5, rtol=1e-5, msg=f"{name}: {{}}".format)
