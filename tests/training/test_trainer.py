"""Training: resumed bit for bit, validated without a trace, stopped before harm."""

import math
import os
import re
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from lina.core.errors import CheckpointError, DataError, LinaError, PluginError
from lina.core.model.delay_lm import next_text
from lina.core.model.tokens import teacher_forcing
from lina.runs import device
from lina.runs.checkpoint_store import newest_checkpoint
from lina.runs.hooks import hookimpl
from lina.runs.signals import RunStopped
from lina.training import trainer as trainer_module
from lina.training.backward import BackwardPass
from lina.training.finite_steps import LIMIT
from lina.training.gradient_spikes import NormStatistics
from lina.training.losses import CrossEntropy, cross_entropy
from lina.training.micro_batches import MicroBatches, StepBatches
from lina.training.objective import StepMeasures
from lina.training.trainer import Trainer, train
from tests.fakes import FakeDistributions
from tests.pipeline.small_run import (
    EVERYTHING,
    Listener,
    assert_same_training,
    hooks_of,
    learned,
    ready,
    small,
    stored,
    write_corpus,
)


class Interrupter:
    """Sends this process a signal after a step."""

    def __init__(self, step: int, number: signal.Signals = signal.SIGTERM) -> None:
        self.step, self.number = step, number

    @hookimpl
    def step_done(self, step: int) -> None:
        if step == self.step:
            os.kill(os.getpid(), self.number)


SGD_PACKAGE = """
    import torch
    from lina.core import OptimizerPlugin
    class SGD(OptimizerPlugin):
        @classmethod
        def build(cls, *, parameters, lr, betas, weight_decay, config):
            return torch.optim.SGD([one for several in parameters for one in several], lr=lr)
        @classmethod
        def example(cls): return {}
"""


@pytest.fixture
def sgd(distributions: FakeDistributions) -> None:
    """Plain gradient descent as an installed plugin, whose steps are easily computed by hand."""
    distributions.install("lina-sgd", {"lina.optimizers": {"sgd": "lina_sgd:SGD"}}, lina_sgd=SGD_PACKAGE)


SGD = (
    "train.optimizer=sgd",
    "train.weight_decay=0",
    "train.warmup=0",
    "train.min_lr=1",
    "train.lr=1",
    "train.steps=1",
)


def trained(folder: Path, *overrides: str, out: str = "run", plugins: tuple[object, ...] = ()) -> Path:
    resolved, hooks = small(folder, *overrides, out=out), hooks_of(*plugins)
    train(*ready(resolved, hooks), hooks)
    return folder / out


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_goes_on_bit_for_bit_with_everything_random_on(
    tmp_path: Path, number: signal.Signals
) -> None:
    whole = trained(tmp_path, *EVERYTHING, out="whole")
    for step in (1, 4):
        with pytest.raises(RunStopped, match=f"at step {step} of 6; run the same command") as stopped:
            trained(tmp_path, *EVERYTHING, plugins=(Interrupter(step, number),))
        assert stopped.value.exit_code == 75
    assert_same_training(whole, trained(tmp_path, *EVERYTHING))


def test_everything_random_does_something(tmp_path: Path) -> None:
    plain = learned(trained(tmp_path, out="plain"))
    for number, override in enumerate(one for one in EVERYTHING if "ema" not in one and one[-4:] != "true"):
        speaker = ("conditions.speaker=true",) if "speaker" in override else ()
        base = learned(trained(tmp_path, *speaker, out=f"base{number}")) if speaker else plain
        assert learned(trained(tmp_path, *speaker, override, out=f"other{number}")) != base, override


def test_training_stopped_by_a_signal_in_its_last_step_does_not_go_on_to_the_next_stage(
    tmp_path: Path,
) -> None:
    with pytest.raises(RunStopped):
        trained(tmp_path, plugins=(Interrupter(6),))
    listener = Listener()
    trained(tmp_path, plugins=(listener,))
    assert listener.steps == []


