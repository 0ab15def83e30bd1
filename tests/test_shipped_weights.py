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
    "voices/english-1/onnx/decoder.onnx": (
        "f4d6ef229102843bcaa38f753032c51e2bec796c45498b203bc9584ded95a797"
    ),
    "voices/english-1/onnx/decoder.safetensors": (
        "8ed2ed019a8b77f3ebe77eff785eb0a05510d350c9b58b304e4b55e4470cc0b7"
    ),
    "voices/english-1/onnx/int8.onnx": ("e8043f431687b1d97e1dbae4ca369b92510cc3b94cb79e7b343570d0976dcb53"),
    "voices/english-1/onnx/start.onnx": ("412ea170d2648a9d20b8e9ec01210b3b4598494b037962ad7d13c1b0a28d940b"),
    "voices/english-1/onnx/step-int8.onnx": (
        "58325f98ce6538e16fb97a62c1692a05f87fc02013943206ed48db7ffa7016c6"
    ),
    "voices/english-1/onnx/step.onnx": ("56659bf6d362a03fc30fc1df0d9c766964c8f9b94c47cb144fb096bf6c81580e"),
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
