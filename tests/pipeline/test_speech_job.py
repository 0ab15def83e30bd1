"""Whole runs in this process: stages, the directory, and what is wrong with it."""

import errno
import json
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from lina.core.errors import CheckpointError, DataError, LinaError, PluginError, SpecError, TextError
from lina.evaluation.records import read_text_set_evaluations
from lina.pipeline import speech_stages
from lina.pipeline.speech_job import run_spec
from lina.runs.files import read_data_summary, read_evaluation, read_samples
from lina.runs.hook_manager import add_plugin, build_manager
from lina.runs.hooks import hookimpl
from lina.runs.signals import RunStopped
from lina.speech.voice import Voice
from lina.speech.voice_loading import load
from tests.fakes import FakeDistributions
from tests.pipeline.small_run import Listener, assert_same_training, hooks_of, small, stored, write_corpus

SPEAKING = ("evaluate.sentences=2", "evaluate.unseen=[three]", "synthesize.texts=[one, two]")


def run(folder: Path, *overrides: str, plugins: tuple[object, ...] = (), out: str = "run") -> Listener:
    listener = Listener()
    run_spec(small(folder, *overrides, out=out), hooks_of(listener, *plugins))
    return listener


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def done(listener: Listener) -> dict[str, bool]:
    """Stage -> whether there was anything to do."""
    return {event[1]: event[0] == "finished" for event in listener.stages if event[0] != "started"}


def test_finished_work_is_not_redone(tmp_path: Path) -> None:
    first = run(tmp_path, *SPEAKING)
    stages = ("data", "train", "evaluate", "synthesize", "report")
    assert done(first) == dict.fromkeys(stages, True)
    before = files(tmp_path / "run")
    second = run(tmp_path, *SPEAKING)
    assert done(second) == dict.fromkeys(stages, False) | {"report": True}
    assert second.samples == []
    assert files(tmp_path / "run") == before


@pytest.mark.parametrize(
    ("change", "redone"),
    [
        ("synthesize.texts=[other]", {"synthesize"}),
        ("evaluate.unseen=[other]", {"evaluate"}),
        ("evaluate.sentences=1", {"evaluate"}),
        ("synthesize.temperature=0.5", {"evaluate", "synthesize"}),
        ("synthesize.max_seconds=0.1", {"evaluate", "synthesize"}),
        ("train.keep=1", set()),
        ("train.threads=1", set()),
    ],
)
def test_only_what_a_change_concerns_is_redone(tmp_path: Path, change: str, redone: set[str]) -> None:
    run(tmp_path, *SPEAKING, "train.steps=1")
    again = done(run(tmp_path, *SPEAKING, "train.steps=1", change))
    assert {stage for stage, worked in again.items() if worked} == redone | {"report"}


def test_the_content_of_a_lexicon_counts(tmp_path: Path) -> None:
    lexicon = tmp_path / "words.tsv"
    settings = (*SPEAKING, "train.steps=1", "tokenizer.plugin=phonemes", f"synthesize.lexicon={lexicon}")
    lexicon.write_text("two\tdˈu\n")
    run(tmp_path, *settings)
    assert not done(run(tmp_path, *settings))["synthesize"]
    lexicon.write_text("two\ttɹˈO\n")
    again = done(run(tmp_path, *settings))
    assert {stage for stage, worked in again.items() if worked} == {"evaluate", "synthesize", "report"}
    lexicon.unlink()
    with pytest.raises(
        TextError, match=r"^synthesize\.lexicon: .*cannot be read.*; restore it.*lexicon-\w+\.tsv$"
    ):
        run(tmp_path, *settings)
    lexicon.write_text("two\ttɹˈO\n")
    assert not done(run(tmp_path, *settings))["synthesize"]


def test_samples_are_made_again_for_other_weights_of_the_same_step(tmp_path: Path) -> None:
    run(tmp_path, *SPEAKING, "train.steps=1")
    run(tmp_path, *SPEAKING, "train.steps=1", "seed=4", out="other")
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    (tmp_path / "other" / "checkpoints").rename(tmp_path / "run" / "checkpoints")
    again = done(run(tmp_path, *SPEAKING, "train.steps=1"))
    assert again["evaluate"]
    assert again["synthesize"]
    assert not again["train"]


