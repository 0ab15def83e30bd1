"""The voice that comes with lina: small, whole, with a finished card, and speaking."""

from pathlib import Path

import numpy as np
import pytest

import lina
from lina.runs.checkpoint_store import newest_checkpoint
from lina.speech.default_voice import VOICES, shipped_voice
from lina.speech.model_card import UNKNOWN

FOUND = sorted(path for path in VOICES.glob("*") if path.is_dir())
MOST_BYTES, MOST_GRAPH_BYTES = 16_000_000, 6_000_000
"""Of a voice without its exported graphs, and of the graphs with the weights of the codec's decoder."""


@pytest.mark.parametrize("voice", FOUND, ids=lambda path: path.name)
def test_it_is_small_and_its_card_is_finished(voice: Path) -> None:
    sizes = {path: path.stat().st_size for path in voice.rglob("*") if path.is_file()}
    graphs = sum(size for path, size in sizes.items() if path.is_relative_to(voice / "onnx"))
    assert graphs <= MOST_GRAPH_BYTES
    assert sum(sizes.values()) - graphs <= MOST_BYTES
    assert {path.name for path in voice.iterdir()} <= {
        *("README.md", "checkpoints", "codec", "onnx", "run.json", "spec.yaml", "speakers.json"),
        *("tokenizer", "tokenizer.json"),
    }
    assert UNKNOWN not in (voice / "README.md").read_text()
    checkpoint = newest_checkpoint(voice / "checkpoints")
    assert checkpoint is not None
    assert checkpoint.weights in (voice / "README.md").read_text()


@pytest.mark.parametrize("voice", FOUND, ids=lambda path: path.name)
def test_each_of_its_speakers_speaks(voice: Path) -> None:
    speaking = lina.load(voice)
    for speaker in (None, *speaking.speakers):
        audio = speaking.say("It costs $5.", speaker=speaker, max_seconds=1.0)
        assert np.isfinite(audio).all()
        assert np.sqrt(np.mean(audio**2)) > 1e-3


def test_one_of_them_speaks_where_no_run_is_named() -> None:
    assert shipped_voice() in FOUND


SHORT_SENTENCES = (
    "No. I will not.",
    "Wait. Come back!",
    "Really? Tell me more.",
    "Go on. I hear you.",
    "Sorry. My mistake.",
    "Look! A bird.",
    "Sit. Stay. Good dog.",
    "One. Two. Three. Go!",
    "Hush. They sleep.",
    "Right. What now?",
    "Who? Me?",
    "Of course. Why not?",
    "Quick! Run!",
    "Never mind. It is late.",
    "Good night. Sleep well.",
    "Help! I am stuck.",
    "Tea? Yes, please.",
    "It works. At last.",
    "Well done. Next!",
    "Red. Green. Blue. Black. White.",
)


@pytest.mark.parametrize("voice", FOUND, ids=lambda path: path.name)
def test_of_short_sentences_none_is_lost(voice: Path) -> None:
    """By its own attention: every sentence is read to its end, and ends there."""
    texts = lina.load(voice).speak(SHORT_SENTENCES)
    for text, speech in zip(SHORT_SENTENCES, texts, strict=True):
        assert " ".join(one.input.text for one in speech.sentences) == text
        for sentence in speech.sentences:
            aligned = sentence.candidate.alignment
            assert aligned.stopped, sentence.input.text
            assert aligned.unread == 0, sentence.input.text
            assert aligned.skipped < 0.2, sentence.input.text  # a sound or two of a word
