"""Decoding by exported graphs: frames of codes to audio, one by one and in groups. Imports no torch."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from lina.engine.onnx.feedback import Feedback
from lina.engine.onnx.files import AUDIO, CODES, DECODERS, GROUP
from lina.engine.onnx.session import Graphs
from lina.speech.shaping import FrameTag

Audio = npt.NDArray[np.float32]
Codes = npt.NDArray[np.int64]

SINGLE = 4
"""Frames of a segment that are decoded one by one at its beginning, so that a machine hardly faster than speech has
audio to play while it computes a group."""


def grouped(frames: Iterable[tuple[Codes, FrameTag]]) -> Iterator[list[tuple[Codes, FrameTag]]]:
    """Groups of frames to be decoded together: a function of segments alone, so that audio does not depend on time.

    After its first ``SINGLE`` frames those of a segment come in groups of ``GROUP``, and one by one at its end.
    """
    segment, count, group = None, 0, list[tuple[Codes, FrameTag]]()
    for frame in frames:
        if frame[1].segment is not segment:
            yield from ([one] for one in group)
            segment, count, group = frame[1].segment, 0, []
        count += 1
        if count <= SINGLE:
            yield [frame]
            continue
        group.append(frame)
        if len(group) == GROUP:
            yield group
            group = []
    yield from ([one] for one in group)


class GraphSound:
    """The codec's decoder, from its first frame on."""

    def __init__(self, graphs: Graphs, state: Mapping[str, Sequence[int]], codebooks: int) -> None:
        """``state``: shapes of the decoder's state, which begins with zeros."""
        self._graphs, self._codebooks = graphs, codebooks
        self._state = {name: np.zeros(shape, np.float32) for name, shape in state.items()}
        self._by_size: dict[int, Feedback] = {}
        self._latest: Feedback | None = None

    def decode(self, codes: Sequence[Codes]) -> Audio:
        """The audio [C, n * hop] of the next 1 or ``GROUP`` frames, each [1, 1, Q]."""
        sound = self._by_size.get(len(codes))
        if sound is None:
            graph = self._graphs.graph(DECODERS[len(codes)])
            empty = np.zeros((1, len(codes), self._codebooks), np.int64)
            sound = self._by_size[len(codes)] = Feedback(graph, self._state | {CODES: empty}, [AUDIO])
        if self._latest not in (None, sound):
            for name in self._state:
                sound.values[name][...] = self._latest.values[name]
        self._latest = sound
        np.concatenate(codes, axis=1, out=sound.values[CODES])
        audio: Audio = sound.run()[AUDIO][0].copy()
        return audio