def test_a_sample_that_was_deleted_is_made_again(tmp_path: Path) -> None:
    run(tmp_path, *SPEAKING, "train.steps=1")
    (tmp_path / "run" / "samples" / "spec-01.wav").unlink()
    again = done(run(tmp_path, *SPEAKING, "train.steps=1"))
    assert again["synthesize"]
    assert not again["evaluate"]
    assert (tmp_path / "run" / "samples" / "spec-01.wav").is_file()


def test_samples_that_are_no_longer_wanted_leave_the_index(tmp_path: Path) -> None:
    run(tmp_path, *SPEAKING, "train.steps=1")
    kinds = [record.kind for record in read_samples(tmp_path / "run")]
    assert kinds == ["train", "train", "unseen", "spec", "spec"]
    again = run(tmp_path, "train.steps=1", "synthesize.texts=[one]")
    assert [(record.kind, record.text) for record in read_samples(tmp_path / "run")] == [("spec", "one")]
    assert "evaluate" not in done(again)


def test_a_changed_spec_is_refused_with_what_changed(tmp_path: Path) -> None:
    run(tmp_path, "train.steps=1")
    before = files(tmp_path / "run")
    with pytest.raises(CheckpointError, match=r"train.lr: 0.01 -> 0.5; choose another name") as refused:
        run(tmp_path, "train.steps=1", "train.lr=0.5")
    assert "\n" not in str(refused.value)
    with pytest.raises(CheckpointError, match=r"\(and 2 more\)"):
        run(
            tmp_path,
            "train.steps=1",
            "train.ema=0.5",
            "train.lr=0.5",
            "seed=1",
            "train.clip=2",
            "train.warmup=7",
        )
    assert files(tmp_path / "run") == before


def test_a_mistake_found_before_anything_is_made_does_not_claim_the_directory(tmp_path: Path) -> None:
    with pytest.raises(TextError, match="blank"):
        run(tmp_path, "train.steps=1", "synthesize.texts=[' ']", "codec.plugin=codec2", "train.lr=0.5")
    assert done(run(tmp_path, "train.steps=1", "tokenizer.plugin=bytes"))["train"]


def test_a_run_that_is_refused_before_anything_is_encoded_leaves_no_directory(tmp_path: Path) -> None:
    weights = ("codec.plugin=encodec", f"codec.config.weights={tmp_path / 'none.th'}")
    with pytest.raises(LinaError, match="none"):
        run(tmp_path, *weights, out="runs/mine")
    assert not (tmp_path / "runs/mine").exists()
    (tmp_path / "runs/mine").mkdir(parents=True)
    (tmp_path / "runs/mine/notes.txt").write_text("mine")
    with pytest.raises(LinaError, match="none"):
        run(tmp_path, *weights, out="runs/mine")
    assert (tmp_path / "runs/mine/notes.txt").exists()


def test_a_refused_run_keeps_what_was_done(tmp_path: Path) -> None:
    manifest = write_corpus(tmp_path / "corpus")
    lines = [json.loads(line) | {"speaker": ""} for line in manifest.read_text().splitlines()]
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(DataError, match="names no speakers"):
        run(tmp_path, "conditions.speaker=true")
    assert list((tmp_path / "run/data").glob("shard-*.json"))
    assert (tmp_path / "run/spec.yaml").exists()


def test_before_training_only_what_is_encoded_holds_the_spec(tmp_path: Path) -> None:
    with pytest.raises(LinaError):
        run(tmp_path, "train.steps=1", "train.lr=0.5", plugins=(Untrainable(),))
    with pytest.raises(CheckpointError, match=r"data\.min_seconds: .* choose another name"):
        run(tmp_path, "train.steps=1", "data.min_seconds=0.3")
    again = done(run(tmp_path, "train.steps=1"))
    assert not again["data"]
    assert again["train"]


class Untrainable:
    @hookimpl
    def stage_started(self, stage: str) -> None:
        if stage == "train":
            raise LinaError("not today")


def test_a_missing_device_is_reported_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(LinaError, match="no CUDA device"):
        run(tmp_path, "train.device=cuda")
    assert not (tmp_path / "run").exists()


