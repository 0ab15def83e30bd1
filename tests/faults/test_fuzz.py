"""Every reader on its committed inputs and findings, and on a few hundred mutations of them."""

import random

import pytest

from benchmarks.fuzz import mutated
from benchmarks.fuzz_readers import CORPUS, FINDINGS, READERS, inputs, try_input

MUTATIONS = 40


def test_every_reader_has_inputs() -> None:
    assert {folder.name for folder in CORPUS.iterdir()} == READERS.keys()
    assert not FINDINGS.exists() or {folder.name for folder in FINDINGS.iterdir()} <= READERS.keys()


@pytest.mark.parametrize("reader", READERS)
def test_committed_inputs_and_mutations_are_read_or_refused(reader: str) -> None:
    draw, committed = random.Random(reader), inputs(reader)
    mutations = [mutated(draw.choice(committed), draw.choice(committed), draw) for _ in range(MUTATIONS)]
    for content in (*committed, *mutations):
        failure = try_input(reader, content)
        assert failure is None, (content, failure)
