"""A graph that is run again and again on its own outputs, in buffers that are made before. Imports no torch."""

from collections.abc import Mapping, Sequence
from typing import Any

from lina.engine.onnx.files import NEXT
from lina.engine.onnx.session import Array, Graph, ort_value


class Feedback:
    """Two sets of buffers: a run reads one and writes ``next.NAME`` into the other, and the next run goes back.

    Nothing is allocated, looked up by name or copied between runs, which would be a third of the time of a small graph.
    """

    def __init__(self, graph: Graph, values: Mapping[str, Array], outputs: Sequence[str]) -> None:
        """``values``: arrays of all inputs and of all that is fed back, copied here. ``outputs``: the other outputs."""
        self._graph, self._names = graph, list(outputs)
        self._changed = [name.removeprefix(NEXT) for name in graph.outputs if name.startswith(NEXT)]
        first = {name: array.copy() for name, array in values.items()}
        self._sets = first, first | {name: first[name].copy() for name in self._changed}
        self._turn = 0
        self._bound: list[Any] = []
        self._outputs: dict[str, Array] = {}

    @property
    def values(self) -> dict[str, Array]:
        """The inputs of the next run; numbers may be written into them."""
        return self._sets[self._turn]

    def run(self) -> dict[str, Array]:
        """Run once; the outputs that are not fed back are in arrays that the next run writes again."""
        if self._bound:
            self._graph.run_bound(self._bound[self._turn])
            self._turn = 1 - self._turn
            return self._outputs
        self._outputs = self.run_for(self._names)  # of shapes that are known only now
        self._bound = [self._bind(self._sets[place], self._sets[1 - place]) for place in range(2)]
        return self._outputs

    def run_for(self, names: Sequence[str]) -> dict[str, Array]:
        """Run once for any outputs, in new arrays."""
        inputs = {name: ort_value(self.values[name]) for name in self._graph.inputs}
        found = self._graph.run(inputs, [*names, *(NEXT + name for name in self._changed)])
        self._turn = 1 - self._turn
        for name, value in zip(self._changed, found[len(names) :], strict=True):
            self.values[name][...] = value.numpy()
        return {name: value.numpy().copy() for name, value in zip(names, found, strict=False)}

    def _bind(self, read: dict[str, Array], written: dict[str, Array]) -> Any:
        inputs = {name: read[name] for name in self._graph.inputs}
        return self._graph.bind(
            inputs, self._outputs | {NEXT + name: written[name] for name in self._changed}
        )
