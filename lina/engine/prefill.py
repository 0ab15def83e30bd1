"""The states that streams begin with, after their prompts."""

import contextlib
from collections.abc import Sequence
from dataclasses import replace

import torch

from lina.core.generation.guidance import LanguageModel
from lina.core.ops.dispatch import reference_kernels
from lina.core.state import leaves
from lina.engine.numerics import Numerics
from lina.engine.request import Request
from lina.engine.state import DecodeState, Features, first_state
from lina.engine.stream import Stream


class Prefill:
    """First states of one model, in the engine's precision."""

    def __init__(self, lm: LanguageModel, numerics: Numerics, plain: bool) -> None:
        """``plain``: without kernels that have to be compiled."""
        self._lm, self._numerics, self._plain = lm, numerics, plain

    @torch.inference_mode()
    def __call__(self, requests: Sequence[Request], features: Features) -> DecodeState:
        """The rows of requests that begin alike (``lina.engine.state.together``)."""
        device = requests[0].conditions.speaker.device
        if self._numerics.weights != torch.float32:
            prepare = self._numerics.prepare_conditions
            requests = [replace(one, conditions=prepare(one.conditions)) for one in requests]
        kernels = reference_kernels() if self._plain else contextlib.nullcontext()
        with self._numerics.context(device), kernels:
            return first_state(self._lm, requests, features)


@torch.inference_mode()
def take_prefilled(streams: Sequence[Stream], features: Features) -> DecodeState | None:
    """Take over the state that a stream alone was given ``beside_steps``, for slots of the CUDA stream of the caller.

    None if there is none, if several streams join, or if it was made for other features.
    """
    if len(streams) > 1 or streams[0].prefilled is None:
        return None
    own, rows = streams[0].prefilled
    streams[0].prefilled = None
    if own != features:
        return None
    for leaf in leaves(rows):
        if leaf.is_cuda:  # its own CUDA stream goes on before the slots have been filled
            leaf.record_stream(torch.cuda.current_stream(leaf.device))
    return rows
