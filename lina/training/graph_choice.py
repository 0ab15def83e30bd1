"""``train.cuda_graph: auto``: capture steps in CUDA graphs where launching kernels takes longer than running them."""

from torch import nn

from lina.config.spec import Spec
from lina.config.train_section import TrainSection
from lina.config.training_choices import training_choices
from lina.core.errors import SpecError
from lina.core.model.cross_attention import PositionCrossAttention
from lina.core.model.delay_lm import DelayLM
from lina.core.ops.dispatch import KernelConfig, log_once
from lina.runs.build_model import count_parameters

LAUNCH_BOUND = 1e12
"""Largest product of parameters and frames per micro-batch for which ``auto`` captures steps of padded rows.

The transformer of 47 million parameters with batches of 16,000 frames (8e11) trains twice as fast in graphs (H200); a
model of width 1024 with batches of 48,000 frames (about 1e13) is slower by a quarter, since padding costs more than
launches do.
"""
LONG_RUN = 1000
"""Steps from which the capture of all shapes pays."""


def check_cuda_graph(train: TrainSection, ranks: int) -> None:
    """Check that a graph can be a whole step: each replay overwrites the gradients of the one before.

    Raises:
        SpecError: ``train.cuda_graph`` is true, and a rank has several micro-batches per step.
    """
    if train.cuda_graph is True and train.accumulate > ranks:
        present = "is 1 rank" if ranks == 1 else f"are {ranks} ranks"
        raise SpecError(
            "train.cuda_graph replays whole steps of one micro-batch per rank, but train.accumulate is "
            f"{train.accumulate} and there {present}; set accumulate: {ranks} and raise batch_seconds, or set "
            "cuda_graph: false"
        )


def uses_cuda_graph(
    train: TrainSection,
    model: DelayLM,
    frames: int,
    ranks: int = 1,
    *,
    end_to_end: bool = False,
    own: bool = True,
) -> bool:
    """Choose for a model and ``frames`` per micro-batch; a spec that says true or false has chosen.

    Args:
        end_to_end: rows lie end to end, and graphs hardly pad them.
        own: ``is_own_code``; others may wait for the device, which a failed capture would be the first to notice.

    Raises:
        SpecError: as ``check_cuda_graph``.
    """
    check_cuda_graph(train, ranks)
    if train.cuda_graph != "auto":
        return train.cuda_graph
    # Layers that are computed again save the state of the random numbers, which a capture cannot read.
    possible = train.accumulate <= ranks and train.parallel != "fsdp" and not train.gradient_checkpointing
    pays = end_to_end or count_parameters(model) * frames <= LAUNCH_BOUND
    return possible and own and train.steps >= LONG_RUN and pays


def is_own_code(model: nn.Module, spec: Spec) -> bool:
    """Check that a step is code of lina and PyTorch alone, all of which can be captured."""
    packages = {type(one).__module__.partition(".")[0] for one in model.modules()}
    return packages <= {"lina", "torch"} and training_choices(spec).loss.record.distribution == "lina"


def choose_forms_for_graph(train: TrainSection, model: DelayLM) -> None:
    """Let the position network of a captured step use its reference form, if it restarts within rows.

    Kernels need the places of the restarts on the CPU, and a graph has none; the calls before the capture, and those
    of a resumed run, have to compute as the graph does.
    """
    if (
        train.cuda_graph is not True
        or train.consecutive == 1
        or not isinstance(model.cross_att, PositionCrossAttention)
    ):
        return
    for module in model.cross_att.pos_net.modules():
        config = getattr(module, "config", None)
        if isinstance(config, KernelConfig) and config.kernels != "reference":
            module.config = config.model_copy(update={"kernels": "reference"})
            log_once(
                "train: in a CUDA graph the position network uses its reference form, as its rows restart"
            )
