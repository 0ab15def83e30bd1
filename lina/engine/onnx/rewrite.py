"""Changes of exported graphs: weights outside of the file, and 8-bit products. Needs ``onnx``."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from lina.core.errors import LinaError
from lina.engine.onnx.files import BLOCKS, SCALES, WEIGHTS
from lina.engine.onnx.int8 import BLOCK, block_size, is_large

MOST_INLINE = 1024
"""Numbers of a floating-point constant that is no weight; more would be a weight that was folded into another."""
CONTRIB = "com.microsoft"


def move_weights_out(model: Any, weights: Collection[str]) -> list[str]:
    """Leave the numbers of ``weights`` out of a model, and return the names of those that it has.

    Raises:
        LinaError: a large constant is none of ``weights``, so that it would be wrong with other weights.
    """
    import onnx

    found = []
    for tensor in model.graph.initializer:
        if tensor.name in weights:
            put_outside(tensor)
            found.append(tensor.name)
        elif tensor.data_type == onnx.TensorProto.FLOAT and np.prod(tensor.dims) > MOST_INLINE:
            raise LinaError(
                f"onnx: the exported graph holds {tensor.name} of shape {list(tensor.dims)}, which is no weight of "
                "the model; it would be wrong with other weights"
            )
    return found


def put_outside(tensor: Any, offset: int = 0, length: int = 0) -> None:
    """Leave an initializer's numbers to ``WEIGHTS``, or to whoever loads the graph."""
    import onnx

    for field in ("raw_data", "float_data", "int32_data", "int64_data"):
        tensor.ClearField(field)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    del tensor.external_data[:]
    for key, value in (("location", WEIGHTS), ("offset", str(offset)), ("length", str(length))):
        tensor.external_data.add(key=key, value=value)


def point_at(model: Any, places: Mapping[str, tuple[int, int]]) -> None:
    """Name the place of each weight in ``WEIGHTS``: its offset and length in bytes."""
    import onnx

    for tensor in model.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            put_outside(tensor, *places[tensor.name])


def with_int8_products(model: Any, weights: Collection[str]) -> Any:
    """A copy of a model whose products with large ``weights`` are in 8 bits (``lina.engine.onnx.int8``)."""
    import onnx

    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    graph = changed.graph
    shapes = {one.name: tuple(one.dims) for one in graph.initializer if one.name in weights}
    turned = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Transpose"}
    nodes, quantized = [], {}
    for node in graph.node:
        name = _weight_of(node, turned)
        shape = shapes.get(name or "")
        if shape is None or len(shape) != 2 or not is_large(*shape):
            nodes.append(node)
            continue
        assert name is not None
        quantized[name] = shape
        nodes += _int8_product(node, name, *shape)
    used = {one.name for one in graph.output}
    needed = []
    for node in reversed(nodes):  # a transposed weight has no reader any more
        if used.intersection(node.output):
            needed.append(node)
            used.update(node.input)
    del graph.node[:]
    graph.node.extend(reversed(needed))
    kept = [one for one in graph.initializer if one.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    for name, (rows, channels) in quantized.items():
        blocks = -(-channels // block_size(channels))
        graph.initializer.append(
            _outside(name + BLOCKS, onnx.TensorProto.UINT8, (rows, blocks, block_size(channels)))
        )
        graph.initializer.append(_outside(name + SCALES, onnx.TensorProto.FLOAT, (rows, blocks)))
    if all(one.domain != CONTRIB for one in changed.opset_import):
        changed.opset_import.append(onnx.helper.make_opsetid(CONTRIB, 1))
    return changed


def int8_check() -> Any:
    """The model of ``lina.engine.onnx.int8.saturates``."""
    import onnx

    helper, kinds, channels = onnx.helper, onnx.TensorProto, 2 * BLOCK
    blocks = np.array([255, 1], np.uint8)[:, None, None] * np.ones((1, 2, BLOCK), np.uint8)
    scales = np.full((2, 2), 1 / 127, np.float32)
    return helper.make_model(
        helper.make_graph(
            [_node("x", "weight", "y", 2, channels)],
            "int8",
            [helper.make_tensor_value_info("x", kinds.FLOAT, ["S", channels])],
            [helper.make_tensor_value_info("y", kinds.FLOAT, ["S", 2])],
            [
                onnx.numpy_helper.from_array(blocks.astype(np.uint8), "weight" + BLOCKS),
                onnx.numpy_helper.from_array(scales, "weight" + SCALES),
            ],
        ),
        opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid(CONTRIB, 1)],
        ir_version=9,
    )


def _weight_of(node: Any, turned: Mapping[str, str]) -> str | None:
    """The matrix that a node multiplies its input by, as ``x @ weight.T``."""
    if node.op_type == "Gemm":
        options = {one.name: one.i if one.name.startswith("trans") else one.f for one in node.attribute}
        plain = options.get("alpha", 1.0) == options.get("beta", 1.0) == 1.0 and not options.get("transA")
        name: str = node.input[1]
        return name if plain and options.get("transB") else turned.get(name) if plain else None
    return turned.get(node.input[1]) if node.op_type == "MatMul" else None


def _int8_product(node: Any, name: str, rows: int, channels: int) -> list[Any]:
    import onnx

    if node.op_type == "MatMul" or len(node.input) < 3 or not node.input[2]:
        return [_node(node.input[0], name, node.output[0], rows, channels)]
    product = f"{node.output[0]}|product"
    add = onnx.helper.make_node("Add", [product, node.input[2]], [node.output[0]])
    return [_node(node.input[0], name, product, rows, channels), add]


def _node(x: str, name: str, y: str, rows: int, channels: int) -> Any:
    import onnx

    return onnx.helper.make_node(
        "MatMulNBits",
        [x, name + BLOCKS, name + SCALES],
        [y],
        domain=CONTRIB,
        K=channels,
        N=rows,
        bits=8,
        block_size=block_size(channels),
        accuracy_level=4,  # products of 8-bit numbers
    )


def _outside(name: str, kind: int, dims: tuple[int, ...]) -> Any:
    import onnx

    tensor = onnx.TensorProto(name=name, data_type=kind, dims=dims)
    put_outside(tensor)
    return tensor
