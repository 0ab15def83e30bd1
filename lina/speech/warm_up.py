"""A GPU made ready for the first sentence while a voice loads: libraries, buffers, and the captured step."""

import logging
import threading
from dataclasses import replace

import torch

from lina.speech.synthesis_input import SynthesisInput
from lina.speech.synthesizer import Synthesizer

log = logging.getLogger("lina")

TEXT = 100
"""Text positions of the stream that is decoded; longer sentences make the engine's buffers larger."""


def open_device(device: torch.device) -> None:
    """Begin to load CUDA and its libraries, which takes most of a second, in a thread."""

    def touch() -> None:
        try:
            square = torch.ones(64, 64, device=device)
            (square @ square).sort()
        except Exception as error:  # whoever uses the device next reports it
            log.debug("%s: %s", device, error)

    if device.type == "cuda":
        threading.Thread(target=touch, name="lina device").start()


def warm_up(voice: Synthesizer) -> None:
    """Prepare the engine of a single text in a thread, if the voice is on a GPU; the first call waits for it."""
    if voice.engines.device.type == "cuda":
        voice.engines.prepare(lambda: _speak(voice))


@torch.no_grad()
def _speak(voice: Synthesizer) -> None:
    options = voice.resolve_options({})
    nothing = torch.zeros(0, len(voice.codec.codebook_sizes), dtype=torch.int64)
    item = SynthesisInput("", [min(1, voice.tokenizer.vocab_size - 1)] * TEXT, 0, nothing)
    slots = voice.engines.slots_of_text(options.best_of)
    with voice.engines.borrow(options.guidance, slots, audio=True) as engine:
        (request, *_) = voice.requests(item, options, (0, 0))
        stream = engine.submit(replace(request, max_frames=1, audio=engine.open_audio()))
        for _ in stream.audio():
            pass