def test_the_next_step_is_prepared_on_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second team of threads beside the one that trains lets both sleep at every barrier."""
    threads: list[int] = []
    prepare = MicroBatches._prepare

    def recorded(self: MicroBatches, step: int) -> StepBatches:
        if threading.current_thread() is not threading.main_thread():
            threads.append(torch.get_num_threads())
        return prepare(self, step)

    monkeypatch.setattr(MicroBatches, "_prepare", recorded)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        trained(tmp_path)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert threads
    assert set(threads) == {1}


def test_the_signal_handlers_are_put_back(tmp_path: Path) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    trained(tmp_path, "train.steps=1")
    with pytest.raises(RunStopped):
        trained(tmp_path, plugins=(Interrupter(2),), out="other")
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_validation_leaves_no_trace_in_training(tmp_path: Path) -> None:
    valid = (*EVERYTHING, "data.valid=0.3")
    often = trained(tmp_path, *valid, "train.valid_every=1", out="often")
    seldom = trained(tmp_path, *valid, "train.valid_every=100", out="seldom")
    assert all(stored(seldom)[name].equal(value) for name, value in stored(often).items())
    by_step = [line for line in learned(often) if line[1] == "train"]
    assert by_step == [line for line in learned(seldom) if line[1] == "train"]
    assert [line[0] for line in learned(often) if line[1] == "valid"] == [1, 2, 3, 4, 5, 6]
    assert [line[0] for line in learned(seldom) if line[1] == "valid"] == [6]


@pytest.mark.parametrize("ema", [0.0, 0.8])
def test_validation_is_on_the_averaged_weights_without_dropout(tmp_path: Path, ema: float) -> None:
    listener = Listener()
    hooks = hooks_of(listener)
    run, model, data = ready(small(tmp_path, *EVERYTHING, f"train.ema={ema}", "data.valid=0.3"), hooks)
    train(run, model, data, hooks)
    tensors = stored(run.directory)
    file = "average.safetensors" if ema else "model.safetensors"
    model.load_state_dict({name.split(" ")[1]: t for name, t in tensors.items() if name.startswith(file)})
    model.eval()
    batch = data.batch(data.valid)
    columns = teacher_forcing(batch.codes, batch.lengths)
    with torch.no_grad():
        arguments = model.conditions(batch.text, batch.text_mask, batch.speaker)
        logits, _, _ = model.parallel_forward(
            columns.inputs, model.initial_state(len(batch.codes)), arguments
        )
    expected = float(cross_entropy(logits, columns.targets, columns.loss_mask))
    [(step, metrics)] = listener.evaluations
    assert step == 6
    assert metrics["loss"] == pytest.approx(expected, rel=1e-5)


def test_an_epoch_has_every_sample_once_also_across_a_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    real = MicroBatches.__call__

    def recorded(self: MicroBatches, step: int) -> StepBatches:
        every, parts = [self.data.codes(number).long() for number in range(6)], real(self, step)
        for part in parts.batches:
            for codes, frames in zip(part.codes.long(), part.lengths.tolist(), strict=True):
                seen.append(next(n for n in range(6) if torch.equal(every[n], codes[:frames])))
        return parts

    monkeypatch.setattr(MicroBatches, "__call__", recorded)
    options = ("train.accumulate=3", "train.steps=8")
    trained(tmp_path, *options, out="whole")
    whole = list(seen)
    seen.clear()
    with pytest.raises(RunStopped):
        trained(tmp_path, *options, plugins=(Interrupter(3),))
    trained(tmp_path, *options)
    assert seen == whole
    epochs = [whole[start : start + 6] for start in range(0, len(whole) - 5, 6)]
    assert len(epochs) >= 3
    assert all(sorted(epoch) == [0, 1, 2, 3, 4, 5] for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


@pytest.mark.parametrize("broken", ["loss", "gradient"])
def test_a_step_that_is_not_finite_is_not_applied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, broken: str
) -> None:
    calls = []

    def failing(logits: Tensor, targets: Tensor, loss_mask: Tensor) -> Tensor:
        loss = cross_entropy(logits, targets, loss_mask)
        calls.append(1)
        if len(calls) != 3:
            return loss
        # a value that is not finite, or the value as ever with an infinite slope
        return loss * math.nan if broken == "loss" else loss + (loss - loss.detach()).clamp(min=0).sqrt()

    monkeypatch.setattr(CrossEntropy, "build", lambda config: failing)
    listener = Listener()
    hooks = hooks_of(listener)
    run, model, data = ready(
        small(tmp_path, "train.ema=0.8", "train.checkpoint_every=1", "train.keep=9"), hooks
    )
    with caplog.at_level("WARNING", logger="lina"):
        train(run, model, data, hooks)
    [message] = caplog.messages
    assert re.match(
        r"train: step 3 was not applied, .* \(loss .*, gradient norm (nan|inf)\); .*tone-\d", message
    )
    assert [step for step, _ in listener.steps] == [1, 2, 4, 5, 6]
    before, after, later = (stored_at(run.directory, step) for step in (2, 3, 4))
    assert before.keys() == after.keys()
    assert all(value.equal(after[name]) for name, value in before.items())
    assert any(not value.equal(later[name]) for name, value in after.items())


def stored_at(run: Path, step: int) -> dict[str, Tensor]:
    """Weights, averages and moments of a checkpoint."""
    folder = run / "checkpoints" / f"step-{step:08d}"
    return {
        f"{file.name} {name}": value
        for file in folder.glob("*.safetensors")
        for name, value in load_file(file).items()
    }


def test_numbers_that_are_read_a_step_later_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As on a GPU, which computes a step while the host reads the numbers of the one before."""
    events: list[tuple[str, int]] = []

    def sometimes_failing(logits: Tensor, targets: Tensor, loss_mask: Tensor) -> Tensor:
        if logits.requires_grad:
            events.append(("loss", sum(name == "loss" for name, _ in events) + 1))
        loss = cross_entropy(logits, targets, loss_mask)
        return loss * math.nan if events[-1] == ("loss", 3) else loss

    class Recorder:
        @hookimpl
        def step_done(self, step: int) -> None:
            events.append(("done", step))

    monkeypatch.setattr(CrossEntropy, "build", lambda config: sometimes_failing)
    initialize, orders, warnings = Trainer.__init__, [], []
    for ahead in (False, True):

        def begin(self: Trainer, *arguments: Any, ahead: bool = ahead) -> None:
            initialize(self, *arguments)
            self.runs_ahead = ahead

        monkeypatch.setattr(Trainer, "__init__", begin)
        events.clear()
        caplog.clear()
        hooks = hooks_of(Recorder())
        settings = ("train.steps=9", "train.valid_every=4", "train.checkpoint_every=6", "train.ema=0.9")
        run, model, data = ready(small(tmp_path, *settings, out=str(ahead)), hooks)
        with caplog.at_level("WARNING", logger="lina"):
            train(run, model, data, hooks)
        orders.append([event for event in events if event in (("done", 1), ("loss", 2))])
        warnings.append([record.getMessage() for record in caplog.records if "not applied" in record.msg])
    assert orders == [[("done", 1), ("loss", 2)], [("loss", 2), ("done", 1)]]
    assert warnings[0] == warnings[1] != []
    assert_same_training(tmp_path / "False", tmp_path / "True")


