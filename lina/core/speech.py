"""Speech as it is given out: what was chosen, decoded whole, or frame by frame as it is said."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lina.core.best_of import Candidate, Choice
from lina.core.codec import AnyCodec, decode, decoder_stream, skip
from lina.core.protocols import Frontend
from lina.core.script import Script

T = TypeVar("T")


@dataclass(frozen=True)
class Speech:
    """What was said for one text; nothing of the prompt, where there was one."""

    audio: Float[Tensor, "C samples"]
    codes: Int[Tensor, "T Q"]
    attention: Float[Tensor, "T J"]
    """Where each frame (of codebook 0) read the text."""
    labels: tuple[str, ...]
    """The J text positions, those of a prompt's transcript first."""
    stopped: bool
    """False: cut at the limit, the model did not end by itself."""
    candidate: Candidate
    """Its seed and how it followed the text."""
    candidates: tuple[Candidate, ...]
    """All that it was chosen among (``best_of``), itself too, in the order of their seeds."""


@torch.no_grad()
def decoded(script: Script, choice: Choice, codec: AnyCodec, frontend: Frontend) -> Speech:
    """The prompt's frames are decoded with those after it, for the sake of the seam, and then cut away."""
    codes, attention, stopped, _ = choice.said
    audio = decode(codec, torch.cat([script.prompt, codes])[None])[0]
    return Speech(
        audio[:, len(script.prompt) * codec.hop :],
        codes,
        attention[:, : len(script.ids)],
        tuple(frontend.labels(script.ids)),
        stopped,
        choice.candidate,
        choice.candidates,
    )


@torch.no_grad()
def decode_frames(
    codec: AnyCodec, prompt: Int[Tensor, "P Q"], frames: Iterable[tuple[Int[Tensor, "1 Q"], T]]
) -> Iterator[tuple[Float[Tensor, "C hop"], T]]:
    """The audio of each frame of one stream, with what came with its codes; the decoder hears ``prompt`` before."""
    decoder = decoder_stream(codec)
    state = decoder.initial_state(1)
    if len(prompt):
        state = skip(decoder, prompt[None], state)
    # Outputs lag: what comes first is of no frame, or of the prompt's.
    waiting: deque[T] = deque()
    for codes, own in frames:
        waiting.append(own)
        audio, state = decoder.step(codes.cpu(), state)
        if len(waiting) > decoder.latency:
            yield audio[0], waiting.popleft()
    if waiting:
        rest = decoder.flush(state)[0][:, -len(waiting) * codec.hop :]
        for audio in rest.split(codec.hop, dim=1):
            yield audio, waiting.popleft()
