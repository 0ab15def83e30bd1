"""Identity of the graphs of a model."""

import hashlib
import json

from lina.config.resolve import ResolvedSpec
from lina.core.model.delay_lm import DelayLM


def graph_key(resolved: ResolvedSpec, model: DelayLM) -> str:
    """A digest of all that a model's graphs depend on, which is not its weights."""
    spec = resolved.spec
    # Keys that came later are left out at their defaults, which earlier graphs were exported with.
    defaults = {"layers": None, "after": None, "final_norm": "own"}
    unset = {key for key, value in defaults.items() if getattr(spec.backbone, key) == value}
    sections = [spec.backbone.model_dump(mode="json", exclude=unset), spec.text.model_dump(mode="json")]
    shapes = {name: list(one.shape) for name, one in model.state_dict().items()}
    parts = [
        *sections,
        shapes,
        list(model.codebook_sizes),
        *(one.record.version for one in resolved.backbones),
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