def test_free_keys_may_change(tmp_path: Path) -> None:
    run(tmp_path, "train.steps=2")
    free = ("train.valid_every=7", "train.checkpoint_every=9", "train.keep=5", "train.log_every=3")
    again = run(tmp_path, "train.steps=2", *free, "data.max_rejects=0.5", "train.device=cpu")
    assert not done(again)["train"]
    assert "valid_every: 7" in (tmp_path / "run" / "spec.yaml").read_text()


def test_a_run_with_former_names_in_its_spec_resumes_and_loads(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """spec.yaml as an earlier lina wrote it."""
    run(tmp_path, "train.steps=1", "backbone.config.kernels=reference")
    path = tmp_path / "run" / "spec.yaml"
    current = path.read_text()
    names = {"kernels: reference": "kernels: plain", "attention: position": "attention: blind"}
    names["  workers: 1\n"] = "  processes: 1\n"
    former = current
    for name, old in names.items():
        assert name in former
        former = former.replace(name, old)
    for kernels in ("reference", "plain"):
        path.write_text(former)
        caplog.clear()
        assert load(tmp_path / "run").resolved.spec.data.workers == 1
        assert sum("is now called" in line for line in caplog.messages) == 3
        assert not done(run(tmp_path, "train.steps=1", f"backbone.config.kernels={kernels}"))["train"]
        assert path.read_text() == current


def test_two_runs_in_one_directory(tmp_path: Path) -> None:
    inside, may_end = threading.Event(), threading.Event()

    class Slow:
        @hookimpl
        def run_started(self) -> None:
            inside.set()
            may_end.wait(60)

    thread = threading.Thread(target=run, args=(tmp_path, "train.steps=1"), kwargs={"plugins": (Slow(),)})
    thread.start()
    assert inside.wait(60)
    with pytest.raises(LinaError, match="another lina process is running there; wait for it") as refused:
        run(tmp_path, "train.steps=1")
    assert refused.value.exit_code == 2
    may_end.set()
    thread.join()
    run(tmp_path, "train.steps=1")


def test_the_directory_is_free_again_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(TextError) as kept:  # its traceback holds the frames of the first run
        run(tmp_path, "synthesize.texts=['']")
    run(tmp_path)
    assert "synthesize.texts[0]" in str(kept.value)


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LinaError, match=r"cannot be written: Not a directory; choose another train\.out"):
        run(tmp_path, out="file/run")


def test_a_directory_that_may_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run").mkdir(mode=0o500)
    if os.geteuid() == 0:  # root may write anywhere: for root the system's refusal is made up
        opened = os.open

        def refusing(path: Any, *options: Any, **keywords: Any) -> int:
            if Path(path).parent == tmp_path / "run":
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
            return opened(path, *options, **keywords)

        monkeypatch.setattr(os, "open", refusing)
    with pytest.raises(LinaError, match="cannot be written: Permission denied"):
        run(tmp_path)
    assert not list((tmp_path / "run").iterdir())


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), PermissionError(13, "Denied", "a/b")]
)
def test_a_disk_error_is_one_line(tmp_path: Path, error: OSError) -> None:
    class Full:
        @hookimpl
        def run_started(self) -> None:
            raise error

    where = error.filename or tmp_path / "run"
    with pytest.raises(LinaError, match=f"^{where}: {error.strerror}; fix this and run the same command"):
        run(tmp_path, plugins=(Full(),))


def test_a_file_where_a_folder_of_the_run_belongs(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "data").write_text("in the way")
    with pytest.raises(LinaError, match=f"^{tmp_path}/run/data: File exists; fix this"):
        run(tmp_path)


def test_a_bug_is_not_taken_for_a_full_disk(tmp_path: Path) -> None:
    class Wrong:
        @hookimpl
        def run_started(self) -> None:
            raise OSError(errno.EBADF, "Bad file descriptor")

    with pytest.raises(OSError, match="Bad file descriptor"):
        run(tmp_path, plugins=(Wrong(),))


