"""Build the language model and the codec of a resolved spec."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, SupportsIndex

import torch

from lina.config.resolve import PluginChoice, ResolvedSpec, choose_plugin
from lina.config.sections import Depth, FinalNorm, PluginName, SpecSection, Width
from lina.config.source_map import Origin, SpecSource
from lina.config.validation import validate
from lina.core.audio.contract import check_codec
from lina.core.errors import LinaError, PluginError
from lina.core.model.cross_attention import CrossAttention, PositionCrossAttention
from lina.core.model.delay_lm import DelayLM
from lina.core.model.pattern import ModelPart, build_part, build_pattern
from lina.core.model.stack import Layers
from lina.core.model.text_encoder import TextEncoder
from lina.core.plugin import BackbonePlugin, CodecPlugin
from lina.core.protocols import Backbone, Codec, StreamingCodec


def build_lm(
    resolved: ResolvedSpec,
    *,
    codebook_sizes: tuple[int, ...],
    vocab_size: int,
    speakers: int,
    seed: int,
    model_class: type[DelayLM] = DelayLM,
) -> DelayLM:
    """The model of a spec, initialized from ``seed`` alone; the global random state is unchanged."""
    spec = resolved.spec
    width, text = spec.backbone.d_model, spec.text
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed GPUs too
        attention = _attention(resolved)
        return model_class(
            codebook_sizes=codebook_sizes,
            vocab_size=vocab_size,
            d_model=width,
            encoder=_stack(resolved, "encoder", resolved.layers),
            decoder=_stack(resolved, "decoder", resolved.after),
            attention=attention,
            text_encoder=TextEncoder(width, text.layers, text.heads, text.dropout),
            speakers=speakers if spec.conditions.speaker else 0,
            drops_text=spec.conditions.drop_text > 0,
            head_norm=spec.backbone.head_norm,
            dropout=spec.train.dropout,
        )


class BackboneArguments(SpecSection):
    """Arguments of ``build_backbone``, with the bounds of the spec's section ``backbone``."""

    name: PluginName
    d_model: Width
    n_layers: Depth
    final_norm: FinalNorm


def build_backbone(
    name: str, *, d_model: int, n_layers: int, final_norm: FinalNorm, options: dict[str, Any]
) -> Layers:
    """A stack by itself, as the encoder of a model has it; ``options`` are the plugin's keys.

    Raises:
        PluginError: there is no such backbone, it is broken, or its stack is none of ``Layers``.
        SpecError: an argument or an option is wrong, or sizes do not fit each other.
    """
    origin = Origin((SpecSource("lina.build_backbone", Path(), {}),))
    passed = {"name": name, "d_model": d_model, "n_layers": n_layers, "final_norm": final_norm}
    arguments = validate(BackboneArguments, {key: _plain(value) for key, value in passed.items()}, origin)
    chosen = choose_plugin("backbone", arguments.name, options, origin)
    module = build_part(
        chosen.plugin,
        part="encoder",
        d_model=arguments.d_model,
        n_layers=arguments.n_layers,
        config=chosen.config,
        final_norm=arguments.final_norm,
    )
    if not isinstance(module, Layers):
        raise PluginError(
            f"backbone {name!r}: its {type(module).__name__} is no stack of lina.core.Layers, so it is no module with "
            "a forward of its own; call parallel_forward and step, or derive it from Layers"
        )
    return module


def _plain(value: object) -> object:
    """Integers of other libraries, such as NumPy's, as Python's."""
    return int(value) if isinstance(value, SupportsIndex) and not isinstance(value, bool) else value


def sketch_lm(resolved: ResolvedSpec) -> DelayLM:
    """Build the model on the meta device, with placeholder vocabulary and speaker sizes, to validate a spec early.

    A plugin that needs real tensors gets them.

    Raises:
        SpecError: sizes do not fit each other or the plugin's configuration.
    """
    facts: dict[str, Any] = {"codebook_sizes": (1,), "vocab_size": 1, "speakers": 1, "seed": 0}
    try:
        with torch.device("meta"):
            return build_lm(resolved, **facts)
    except LinaError:
        raise
    except Exception:
        # A constructor may read its tensors and fail on the meta device in any way, but not on a real one.
        return build_lm(resolved, **facts)


def build_codec(chosen: PluginChoice[CodecPlugin]) -> Codec | StreamingCodec:
    """The codec of a spec.

    Raises:
        ContractError: the plugin built something else.
    """
    codec = chosen.plugin.build(config=chosen.config)
    check_codec(codec, chosen.record)
    return codec


def count_parameters(module: Any) -> int:
    """Number of trainable parameters of a module."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def _attention(resolved: ResolvedSpec) -> CrossAttention:
    width, text = resolved.spec.backbone.d_model, resolved.spec.text
    if text.attention == "plain":
        return CrossAttention(width, text.heads_cross, text.rotary, text.rotary_channels)
    chosen = resolved.backbone
    position_net = build_part(
        chosen.plugin,
        part="position",
        d_model=text.position_dim,
        n_layers=text.position_layers,
        config=chosen.config,
    )
    return PositionCrossAttention(width, position_net, text.position_dim, text.rotary, text.rotary_channels)


def _stack(
    resolved: ResolvedSpec, part: ModelPart, pattern: Sequence[PluginChoice[BackbonePlugin]]
) -> Backbone:
    section, chosen = resolved.spec.backbone, resolved.backbone
    sizes = {"d_model": section.d_model, "n_layers": section.n_layers}
    norm = section.final_norm
    if pattern:
        choices = [(one.plugin, one.config) for one in pattern]
        return build_pattern(choices, part=part, final_norm=norm, **sizes)
    return build_part(chosen.plugin, part=part, config=chosen.config, final_norm=norm, **sizes)
