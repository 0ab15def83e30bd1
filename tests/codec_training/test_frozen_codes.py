"""A run of job codec that trains the decoder of codec lina alone."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lina.codecs.lina import LinaCodec
from lina.codecs.lina.network import Network
from lina.pipeline.codec_job import EXPORTED
from lina.runs.signals import RunStopped
from tests.codec_training.small import go, plugin, small, stored

__all__ = ["plugin"]
pytestmark = pytest.mark.usefixtures("plugin")


def test_only_the_decoder_changes_and_the_run_resumes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Network(LinaCodec.example()["config"].sizes)
    network.quantizer.entries.normal_()
    LinaCodec.save_trained(network, tmp_path / "first.safetensors")
    settings = (
        "codec.plugin=lina",
        f"codec.config.weights={tmp_path / 'first.safetensors'}",
        "codec.config.freeze_codes=true",
        "codec.config.decoder_fast_blocks=3",
        "train.adversarial_from=0",
        "train.dropout_codebooks=[2]",
        "evaluate.utterances=0",
    )
    with pytest.raises(RunStopped):
        go(small(tmp_path, *settings, "train.minutes=1e-6"))
    run = go(small(tmp_path, *settings))
    before, after = (load_file(path) for path in (tmp_path / "first.safetensors", run / EXPORTED))
    assert before.keys() < after.keys()
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert changed
    assert all(name.startswith("decoder.") for name in changed)
    moments = [name for name in stored(run) if name.startswith("codec_moments/")]
    assert moments
    assert all(name.startswith("codec_moments/decoder.") for name in moments)
