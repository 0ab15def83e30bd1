"""Two ranks train a codec as one does: they share the crops of a step, and learn its codebooks from all of them."""

import os
from pathlib import Path

import pytest

from tests.codec_training.small import go, lines_of, plugin, small, stored
from tests.fakes import FakeDistributions
from tests.training.ranks import on_ranks

__all__ = ["plugin"]
TWO_STEPS = ("train.threads=1", "train.steps=2", "train.adversarial_from=1", "train.losses.features=0")
"""Feature matching is left out: it is relative to the mean features of a rank's own rows."""


def on_rank(folder: Path) -> str:
    """Run the small spec on this rank, of a process that has no plugins but lina's."""
    toys = {"lina.codecs": {"toy-trainable": "tests.codec_training.toy_codec:ToyTrainable"}}
    with pytest.MonkeyPatch.context() as patches:
        FakeDistributions(folder / f"installed-{os.environ['RANK']}", patches).install("toy-codecs", toys)
        go(small(folder, *TWO_STEPS, out="two"))
    return "finished"


@pytest.mark.usefixtures("plugin")
def test_two_ranks_train_a_codec_as_one_does(tmp_path: Path) -> None:
    go(small(tmp_path, *TWO_STEPS, out="one"))
    assert on_ranks(2, on_rank, tmp_path) == ["finished"] * 2
    one, two = lines_of(tmp_path / "one"), lines_of(tmp_path / "two")
    assert [(line["step"], line["split"]) for line in one] == [(line["step"], line["split"]) for line in two]
    assert one[0]["codebook_use"] == two[0]["codebook_use"]
    for left, right in zip(one[:2], two, strict=False):
        assert left["loss"] == pytest.approx(right["loss"], rel=1e-4)
        assert left["grad_norm"] == pytest.approx(right["grad_norm"], rel=1e-3)
    assert "adversarial" in one[1]
    weights = stored(tmp_path / "two")
    for name, value in stored(tmp_path / "one").items():
        # Rounding moves a frame or two from a code to the next.
        assert float((value.double() - weights[name].double()).abs().mean()) < 5e-4, name
