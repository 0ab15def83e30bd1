"""Identity of the graphs of a model."""

import hashlib
import json

from lina.config.resolve import ResolvedSpec
from lina.core.model.delay_lm import DelayLM


def graph_key(resolved: ResolvedSpec, model: DelayLM) -> str:
    """A digest of all that a model's graphs depend on, which is not its weights."""
    spec = resolved.spec
    unset = {key for key in ("layers", "after") if getattr(spec.backbone, key) is None}
    sections = [spec.backbone.model_dump(mode="json", exclude=unset), spec.text.model_dump(mode="json")]
    shapes = {name: list(one.shape) for name, one in model.state_dict().items()}
    parts = [
        *sections,
        shapes,
        list(model.codebook_sizes),
        *(one.record.version for one in resolved.backbones),
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
