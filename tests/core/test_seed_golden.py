"""The model reproduces the numbers of the seed system's GLA: tests/golden/seed/trim_gla.py says whence they are."""

import re
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from lina.backbones.gla import GLA, GLAConfig
from lina.core.cross_attention import BlindCrossAttention
from lina.core.delays import undelay
from lina.core.lm import Conditions, DelayLM
from lina.core.text_encoder import TextEncoder
from lina.core.tokens import MARKS, START, delayed_columns

FILE = Path(__file__).parents[1] / "golden" / "seed" / "gla.safetensors"
CODEBOOKS, VOCABULARY, WIDTH = 4, 1027, 64


class Seed(NamedTuple):
    lm: DelayLM
    expected: dict[str, Tensor]
    said: Tensor
    """bool [Q, V]: tokens whose head the golden file keeps."""

    def conditions(self) -> Conditions:
        text = self.expected["text"]
        return self.lm.conditions(text, torch.ones_like(text, dtype=torch.bool))


@pytest.fixture(scope="module")
def seed() -> Seed:
    tensors = load_file(FILE)
    config = GLAConfig(n_heads=4)
    lm = DelayLM(
        codebook_sizes=(VOCABULARY - MARKS,) * CODEBOOKS,
        vocab_size=256,
        d_model=WIDTH,
        encoder=GLA.build(d_model=WIDTH, n_layers=2, config=config),
        decoder=GLA.build(d_model=WIDTH, n_layers=2, config=config),
        attention=BlindCrossAttention(
            WIDTH, GLA.build(d_model=32, n_layers=1, config=config), 32, rotary=True, rotary_channels=32
        ),
        text_encoder=TextEncoder(WIDTH, 2, 4, 0.0),
        head_norm=False,
    ).eval()
    books = torch.arange(CODEBOOKS)[:, None]
    kept = {"rvq_embed.weight": tensors["read_tokens"], "logits_head.weight": tensors["said_tokens"]}
    weights = {}
    for name, value in tensors.items():
        if not name.startswith("model."):
            continue
        name = name.removeprefix("model.")
        if name in kept:
            whole = torch.full((CODEBOOKS, VOCABULARY, WIDTH), torch.nan)
            present = kept[name] >= 0
            whole[books.expand_as(present)[present], kept[name][present]] = value[present]
            value = whole.flatten(0, 1)
        name = name.replace("attentive_rnn.cross_att.pos_net.", "cross_att.pos_net.layers.0.")
        name = name.replace("attentive_rnn.cross_att.", "cross_att.")
        weights[re.sub(r"attentive_rnn\.(encoder|decoder)\.", r"\1.layers.", name)] = value
    lm.load_state_dict(weights)
    said = torch.zeros(CODEBOOKS, VOCABULARY, dtype=torch.bool)
    said[books, tensors["said_tokens"]] = True
    expected = {
        name.removeprefix("expected."): value for name, value in tensors.items() if "expected." in name
    }
    return Seed(lm, expected, said)


def kept_logits(seed: Seed, logits: Tensor) -> Tensor:
    """[B, S, Q, tokens kept]."""
    return logits[:, :, seed.said].unflatten(-1, (CODEBOOKS, -1))


def test_delayed_columns_are_the_seeds(seed: Seed) -> None:
    codes = seed.expected["codes"].transpose(1, 2)
    lengths = torch.full((codes.shape[0],), codes.shape[1])
    assert torch.equal(delayed_columns(codes, lengths), seed.expected["delayed"])


@torch.no_grad()
def test_logits_and_attention_at_once(seed: Seed) -> None:
    inputs = seed.expected["delayed"][:, :-1]
    logits, _, attention = seed.lm.parallel_forward(
        inputs, seed.lm.initial_state(len(inputs)), seed.conditions()
    )
    torch.testing.assert_close(kept_logits(seed, logits), seed.expected["logits"], atol=1e-4, rtol=0)
    torch.testing.assert_close(attention, seed.expected["attention"][:, 1], atol=1e-4, rtol=0)


@torch.no_grad()
def test_logits_and_attention_step_by_step(seed: Seed) -> None:
    inputs, conditions = seed.expected["delayed"][:, :-1], seed.conditions()
    state = seed.lm.initial_state(len(inputs))
    steps, attention = [], []
    for column in inputs.unbind(1):
        logits, state, weights = seed.lm.step(column, state, conditions)
        steps.append(logits)
        attention.append(weights)
    logits = kept_logits(seed, torch.stack(steps, 1))
    torch.testing.assert_close(logits, seed.expected["logits"], atol=1e-4, rtol=0)
    torch.testing.assert_close(torch.stack(attention, 1), seed.expected["attention"][:, 1], atol=1e-4, rtol=0)


@torch.no_grad()
def test_greedy_tokens(seed: Seed) -> None:
    """The seed feeds each column of argmaxes back as it is, ramp and tail of the delay pattern included."""
    text, wanted = seed.expected["text"][:1], seed.expected["greedy"]
    conditions = seed.lm.conditions(text, torch.ones_like(text, dtype=torch.bool))
    state = seed.lm.initial_state(1)
    column = torch.full((1, CODEBOOKS), START)
    said = []
    for _ in range(wanted.shape[1]):
        logits, state, _ = seed.lm.step(column, state, conditions)
        column = logits.masked_fill(~seed.said, -torch.inf).argmax(-1)
        said.append(column)
    assert torch.equal(torch.cat(said).T, wanted)


def test_undelay_recovers_the_seeds_codes(seed: Seed) -> None:
    columns = seed.expected["delayed"][:, 1:]
    skew = undelay(CODEBOOKS, START)
    frames, _ = skew.parallel_forward(columns, skew.initial_state(len(columns)))
    codes = seed.expected["codes"].transpose(1, 2)
    assert torch.equal(frames[:, CODEBOOKS - 1 : CODEBOOKS - 1 + codes.shape[1]] - MARKS, codes)
