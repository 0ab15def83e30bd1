"""The gradients of a part of a training step, on a GPU if asked from one captured graph a shape."""

from functools import partial

import torch
from torch import Tensor

from lina.config.train_section import TrainSection
from lina.training.cuda_graph import EAGER_CALLS, Captured
from lina.training.objective import Measured, MicroBatch, Objective
from lina.training.shape_buckets import Shape, columns_of, padded, shape_of


class Gradients:
    """Computes them and leaves them on the parameters: added to those that are there, or, captured, in their place."""

    def __init__(self, spec: TrainSection, objective: Objective, budget: int) -> None:
        """``budget``: frames of a part, by which captured shapes get their rows."""
        self.spec, self.objective, self.budget = spec, objective, budget
        self.device = objective.device
        self.graphs = spec.cuda_graph and self.device.type == "cuda"
        self.captured: dict[Shape, Captured[Measured]] = {}
        self.pool = torch.cuda.graph_pool_handle() if self.graphs else None
        self.places = _places(objective.model) if self.graphs else []
        """Of each parameter with its gradient, the same whatever the shape."""

    def __call__(self, part: MicroBatch, precision: torch.dtype) -> Measured:
        """``precision`` is the same in all calls. The next call may write over what is returned."""
        if not self.graphs:
            return self._compute(*part.to(self.device), steps=columns_of(part), precision=precision)
        shape = shape_of(part, self.budget)
        if shape not in self.captured:
            parameters = [one for one, _ in self.places]
            compute = partial(self._compute_in_place, steps=shape.steps, precision=precision)
            # Only the first shape has libraries to warm up; another one may still have kernels to choose.
            eager = 1 if self.captured else EAGER_CALLS
            self.captured[shape] = Captured(compute, parameters, self.device, self.pool, eager)
        measured = self.captured[shape](*padded(part, shape))
        for parameter, place in self.places:
            if parameter.grad is not None:
                parameter.grad = place
        return measured

    def _compute_in_place(self, *part: Tensor, steps: int, precision: torch.dtype) -> Measured:
        measured = self._compute(*part, steps=steps, precision=precision)
        found = [(place, one.grad) for one, place in self.places if one.grad is not None]
        torch._foreach_copy_([place for place, _ in found], [gradient for _, gradient in found])
        return measured

    def _compute(self, *part: Tensor, steps: int, precision: torch.dtype) -> Measured:
        measured = self.objective(MicroBatch._make(part), steps, precision)
        loss = measured.loss + self.spec.guided_attention * measured.strayed
        torch.autograd.backward(loss / self.spec.accumulate)
        return Measured(*(value.detach() for value in measured))


def _places(model: torch.nn.Module) -> list[tuple[torch.nn.Parameter, Tensor]]:
    return [(one, torch.zeros_like(one)) for one in model.parameters() if one.requires_grad]
