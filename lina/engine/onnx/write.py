"""Writing of a folder of graphs, which are compared with the model before anything else uses them."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lina.core.errors import LinaError
from lina.core.files.atomic import write_atomic
from lina.core.model.delay_lm import DelayLM
from lina.engine.onnx.check import LIMIT, step_differences
from lina.engine.onnx.export import Rules, export_start, export_step, obstacle, weight_names
from lina.engine.onnx.files import CHECK_INT8, FACTS, FORMAT, START, STEP, STEP_INT8, GraphFolder
from lina.engine.onnx.rewrite import int8_check, with_int8_products
from lina.engine.state import Features


def write_graphs(
    path: Path,
    lm: DelayLM,
    *,
    widest: int | None,
    rules: Rules,
    extreme: Callable[[Any], object],
    others: Mapping[str, Any],
    facts: Mapping[str, Any],
) -> GraphFolder:
    """Export the graphs of ``lm`` into the new or empty folder ``path``, and compare them with it.

    ``widest``: the largest top_k that the step serves, None for any; fewer tokens are then sorted. ``rules``: those of
    all streams that ``start`` begins. ``extreme``: puts extreme parameters into a backbone. ``others``, ``facts``:
    further graphs and facts.

    Raises:
        LinaError: the packages for the export are not installed, the model cannot be exported, or a graph differs
            from eager.
    """
    reason = obstacle()
    if reason is not None:
        raise LinaError(f"onnx: cannot export: {reason}")
    recent = 0 if rules.repetition is None else rules.repetition.last
    features = Features(0, True, _smaller(widest, lm), True, True, recent)
    names = weight_names(lm)
    try:
        models = {START: export_start(lm, features, rules), STEP: export_step(lm, features)}
    except LinaError:
        raise
    except Exception as error:
        raise LinaError(
            f"onnx: this model cannot be exported ({type(error).__name__}: {_line(error)})"
        ) from error
    models |= {**others, STEP_INT8: with_int8_products(models[STEP], names), CHECK_INT8: int8_check()}
    path.mkdir(parents=True, exist_ok=True)
    for name, model in models.items():
        write_atomic(path / name, model.SerializeToString())
    found: dict[str, Any] = {
        "format": FORMAT,
        "features": {"widest": features.widest, "recent": recent},
        "outside": {name: outside(model) for name, model in models.items()},
        **facts,
    }
    folder = GraphFolder(path, found)
    differences = step_differences(folder, lm, features, extreme)
    for gates, worst in differences.items():
        if not worst <= LIMIT:
            raise LinaError(
                f"onnx: with {gates} parameters the exported step differs from eager by {worst:.2g}, relative root "
                f"mean square; {LIMIT:g} is allowed"
            )
    found["differences"] = {gates: float(f"{worst:.2g}") for gates, worst in differences.items()}
    write_atomic(path / FACTS, json.dumps(found, indent=1, ensure_ascii=False).encode())
    return folder


def outside(model: Any) -> list[str]:
    """Names of the initializers that a model leaves out."""
    return [one.name for one in model.graph.initializer if one.external_data]


def _smaller(widest: int | None, lm: DelayLM) -> int | None:
    return widest if widest is not None and widest < lm.vocab else None


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else ""
