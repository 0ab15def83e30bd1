"""Backward pass of a micro-batch, on one rank or several; with ``train.cuda_graph``, one captured graph per shape.

On several ranks DistributedDataParallel sums gradients in buckets while the backward pass goes on, in the last
micro-batch of a step. The loss of each micro-batch is weighed by its share in the targets of the whole step.
"""

import sys
import warnings
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from lina.config.train_section import TrainSection
from lina.core.errors import LinaError, PluginError, is_out_of_memory, one_line
from lina.core.ops.dispatch import log_once
from lina.training.cuda_graph import EAGER_CALLS, CapturedFunction, Place
from lina.training.fixed_rows import FixedRow, RowShape, RowTables, place_row
from lina.training.objective import MicroBatch, Objective, StepMeasures
from lina.training.packing import RowStarts, row_starts
from lina.training.process_group import ProcessGroup
from lina.training.shape_buckets import Shape, columns_of, padded_shape
from lina.training.sharding import shard, units_of

ALIGNMENT = 16
"""Rows of several utterances have a multiple of so many steps on a GPU.

Triton compiles a kernel once for numbers that 16 divides and once for others. Of the others, a kernel of rwkv7's
backward pass ended in an illegal instruction where rows restart (fla 0.6.0, Triton 3.6.0, H200, 2026-12-01).
"""


class BackwardPass:
    """Compute gradients and accumulate them on the parameters; a captured graph accumulates them in place."""

    def __init__(
        self,
        spec: TrainSection,
        objective: Objective,
        group: ProcessGroup | None = None,
        *,
        may_go_without_graphs: bool = False,
    ) -> None:
        """``may_go_without_graphs``: where memory is short or a step cannot be captured, an error otherwise."""
        self.spec, self.objective = spec, objective
        self.may_go_without_graphs = may_go_without_graphs
        self.group = group or ProcessGroup()
        self.device = objective.device
        self.graphs = spec.cuda_graph and self.device.type == "cuda"
        self.captured: dict[Shape | RowShape, CapturedFunction[StepMeasures]] = {}
        self.eager_calls = 0
        """Calls of each shape, at least, that are not captured."""
        self.pool = torch.cuda.graph_pool_handle() if self.graphs else None
        self.places = _places(objective.model) if self.graphs else []
        """Each parameter with its gradient, at one address for all shapes."""
        self.module: nn.Module = WeighedObjective(objective, spec.guided_attention)
        self.sharded = spec.parallel == "fsdp" and self.group.size > 1
        if self.sharded:
            shard(self.module, units_of(objective.model), self.device, self.group.size)
        elif self.group.size > 1 and not self.graphs:
            # A graph's gradients are summed after its replay, which runs no hooks of autograd.
            with warnings.catch_warnings():
                # Of PyTorch 2.13, which renames ``broadcast_buffers``; earlier ones know no other name.
                warnings.simplefilter("ignore", FutureWarning)
                self.module = DistributedDataParallel(
                    self.module,
                    broadcast_buffers=False,
                    find_unused_parameters=True,
                    gradient_as_bucket_view=True,
                )

    def __call__(
        self, batch: MicroBatch | FixedRow, precision: torch.dtype, share: float = 1.0, *, last: bool = True
    ) -> StepMeasures:
        """Gradients of ``share`` times the loss. The next call may overwrite the result.

        Args:
            batch: with CUDA graphs, padded by ``pad_to_shape`` or in a fixed row.
            precision: equal in all calls.
            last: of the micro-batches of a step on this rank; the gradients of all ranks are summed in it.
        """
        weight = torch.tensor(share)
        if not self.graphs:
            assert isinstance(batch, MicroBatch)
            codebooks = batch.codes.shape[2]
            multiple = ALIGNMENT if self.device.type == "cuda" else 1
            starts = row_starts(batch.lengths, batch.rows, batch.groups, codebooks, self.device, multiple)
            return self._compute(
                weight,
                *batch.to(self.device),
                steps=columns_of(batch) if starts is None else starts.utterances.shape[1],
                precision=precision,
                starts=starts,
                last=last,
            )
        if isinstance(batch, FixedRow):
            function = self._function_for(batch.shape, precision, place_row)
            measured = self._run(function, weight, *batch.batch, *batch.tables)
        else:
            measured = self._run(self._function_for(padded_shape(batch), precision), weight, *batch)
        if last:
            self.group.all_reduce_gradients(parameter for parameter, _ in self.places)
        return measured

    def _function_for(
        self, shape: Shape | RowShape, precision: torch.dtype, place: Place | None = None
    ) -> CapturedFunction[StepMeasures]:
        if shape not in self.captured:
            parameters = [one for one, _ in self.places]
            compute = partial(self._compute_in_place, steps=shape.steps, precision=precision)
            # Libraries warm up with the first shape; another shape may still have kernels to autotune.
            eager = max(self.eager_calls, 1 if self.captured else EAGER_CALLS)
            self.captured[shape] = CapturedFunction(compute, parameters, self.device, self.pool, eager, place)
        return self.captured[shape]

    def _run(self, function: CapturedFunction[StepMeasures], *inputs: Tensor) -> StepMeasures:
        first = len(self.captured) == 1 and function.calls == 0
        before = torch.cuda.memory_allocated(self.device)
        if first:
            torch.cuda.reset_peak_memory_stats(self.device)
        try:
            measured = function(*inputs)
        except RuntimeError as error:
            reason = self._reason_for_none(function, error)
            if reason is None:
                raise
        else:
            reason = None
        if reason is not None:  # after the error, whose traceback holds the tensors of the call
            self._go_without_graphs(reason)
            return function(*inputs)
        if first and self.may_go_without_graphs:
            # A graph keeps its memory, and the first step of another shape runs beside it, and the optimizer's moments.
            step = torch.cuda.max_memory_allocated(self.device) - before
            moments = 2 * sum(place.nbytes for _, place in self.places)
            torch.cuda.empty_cache()
            free, _ = torch.cuda.mem_get_info(self.device)
            if 2 * step + moments > free:
                gib = f"{2 * step / 2**30:.1f} GiB for two steps and {free / 2**30:.1f} GiB free"
                self._go_without_graphs(f"memory is short ({gib})")
        return measured

    def _reason_for_none(self, function: CapturedFunction[StepMeasures], error: RuntimeError) -> str | None:
        """The reason to go on without graphs after an error; None for an error that has nothing to do with them.

        Raises:
            LinaError: a graph is required, and the step cannot be captured.
        """
        if is_out_of_memory(error):
            kept = any(one.graph is not None for one in self.captured.values()) or function.fails_to_capture
            return "memory has run out beside them" if self.may_go_without_graphs and kept else None
        if not function.fails_to_capture:
            return None
        # What could not be captured; the end of a capture then fails as well, and does not say why.
        cause = one_line(error.__context__ or error)
        if not self.may_go_without_graphs:
            raise LinaError(
                f"train.cuda_graph: true: a step cannot be captured ({cause}); set it to auto or false"
            ) from error
        return f"a step cannot be captured ({cause})"

    def _go_without_graphs(self, reason: str) -> None:
        log_once(f"train: no CUDA graphs: {reason}")
        self.eager_calls = sys.maxsize
        for function in self.captured.values():
            function.eager_calls = self.eager_calls
            function.release()
        torch.cuda.empty_cache()

    def _compute_in_place(
        self, weight: Float[Tensor, ""], *tensors: Tensor, steps: int, precision: torch.dtype
    ) -> StepMeasures:
        batch, tables = tensors[: len(MicroBatch._fields)], tensors[len(MicroBatch._fields) :]
        starts = RowTables._make(tables).starts if tables else None
        measured = self._compute(weight, *batch, steps=steps, precision=precision, starts=starts)
        found = [(one, place, one.grad) for one, place in self.places if one.grad is not None]
        torch._foreach_copy_([place for _, place, _ in found], [gradient for *_, gradient in found])
        for parameter, place, _ in found:
            parameter.grad = place  # so that no graph keeps gradients of its own
        return measured

    def _compute(
        self,
        weight: Float[Tensor, ""],
        *batch: Tensor,
        steps: int,
        precision: torch.dtype,
        starts: RowStarts | None = None,
        last: bool = True,
    ) -> StepMeasures:
        module, accumulated = self.module, None
        if self.group.size > 1 and not self.graphs:
            weight = weight * self.group.size  # torch's engines divide the sum of the gradients by it
        if isinstance(module, DistributedDataParallel) and last:
            # It takes a parameter without gradient in this micro-batch for one without any in this step.
            accumulated = [one for one in module.parameters() if one.grad is not None]
        with module.no_sync() if isinstance(module, DistributedDataParallel) and not last else nullcontext():
            loss, measured = module(
                weight, accumulated, batch, steps=steps, precision=precision, starts=starts
            )
            torch.autograd.backward(loss)
        return StepMeasures(*measured)

    @torch.no_grad()
    def measure(self, batch: MicroBatch, precision: torch.dtype) -> StepMeasures:
        """Measures without gradients, for validation; with shards, all ranks call it as often as each other."""
        steps, tensors = columns_of(batch), batch.to(self.device)
        if not self.sharded:
            return self.objective(tensors, steps, precision)
        _, measured = self.module(torch.tensor(1.0), None, tuple(tensors), steps=steps, precision=precision)
        self.module.reshard()  # type: ignore[operator]  # the root keeps its weights whole for a backward pass
        return StepMeasures(*measured)