def test_a_missing_corpus_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.jsonl"):
        run(tmp_path, "data.config.path=nowhere.jsonl")
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_a_corpus_of_which_nothing_can_be_used(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"6 of 6 utterances were rejected.*too short.*rejects\.jsonl"):
        run(tmp_path, "data.min_seconds=5", "data.max_rejects=1")
    rejects = (tmp_path / "run" / "data" / "rejects.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in rejects] == [f"tone-{n}" for n in range(6)]


def test_the_summary_counts_rejects_of_every_kind(tmp_path: Path) -> None:
    manifest = write_corpus(tmp_path / "corpus")
    (tmp_path / "corpus" / "0.wav").write_bytes(b"no audio")
    manifest.write_text(manifest.read_text().replace('"1.wav"', '"missing.wav"') + "not json\n")
    run(tmp_path, "data.max_rejects=0.6", "data.max_seconds=0.55", "train.steps=1")
    summary = read_data_summary(tmp_path / "run")
    rejects = (tmp_path / "run" / "data" / "rejects.jsonl").read_text().splitlines()
    assert summary is not None
    assert (summary.utterances, summary.rejects) == (3, len(rejects)) == (3, 4)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("synthesize.texts=[fine, ' ']", r"synthesize\.texts\[1\]: .*blank"),
        ("evaluate.unseen=['']", r"evaluate\.unseen\[0\]: .*empty"),
        ("synthesize.temperature=[0.0, 1.0]", "temperature has 2 values, but the codec has 14 codebooks"),
        ("conditions.speaker=true", "the corpus names no speakers; set speaker: false"),
    ],
)
def test_wishes_that_cannot_be_met_are_refused_before_training(
    tmp_path: Path, override: str, message: str
) -> None:
    manifest = write_corpus(tmp_path / "corpus")
    manifest.write_text(manifest.read_text().replace("anna", "").replace("bert", ""))
    with pytest.raises(LinaError, match=message):
        run(tmp_path, override)
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.parametrize("stage", ["data", "evaluate", "report"])
def test_sigterm_outside_training_stops_at_once_and_the_run_goes_on(tmp_path: Path, stage: str) -> None:
    class Interrupter:
        @hookimpl
        def stage_started(self, stage: str) -> None:
            if stage == target:
                os.kill(os.getpid(), signal.SIGTERM)

    target, before = stage, signal.getsignal(signal.SIGTERM)
    with pytest.raises(RunStopped, match="run the same command to resume"):
        run(tmp_path, *SPEAKING, "train.steps=1", plugins=(Interrupter(),))
    assert signal.getsignal(signal.SIGTERM) is before
    again = done(run(tmp_path, *SPEAKING, "train.steps=1"))
    assert again["report"]
    assert again["train"] == (stage == "data")


def test_a_plugin_of_another_version_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run(tmp_path, "train.steps=1")
    info = tmp_path / "run" / "run.json"
    lines = json.loads(info.read_text())
    lines["plugins"][0]["version"] = "0.0.1"
    info.write_text(json.dumps(lines))
    run(tmp_path, "train.steps=1")
    assert any("backbone:gla was lina 0.0.1, now it is lina" in line for line in caplog.messages)
    caplog.clear()
    run(tmp_path, "train.steps=1")
    assert not any("results may differ" in line for line in caplog.messages)


@pytest.fixture
def heard_ctrl_c() -> Iterator[None]:
    """A shell script's background jobs begin with Ctrl-C ignored, and so do tests in them."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard_ctrl_c")
@pytest.mark.parametrize("stage", ["data", "evaluate", "report"])
def test_ctrl_c_outside_training_stops_at_once_and_the_run_goes_on(tmp_path: Path, stage: str) -> None:
    class Interrupter:
        @hookimpl
        def stage_started(self, stage: str) -> None:
            if stage == target:
                os.kill(os.getpid(), signal.SIGINT)

    target = stage
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, *SPEAKING, "train.steps=1", plugins=(Interrupter(),))
    assert done(run(tmp_path, *SPEAKING, "train.steps=1"))["report"]


def test_sigterm_inside_a_hook_plugin_is_not_taken_for_its_failure(tmp_path: Path) -> None:
    class Interrupter:
        @hookimpl
        def stage_started(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

    manager = build_manager(())
    add_plugin(manager, Interrupter(), "interrupter")
    with pytest.raises(RunStopped):
        run_spec(small(tmp_path), manager.hook)


def test_the_same_command_replaces_a_damaged_tokenizer_file(tmp_path: Path) -> None:
    run(tmp_path, "train.steps=1")
    path = tmp_path / "run" / "tokenizer.json"
    before = path.read_bytes()
    path.write_bytes(before[:10])
    assert not done(run(tmp_path, "train.steps=1"))["train"]
    assert path.read_bytes() == before


def test_training_sentences_are_spoken_by_their_speakers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str | None, tuple[str, ...]]] = []
    real = Voice.speak

    def recorded(self: Voice, texts: list[str], **options: Any) -> Any:
        calls.append((options["speaker"], tuple(texts)))
        return real(self, texts, **options)

    monkeypatch.setattr(Voice, "speak", recorded)
    run(tmp_path, "conditions.speaker=true", *SPEAKING, "evaluate.sentences=3", "train.steps=1")
    assert calls == [
        ("anna", ("one", "three is more")),
        ("bert", ("two words",)),
        (None, ("three",)),
        (None, ("one", "two")),
    ]
    assert [record.text for record in read_samples(tmp_path / "run")][:3] == [
        "one",
        "two words",
        "three is more",
    ]


RECOGNIZER = """
from lina.core.plugin import PluginConfig, RecognizerPlugin

