"""``train.cuda_graph: auto``: capture steps in CUDA graphs where launching kernels takes longer than running them."""

from lina.config.train_section import TrainSection
from lina.core.model.delay_lm import DelayLM
from lina.runs.build_model import count_parameters

LAUNCH_BOUND = 3e11
"""Largest product of parameters and frames per micro-batch for which ``auto`` captures steps.

The voice of 12.6 million parameters (1e11) trains three to four times as fast in graphs; a model of width 1024 with
batches of 48,000 frames (about 1e13) is slower by a quarter, since a graph needs padded rows.
"""
LONG_RUN = 1000
"""Steps from which the capture of all shapes pays."""


def uses_cuda_graph(train: TrainSection, model: DelayLM, frames: int) -> bool:
    """Choose for a model and ``frames`` per micro-batch; a spec that says true or false has chosen."""
    if train.cuda_graph != "auto":
        return train.cuda_graph
    possible = train.accumulate <= train.gpus and train.parallel != "fsdp"
    return possible and train.steps >= LONG_RUN and count_parameters(model) * frames <= LAUNCH_BOUND