def test_what_is_a_spike_is_decided_alike_by_the_device_and_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where the limit is no number of the device's, which compares in single precision."""
    listener = Listener()
    norm = float(torch.tensor(0.1))
    assert norm > 0.1
    monkeypatch.setattr(NormStatistics, "limit", lambda self, sigmas: 0.1)
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda parameters, clip: torch.tensor(norm))
    with caplog.at_level("WARNING", logger="lina"):
        trained(tmp_path, "train.steps=2", plugins=(listener,))
    assert [metrics["grad_norm"] for _, metrics in listener.steps] == [norm] * 2
    assert not caplog.messages


def test_a_hook_may_take_gradients_also_before_a_validation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    enabled = []

    class Recorder:
        @hookimpl
        def step_done(self, step: int) -> None:
            enabled.append(torch.is_grad_enabled())

    initialize = Trainer.__init__

    def begin(self: Trainer, *arguments: Any) -> None:
        initialize(self, *arguments)
        self.runs_ahead = True

    monkeypatch.setattr(Trainer, "__init__", begin)
    trained(tmp_path, "train.steps=4", "train.valid_every=2", plugins=(Recorder(),))
    assert enabled == [True] * 4


def test_many_steps_in_a_row_that_are_not_finite_end_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls = []

    def failing(logits: Tensor, targets: Tensor, loss_mask: Tensor) -> Tensor:
        calls.append(1)
        loss = cross_entropy(logits, targets, loss_mask)
        return loss if len(calls) in (1, LIMIT + 1) else loss * math.nan

    monkeypatch.setattr(CrossEntropy, "build", lambda config: failing)
    hooks = hooks_of()
    run, model, data = ready(small(tmp_path, f"train.steps={3 * LIMIT}"), hooks)
    with pytest.raises(
        DataError, match=rf"{LIMIT} steps in a row were not applied.*lower train\.lr"
    ) as refused:
        train(run, model, data, hooks)
    assert "\n" not in str(refused.value)
    assert len(calls) == 2 * LIMIT + 1
    newest = newest_checkpoint(run.directory / "checkpoints")
    assert newest is not None
    assert newest.step == 2 * LIMIT