class Says:
    sample_rate = 16_000
    language = "en"
    heard = []

    def transcribe(self, audio):
        self.heard.append(len(audio))
        return "one"

class Fake(RecognizerPlugin):
    @classmethod
    def example(cls):
        return {"config": PluginConfig()}

    @classmethod
    def build(cls, *, config):
        return Says()
"""


@pytest.fixture
def recognizer(distributions: FakeDistributions) -> str:
    distributions.install("fake-ears", {"lina.recognizers": {"fake": "fake_ears:Fake"}}, fake_ears=RECOGNIZER)
    return "evaluate.recognizer=fake"


def test_a_recogniser_hears_speech_recordings_and_resynthesis(tmp_path: Path, recognizer: str) -> None:
    run(tmp_path, *SPEAKING, recognizer, "train.steps=1")
    found = read_evaluation(tmp_path / "run")
    assert found is not None
    assert found.recognizer == "fake"
    rates = {group.name: (group.sentences, group.word_error_rate) for group in found.groups}
    # "one" and "two words" against "one", "one": two of three words are wrong.
    assert rates == {
        "training sentences": (2, pytest.approx(2 / 3)),
        "unseen sentences": (1, 1.0),
        "codec resynthesis": (2, pytest.approx(2 / 3)),
        "recordings": (2, pytest.approx(2 / 3)),
    }
    first, second, unseen, *spec = read_samples(tmp_path / "run")
    assert (first.transcript, first.error_rate, first.resynthesis_error_rate) == ("one", 0.0, 0.0)
    assert second.error_rate == 1.0
    assert unseen.resynthesis_transcript is None
    assert all(one.transcript is None for one in spec)
    again = run(tmp_path, *SPEAKING, recognizer, "train.steps=1", "synthesize.texts=[new]")
    assert done(again)["synthesize"]
    assert not done(again)["evaluate"]
    assert read_evaluation(tmp_path / "run") == found


def test_a_spec_may_name_a_text_set(tmp_path: Path, recognizer: str) -> None:
    (tmp_path / "set.txt").write_text("one\nfour words of two\n")
    texts = f"evaluate.texts={tmp_path / 'set.txt'}"
    first = run(tmp_path, recognizer, texts, "train.steps=1")
    [(folder, found)] = read_text_set_evaluations(tmp_path / "run")
    assert folder == tmp_path / "run/evaluations/set"
    assert found.groups[0].word_error_rate == pytest.approx(4 / 5)
    assert found.peak_memory_mib is None, "it would be that of training"
    assert done(first)["evaluate"]
    assert not done(run(tmp_path, recognizer, texts, "train.steps=1"))["evaluate"]
    (tmp_path / "set.txt").write_text("one\n")
    assert done(run(tmp_path, recognizer, texts, "train.steps=1"))["evaluate"]


def test_a_missing_text_set_is_reported_before_training(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none.txt: no such file; name the texts"):
        run(tmp_path, f"evaluate.texts={tmp_path / 'none.txt'}")
    assert not (tmp_path / "run").exists()


def test_without_the_recogniser_its_findings_go(tmp_path: Path, recognizer: str) -> None:
    run(tmp_path, *SPEAKING, recognizer, "train.steps=1")
    run(tmp_path, *SPEAKING, "train.steps=1")
    assert read_evaluation(tmp_path / "run") is None
    assert all(record.transcript is None for record in read_samples(tmp_path / "run"))


def test_a_broken_recogniser_leaves_the_stage_undone(
    tmp_path: Path, recognizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deaf(*arguments: Any) -> None:
        raise LinaError("deaf")

    with monkeypatch.context() as patch:
        patch.setattr(speech_stages, "transcribe_samples", deaf)
        with pytest.raises(LinaError, match="deaf"):
            run(tmp_path, *SPEAKING, recognizer, "train.steps=1")
    again = done(run(tmp_path, *SPEAKING, recognizer, "train.steps=1"))
    assert again["evaluate"]
    assert not again["train"]


def test_ids_that_make_one_file_name_keep_files_of_their_own(tmp_path: Path) -> None:
    manifest = write_corpus(tmp_path / "corpus")
    manifest.write_text(manifest.read_text().replace("tone-0", "a/b").replace("tone-1", "a_b"))
    run(tmp_path, "evaluate.sentences=2", "train.steps=1")
    first, second = read_samples(tmp_path / "run")
    assert first.audio != second.audio
    assert {first.id, second.id} == {"a/b", "a_b"}
    assert (tmp_path / "run" / first.audio).parent == tmp_path / "run" / "samples"


def test_speech_comes_from_the_averaged_weights(tmp_path: Path) -> None:
    run(tmp_path, "train.ema=0.9", "train.steps=3")
    voice = load(tmp_path / "run", device="cpu")
    tensors = stored(tmp_path / "run")
    for name, value in voice.model.state_dict().items():
        assert value.equal(tensors[f"average.safetensors {name}"])
    assert any(
        not value.equal(tensors[name.replace("average", "model")])
        for name, value in tensors.items()
        if name.startswith("average")
    )


def test_a_run_leaves_the_configured_number_of_threads(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    try:
        run(tmp_path, "train.threads=2", "train.steps=1")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_backbone_that_cannot_begin_anew_is_refused_before_anything_is_encoded(tmp_path: Path) -> None:
    resolved = small(tmp_path, "backbone.plugin=transformer", "train.consecutive=2")
    with pytest.raises(SpecError, match=r"train.consecutive is 2.*backbone 'transformer' takes no starts"):
        run_spec(resolved, hooks_of())
    assert not (tmp_path / "run" / "data").exists()


WRONG = """
import torch
from lina.core import MixerPlugin

