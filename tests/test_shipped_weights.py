"""The weights in the wheel are those that were trained: their SHA-256 are written here a second time."""

from pathlib import Path

import pytest

import lina
from lina.core.files.checks import sha256
from lina.runs.checkpoint_store import newest_checkpoint
from lina.speech.default_voice import shipped_voice

PACKAGE = Path(lina.__file__).parent
WEIGHTS = {
    "codecs/lina/speech-1.safetensors": "06e8681449bc6c41203c0041c444d39a9b29a1e0853d55386c0d606d836c36ca",
    "voices/english-1/checkpoints/step-00042000/model.safetensors": (
        "f422c3d123d7bd190d3df44b99608a3c108974583bec1a5c8f68ad52002d2b76"
    ),
    "voices/english-1/onnx/decoder-4.onnx": (
        "d2156aca264e75a95773bc24c140697100fc087f482d47f51bb3430c0adf4cf8"
    ),
    "voices/english-1/onnx/decoder.onnx": (
        "f4d6ef229102843bcaa38f753032c51e2bec796c45498b203bc9584ded95a797"
    ),
    "voices/english-1/onnx/decoder.safetensors": (
        "8ed2ed019a8b77f3ebe77eff785eb0a05510d350c9b58b304e4b55e4470cc0b7"
    ),
    "voices/english-1/onnx/int8.onnx": ("e8043f431687b1d97e1dbae4ca369b92510cc3b94cb79e7b343570d0976dcb53"),
    "voices/english-1/onnx/start.onnx": ("412ea170d2648a9d20b8e9ec01210b3b4598494b037962ad7d13c1b0a28d940b"),
    "voices/english-1/onnx/step-int8.onnx": (
        "21976d33275eca47111abe6397132de7de38c5b0308fdfb83a05b8cd16415933"
    ),
    "voices/english-1/onnx/step.onnx": ("bc2726c49fe6205acec052b27d0aba016a892c9e1a229767b6d459fdb9947e9f"),
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