@pytest.mark.usefixtures("sgd")
def test_the_gradient_is_clipped_to_its_norm(tmp_path: Path) -> None:
    listener = Listener()
    hooks = hooks_of(listener)
    run, model, data = ready(small(tmp_path, *SGD, "train.clip=0.01"), hooks)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    train(run, model, data, hooks)
    moved = torch.cat([(value.detach() - before[name]).flatten() for name, value in model.named_parameters()])
    assert listener.steps[0][1]["grad_norm"] > 0.1
    assert float(moved.norm()) == pytest.approx(0.01, rel=1e-3)


@pytest.mark.usefixtures("sgd")
def test_accumulated_batches_count_by_their_targets(tmp_path: Path) -> None:
    hooks = hooks_of()
    run, model, data = ready(small(tmp_path, *SGD, "train.clip=1e6", "train.accumulate=2"), hooks)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    plan = data.plan(data.train, 1.0, run.spec.seed)
    gradients, targets = [], []
    for number in (0, 1):
        batch = data.batch([data.train[i] for i in plan.batch(number)])
        columns = teacher_forcing(batch.codes, batch.lengths)
        arguments = model.conditions(batch.text, batch.text_mask)
        logits, _, _ = model.parallel_forward(
            columns.inputs, model.initial_state(len(batch.codes)), arguments
        )
        loss = cross_entropy(logits, columns.targets, columns.loss_mask)
        gradients.append(torch.autograd.grad(loss, list(model.parameters()), allow_unused=True))
        targets.append(int(columns.loss_mask.sum()))
    assert targets[0] != targets[1]
    train(run, model, data, hooks)
    share = targets[0] / sum(targets)
    for (name, value), first, second in zip(model.named_parameters(), *gradients, strict=True):
        if first is not None:
            step = first * share + second * (1 - share)
            torch.testing.assert_close(value, before[name] - step, rtol=1e-4, atol=1e-6)


@pytest.mark.usefixtures("sgd")
def test_consecutive_utterances_are_one_row_with_its_texts_swapped(tmp_path: Path) -> None:
    hooks = hooks_of()
    run, model, data = ready(small(tmp_path, *SGD, "train.clip=1e6", "train.consecutive=3"), hooks)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    rows = data.plan(data.train, 1.0, run.spec.seed, 3).rows(0)
    assert len(rows[0]) == 3
    assert all(len({data.speakers[number] for number in row}) == 1 for row in rows)
    losses, counts = [], []
    for row in rows:
        state = model.initial_state(1)
        for number in row:
            batch = data.batch([number])
            columns = teacher_forcing(batch.codes, batch.lengths)
            arguments = model.conditions(batch.text, batch.text_mask)
            state = next_text(state, model.initial_state(1))
            logits, state, _ = model.parallel_forward(columns.inputs, state, arguments)
            counts.append(int(columns.loss_mask.sum()))
            losses.append(cross_entropy(logits, columns.targets, columns.loss_mask) * counts[-1])
    loss = torch.stack(losses).sum() / sum(counts)
    gradients = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
    train(run, model, data, hooks)
    for (name, value), gradient in zip(model.named_parameters(), gradients, strict=True):
        if gradient is not None:
            torch.testing.assert_close(value, before[name] - gradient, rtol=1e-4, atol=1e-6)


def test_the_stage_says_where_it_begins_and_that_it_is_done(tmp_path: Path) -> None:
    first, second, third = Listener(), Listener(), Listener()
    with pytest.raises(RunStopped):
        trained(tmp_path, plugins=(first, Interrupter(3)))
    trained(tmp_path, plugins=(second,))
    trained(tmp_path, plugins=(third,))
    assert first.stages == [
        ("started", "data", 6, 0),
        ("finished", "data"),
        ("started", "train", 6, 0),
    ]
    assert second.stages == [("already done", "data"), ("started", "train", 6, 3), ("finished", "train")]
    assert third.stages == [("already done", "data"), ("already done", "train")]
    seconds = [metrics["seconds"] for _, metrics in first.steps + second.steps]
    assert seconds == sorted(seconds)
    assert all(metrics["frames/s"] > 0 for _, metrics in second.steps)


def test_a_corpus_that_changed_is_refused_and_nothing_is_overwritten(tmp_path: Path) -> None:
    run = trained(tmp_path)
    kept = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    manifest = tmp_path / "corpus" / "manifest.jsonl"
    manifest.write_text(manifest.read_text().replace("seven", "eight"))
    with pytest.raises(CheckpointError, match="the corpus has changed since; choose another name"):
        trained(tmp_path)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == kept


