"""Graphs in onnxruntime, on one thread, with weights given as arrays. Imports no torch."""

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lina.core.errors import CheckpointError
from lina.engine.onnx.files import BLOCKS, CHECK_INT8, SCALES, GraphFolder
from lina.engine.onnx.int8 import blocks_of, saturates

Array = npt.NDArray[Any]
Weight = Callable[[str], Array]
"""The numbers of a weight by its name in the graphs."""


def obstacle() -> str | None:
    """The reason why graphs do not run here; None if they do."""
    try:
        import onnxruntime  # noqa: F401
    except ImportError as error:
        return f"onnxruntime cannot be imported ({error}); pip install onnxruntime"
    return None


class Graph:
    """A graph that can be run, from any thread."""

    def __init__(self, path: Path, weights: Mapping[str, Array] | None = None, threads: int = 1) -> None:
        """``weights``: numbers of initializers that the file leaves out; None where it names a file of them.

        Raises:
            CheckpointError: the graph cannot be loaded.
        """
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3  # errors
        self._weights = [
            ort_value(array) for array in (weights or {}).values()
        ]  # onnxruntime does not own them
        if weights:
            options.add_external_initializers(list(weights), self._weights)
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise CheckpointError(
                f"{path}: onnxruntime cannot load it ({reason}); export the graphs again"
            ) from None
        self.inputs = [one.name for one in self._session.get_inputs()]
        self.outputs = [one.name for one in self._session.get_outputs()]

    def run(self, values: Mapping[str, Any], outputs: list[str]) -> list[Any]:
        """Some outputs as ``OrtValue``; ``values`` has one of each input, and may have more."""
        inputs = {name: values[name] for name in self.inputs}
        found: list[Any] = self._session.run_with_ort_values(outputs, inputs)
        return found

    def bind(self, inputs: Mapping[str, Array], outputs: Mapping[str, Array]) -> Any:
        """Arrays that ``run_bound`` reads and writes."""
        binding = self._session.io_binding()
        for name, array in inputs.items():
            binding.bind_ortvalue_input(name, ort_value(array))
        for name, array in outputs.items():
            binding.bind_ortvalue_output(name, ort_value(array))
        return binding, inputs, outputs

    def run_bound(self, bound: Any) -> None:
        """Run on the arrays of ``bind``."""
        self._session.run_with_iobinding(bound[0])


def ort_value(array: Array) -> Any:
    """An array as an input of ``Graph.run``; the memory is shared, not copied."""
    import onnxruntime

    return onnxruntime.OrtValue.ortvalue_from_numpy(array)


class Graphs:
    """The graphs of one folder with the weights of one model, each loaded at its first use and kept."""

    def __init__(self, folder: GraphFolder, weight: Weight | None, threads: int = 1) -> None:
        """``weight``: numbers by name; None where the graphs name a file of them."""
        self.folder, self._weight, self._threads = folder, weight, threads
        self._loaded: dict[str, Graph] = {}
        self._lock = threading.Lock()

    def graph(self, name: str) -> Graph:
        """The graph in the file ``name``."""
        with self._lock:
            if name not in self._loaded:
                weights = None if self._weight is None else self._numbers(name)
                self._loaded[name] = Graph(self.folder.path / name, weights, self._threads)
            return self._loaded[name]

    def int8_obstacle(self) -> str | None:
        """The reason why 8-bit products are wrong on this processor; None if they are right."""
        check = Graph(self.folder.path / CHECK_INT8)

        def product(x: Array) -> Array:
            found: Array = check.run({"x": ort_value(x)}, ["y"])[0].numpy()
            return found

        return "its sums of 8-bit products saturate on this processor" if saturates(product) else None

    def _numbers(self, name: str) -> dict[str, Array]:
        assert self._weight is not None
        found: dict[str, Array] = {}
        for one in self.folder.facts["outside"][name]:
            if one.endswith(BLOCKS):
                plain = one.removesuffix(BLOCKS)
                found[one], found[plain + SCALES] = blocks_of(self._weight(plain))
            elif not one.endswith(SCALES):
                found[one] = np.ascontiguousarray(self._weight(one))
        return found
