from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lina.backbones.gla import GLA, GLAConfig
from lina.config.spec import Spec
from lina.core.errors import SpecError
from lina.core.model.cross_attention import PositionCrossAttention
from lina.core.model.delay_lm import DelayLM
from lina.runs.build_model import build_lm, count_parameters, sketch_lm
from tests.core.toy_model import SIZES


def build(seed: int = 0, speakers: int = 0, **changes: Any) -> DelayLM:
    spec = Spec.model_validate(
        {
            "lina": 1,
            "name": "toy",
            "backbone": {"plugin": "gla", "d_model": 16, "n_layers": 2},
            "codec": {"plugin": "toy"},
            "tokenizer": {"plugin": "toy"},
            "text": {"layers": 1, "heads": 2, "position_dim": 8},
            "data": {"source": "folder"},
        }
        | changes
    )
    backbone = SimpleNamespace(plugin=GLA, config=GLAConfig(n_heads=2), record=SimpleNamespace(name="gla"))
    resolved: Any = SimpleNamespace(spec=spec, backbone=backbone, layers=(), after=())
    return build_lm(resolved, codebook_sizes=SIZES, vocab_size=20, speakers=speakers, seed=seed)


def test_weights_are_a_function_of_the_seed_alone() -> None:
    one = build(1).state_dict()
    torch.manual_seed(123)
    again, other = build(1).state_dict(), build(2).state_dict()
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(
        one["encoder.layers.0.tmix.q_proj.weight"], other["encoder.layers.0.tmix.q_proj.weight"]
    )


def test_the_global_random_state_is_left_alone() -> None:
    before = torch.random.get_rng_state()
    build()
    assert torch.equal(torch.random.get_rng_state(), before)


def test_no_gpu_is_reseeded(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch.manual_seed would reseed every accelerator, whose random states nobody puts back."""
    monkeypatch.setattr(torch, "manual_seed", lambda seed: pytest.fail("all devices were reseeded"))
    monkeypatch.setattr(torch.random, "manual_seed", lambda seed: pytest.fail("all devices were reseeded"))
    build()


def test_a_spec_says_the_sizes() -> None:
    lm = build()
    assert isinstance(lm.cross_att, PositionCrossAttention)
    assert lm.cross_att.d_position == 8
    assert len(lm.encoder.layers) == len(lm.decoder.layers) == 2
    assert len(lm.cross_att.pos_net.layers) == 1
    assert len(lm.txt_encoder.sa) == 1
    assert lm.logits_head.out_features == sum(SIZES) + 9
    plain = build(text={"attention": "plain", "heads": 2, "heads_cross": 4, "layers": 0})
    assert type(plain.cross_att).__name__ == "CrossAttention"
    assert plain.cross_att.n_heads == 4


def test_conditions_of_the_spec() -> None:
    assert build(speakers=3).speaker_embed is None, "the corpus has speakers, the spec does not want them"
    conditioned = build(speakers=3, conditions={"speaker": True, "drop_text": 0.1})
    assert conditioned.speaker_embed is not None
    assert conditioned.speaker_embed.num_embeddings == 4
    assert conditioned.no_text is not None
    assert build().no_text is None


def test_count_parameters() -> None:
    layer = torch.nn.Linear(3, 4)
    layer.bias.requires_grad_(False)
    assert count_parameters(layer) == 12


def resolved_spec(plugin: Any = GLA, **changes: Any) -> Any:
    sections = {
        "backbone": {"plugin": "gla", "d_model": 16, "n_layers": 2},
        "codec": {"plugin": "toy"},
        "tokenizer": {"plugin": "toy"},
        "text": {"layers": 1, "heads": 2, "position_dim": 8},
        "data": {"source": "folder"},
    }
    spec = Spec.model_validate({"lina": 1, "name": "toy"} | sections | changes)
    record = SimpleNamespace(name="gla")
    chosen = SimpleNamespace(plugin=plugin, config=GLAConfig(n_heads=2), record=record)
    return SimpleNamespace(spec=spec, backbone=chosen, layers=(), after=())


def test_a_sketch_has_names_and_shapes_but_takes_no_memory() -> None:
    sketch, real = sketch_lm(resolved_spec()).state_dict(), build().state_dict()
    assert all(value.is_meta for value in sketch.values())
    assert sketch.keys() == real.keys()
    vocabularies = {"txt_embed.weight", "rvq_embed.weight", "logits_head.weight"}
    assert {name for name in real if real[name].shape != sketch[name].shape} == vocabularies


def test_a_sketch_refuses_sizes_that_do_not_fit() -> None:
    with pytest.raises(SpecError, match="is not a multiple of n_heads = 2"):
        sketch_lm(resolved_spec(text={"heads": 2, "position_dim": 9}))


class Looking(GLA):
    """Looks into its tensors as it is built."""

    @classmethod  # type: ignore[misc]
    def build(cls, *, d_model: int, n_layers: int, config: Any) -> Any:
        built: Any = GLA.build(d_model=d_model, n_layers=n_layers, config=config)
        assert any(bool(value.any()) for value in built.parameters())
        return built


def test_a_backbone_that_looks_into_its_tensors_is_built_with_values() -> None:
    assert not any(value.is_meta for value in sketch_lm(resolved_spec(Looking)).state_dict().values())
