"""Names of the engine's backends. Imports no torch."""

from typing import Literal, get_args

GraphName = Literal["reference-graph", "graph", "compiled"]
"""CUDA graphs."""
OnnxName = Literal["onnx", "onnx-int8"]
BackendName = Literal["auto", "eager"] | GraphName | OnnxName
GRAPHS: tuple[GraphName, ...] = get_args(GraphName)
BACKENDS: tuple[BackendName, ...] = ("auto", "eager", *GRAPHS, *get_args(OnnxName))
