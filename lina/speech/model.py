"""The language model of a voice as an ordinary ``nn.Module``: ``lina.load_model``."""

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from lina.core.generation.settings import Sampling
from lina.core.generation.stream_key import stream_key
from lina.core.model.delay_lm import DelayLM
from lina.engine.engine import Engine
from lina.engine.request import Request


class SpeechModel(DelayLM):
    """Text ids to codes of a codec. ``forward`` is for training, ``generate`` for synthesis.

    ``state_dict()`` has the names and values of ``model.safetensors`` as the model was trained: exported with
    ``--weights float32`` they are equal.
    """

    def generate(
        self,
        text: Int[Tensor, "B J"],
        text_mask: Bool[Tensor, "B J"] | None = None,
        speaker: Int[Tensor, "B"] | None = None,
        *,
        max_frames: int,
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
    ) -> list[Int[Tensor, "T Q"]]:
        """Codes of each text, until the model ends it, on the CPU; by the decode engine, without gradients.

        Args:
            text: ids of the tokenizer; ``text_mask`` is true where they are valid, by default everywhere.
            speaker: numbers from 1 on; 0, or None, is no speaker.
            max_frames: frames after which an utterance is cut.
            temperature: 0 takes the likeliest code; with another, a row draws by ``seed`` and its number.
            top_k: draw among so many likeliest codes.
            top_p: draw among the likeliest codes of this total probability.
        """
        training, mask = self.training, torch.ones_like(text, dtype=torch.bool)
        sampling = Sampling(temperature, top_k, top_p)
        self.eval()
        try:
            with torch.inference_mode():
                conditions = self.conditions(text, mask if text_mask is None else text_mask, speaker)
                engine = Engine(self, len(text), backend="eager")
                requests = [
                    Request(conditions, sampling, max_frames, key=stream_key(seed, row, 0), row=row)
                    for row in range(len(text))
                ]
                return [result.codes for result in engine.run(requests)]
        finally:
            self.train(training)
