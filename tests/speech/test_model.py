"""The language model as an ordinary module: forward and generate agree with the streams that speak."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

import lina
from lina.pipeline.speech_job import run_spec
from lina.speech.export import export
from lina.speech.model import SpeechModel
from tests.pipeline.small_run import hooks_of, small


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_spec(small(tmp_path_factory.mktemp("module")), hooks_of())


@pytest.fixture(scope="module")
def model(run: Path) -> SpeechModel:
    return lina.load_model(run, device="cpu")


def codes_of(model: SpeechModel, frames: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.stack(
        [torch.randint(size, (2, frames), generator=generator) for size in model.codebook_sizes], 2
    )


def test_forward_is_causal_and_gives_a_loss(model: SpeechModel) -> None:
    codes, text = codes_of(model, 7), torch.tensor([[3, 4, 5], [5, 4, 0]])
    mask = torch.tensor([[True, True, True], [True, True, False]])
    logits = model(codes, text, mask)
    assert logits.shape == (*codes.shape, model.vocab)
    other = codes.clone()
    other[:, -1] = (other[:, -1] + 1) % 2
    again = model(other, text, mask)
    torch.testing.assert_close(
        again[:, :, 0], logits[:, :, 0]
    )  # later codebooks have seen codebook 0 of later frames
    assert not again[:, -1, 1].equal(logits[:, -1, 1])
    loss = F.cross_entropy(logits.flatten(0, 2), codes.flatten() + model.marks)
    loss.backward()
    assert model.rvq_embed.weight.grad is not None
    model.zero_grad()


def test_greedy_codes_are_the_likeliest_of_forward(model: SpeechModel) -> None:
    text = torch.tensor([[3, 4, 5], [5, 6, 7]])
    for row, codes in enumerate(model.generate(text, max_frames=6)):
        if len(codes):
            logits = model(codes[None], text[row : row + 1])[..., model.marks :]
            assert logits.argmax(-1)[0].equal(codes)


def test_sampling_repeats_by_its_seed(model: SpeechModel) -> None:
    text = torch.tensor([[3, 4, 5]])
    first, second, other = (
        model.generate(text, max_frames=8, temperature=1.0, seed=seed)[0] for seed in (1, 1, 2)
    )
    assert first.equal(second)
    assert not first.equal(other)


def test_its_state_is_that_of_the_file(run: Path, model: SpeechModel, tmp_path: Path) -> None:
    export(run, tmp_path / "voice", "float32")
    stored = load_file(tmp_path / "voice" / "model.safetensors")
    own = model.state_dict()
    assert stored.keys() == own.keys()
    assert all(stored[name].equal(own[name]) for name in own)
