"""Resolve the plugin names of a spec of job codec to plugins with validated configurations. Builds nothing."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lina.config.codec_spec import CodecSpec
from lina.config.resolve import PluginChoice, as_written, choose_plugin
from lina.config.validation import validate
from lina.core.errors import PluginError, SpecError
from lina.core.plugin import CodecPlugin, CorpusPlugin
from lina.core.protocols import Codec, StreamingCodec
from lina.core.registry import Record

WEIGHTS, CODEBOOKS = "weights", "codebooks"
"""Keys of a trainable codec's configuration: the file that ``save_trained`` wrote, and the number of codebooks."""


@dataclass(frozen=True)
class ResolvedCodecSpec:
    spec: CodecSpec
    """The spec with absolute input paths."""
    codec: PluginChoice[CodecPlugin]
    sources: tuple[PluginChoice[CorpusPlugin], ...]

    @property
    def records(self) -> tuple[Record, ...]:
        """Name, distribution and version of each distinct plugin."""
        chosen: tuple[PluginChoice[Any], ...] = (self.codec, *self.sources)
        return tuple(dict.fromkeys(one.record for one in chosen))

    def trained(self, weights: Path, codebooks: int | None = None) -> Codec | StreamingCodec:
        """The codec for users, built from its exported weights, with its first ``codebooks`` codebooks.

        Raises:
            PluginError: its configuration has no such keys.
        """
        config_keys: dict[str, Any] = {WEIGHTS: str(weights)}
        if codebooks is not None:
            config_keys[CODEBOOKS] = codebooks
        try:
            config = validate(self.codec.plugin.Config, config_keys, self.spec.origin, ("codec", "config"))
        except SpecError as error:
            raise PluginError(
                f"{self.codec.record}: its trained weights cannot be used as config {config_keys}: {error}"
            ) from None
        return self.codec.plugin.build(config=config)


def resolve_codec(spec: CodecSpec) -> ResolvedCodecSpec:
    """Load the plugins that ``spec`` names and check their configurations.

    Raises:
        PluginError: a plugin is unknown or broken; the message names file and line of the spec.
        SpecError: a ``config`` does not fit its plugin.
    """
    codec = choose_plugin(
        *("codec", spec.codec.plugin, spec.codec.config, spec.origin),
        *(("codec", "plugin"), ("codec", "config")),
    )
    sources = tuple(
        choose_plugin(
            *("corpus", one.source, one.config, spec.origin),
            *(("data", "sources", place, "source"), ("data", "sources", place, "config")),
        )
        for place, one in enumerate(spec.data.sources)
    )
    placed = tuple(
        one.model_copy(update={"config": as_written(chosen.config)})
        for one, chosen in zip(spec.data.sources, sources, strict=True)
    )
    resolved = spec.model_copy(
        update={
            "codec": spec.codec.model_copy(update={"config": as_written(codec.config)}),
            "data": spec.data.model_copy(update={"sources": placed}),
        }
    )
    return ResolvedCodecSpec(resolved, codec, sources)
