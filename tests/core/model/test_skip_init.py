import pytest
import torch
from torch import nn

import lina
from lina.core.model.skip_init import SkipInit


def build() -> tuple[nn.Linear, nn.Embedding, nn.LayerNorm]:
    linear, embedding, norm = nn.Linear(4, 4), nn.Embedding(5, 4), nn.LayerNorm(4)
    nn.init.trunc_normal_(linear.weight, std=0.02)
    return linear, embedding, norm


def test_nothing_is_drawn_within_it_and_all_again_after_it() -> None:
    before = torch.get_rng_state()
    with SkipInit():
        linear, embedding, norm = build()
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(one.any() for one in (*linear.parameters(), *embedding.parameters()))
    assert bool((norm.weight == 1).all())
    assert bool(build()[0].weight.any())


def test_a_voice_has_all_its_weights_from_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of a loaded voice or its codec is left of what it was built with."""
    loaded = lina.load(device="cpu", backend="eager")
    monkeypatch.setattr(
        SkipInit,
        "__torch_function__",
        lambda _, func, types, args=(), kwargs=None: func(*args, **(kwargs or {})),
    )
    drawn = lina.load(device="cpu", backend="eager")
    for one, other in ((loaded.model, drawn.model), (loaded.codec, drawn.codec)):
        assert isinstance(one, nn.Module)
        assert isinstance(other, nn.Module)
        states = one.state_dict(), other.state_dict()
        assert states[0].keys() == states[1].keys()
        assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert (loaded.say("Yes.") == drawn.say("Yes.")).all()