class Mixer(torch.nn.Module):
    def __init__(self, d_model):
        super().__init__()
        self.out = torch.nn.Linear(d_model, d_model)
    def initial_state(self, batch):
        return (torch.zeros(batch, 1),)
    def parallel_forward(self, x, state):
        return PARALLEL
    def step(self, x, state):
        return STEP

class Wrong(MixerPlugin):
    @classmethod
    def example(cls): return {}
    @classmethod
    def mixer(cls, *, d_model, layer, n_layers, config): return Mixer(d_model)
"""


@pytest.mark.parametrize(
    ("parallel", "step", "message"),
    [
        ("None", "None", "Mixer.parallel_forward returned NoneType; it must return a tuple (y, state)"),
        (
            "x[..., :3], state",
            "None",
            "parallel_forward returned [2, 3, 3] torch.float32 for an input of [2, 3, 16]",
        ),
        ("x, state", "x", "Mixer.step returned Tensor; it must return a tuple (y, state)"),
        ("x.long(), state", "x, state", "Mixer.parallel_forward returned [2, 3, 16] torch.int64"),
        ("x, (0,)", "x, state", "Mixer.parallel_forward returned a state whose 0 is int"),
        ("x @ x, state", "x, state", "Mixer.parallel_forward failed on 3 frames of zeros: RuntimeError"),
    ],
)
def test_a_backbone_that_returns_something_else_is_one_line(
    tmp_path: Path, distributions: FakeDistributions, parallel: str, step: str, message: str
) -> None:
    source = WRONG.replace("PARALLEL", parallel).replace("STEP", step)
    distributions.install(
        "lina-wrong", {"lina.backbones": {"wrong": "wrong_mod:Wrong"}}, "0.2", wrong_mod=source
    )
    with pytest.raises(PluginError) as refusal:
        run(tmp_path, "train.steps=1", "backbone={plugin: wrong, d_model: 16, n_layers: 1}")
    assert str(refusal.value).startswith("backbone:wrong (lina-wrong 0.2, wrong_mod:Wrong): ")
    assert message in str(refusal.value)


def test_a_finished_run_goes_on_with_more_steps(tmp_path: Path) -> None:
    options = ("train.schedule=constant", "train.ema=0.5")
    run(tmp_path, *options, "train.steps=3")
    with pytest.raises(CheckpointError, match=r"train\.steps: 3 -> 2; choose another name"):
        run(tmp_path, *options, "train.steps=2")
    listener = run(tmp_path, *options, "train.steps=6")
    assert ("started", "train", 6, 3) in listener.stages
    run(tmp_path, *options, "train.steps=6", out="whole")
    assert_same_training(tmp_path / "run", tmp_path / "whole")


def test_a_second_run_takes_the_shards_of_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path, "train.steps=1")
    monkeypatch.setattr("lina.data.shard_builder.Encoder", None)
    run(tmp_path, "train.steps=1", "train.lr=0.5", out="second")
    shards = [tmp_path / out / "data/shard-00000.safetensors" for out in ("run", "second")]
    assert shards[0].read_bytes() == shards[1].read_bytes()


WRONG_CODEC = """
import torch
from lina.core import CodecPlugin

