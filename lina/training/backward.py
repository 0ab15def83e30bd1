"""Backward pass of a micro-batch; with ``train.cuda_graph``, one captured CUDA graph per shape."""

from functools import partial

import torch
from torch import Tensor

from lina.config.train_section import TrainSection
from lina.training.cuda_graph import EAGER_CALLS, CapturedFunction
from lina.training.objective import MicroBatch, Objective, StepMeasures
from lina.training.packing import RowStarts, row_starts
from lina.training.shape_buckets import Shape, columns_of, pad_to_shape, shape_of


class BackwardPass:
    """Compute gradients and accumulate them on the parameters; a captured graph accumulates them in place."""

    def __init__(self, spec: TrainSection, objective: Objective, budget: int) -> None:
        """``budget``: frames per micro-batch, from which captured shapes get their rows."""
        self.spec, self.objective, self.budget = spec, objective, budget
        self.device = objective.device
        self.graphs = spec.cuda_graph and self.device.type == "cuda"
        self.captured: dict[Shape, CapturedFunction[StepMeasures]] = {}
        self.pool = torch.cuda.graph_pool_handle() if self.graphs else None
        self.places = _places(objective.model) if self.graphs else []
        """Each parameter with its gradient, at one address for all shapes."""

    def __call__(self, batch: MicroBatch, precision: torch.dtype) -> StepMeasures:
        """``precision`` is equal in all calls. The next call may overwrite the result."""
        if not self.graphs:
            codebooks = batch.codes.shape[2]
            starts = row_starts(batch.lengths, batch.rows, batch.groups, codebooks, self.device)
            return self._compute(
                *batch.to(self.device), steps=columns_of(batch), precision=precision, starts=starts
            )
        shape = shape_of(batch, self.budget)
        if shape not in self.captured:
            parameters = [one for one, _ in self.places]
            compute = partial(self._compute_in_place, steps=shape.steps, precision=precision)
            # Libraries warm up with the first shape; another shape may still have kernels to autotune.
            eager = 1 if self.captured else EAGER_CALLS
            self.captured[shape] = CapturedFunction(compute, parameters, self.device, self.pool, eager)
        measured = self.captured[shape](*pad_to_shape(batch, shape))
        for parameter, place in self.places:
            if parameter.grad is not None:
                parameter.grad = place
        return measured

    def _compute_in_place(self, *batch: Tensor, steps: int, precision: torch.dtype) -> StepMeasures:
        measured = self._compute(*batch, steps=steps, precision=precision)
        found = [(place, one.grad) for one, place in self.places if one.grad is not None]
        torch._foreach_copy_([place for place, _ in found], [gradient for _, gradient in found])
        return measured

    def _compute(
        self, *batch: Tensor, steps: int, precision: torch.dtype, starts: RowStarts | None = None
    ) -> StepMeasures:
        measured = self.objective(MicroBatch._make(batch), steps, precision, starts)
        loss = measured.loss + self.spec.guided_attention * measured.guided_attention_loss
        loss = loss + measured.auxiliary_loss
        torch.autograd.backward(loss / self.spec.accumulate)
        return StepMeasures(*(value.detach() for value in measured))


def _places(model: torch.nn.Module) -> list[tuple[torch.nn.Parameter, Tensor]]:
    return [(one, torch.zeros_like(one)) for one in model.parameters() if one.requires_grad]
