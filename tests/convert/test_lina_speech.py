"""Converted checkpoints reproduce the outputs of lina-speech's own code (tests/golden/lina_speech has their origin)."""

import dataclasses
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import lina
from lina.config.loader import load_spec
from lina.convert.lina_speech.run import Converted, convert
from lina.convert.lina_speech.verify import LIMIT, differences
from lina.core.errors import LinaError
from lina.core.model.cross_attention import CrossAttention
from lina.core.model.delay_lm import DelayLM
from lina.core.model.delay_pattern import undelay
from lina.core.model.tokens import MARKS, START
from lina.training.init.source import TableLayout, open_source, source_layout
from tests.convert.conftest import Written
from tests.golden.lina_speech.rebuild import expected

Checkpoints = dict[str, dict[str, Tensor]]
BOTH = ["logits, in parallel", "attention, in parallel", "logits, step by step", "attention, step by step"]
SMALL_BPE = Path(__file__).parents[1] / "tokenizers/fixtures/small_bpe.json"


def converted(path: Path, out: Path, **options: Any) -> tuple[DelayLM, Converted]:
    models: list[DelayLM] = []
    done = convert(path, out, check=models.append, **options)
    return models[0].eval(), done


@pytest.mark.parametrize("name", ["gla", "mamba", "rwkv6"])
def test_outputs_equal_those_of_lina_speech(
    name: str, checkpoints: Checkpoints, written: Written, tmp_path: Path
) -> None:
    model, _ = converted(written(OrderedDict(checkpoints[name])), tmp_path / "run")
    found = differences(model, expected(name))
    greedy = [] if name == "mamba" else ["greedy"]
    assert [one.name for one in found] == ["delayed", *BOTH, *greedy]
    assert max(one.largest for one in found) <= LIMIT == 1e-4
    exact = {one.name: one.largest for one in found if "," not in one.name}
    assert set(exact.values()) == {0.0}


@torch.no_grad()
def test_logits_equal_those_of_lina_speech(
    checkpoints: Checkpoints, written: Written, tmp_path: Path
) -> None:
    """Without the code of --verify."""
    model, _ = converted(written(checkpoints["gla"]), tmp_path / "run")
    reference = expected("gla")
    conditions = model.conditions(reference["text"], torch.ones_like(reference["text"], dtype=torch.bool))
    logits, _, weights = model.parallel_forward(
        reference["delayed"][:, :-1], model.initial_state(2), conditions
    )
    for codebook, tokens in enumerate(reference["tokens"]):
        torch.testing.assert_close(
            logits[:, :, codebook, tokens], reference["logits"][:, :, codebook], atol=1e-4, rtol=0
        )
    torch.testing.assert_close(weights, reference["attention"][:, 1], atol=1e-4, rtol=0)


def test_undelay_recovers_the_seeds_codes() -> None:
    reference = expected("gla")
    columns, codes = reference["delayed"][:, 1:], reference["codes"].transpose(1, 2)
    codebooks = codes.shape[2]
    skew = undelay(codebooks, START)
    frames, _ = skew.parallel_forward(columns, skew.initial_state(len(columns)))
    assert torch.equal(frames[:, codebooks - 1 : codebooks - 1 + codes.shape[1]] - MARKS, codes)


@pytest.mark.parametrize(
    ("name", "config", "position_layers"),
    [
        ("gla", {"n_heads": 4, "expand_k": 1.0, "expand_v": 2.0, "gate_rank": 16}, 1),
        ("mamba", {"expand": 2, "d_state": 16, "d_conv": 4}, 2),
        ("rwkv6", {"n_heads": 1, "mix_rank": 32, "decay_rank": 64}, 1),
    ],
)
def test_sizes_are_read_from_the_tensors(
    name: str,
    config: dict[str, Any],
    position_layers: int,
    checkpoints: Checkpoints,
    written: Written,
    tmp_path: Path,
) -> None:
    _, done = converted(written(checkpoints[name]), tmp_path / "run")
    read = dataclasses.asdict(done.sizes)
    assert read == {
        "backbone": name,
        "config": config,
        "d_model": 64,
        "n_layers": 2,
        "vocabulary": 256,
        "text_layers": 2,
        "text_heads": 4,
        "attention": "position",
        "heads_cross": 1,
        "rotary_channels": 32,
        "position_dim": 32,
        "position_layers": position_layers,
        "codebooks": 4,
        "codebook_size": 1024,
    }
    rotary = sum(value.numel() for key, value in checkpoints[name].items() if key.endswith("rotary.freqs"))
    assert done.parameters == sum(value.numel() for value in checkpoints[name].values()) - rotary
    assert [path.name for path in done.missing] == ["bpe256.json", "encodec_24khz-d7cc33bc.th"]


def test_a_training_checkpoint_is_the_same(
    checkpoints: Checkpoints, written: Written, tmp_path: Path
) -> None:
    plain, _ = converted(written(checkpoints["gla"]), tmp_path / "plain")
    lightning = written(
        {f"model.{name}": value for name, value in checkpoints["gla"].items()},
        "state_dict",
        epoch=3,
        global_step=70_000,
        optimizer_states=[{"state": {0: {"step": torch.tensor(1.0)}}}],
    )
    other, _ = converted(lightning, tmp_path / "other")
    weights = other.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in plain.state_dict().items())