class Wrong(CodecPlugin):
    sample_rate, hop, channels, codebook_sizes = 8000, 160, 1, (16, 16)
    @classmethod
    def example(cls): return {}
    @classmethod
    def build(cls, *, config): return BUILT
    def encode(self, audio): return ENCODED
    def decode(self, codes): return None
"""

WRONG_TOKENIZER = """
from lina.core import TokenizerPlugin

class Wrong(TokenizerPlugin):
    vocab_size = 9
    @classmethod
    def example(cls): return {}
    @classmethod
    def build(cls, *, config, trained=None): return BUILT
    def initial_state(self): return ()
    def parallel_forward(self, text): return IDS
    def step(self, piece, state): return [], ()
    def flush(self, state): return []
    def labels(self, ids): return ["x" for _ in ids]
"""


@pytest.mark.parametrize(
    ("role", "source", "values", "message"),
    [
        ("codec", WRONG_CODEC, {"BUILT": "None"}, "build returned NoneType, which is no codec"),
        (
            "codec",
            WRONG_CODEC,
            {"BUILT": "cls()", "ENCODED": "None"},
            "Wrong.encode returned None, expected codes int64 [1, ",
        ),
        (
            "codec",
            WRONG_CODEC,
            {"BUILT": "cls()", "ENCODED": "audio"},
            "Wrong.encode returned float32 [1, 1, ",
        ),
        ("tokenizer", WRONG_TOKENIZER, {"BUILT": "3"}, "build returned int, which is no tokenizer"),
        (
            "tokenizer",
            WRONG_TOKENIZER,
            {"BUILT": "cls()", "IDS": "None"},
            "Wrong.parallel_forward returned None for the text ",
        ),
        (
            "tokenizer",
            WRONG_TOKENIZER,
            {"BUILT": "cls()", "IDS": "[9]"},
            "Wrong.parallel_forward returned 9 (int) at 0 for the text ",
        ),
    ],
)
def test_a_codec_or_tokenizer_that_returns_something_else_is_one_line(
    tmp_path: Path,
    distributions: FakeDistributions,
    role: str,
    source: str,
    values: dict[str, str],
    message: str,
) -> None:
    for name, value in values.items():
        source = source.replace(name, value)
    group = {"codec": "lina.codecs", "tokenizer": "lina.tokenizers"}[role]
    distributions.install("lina-wrong", {group: {"wrong": "wrong_mod:Wrong"}}, "0.2", wrong_mod=source)
    with pytest.raises(PluginError) as refusal:
        run(tmp_path, "train.steps=1", f"{role}={{plugin: wrong}}")
    assert str(refusal.value).startswith(f"{role}:wrong (lina-wrong 0.2, ")
    assert "wrong_mod" in str(refusal.value)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)
