"""Text-set evaluations of a run that was trained in a second."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lina.config.resolve import PluginChoice
from lina.core.errors import CheckpointError, LinaError, PluginError
from lina.core.plugin import PluginConfig, RecognizerPlugin
from lina.core.registry import Record
from lina.evaluation import espeak, metrics
from lina.evaluation import run as evaluation_run
from lina.evaluation.error_rates import Errors
from lina.evaluation.records import (
    CODEC,
    FLOOR,
    MODEL,
    RECORDINGS,
    TextSetEvaluation,
    read_text_set_evaluations,
)
from lina.evaluation.run import TextSetJob, evaluate_texts
from lina.evaluation.systems import ClipWriter, speak_timed
from lina.evaluation.text_set import Item, read_text_set
from lina.pipeline.speech_job import run_spec
from lina.runs.checkpoint_store import newest_checkpoint
from lina.runs.hooks import Run
from lina.speech.voice_loading import load
from tests.pipeline.small_run import Listener, hooks_of, small

TEXTS = (Item("1", "one"), Item("2", "two words"))


class Ears(RecognizerPlugin):
    calls = 0
    sample_rate = 16_000
    language = "en"

    @classmethod
    def example(cls) -> dict[str, Any]:
        return {"config": PluginConfig()}

    @classmethod
    def build(cls, *, config: Any) -> Any:
        return cls()

    def transcribe(self, audio: Any) -> str:
        type(self).calls += 1
        return "one"


class EarsConfig(PluginConfig):
    size: str = "small"


def ears(version: str = "1", **config: str) -> PluginChoice[RecognizerPlugin]:
    return PluginChoice(Record("recognizer", "ears", "here", version, "x:X"), Ears, EarsConfig(**config))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    return run_spec(small(folder, "train.steps=1", "synthesize.temperature=1.0"), hooks_of())


@pytest.fixture
def run(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    def none() -> Any:
        raise ImportError("not here")

    for name, info in metrics.AUDIO_METRICS.items():
        monkeypatch.setitem(metrics.AUDIO_METRICS, name, info._replace(load=none))
    monkeypatch.setattr(metrics, "speaker_encoder", none)
    monkeypatch.setattr(espeak, "is_installed", lambda: False)
    monkeypatch.setattr(Ears, "calls", 0)
    shutil.copytree(trained, tmp_path / "run")
    return Run(tmp_path / "run", load(trained).resolved.spec)


def evaluate(run: Run, listener: Listener | None = None, **changes: Any) -> TextSetEvaluation:
    settings: dict[str, Any] = {"name": "set", "items": TEXTS, "recognizer": ears(), "seed": 0} | changes
    job = TextSetJob(**settings)
    checkpoint = newest_checkpoint(run.directory / "checkpoints")
    assert checkpoint is not None
    return evaluate_texts(run, job, load(run.directory), checkpoint, hooks_of(listener or Listener()))


def test_texts_are_synthesized_timed_and_transcribed(run: Run) -> None:
    found = evaluate(run)
    (group,) = found.groups
    assert (group.name, group.sentences) == (MODEL, 2)
    assert group.word_error_rate == pytest.approx(2 / 3)
    for name in ("cut", "real_time_factor", "first_audio_median", "failed"):
        assert name in group.measures
    for name in ("skipped", "repeated", "unread"):
        assert name not in group.measures
    first = found.clips[0]
    assert first.seconds <= 0.2
    assert first.first_audio is not None
    assert first.synthesis_seconds is not None
    assert 0 < first.first_audio <= first.synthesis_seconds
    assert found.peak_memory_mib is not None
    assert found.peak_memory_mib > 20
    assert found.remarks[:3] == (
        "espeak-ng is left out: it is not installed",
        "DNSMOS is left out: not here; pip install 'lina[eval]'",
        "Distill-MOS is left out: not here; pip install --no-deps distillmos xls-r-sqa",
    )
    assert "this model's attention does not follow the text" in found.remarks[3]
    assert (run.directory / "evaluations/set" / first.audio).is_file()
    assert read_text_set_evaluations(run.directory) == [(run.directory / "evaluations/set", found)]


def test_timed_synthesis_equals_voice_speak(run: Run) -> None:
    voice = load(run.directory)
    choices: list[dict[str, Any]] = [{"seed": 5}, {"seed": 5, "best_of": 2}]
    for options in choices:
        timed = speak_timed(voice, "two words", **options)
        (speech,) = voice.speak(["two words"], **options)
        assert timed.speech.codes.equal(speech.codes)
        assert timed.speech.sentences[0].candidate == speech.sentences[0].candidate
        assert timed.first_audio <= timed.seconds


def test_without_a_recognizer_there_is_no_transcript(run: Run) -> None:
    found = evaluate(run, recognizer=None)
    assert found.clips[1].transcript is None
    assert found.groups[0].word_error_rate is None
    assert found.recognizer is None


def test_a_recognizer_without_a_language_is_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """As plugins are that were written before recognizers had one."""
    monkeypatch.delattr(Ears, "language")
    with pytest.raises(PluginError) as refusal:
        evaluate(run)
    assert str(refusal.value) == (
        "recognizer:ears (here 1, x:X): Ears has no attribute language, which lina.core.protocols.Recognizer requires "
        "(language: ISO 639-1 code of the transcripts, such as en); upgrade here, or add it"
    )
    assert Ears.calls == 0


def test_recordings_and_their_resynthesis_are_evaluated_too(run: Run, trained: Path) -> None:
    items = read_text_set(trained.parent / "corpus/manifest.jsonl")[:3]
    found = evaluate(run, items=items)
    assert [one.name for one in found.groups] == [MODEL, CODEC, RECORDINGS]
    codec, recordings = found.groups[1:]
    assert recordings.measures["duration_ratio"].value == 1.0
    assert codec.measures["duration_ratio"].value == pytest.approx(1.0, abs=0.05)
    assert found.groups[0].minus_ceiling["word_error_rate"].value == 0.0
    assert "speaker similarity is left out: not here; pip install resemblyzer" in found.remarks


def test_similarity_is_tried_again_after_a_failed_import(
    run: Run, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = read_text_set(trained.parent / "corpus/manifest.jsonl")[:3]
    monkeypatch.setattr(metrics, "has_speaker_encoder", lambda: True)
    assert "similarity" not in evaluate(run, items=items).groups[0].measures
    monkeypatch.setattr(metrics, "speaker_encoder", lambda: lambda audio: np.ones(2, np.float32))
    found = evaluate(run, items=items)
    assert found.groups[0].measures["similarity"].value == pytest.approx(1.0)
    assert not any("similarity" in remark for remark in found.remarks)


def test_an_interrupted_evaluation_resumes(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = ClipWriter.write

    def breaks(self: ClipWriter, item: Item, system: str) -> Any:
        if item.id == "2":
            raise LinaError("power cut")
        return whole(self, item, system)

    with monkeypatch.context() as patch:
        patch.setattr(ClipWriter, "write", breaks)
        with pytest.raises(LinaError, match="power cut"):
            evaluate(run)
    listener = Listener()
    found = evaluate(run, listener)
    assert ("started", "evaluate", 4, 1) in listener.stages
    assert [clip.id for clip in found.clips] == ["1", "2"]
    again = evaluate(run)
    assert again == found, "times too: no text was synthesized twice"
    assert Ears.calls == 2


def test_a_new_recognizer_repeats_the_transcripts_and_a_new_seed_the_synthesis(run: Run) -> None:
    first = evaluate(run)
    second = evaluate(run, recognizer=ears("2"))
    assert Ears.calls == 4
    assert second.clips == first.clips
    larger = evaluate(run, recognizer=ears("2", size="large"))
    assert Ears.calls == 6
    assert (second.recognizer, larger.recognizer) == ("ears", "ears size=large")
    third = evaluate(run, seed=1)
    assert third.clips[0].synthesis_seconds != first.clips[0].synthesis_seconds


def test_another_normalization_counts_stored_transcripts_again(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = evaluate(run)
    calls = Ears.calls
    monkeypatch.setattr(evaluation_run, "identity", lambda: "another")
    monkeypatch.setattr(metrics, "count_errors", lambda text, transcript, language: Errors(4, 1, 9, 3))
    after = evaluate(run)
    assert after.groups[0].word_error_rate == 0.25
    assert [clip.transcript for clip in after.clips] == [clip.transcript for clip in before.clips]
    assert Ears.calls == calls


def test_the_floor_is_an_external_program(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trained: Path
) -> None:
    monkeypatch.undo()
    program = tmp_path / "bin/espeak-ng"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\ncat >/dev/null\ncp "{trained.parent}/corpus/0.wav" "$6"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    found = evaluate(run, recognizer=None)
    assert [one.name for one in found.groups] == [MODEL, FLOOR]
    assert found.clips[-1].seconds == pytest.approx(0.3)
    without = evaluate(run, recognizer=None, floor=False)
    assert [one.name for one in without.groups] == [MODEL]

    program.write_text("#!/bin/sh\necho no such\\\\nvoice >&2\nexit 3\n")
    with pytest.raises(LinaError, match=r"espeak-ng failed \(no such.*voice\) at 'new'; fix it, or pass"):
        evaluate(run, recognizer=None, items=[Item("1", "new")])


def test_a_damaged_result_is_named(run: Run) -> None:
    (run.directory / "evaluations/set").mkdir(parents=True)
    (run.directory / "evaluations/set/evaluation.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"set/evaluation.json: is damaged; remove the file"):
        read_text_set_evaluations(run.directory)