def test_recordings_that_changed_are_refused(tmp_path: Path) -> None:
    trained(tmp_path)
    write_corpus(tmp_path / "other", tuple(reversed([str(n) for n in range(6)])))
    os.replace(tmp_path / "other" / "5.wav", tmp_path / "corpus" / "0.wav")
    with pytest.raises(CheckpointError, match=r"trained on other data.*choose another name"):
        trained(tmp_path)


def test_a_recording_that_was_only_touched_is_the_same(tmp_path: Path) -> None:
    run = trained(tmp_path)
    before = stored(run)
    os.utime(tmp_path / "corpus" / "0.wav", (1, 1))
    trained(tmp_path)
    assert all(value.equal(before[name]) for name, value in stored(run).items())


@pytest.mark.parametrize(
    ("key", "near"), [("optimizer", "adamv"), ("loss", "cross_entropi"), ("schedule", "cosin")]
)
def test_an_unknown_optimizer_loss_or_schedule_is_named(tmp_path: Path, key: str, near: str) -> None:
    with pytest.raises(
        PluginError, match=rf"train\.{key}: no {key} named '{near}' is installed; did you mean"
    ):
        trained(tmp_path, f"train.{key}={near}")


WEIGHTS = "model.safetensors"


@pytest.mark.usefixtures("sgd")
@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_row_without_its_text_learns_nothing_of_it(tmp_path: Path, share: float) -> None:
    """With all texts dropped, one step of plain descent leaves what reads text as it was, and moves what stands in."""
    before = stored(trained(tmp_path, *SGD, "train.lr=1e-9", f"conditions.drop_text={share}", out="before"))
    after = stored(trained(tmp_path, *SGD, f"conditions.drop_text={share}", out="after"))
    moved = not torch.allclose(
        after[f"{WEIGHTS} txt_embed.weight"], before[f"{WEIGHTS} txt_embed.weight"], atol=1e-7
    )
    assert moved == (share == 0.0)
    assert (f"{WEIGHTS} no_text" in after) == (share > 0.0)
    if share:
        assert not torch.allclose(after[f"{WEIGHTS} no_text"], before[f"{WEIGHTS} no_text"], atol=1e-5)


def test_precision_auto_is_kept_over_a_resumption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(device, "_cpu_multiplies_bfloat16", lambda: False)
    auto = "train.precision=auto"
    whole = trained(tmp_path, auto, out="whole")
    with pytest.raises(RunStopped):
        trained(tmp_path, auto, plugins=(Interrupter(2),))
    monkeypatch.setattr(device, "_cpu_multiplies_bfloat16", lambda: True)
    assert_same_training(whole, trained(tmp_path, auto))
    assert any("resuming in float32 as trained" in line for line in caplog.messages)
    last = newest_checkpoint(tmp_path / "run" / "checkpoints")
    assert last is not None
    assert last.precision == "float32"


def test_rows_end_to_end_train_as_padded_rows_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU: groups of two utterances in one row, and the weights of padded rows after some steps."""
    fixed = ("train.consecutive=2", "train.steps=3", "train.dropout=0", "text.dropout=0")
    padded = stored(trained(tmp_path, *fixed, out="padded"))
    monkeypatch.setattr(Trainer, "_packs_groups", lambda self, model: True)
    packed = stored(trained(tmp_path, *fixed, out="packed"))
    assert packed.keys() == padded.keys()
    for name, value in packed.items():
        torch.testing.assert_close(value, padded[name], atol=1e-4, rtol=1e-3, msg=name)


def test_memory_that_runs_out_beside_the_writing_of_a_checkpoint_names_that_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    real, save = BackwardPass.__call__, vars(trainer_module)["save_tensors"]

    def failing(self: BackwardPass, *arguments: Any, **options: Any) -> StepMeasures:
        calls.append(1)
        if len(calls) == 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, *arguments, **options)

    def slow(*arguments: Any, **options: Any) -> Any:
        time.sleep(0.5)
        return save(*arguments, **options)

    monkeypatch.setattr(BackwardPass, "__call__", failing)
    monkeypatch.setattr(trainer_module, "save_tensors", slow)
    with pytest.raises(LinaError, match=r"out of memory in step 3, .*the last checkpoint is of step 2:"):
        trained(tmp_path)
