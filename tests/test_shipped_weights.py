"""The weights in the wheel are those that were trained: their SHA-256 are written here a second time."""

from pathlib import Path

import pytest

import lina
from lina.core.files import sha256
from lina.runs.checkpoint_store import newest_checkpoint
from lina.speech.default_voice import shipped_voice

PACKAGE = Path(lina.__file__).parent
WEIGHTS = {
    "codecs/lina/speech-1.safetensors": "06e8681449bc6c41203c0041c444d39a9b29a1e0853d55386c0d606d836c36ca",
    "voices/english-1/checkpoints/step-00042000/model.safetensors": (
        "f422c3d123d7bd190d3df44b99608a3c108974583bec1a5c8f68ad52002d2b76"
    ),
}


def test_no_other_weights_are_shipped() -> None:
    kinds = ("*.safetensors", "*.pt", "*.pth", "*.th", "*.bin", "*.onnx", "*.npz", "*.pkl", "*.ckpt")
    found = {path.relative_to(PACKAGE).as_posix() for kind in kinds for path in PACKAGE.rglob(kind)}
    assert found == WEIGHTS.keys()


@pytest.mark.parametrize("name", WEIGHTS)
def test_the_weights_are_those_that_were_trained(name: str) -> None:
    assert sha256(PACKAGE / name) == WEIGHTS[name]


def test_the_voice_agrees_with_its_own_hashes() -> None:
    found = newest_checkpoint(shipped_voice() / "checkpoints")
    assert found is not None
    assert found.weights in WEIGHTS.values()
