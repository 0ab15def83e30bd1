"""Runs of job codec: from spec to exported codec, killed and resumed, rejected."""

import math
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lina.codec_training import backward, losses
from lina.core.errors import CheckpointError, DataError, LinaError, PluginError, SpecError
from lina.pipeline.codec_job import EXPORTED
from lina.runs.checkpoint_store import newest_checkpoint
from lina.runs.files import read_codec_evaluation, read_data_summary, read_run_info, read_samples
from lina.runs.hooks import hookimpl
from lina.runs.signals import RunStopped
from tests.codec_training import speed
from tests.codec_training.small import SPEC, go, lines_of, plugin, same, small, stored, stored_at
from tests.codec_training.toy_codec import RATE, SIZES, ToyCodec

__all__ = ["plugin"]
pytestmark = pytest.mark.usefixtures("plugin")


class StopAt:
    """Send SIGTERM to this process after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    @hookimpl
    def step_done(self, step: int) -> None:
        if step == self.step:
            os.kill(os.getpid(), signal.SIGTERM)


class Stages:
    def __init__(self) -> None:
        self.finished: dict[str, float] = {}

    @hookimpl
    def stage_finished(self, stage: str, seconds: float) -> None:
        self.finished[stage] = seconds


def test_run_writes_codec_evaluation_samples_and_metrics(tmp_path: Path) -> None:
    resolved = small(tmp_path)
    run = go(resolved)
    trained = resolved.trained(run / EXPORTED)
    assert trained.codebook_sizes == SIZES
    averaged = {k.removeprefix("average/"): v for k, v in stored(run).items() if k.startswith("average/")}
    exported = trained.state_dict()  # type: ignore[union-attr]
    assert all(torch.equal(exported[name], value) for name, value in averaged.items())
    assert torch.equal(exported["codebooks"], stored(run)["codec/codebooks"])
    evaluation = read_codec_evaluation(run)
    assert evaluation is not None
    assert [one.codebooks for one in evaluation.distances] == [1, 2]
    assert evaluation.distances[0].bits_per_second == 4 * RATE / 80
    assert all(0 < one.mel_distance < 100 and 0 < one.spectral_distance < 10 for one in evaluation.distances)
    [sample] = read_samples(run)
    assert (run / sample.audio).is_file()
    assert sample.reference is not None
    assert (run / sample.reference).is_file()
    summary, info = read_data_summary(run), read_run_info(run)
    assert summary is not None
    assert (summary.utterances, summary.valid) == (7, 2)
    assert info is not None
    assert {one.name for one in info.plugins} == {"toy-trainable", "jsonl"}
    lines = lines_of(run)
    assert [(one["step"], one["split"]) for one in lines] == [
        *((step, "train") for step in (1, 2, 3)),
        (3, "valid"),
        *((step, "train") for step in (4, 5, 6)),
        (6, "valid"),
    ]
    assert "adversarial" not in lines[1]
    assert lines[2]["features"] > 0
    total = sum(
        weight * lines[2][part]
        for part, weight in (("loss", 15), ("adversarial", 1), ("features", 2), ("commitment", 0.25))
    )
    assert math.isclose(total, lines[2]["total"], rel_tol=1e-5)
    assert len(lines[2]["codebook_use"]) == len(SIZES)


def test_training_lowers_the_mel_distance(tmp_path: Path) -> None:
    run = go(
        small(tmp_path, "train.steps=60", "train.lr=1e-2", "train.adversarial_from=60", "train.log_every=60")
    )
    losses = [one["loss"] for one in lines_of(run) if one["split"] == "valid"]
    assert losses[-1] < 0.8 * losses[0]


def test_finished_stages_are_skipped(tmp_path: Path) -> None:
    first, again, more = Stages(), Stages(), Stages()
    run = go(small(tmp_path), first)
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*.safetensors")}
    go(small(tmp_path), again)
    assert set(first.finished) == {"data", "train", "export", "evaluate", "report"}
    assert all(first.finished[stage] > 0 for stage in ("data", "train", "export", "evaluate"))
    assert [again.finished[stage] for stage in ("data", "train", "export", "evaluate")] == [0.0] * 4
    assert before == {path: path.stat().st_mtime_ns for path in run.rglob("*.safetensors")}
    exported = (run / EXPORTED).read_bytes()
    go(small(tmp_path, "train.steps=8"), more)
    assert more.finished["data"] == 0.0 < more.finished["evaluate"]
    assert (run / EXPORTED).read_bytes() != exported


def test_out_of_memory_names_the_batch_and_its_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise MemoryError("no room")

    resolved = small(tmp_path)
    monkeypatch.setattr(backward.CodecBackwardPass, "__call__", refuse)
    batch = resolved.spec.train.batch
    with pytest.raises(
        LinaError, match=rf"step 1, whose batch is {batch} crops of .* a smaller train\.batch \({batch}\)"
    ):
        go(resolved)


def test_killed_run_resumes_bit_for_bit(tmp_path: Path) -> None:
    whole = go(small(tmp_path, out="whole"))
    script = (
        "from pathlib import Path; import os, signal\n"
        "from lina.runs.hooks import hookimpl\n"
        "from tests.codec_training.small import small, go\n"
        "class Kill:\n"
        "    @hookimpl\n"
        "    def step_done(self, step):\n"
        "        if step == 5: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"go(small(Path({str(tmp_path)!r}), out='killed'), Kill())\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    killed = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    newest = newest_checkpoint(tmp_path / "killed/checkpoints")
    assert newest is not None
    assert newest.step == 4
    resumed = go(small(tmp_path, out="killed"))
    assert same(stored(whole), stored(resumed))
    assert (whole / EXPORTED).read_bytes() == (resumed / EXPORTED).read_bytes()
    losses = [[(one["step"], one["split"], one["loss"]) for one in lines_of(run)] for run in (whole, resumed)]
    assert losses[0] == losses[1]


def test_signal_saves_a_checkpoint_to_resume_from(tmp_path: Path) -> None:
    with pytest.raises(
        RunStopped, match="stopped by a signal at step 3 of 6; run the same command to resume"
    ):
        go(small(tmp_path), StopAt(3))
    newest = newest_checkpoint(tmp_path / "run/checkpoints")
    assert newest is not None
    assert newest.step == 3
    go(small(tmp_path))
    assert (tmp_path / "run" / EXPORTED).is_file()


def test_minutes_limit_one_start_of_a_run(tmp_path: Path) -> None:
    with pytest.raises(RunStopped, match="stopped after 1e-06 minutes at step 1 of 6"):
        go(small(tmp_path, "train.minutes=1e-6"))
    go(small(tmp_path))
    assert lines_of(tmp_path / "run")[-1]["step"] == 6


def test_copied_checkpoint_starts_another_run(tmp_path: Path) -> None:
    go(small(tmp_path, "train.steps=4"))
    (tmp_path / "next/checkpoints").mkdir(parents=True)
    (tmp_path / "run/checkpoints/step-00000004").rename(tmp_path / "next/checkpoints/step-00000004")
    with pytest.raises(CheckpointError, match=r"spec\.yaml: is missing"):
        go(small(tmp_path, "train.steps=5", "train.lr=1e-4", out="next"))
    settings = (tmp_path / "run/spec.yaml").read_text()
    changed, count = re.subn(r"(?m)^(  lr: ).*$", r"\g<1>0.0001", settings)
    assert count == 1
    (tmp_path / "next/spec.yaml").write_text(changed)
    run = go(small(tmp_path, "train.steps=5", "train.lr=1e-4", out="next"))
    assert [one["step"] for one in lines_of(run)] == [5, 5]


def test_changed_audio_is_rejected_unless_allowed(tmp_path: Path) -> None:
    go(small(tmp_path, "train.steps=2"))
    manifest = tmp_path / "one/manifest.jsonl"
    manifest.write_text("".join(manifest.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(CheckpointError, match=r"was trained on other data.*set data\.may_change=true"):
        go(small(tmp_path))
    go(small(tmp_path, "data.may_change=true"))


def test_changed_spec_is_rejected(tmp_path: Path) -> None:
    go(small(tmp_path, "train.steps=2"))
    with pytest.raises(CheckpointError, match=r"holds a run of another spec: train\.batch: 4 -> 5"):
        go(small(tmp_path, "train.batch=5"))


def break_steps(monkeypatch: pytest.MonkeyPatch, steps: Callable[[int], bool], broken: str = "codec") -> None:
    """Replace the codec's audio or the discriminators' loss by NaN at these steps."""
    real, loss, calls = ToyCodec.reconstruct, losses.discriminator_loss, [0]

    def reconstruct(self: ToyCodec, audio: torch.Tensor, codebooks: torch.Tensor) -> Any:
        calls[0] += self.training
        reconstruction = real(self, audio, codebooks)
        bad = self.training and broken == "codec" and steps(calls[0])
        return reconstruction._replace(audio=reconstruction.audio * math.nan) if bad else reconstruction

    def discriminator_loss(*arguments: Any) -> torch.Tensor:
        return loss(*arguments) * (math.nan if broken == "discriminators" and steps(calls[0]) else 1.0)

    monkeypatch.setattr(ToyCodec, "reconstruct", reconstruct)
    monkeypatch.setattr(backward, "discriminator_loss", discriminator_loss)


@pytest.mark.parametrize("broken", ["codec", "discriminators"])
@pytest.mark.parametrize("log_every", [1, 100])
def test_step_that_is_not_finite_is_not_applied(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    broken: str,
    log_every: int,
) -> None:
    break_steps(monkeypatch, lambda step: step == 4, broken)
    settings = ("train.checkpoint_every=1", "train.keep=9", f"train.log_every={log_every}")
    with caplog.at_level("WARNING", logger="lina"):
        run = go(small(tmp_path, *settings))
    [message] = [one for one in caplog.messages if "finite" in one]
    assert re.match(r"train: step 4 was not applied, .*; utterances of step 4: (one|other)-\d, ", message)
    before, after, later = (stored_at(run, step) for step in (3, 4, 5))
    assert any(name.startswith("codec/codebooks") for name in before)
    assert any(name.startswith("average/") for name in before)
    assert any(name.startswith("discriminators_moments/") for name in before)
    assert same(before, after)
    assert not same(after, later)
    assert all(math.isfinite(line["loss"]) for line in lines_of(run))


def test_many_successive_steps_that_are_not_finite_end_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_steps(monkeypatch, lambda step: step > 3)
    with pytest.raises(DataError, match=r"10 steps in a row were not applied.*of step 13: (one|other)-\d"):
        go(small(tmp_path, "train.steps=20"))
    newest = newest_checkpoint(tmp_path / "run/checkpoints")
    assert newest is not None
    assert newest.step == 12


def test_codec_without_training_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(
        SpecError, match="command line: codec: Codec2 cannot be trained; name a codec that can"
    ):
        go(small(tmp_path, "codec.plugin=codec2"))


@pytest.mark.parametrize("key", ["evaluate.codebooks", "train.dropout_codebooks"])
def test_more_codebooks_than_the_codec_has_are_rejected(tmp_path: Path, key: str) -> None:
    with pytest.raises(SpecError, match=rf"{key}: 3 is more than the 2 codebooks"):
        go(small(tmp_path, f"{key}=[3,1]"))


def test_plugin_without_trainable_codec_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resolved = small(tmp_path)
    monkeypatch.setattr(resolved.codec.plugin, "build_trainable", lambda config: torch.nn.Linear(1, 1))
    with pytest.raises(PluginError, match=r"toy-trainable.*build_trainable gives a Linear"):
        go(resolved)


def test_speed_script_measures_each_component(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "codec.yaml").write_text(SPEC)
    speed.main(str(tmp_path / "codec.yaml"), [])
    printed = capsys.readouterr().out
    for part in (
        "step without",
        "step with",
        "crops",
        "codec",
        "codebooks",
        "mel",
        "discriminators",
        "checkpoint",
    ):
        assert part in printed
