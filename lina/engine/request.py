"""A request to the engine: one stream of speech to be decoded, and its result."""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from lina.core.generation.settings import Repetition, Sampling, Window
from lina.core.model.delay_lm import Conditions, LMState
from lina.engine.audio_stream import AudioStream


@dataclass(frozen=True, eq=False)
class Request:
    """One stream: its conditions, its sampling, and the state and frames that it goes on from."""

    conditions: Conditions
    """``lm.conditions`` of its text, or of several texts, of which this one is ``row``."""
    sampling: Sampling
    max_frames: int
    """Frames after which the stream is cut, beyond the prompt."""
    key: int = 0
    """Of the random numbers (``lina.core.generation.counter_random.stream_key``)."""
    prompt: Int[Tensor, "P Q"] | None = None
    """Codes that the stream begins with; they are read in one stretch and not emitted again."""
    begin: int = 0
    """The text position of the first new frame, after those of the prompt's transcript."""
    state: LMState | None = None
    """State of one row to start from; the model's initial state by default."""
    window: Window | None = None
    """Limits the readable text positions and when the stream may end; no limits by default."""
    repetition: Repetition | None = None
    """Tokens of codebook 0, if it is sampled, that come too often are drawn again."""
    row: int = 0
    audio: AudioStream | None = None
    """Gets the codes, and has their audio (``Engine.open_audio``); by default they are not decoded."""
    carry: bool = False
    """The result is to have the state after the last column, for a stream that goes on from there."""


@dataclass(frozen=True)
class RowResult:
    """All frames of one stream, on the CPU."""

    codes: Int[Tensor, "T Q"]
    attention: Float[Tensor, "T J"]
    """The attention of each frame (of codebook 0) over the text."""
    stopped: bool
    """Ended by itself: neither by the window nor by the limit."""
    ended_by_window: bool = False
    """Ended by the window, with all of the text said."""
    state: LMState | None = None
    """With ``carry``: the state after all columns, from which another text can be read."""
