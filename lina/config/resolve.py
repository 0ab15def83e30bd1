"""Resolve the plugin names of a spec to plugins with validated configurations. Builds nothing."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from lina.config.renames import apply_renames
from lina.config.source_map import Key, Origin
from lina.config.spec import Spec
from lina.config.validation import validate
from lina.core import registry
from lina.core.errors import PluginError
from lina.core.plugin import (
    BackbonePlugin,
    CodecPlugin,
    CorpusPlugin,
    Plugin,
    PluginConfig,
    RecognizerPlugin,
    TokenizerPlugin,
)
from lina.core.registry import MadeWith, Record

P = TypeVar("P", bound=Plugin)
M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class PluginChoice(Generic[P]):
    """A plugin that a spec names, ready to build."""

    record: Record
    plugin: type[P]
    config: PluginConfig


@dataclass(frozen=True)
class ResolvedSpec:
    spec: Spec
    """The spec with absolute input paths, independent of the working directory."""
    backbone: PluginChoice[BackbonePlugin]
    codec: PluginChoice[CodecPlugin]
    tokenizer: PluginChoice[TokenizerPlugin]
    corpus: PluginChoice[CorpusPlugin]
    recognizer: PluginChoice[RecognizerPlugin] | None = None
    layers: tuple[PluginChoice[BackbonePlugin], ...] = ()
    """Pattern of the layers before the text; empty: all are of ``backbone``."""
    after: tuple[PluginChoice[BackbonePlugin], ...] = ()
    """Pattern of the layers after the text, likewise."""

    @property
    def backbones(self) -> tuple[PluginChoice[BackbonePlugin], ...]:
        """All backbones of the model, each once."""
        chosen = (self.backbone, *self.layers, *self.after)
        return tuple({one.record: one for one in reversed(chosen)}.values())[::-1]

    @property
    def records(self) -> tuple[Record, ...]:
        """Name, distribution and version of each plugin, for checkpoints and the report."""
        chosen = (*self.backbones, self.codec, self.tokenizer, self.corpus, self.recognizer)
        return tuple(one.record for one in chosen if one is not None)


def resolve(spec: Spec, made_with: Mapping[tuple[str, str], MadeWith] | None = None) -> ResolvedSpec:
    """Load the plugins that ``spec`` names and check their configurations.

    Args:
        made_with: distributions of the plugins of an existing run, by role and name: these are taken, and no others.

    Raises:
        PluginError: a plugin is unknown or broken; the message names file and line of the spec.
        SpecError: a ``config`` does not fit its plugin.
    """
    # Before the backbone, which may be the first of them: a mistake is named where it is written.
    layers, after = (_choose_layers(spec, key, made_with) for key in ("layers", "after"))
    backbone = _choose(spec, "backbone", ("backbone", "plugin"), made_with)
    codec = _choose(spec, "codec", ("codec", "plugin"), made_with)
    tokenizer = _choose(spec, "tokenizer", ("tokenizer", "plugin"), made_with)
    corpus = _choose(spec, "corpus", ("data", "source"), made_with)
    sections: dict[str, PluginChoice[Any]] = {
        "backbone": backbone,
        "codec": codec,
        "tokenizer": tokenizer,
        "data": corpus,
    }
    recognizer = None
    if spec.evaluate.recognizer is not None:
        recognizer = _choose(spec, "recognizer", ("evaluate", "recognizer"), made_with)
        sections["evaluate"] = recognizer
    named = {"data": "source", "evaluate": "recognizer"}
    placed: dict[str, Any] = {
        name: getattr(spec, name).model_copy(
            # The distribution, if the spec names one, is recorded in run.json.
            update={"config": as_written(chosen.config), named.get(name, "plugin"): chosen.record.name}
        )
        for name, chosen in sections.items()
    }
    evaluating = placed.get("evaluate", spec.evaluate)
    text_set = _absolute(spec.evaluate.texts, spec.origin, ("evaluate", "texts"))
    placed["evaluate"] = evaluating.model_copy(update={"texts": text_set})
    lexicon = _absolute(spec.synthesize.lexicon, spec.origin, ("synthesize", "lexicon"))
    placed["synthesize"] = spec.synthesize.model_copy(update={"lexicon": lexicon})
    placed["init"] = spec.init.model_copy(
        update={
            "source": _voice_or_absolute(spec.init.source, spec.origin, ("init", "from")),
            "backbone": _absolute(spec.init.backbone, spec.origin, ("init", "backbone")),
        }
    )
    placed["backbone"] = placed["backbone"].model_copy(
        update={
            key: tuple(_placed(one, chosen) for one, chosen in zip(written, several, strict=True)) or None
            for key, several in (("layers", layers), ("after", after))
            if (written := getattr(spec.backbone, key) or ()) is not None
        }
    )
    # Layers after the text are those before it unless the spec says otherwise.
    after = after or layers
    return ResolvedSpec(
        spec.model_copy(update=placed), backbone, codec, tokenizer, corpus, recognizer, layers, after
    )


def name_and_options(named: str | Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Both parts of a ``NamedChoice``."""
    if isinstance(named, str):
        return named, {}
    ((name, options),) = named.items()
    return name, options or {}


