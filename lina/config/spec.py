"""Spec of job speech: its sections, checks across sections, and the comparison of two specs.

A spec names plugins and their configurations; facts of plugins are never repeated here.
``lina.config.loader`` reads one from a file and ``lina.config.resolve`` finds its plugins.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from omegaconf import OmegaConf
from pydantic import Field, PrivateAttr, StringConstraints, model_validator

from lina.config.sections import (
    BackboneSection,
    CodecSection,
    ConditionsSection,
    DataSection,
    EvaluateSection,
    InitSection,
    Options,
    PluginName,
    Seed,
    SpecSection,
    SynthesizeSection,
    TextSection,
    TokenizerSection,
)
from lina.config.source_map import Origin
from lina.config.train_section import TrainSection


class AnySpec(SpecSection):
    """Base of the specs of both jobs. ``differences`` compares two of them."""

    lina: Literal[1]
    """Version of the spec's format."""
    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
    """Name of the run: letters, digits, ``.``, ``_`` and ``-``."""
    seed: Seed = 0
    """Random seed of the initial weights, the order of batches, the split and training."""
    hooks: dict[PluginName, Options | None] = Field(default={})
    """Hook plugins that act on this run, with their options: ``{wandb: {project: voices}}``."""

    _origin: Origin = PrivateAttr(default_factory=Origin)

    @model_validator(mode="after")
    def _name_the_run_directory(self) -> Self:
        train: Any = getattr(self, "train", None)
        if train is not None:
            out = Path(str(train.out).replace("${name}", self.name))
            # Frozen for everyone else; a validator may finish its own object.
            self.__dict__["train"] = train.model_copy(update={"out": out})
        return self

    @property
    def origin(self) -> Origin:
        """Files and lines of the keys, for messages and relative paths."""
        return self._origin

    def with_origin(self, origin: Origin) -> Self:
        copy = self.model_copy()
        copy._origin = origin
        return copy

    def to_yaml(self) -> str:
        """The whole spec, defaults included; loading it gives an equal spec."""
        # OmegaConf reads more texts as numbers than plain YAML does (1e3), so it has to quote them.
        return OmegaConf.to_yaml(OmegaConf.create(self.model_dump(mode="json")))


class Spec(AnySpec):
    """A run of job speech: a text-to-speech language model."""

    job: Literal["speech"] = "speech"
    """``speech`` trains a speech model, ``codec`` a codec ([other keys](codec_training.md))."""
    backbone: BackboneSection
    codec: CodecSection
    tokenizer: TokenizerSection
    text: TextSection = TextSection()
    conditions: ConditionsSection = ConditionsSection()
    data: DataSection
    init: InitSection = InitSection()
    train: TrainSection = TrainSection()
    evaluate: EvaluateSection = EvaluateSection()
    synthesize: SynthesizeSection = SynthesizeSection()

    @model_validator(mode="after")
    def _imported_weights_are_of_one_backbone(self) -> Self:
        if self.init.backbone is not None and (self.backbone.layers or self.backbone.after):
            raise ValueError(
                "init.backbone imports weights of one backbone; leave out backbone.layers and after"
            )
        return self

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Self:
        for key in ("heads", "heads_cross"):
            heads = getattr(self.text, key)
            if self.backbone.d_model % heads:
                raise ValueError(
                    f"backbone.d_model ({self.backbone.d_model}) is not a multiple of text.{key} ({heads})"
                )
        return self

    @model_validator(mode="after")
    def _sampling_fits_training(self) -> Self:
        chosen = self.synthesize
        if chosen.guidance != 1.0 and not self.conditions.drop_text:
            raise ValueError(
                f"synthesize.guidance ({chosen.guidance}) needs a model trained with "
                "conditions.drop_text above 0, such as 0.1"
            )
        temperatures = chosen.temperature if isinstance(chosen.temperature, tuple) else (chosen.temperature,)
        if chosen.best_of > 1 and not any(temperatures):
            raise ValueError(
                f"synthesize.best_of ({chosen.best_of}) needs a synthesize.temperature above 0: "
                "greedy speech is always the same"
            )
        return self

    @model_validator(mode="after")
    def _heads_fit_the_attention(self) -> Self:
        text = self.text
        if text.attention == "position" and text.heads_cross != 1:
            raise ValueError(
                f"text.heads_cross ({text.heads_cross}) is for attention: plain; attention: position has one head: "
                "set heads_cross: 1"
            )
        if text.rotary_channels is None:
            return self
        width = self.backbone.d_model // text.heads_cross
        if not text.rotary:
            raise ValueError("text.rotary_channels needs text.rotary: true")
        if text.rotary_channels > width:
            raise ValueError(
                f"text.rotary_channels ({text.rotary_channels}) is more than the {width} channels of a head"
            )
        return self


class Change(NamedTuple):
    """A key with another value in another spec."""

    key: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.key}: {self.old} -> {self.new}"

    @property
    def is_move(self) -> bool:
        """Both values are absolute paths, which differ where a run is copied to another place."""
        return all(isinstance(one, str) and Path(one).is_absolute() for one in (self.old, self.new))


def changes(old: AnySpec, new: AnySpec) -> list[Change]:
    """The changed keys of two specs; empty for equal specs."""
    before, after = flat_values(old), flat_values(new)
    keys = [*before, *(key for key in after if key not in before)]
    missing = "(nothing)"
    return [
        Change(key, before.get(key, missing), after.get(key, missing))
        for key in keys
        if key not in before or key not in after or before[key] != after[key]
    ]


def differences(old: AnySpec, new: AnySpec) -> list[str]:
    """One line per changed key, such as ``train.lr: 0.001 -> 0.0003``; empty for equal specs."""
    return [str(change) for change in changes(old, new)]


def flat_values(spec: AnySpec) -> dict[str, Any]:
    """The values of a spec by dotted keys."""
    return _flat(spec.model_dump(mode="json"))


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
