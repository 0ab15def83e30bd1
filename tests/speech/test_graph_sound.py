"""Frames that are decoded together by exported graphs: the grouping, and the audio of one by one."""

from typing import Any, cast

import numpy as np
import pytest

import lina
from lina.engine.onnx.files import GROUP
from lina.speech.graph_sound import SINGLE, GraphSound, grouped
from lina.speech.shaping import FrameTag


def sizes(*lengths: int) -> list[int]:
    """Sizes of the groups of segments with so many frames."""
    frames = [
        (np.full((1, 1, 2), number), FrameTag(cast(Any, object_of_segment)))
        for length in lengths
        for object_of_segment in [object()]
        for number in range(length)
    ]
    groups = list(grouped(frames))
    joined = [frame for group in groups for frame in group]
    assert all(one is other for one, other in zip(joined, frames, strict=True))
    assert all(len({id(tag.segment) for _, tag in group}) == 1 for group in groups)
    return [len(group) for group in groups]


def test_a_segment_begins_and_ends_one_by_one() -> None:
    assert (SINGLE, GROUP) == (4, 4)
    assert sizes(3) == [1] * 3
    assert sizes(4 + 4) == [1, 1, 1, 1, 4]
    assert sizes(4 + 9 + 2) == [1, 1, 1, 1, 4, 4, 1, 1, 1]
    assert sizes(5, 9, 0, 1) == [1] * 5 + [1, 1, 1, 1, 4, 1] + [1]
    assert sizes() == []


def test_a_frame_does_not_wait_for_its_group_to_be_complete() -> None:
    """The first frames come out before the fifth is computed."""
    segment: Any = object()

    def frames() -> Any:
        yield from ((np.zeros((1, 1, 2), int), FrameTag(segment)) for _ in range(SINGLE))
        pytest.fail("one more was asked for")

    groups = grouped(frames())
    assert [len(next(groups)) for _ in range(SINGLE)] == [1] * SINGLE


def test_groups_sound_as_single_frames_do() -> None:
    voice: Any = lina.load(device="cpu")._graphs
    books = len(voice._facts["codebook_sizes"])
    codes = np.random.default_rng(0).integers(0, 1024, (12, 1, 1, books))
    sounds = [GraphSound(voice._codec, voice._facts["decoder_state"], books) for _ in range(2)]
    alone = np.concatenate([sounds[0].decode([one]) for one in codes], axis=1)
    parts = [[0], [1, 2, 3, 4], [5], [6], [7, 8, 9, 10], [11]]
    together = np.concatenate([sounds[1].decode([codes[at] for at in part]) for part in parts], axis=1)
    assert alone.shape == (1, 12 * voice.hop)
    assert np.abs(alone).max() > 0.01
    np.testing.assert_allclose(together, alone, atol=2e-5)
