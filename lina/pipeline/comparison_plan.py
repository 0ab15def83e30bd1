"""Plan of a comparison: combinations of settings, seeds and learning rates, and models of equal size."""

import hashlib
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lina.config.loader import load_spec, setting_keys
from lina.config.resolve import ResolvedSpec, resolve
from lina.config.spec import Spec, flat_values
from lina.config.training_choices import hook_choices, training_choices
from lina.core.errors import LinaError, SpecError
from lina.pipeline.speech_job import check_model
from lina.runs.build_model import count_parameters, sketch_lm

SWEEP = (1 / 3, 1.0, 3.0)
"""Learning rates of a sweep, as factors of the spec's."""
LEAST_VALIDATION = "data.valid=0.1"
"""Set where the spec holds nothing back: the loss compares on utterances that no model has seen."""
TRIAL_KEYS = {
    "train.out": "trials are runs in the output directory of the comparison; set that by --out DIR",
    "train.minutes": "a trial ends after its steps; for a time use --budget seconds --seconds S",
    **dict.fromkeys(
        ("train.gpus", "train.parallel", "train.restarts"),
        "each trial is one process; --gpus N trains N trials at a time",
    ),
}
"""Key that every trial has to set by itself, or that acts on several ranks only -> the remedy."""
LABELS_ALONE = ("name", "train.out")
"""Keys that change no result."""
LABEL_BREAKS = {" ", "=", ", ", "-", "_"}
"""Runs of characters that the name of a run may lose without a hash."""
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
        label = self.combination.label
        whole = re.sub(r"[^A-Za-z0-9.]+", "-", label)
        plain = whole.strip("-.") or "spec"
        if len(plain) > LONGEST or plain != whole or set(re.findall(r"[^A-Za-z0-9.]+", label)) - LABEL_BREAKS:
            plain = f"{plain[: LONGEST - 9]}-{hashlib.sha256(label.encode()).hexdigest()[:8]}"
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


def check_keys(
    combinations: Sequence[Combination],
    fixed: Sequence[str],
    *,
    sweep: bool | Sequence[float],
    seconds: bool,
    match: bool,
) -> None:
    """Refuse keys that trials would not have as they are set.

    Args:
        sweep: true if learning rates are tried, as in ``ComparisonJob``.
        seconds: true if the budget is one of seconds.
        match: true if the number of layers follows the number of parameters.

    Raises:
        SpecError: with the option to use instead.
    """
    everywhere, varied = dict(TRIAL_KEYS), {"seed": "comparisons have --seeds N, from that of the spec on"}
    if sweep:
        varied["train.lr"] = (
            "--lr-sweep chooses the rate; use --lr-sweep A,B for these, or leave out --lr-sweep"
        )
    if sweep and sweep is not True:
        everywhere["train.lr"] = "--lr-sweep has the rates; leave out one of the two"
    if seconds:
        everywhere["train.steps"] = (
            "--budget seconds chooses the steps; use --budget steps, or leave out the key"
        )
    if match:
        varied["backbone.n_layers"] = "--match-parameters chooses the layers; leave out one of the two"
    for setting in fixed:
        _refuse(setting, everywhere)
    for setting in dict.fromkeys(setting for one in combinations for setting in one.settings):
        _refuse(setting, varied | everywhere)


def _refuse(setting: str, refused_keys: dict[str, str]) -> None:
    for key in setting_keys(setting):
        if (remedy := refused_keys.get(key)) is not None:
            raise SpecError(f"command line: {key}: {remedy}")


def check_combinations(
    spec: str, combinations: Sequence[Combination], fixed: Sequence[str], *, match: bool
) -> dict[Combination, Spec]:
    """Check every combination as a run would before its training; the combinations with their specs.

    With ``match``, layers are added for models of equal size.

    Raises:
        SpecError, PluginError: a combination is no valid spec, holds nothing back, or is another one's equal.
    """
    base = resolve(load_spec(spec, fixed))
    target = backbone_parameters(base) if match else 0
    checked: dict[Combination, Spec] = {}
    labels: dict[str, str] = {}
    for one in combinations:
        resolved = resolve(load_spec(spec, (*fixed, *one.settings)))
        training_choices(resolved.spec)
        hook_choices(resolved.spec)
        try:
            check_model(resolved)
        except LinaError as error:
            raise SpecError(f"{one.label}: {error}") from error
        if not resolved.spec.data.valid:
            raise SpecError(
                f"{one.label}: data.valid is 0, so there is no validation loss to compare; set data.valid above 0"
            )
        values = {key: value for key, value in flat_values(resolved.spec).items() if key not in LABELS_ALONE}
        if (equal := labels.setdefault(repr(values), one.label)) != one.label:
            raise SpecError(
                f"command line: {equal} and {one.label} are the same settings; leave out one of them"
            )
        if match:
            layers = layers_nearest(resolved, target)
            one = Combination(one.label, (*one.settings, f"backbone.n_layers={layers}"))
        checked[one] = resolved.spec
    return checked


def backbone_parameters(resolved: ResolvedSpec, n_layers: int | None = None) -> int:
    """Trained numbers of the backbone before the text, whatever its layers are."""
    spec = resolved.spec
    section = spec.backbone.model_copy(update={"n_layers": n_layers or spec.backbone.n_layers})
    model = sketch_lm(replace(resolved, spec=spec.model_copy(update={"backbone": section})))
    return count_parameters(model.encoder)


def layers_nearest(resolved: ResolvedSpec, target: int) -> int:
    """The number of layers that comes nearest to ``target`` parameters, at least that of a pattern of layers."""
    n_layers = max(1, len(resolved.layers), len(resolved.after))
    size = backbone_parameters(resolved, n_layers)
    while size < target:
        larger = backbone_parameters(resolved, n_layers + 1)
        if larger - target > target - size:
            break
        n_layers, size = n_layers + 1, larger
    return n_layers
