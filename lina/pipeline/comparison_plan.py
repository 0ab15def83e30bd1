"""Plan of a comparison: combinations of settings, seeds and learning rates, and models of equal size."""

import hashlib
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lina.config.loader import load_spec
from lina.config.resolve import ResolvedSpec, resolve
from lina.core.errors import SpecError
from lina.runs.build_model import count_parameters, sketch_lm

SWEEP = (1 / 3, 1.0, 3.0)
"""Learning rates of a sweep, as factors of the spec's."""
LEAST_VALIDATION = "data.valid=0.1"
"""Set where the spec holds nothing back: the loss compares on utterances that no model has seen."""
LONGEST = 60
"""Characters of a label in the name of a run; of a longer one a part and a hash, as labels may differ at their ends."""


@dataclass(frozen=True)
class Combination:
    """One value of each compared key."""

    label: str
    settings: tuple[str, ...]


@dataclass(frozen=True)
class Trial:
    """One training: a combination with a seed and a learning rate."""

    combination: Combination
    seed: int
    lr: float

    @property
    def name(self) -> str:
        """Name of its run, from the settings alone, so that the same command finds it again."""
        plain = re.sub(r"[^A-Za-z0-9.]+", "-", self.combination.label).strip("-.") or "spec"
        if len(plain) > LONGEST:
            plain = (
                f"{plain[: LONGEST - 9]}-{hashlib.sha256(self.combination.label.encode()).hexdigest()[:8]}"
            )
        return f"{plain}-lr{self.lr:.3g}-seed{self.seed}"


def split_settings(settings: Sequence[str]) -> tuple[list[Combination], list[str]]:
    """The combinations of all keys with several values, and the settings with a single one.

    Raises:
        SpecError: no key has several values, or a value occurs twice.
    """
    varied: list[list[tuple[str, str]]] = []
    fixed = []
    for setting in settings:
        key, equals, value = setting.partition("=")
        values = split_values(value)
        if not equals or len(values) < 2:
            fixed.append(setting)
            continue
        if len(set(values)) < len(values):
            raise SpecError(f"command line: {setting}: names a value twice; name each once")
        short = (
            key.rpartition(".")[2] if key.endswith((".plugin", ".schedule", ".optimizer", ".loss")) else key
        )
        bare = key == "backbone.plugin"
        varied.append([(f"{key}={one}", one if bare else f"{short}={one}") for one in values])
    if not varied:
        raise SpecError(
            "command line: nothing to compare; give a key several values, such as backbone.plugin=gla,retnet"
        )
    combinations = [
        Combination(", ".join(label for _, label in one), tuple(setting for setting, _ in one))
        for one in itertools.product(*varied)
    ]
    return combinations, fixed


def split_values(value: str) -> list[str]:
    """Split at commas outside of brackets and quotes: ``a,{b: [1, 2]}`` is two values."""
    parts, depth, quote = [""], 0, ""
    for character in value:
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character in "[{":
            depth += 1
        elif character in "]}":
            depth -= 1
        elif character == "," and not depth:
            parts.append("")
            continue
        parts[-1] += character
    return [part.strip() for part in parts]


def check_combinations(
    spec: str, combinations: Sequence[Combination], fixed: Sequence[str], *, match: bool
) -> list[Combination]:
    """Resolve every combination before any training; with ``match``, add layers for models of equal size.

    Raises:
        SpecError, PluginError: a combination is no valid spec.
    """
    target = backbone_parameters(resolve(load_spec(spec, fixed)))
    checked = []
    for one in combinations:
        resolved = resolve(load_spec(spec, (*fixed, *one.settings)))
        if match:
            layers = layers_nearest(resolved, target)
            one = Combination(one.label, (*one.settings, f"backbone.n_layers={layers}"))
        checked.append(one)
    return checked


def backbone_parameters(resolved: ResolvedSpec, n_layers: int | None = None) -> int:
    """Trained numbers of the backbone before the text, whatever its layers are."""
    spec = resolved.spec
    section = spec.backbone.model_copy(update={"n_layers": n_layers or spec.backbone.n_layers})
    model = sketch_lm(replace(resolved, spec=spec.model_copy(update={"backbone": section})))
    return count_parameters(model.encoder)


def layers_nearest(resolved: ResolvedSpec, target: int) -> int:
    """The number of layers that comes nearest to ``target`` parameters."""
    n_layers, size = 1, backbone_parameters(resolved, 1)
    while size < target:
        larger = backbone_parameters(resolved, n_layers + 1)
        if larger - target > target - size:
            break
        n_layers, size = n_layers + 1, larger
    return n_layers