class WeighedObjective(nn.Module):
    """The objective as a module, as torch's engines of data parallelism want it."""

    def __init__(self, objective: Objective, guided_attention: float) -> None:
        super().__init__()
        self.model = objective.model
        self.objective, self.guided_attention = objective, guided_attention

    def forward(
        self,
        weight: Float[Tensor, ""],
        connected: list[nn.Parameter] | None,
        batch: tuple[Tensor, ...],
        *,
        steps: int,
        precision: torch.dtype,
        starts: RowStarts | None = None,
    ) -> tuple[Float[Tensor, ""], tuple[Tensor, ...]]:
        """The weighed loss, and the measures without gradients; ``connected`` get gradients of zeros at least."""
        measured = self.objective(MicroBatch._make(batch), steps, precision, starts)
        loss = measured.loss + self.guided_attention * measured.guided_attention_loss
        loss = (loss + measured.auxiliary_loss) * weight
        if not loss.requires_grad and torch.is_grad_enabled():
            raise PluginError(
                f"{self.objective.plugin} returned a loss without a gradient; compute it from hidden, logits or "
                "attention, outside of torch.no_grad"
            )
        if connected:
            loss = _Connected.apply(loss, *connected)  # type: ignore[no-untyped-call]
        return loss, tuple(value.detach() for value in measured)


class _Connected(torch.autograd.Function):
    """Identity of a loss that also has a gradient, of zeros, for each of the parameters."""

    @staticmethod
    def forward(ctx: Any, loss: Tensor, *parameters: Tensor) -> Tensor:
        ctx.shapes = [one.shape for one in parameters]
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        [gradient] = gradients
        return gradient, *(gradient.new_zeros(()).expand(shape) for shape in ctx.shapes)


def _places(model: torch.nn.Module) -> list[tuple[torch.nn.Parameter, Tensor]]:
    return [(one, torch.zeros_like(one)) for one in model.parameters() if one.requires_grad]