def _placed(written: str | Mapping[str, Any], chosen: PluginChoice[Any]) -> str | dict[str, Any]:
    """A ``NamedChoice`` with absolute paths in its options."""
    options, (name, _) = as_written(chosen.config), name_and_options(written)
    return {name: options} if options else name


def _choose_layers(
    spec: Spec, key: str, made_with: Mapping[tuple[str, str], MadeWith] | None
) -> tuple[PluginChoice[BackbonePlugin], ...]:
    chosen = []
    for place, named in enumerate(getattr(spec.backbone, key) or ()):
        name, options = name_and_options(named)
        at: Key = ("backbone", key, place) if isinstance(named, str) else ("backbone", key, place, name)
        recorded = (made_with or {}).get(("backbone", name))
        chosen.append(choose_plugin("backbone", name, options, spec.origin, at, at, recorded))
    return tuple(chosen)


def _voice_or_absolute(source: Path | None, origin: Origin, key: Key) -> Path | None:
    """A plain name without a folder of that name beside the spec is the name of a voice, and stays as it is."""
    absolute: Path | None = _absolute(source, origin, key)
    if source is None or absolute is None or absolute.exists() or source.name != str(source):
        return absolute
    return source


def as_written(config: PluginConfig) -> dict[str, Any]:
    """The explicitly set keys, as JSON values."""
    return config.model_dump(mode="json", exclude_unset=True)


def _choose(
    spec: Spec, role: str, key: Key, made_with: Mapping[tuple[str, str], MadeWith] | None = None
) -> PluginChoice[Any]:
    section: Any = getattr(spec, str(key[0]))
    name = getattr(section, str(key[1]))
    recorded = (made_with or {}).get((role, name))
    return choose_plugin(role, name, section.config, spec.origin, key, (key[0], "config"), recorded)


def choose_plugin(
    role: str,
    name: str,
    config: dict[str, Any],
    origin: Origin,
    named_at: Key = (),
    config_at: Key = (),
    made_with: MadeWith | None = None,
) -> PluginChoice[Any]:
    """The plugin of this role and name with its validated configuration.

    ``named_at`` and ``config_at`` are the places of the name and the configuration in the spec, if in one.

    Raises:
        PluginError: the plugin is unknown or broken.
        SpecError: ``config`` does not fit it.
    """
    try:
        record = registry.find(role, name, made_with)
        plugin = registry.load_record(record)
        if not hasattr(plugin, "Config"):
            raise PluginError(f"{record} acts on every run and takes no options; leave it out here")
    except PluginError as error:
        where = f"{origin.where(named_at)}: {'.'.join(map(str, named_at))}: " if named_at else ""
        raise PluginError(f"{where}{error}") from error
    config, origin = apply_renames(plugin.Config, config, origin, config_at)
    checked = validate(plugin.Config, config, origin, config_at)
    return PluginChoice(record, plugin, _absolute_model(checked, origin, config_at))


def _absolute_model(config: M, origin: Origin, key: Key) -> M:
    """A copy with absolute paths for the keys that the spec sets; defaults stay as the plugin has them."""
    written = {name: getattr(config, name) for name in config.model_fields_set}
    return config.model_copy(
        update={name: _absolute(value, origin, (*key, name)) for name, value in written.items()}
    )


def _absolute(value: Any, origin: Origin, key: Key) -> Any:
    if isinstance(value, Path):
        # One spelling per place, whatever the path of the spec: a run compares its specs.
        return Path(os.path.normpath(origin.directory(key).resolve() / value))
    if isinstance(value, BaseModel):
        return _absolute_model(value, origin, key)
    if type(value) in (list, tuple):
        return type(value)(_absolute(one, origin, (*key, index)) for index, one in enumerate(value))
    if type(value) is dict:
        return {name: _absolute(one, origin, (*key, name)) for name, one in value.items()}
    return value
