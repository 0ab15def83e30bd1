"""A corpus that several processes encode part by part, and a run that finds it encoded."""

from pathlib import Path

import pytest
import torch

from lina.core.errors import CheckpointError, LinaError
from lina.data.encode_part import encode_part
from lina.data.parts import part_of
from lina.data.prepare import prepare
from lina.data.token_dataset import TokenDataset
from lina.pipeline.speech_job import run_spec
from lina.runs.directory import locked
from lina.runs.hooks import Run
from tests.pipeline.small_run import Listener, hooks_of, small

CPU = torch.device("cpu")


def test_parts_in_any_order_make_the_corpus_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lina.data.shard_builder.SHARD_SIZE", 2)
    whole, parts = small(tmp_path, out="whole"), small(tmp_path, out="parts/run")
    whole.spec.train.out.mkdir()
    prepare(Run(whole.spec.train.out, whole.spec), whole, hooks_of())
    seen: list[tuple[int, int]] = []
    for part in (1, 0):
        found = encode_part(parts, part, 2, CPU, 2, lambda done, total: seen.append((done, total)))
        assert (found.utterances, found.rejects) == ((2, 0) if part else (4, 0))
        assert 0 < found.hours < 0.001
    assert seen == [(0, 2), (2, 2), (0, 4), (2, 4), (4, 4)]
    assert not (tmp_path / "parts" / "run" / "data" / "manifest.json").exists()
    assert encode_part(parts, 0, 2, CPU, 0, lambda done, total: seen.append((done, total))).utterances == 4
    assert seen[-1] == (4, 4)
    listener = Listener()
    run_spec(small(tmp_path, "train.steps=1", out="parts/run"), hooks_of(listener))
    assert listener.stages[:2] == [("already done", "data"), ("started", "train", 1, 0)]
    one, other = (TokenDataset(tmp_path / name / "data") for name in ("whole", "parts/run"))
    assert one.content == other.content


def test_parts_of_other_settings_are_refused_and_a_trained_run_keeps_its_spec(tmp_path: Path) -> None:
    def encoded(*overrides: str) -> int:
        return encode_part(small(tmp_path, *overrides), 0, 1, CPU, 0, lambda done, total: None).utterances

    assert encoded("data.workers=2") == 6
    assert encoded("data.workers=1", "train.lr=0.5") == 6
    with pytest.raises(CheckpointError, match=r"another spec: data\.max_seconds: .* -> 0\.4;"):
        encoded("data.max_seconds=0.4")
    run_spec(small(tmp_path, "train.steps=1"), hooks_of())
    before = (tmp_path / "run/spec.yaml").read_bytes()
    assert encoded("train.lr=0.25") == 6
    assert (tmp_path / "run/spec.yaml").read_bytes() == before


def test_a_run_and_a_part_do_not_encode_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run clears away temporary files, which may be those of a part."""
    monkeypatch.setattr("lina.runs.directory.LOCK_SECONDS", 0.1)
    resolved = small(tmp_path, "train.steps=1")
    errors: list[str] = []

    def report(done: int, total: int) -> None:
        """Called while the part is encoded."""
        for start in (
            lambda: run_spec(resolved, hooks_of()),
            lambda: encode_part(resolved, 0, 2, CPU, 0, lambda done, total: None),
        ):
            with pytest.raises(LinaError) as error:
                start()
            errors.append(str(error.value))

    encode_part(resolved, 0, 2, CPU, 0, report)
    directory = resolved.spec.train.out
    assert errors[:2] == [
        f"{directory}: lina data encode is encoding part 0 of 2 of the corpus; wait until all parts are finished, and "
        "run the same command again",
        f"{directory}: part 0 of 2 is being encoded by another process; wait for it, or end it",
    ]
    with (
        locked(directory),
        pytest.raises(LinaError, match="a run is under way there, which encodes the corpus"),
    ):
        encode_part(resolved, 0, 2, CPU, 0, lambda done, total: None)
    run_spec(resolved, hooks_of())


def test_a_part_is_given_by_hand_or_by_torchrun() -> None:
    assert part_of("3/8", {"RANK": "1", "WORLD_SIZE": "2"}) == (3, 8)
    assert part_of(None, {"RANK": "1", "WORLD_SIZE": "2"}) == (1, 2)
    assert part_of(None, {}) == (0, 1)
    for wrong in ("4/4", "x", "1/0", "-1/3"):
        with pytest.raises(LinaError, match="I from 0 to N - 1"):
            part_of(wrong, {})