def test_a_plain_attention_is_known(checkpoints: Checkpoints, written: Written, tmp_path: Path) -> None:
    """Its rotary frequencies tell how many heads it has."""
    tensors = {name: value for name, value in checkpoints["gla"].items() if "pos_net" not in name}
    tensors["attentive_rnn.cross_att.rotary.freqs"] = 10000.0 ** (-torch.arange(4) / 4)
    model, done = converted(written(tensors), tmp_path / "run")
    assert type(model.cross_att) is CrossAttention
    assert (done.sizes.heads_cross, done.sizes.rotary_channels) == (4, 8)
    reference = {name: expected("gla")[name] for name in ("text", "codes", "delayed")}
    conditions = model.conditions(reference["text"], torch.ones_like(reference["text"], dtype=torch.bool))
    with torch.no_grad():
        maps = model.attention_maps(reference["delayed"][:, :-1], model.initial_state(2), conditions)
    assert maps.shape[1] == 4
    in_parallel, step_by_step = differences(model, reference | {"attention": maps})[1:]
    assert in_parallel.largest == 0
    assert 0 < step_by_step.largest < LIMIT


def test_the_run_speaks(checkpoints: Checkpoints, written: Written, tmp_path: Path) -> None:
    tensors = dict(checkpoints["gla"])
    tensors["txt_embed.weight"] = tensors["txt_embed.weight"][:61]
    run = tmp_path / "run"
    _, done = converted(written(tensors), run, tokenizer=SMALL_BPE)
    assert [path.name for path in done.missing] == ["encodec_24khz-d7cc33bc.th"]
    with pytest.raises(LinaError, match=r"run/encodec_24khz-d7cc33bc\.th: no such file; "):
        lina.load(run)
    spec = (run / "spec.yaml").read_text()
    small = "random_weights: true\n    filters: 2\n    dimension: 6"
    (run / "spec.yaml").write_text(spec.replace("weights: encodec_24khz-d7cc33bc.th", small))
    moved = run.rename(tmp_path / "moved")
    voice = lina.load(moved)
    speech = voice.speak(["she sells shells."], max_seconds=0.1)[0]
    assert speech.codes.shape == (7, 4)
    assert (speech.labels[0], speech.labels[-1]) == ("BEGIN", "END")
    assert voice.resolved.spec.synthesize.top_k == 100
    assert voice.resolved.spec.synthesize.temperature == (1.0, 0.0, 0.0, 0.0)


def test_training_can_start_there(checkpoints: Checkpoints, written: Written, tmp_path: Path) -> None:
    """Its checkpoint is step 0, with an optimizer that has done nothing, and says where it is from."""
    converted(written(checkpoints["gla"]), tmp_path / "run")
    folder = tmp_path / "run/checkpoints/step-00000000"
    assert load_file(folder / "optimizer.safetensors") == {}
    assert '"corpus": "converted from lina-speech, SHA-256 ' in (folder / "checkpoint.json").read_text()
    spec = load_spec(tmp_path / "run/spec.yaml")
    assert (spec.train.lr, spec.train.warmup, spec.train.betas) == (5e-4, 500, (0.9, 0.999))
    assert spec.train.out == tmp_path / "run"


def test_fine_tuning_knows_its_rows(checkpoints: Checkpoints, written: Written, tmp_path: Path) -> None:
    """Codes and text ids, though EnCodec's weights are not there."""
    tensors = checkpoints["gla"] | {"txt_embed.weight": checkpoints["gla"]["txt_embed.weight"][:61]}
    converted(written(tensors), tmp_path / "run", tokenizer=SMALL_BPE)
    source = open_source(tmp_path / "run", average=True)
    target = TableLayout((1024,) * 4, None, ())
    layout, remarks = source_layout(source, source.tensors(), target)
    assert layout.codebook_sizes == (1024,) * 4
    assert layout.labels is not None
    assert len(layout.labels) == 61
    assert (remarks, source.width, source.checkpoint.step) == ([], 64, 0)


def test_verification_sees_every_tensor(checkpoints: Checkpoints, written: Written, tmp_path: Path) -> None:
    model, _ = converted(written(checkpoints["gla"]), tmp_path / "run")
    for name, faces in (("delayed", 1), ("logits", 2), ("attention", 2), ("greedy", 1)):
        kept = ("text", "codes", "tokens", name)
        reference = {one: value for one, value in expected("gla").items() if one in kept}
        reference[name].view(-1)[5] += 1
        large = [one for one in differences(model, reference) if not one.small]
        assert len(large) == faces
        assert all(one.name.startswith(name) and one.largest > 0.9 for one in large)
    reference = expected("gla")
    reference["logits"][0, 0, 0, 0] = torch.nan
    assert [one.small for one in differences(model, reference) if one.name.startswith("logits")] == [
        False,
        False,
    ]
