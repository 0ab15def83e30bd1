"""The framework, and the public surface for plugin authors: ``from lina.core import MixerPlugin, law_cases``.

Names are imported at their first use, so ``import lina.core`` itself imports no torch. Core knows no plugin by name and
imports no backend package.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lina.core.audio.codec import (
        decode,
        decoder_stream,
        encode,
        frame_rate,
        validate_audio,
        validate_codes,
    )
    from lina.core.audio.read import AudioError, read_audio
    from lina.core.audio.wav import WavWriter, write_wav
    from lina.core.corpus.manifest import (
        EntryChecker,
        clean_text,
        corpus_folder,
        read_json_manifest,
        read_lines,
    )
    from lina.core.errors import (
        CheckpointError,
        DataError,
        LinaError,
        PluginError,
        SpecError,
        TextError,
        did_you_mean,
    )
    from lina.core.files.atomic import write_atomic
    from lina.core.files.names import cache_folder
    from lina.core.laws.cases import law_cases, run_laws
    from lina.core.laws.law import LawCase, LawFailed, LawResult
    from lina.core.laws.tokenizer import frozen_json
    from lina.core.model.auxiliary import auxiliary_loss
    from lina.core.model.stack import Layers, MixerPlugin, MixerStack, ResidualStack, SwiGLU
    from lina.core.model.tokens import teacher_forcing
    from lina.core.ops.causal_conv import causal_convolution, causal_convolution_step
    from lina.core.ops.delta_rule import delta_rule, delta_rule_step, gated_delta_rule, gated_delta_rule_step
    from lina.core.ops.dispatch import KernelConfig, MixedPrecisionKernelConfig, log_once, use_fused_kernel
    from lina.core.ops.gated_linear_attention import gated_linear_attention, gated_linear_attention_step
    from lina.core.ops.rotary import apply_rotary
    from lina.core.ops.rwkv6_attention import rwkv6_attention, rwkv6_attention_step
    from lina.core.ops.scalar_decay_attention import scalar_decay_attention, scalar_decay_attention_step
    from lina.core.ops.selective_scan import selective_scan, selective_scan_step
    from lina.core.plugin import (
        PLUGIN_API,
        BackbonePlugin,
        CodecPlugin,
        CorpusPlugin,
        Half,
        Plugin,
        PluginConfig,
        RecognizerPlugin,
        TokenizerPlugin,
    )
    from lina.core.protocols import (
        Backbone,
        Codec,
        DecoderStream,
        EncoderStream,
        Recognizer,
        Reconstruction,
        StreamingCodec,
        Tokenizer,
        TrainableCodec,
        takes_starts,
    )
    from lina.core.renames import Renames
    from lina.core.state import State, load_state, named_leaves, save_state, tree_map
    from lina.core.training.plugin import (
        LossPlugin,
        OptimizerPlugin,
        ParameterGroups,
        Schedule,
        SchedulePlugin,
    )
    from lina.core.utterance import Reject, Utterance

__all__ = [
    "PLUGIN_API",
    "AudioError",
    "Backbone",
    "BackbonePlugin",
    "CheckpointError",
    "Codec",
    "CodecPlugin",
    "CorpusPlugin",
    "DataError",
    "DecoderStream",
    "EncoderStream",
    "EntryChecker",
    "Half",
    "KernelConfig",
    "LawCase",
    "LawFailed",
    "LawResult",
    "Layers",
    "LinaError",
    "LossPlugin",
    "MixedPrecisionKernelConfig",
    "MixerPlugin",
    "MixerStack",
    "OptimizerPlugin",
    "ParameterGroups",
    "Plugin",
    "PluginConfig",
    "PluginError",
    "Recognizer",
    "RecognizerPlugin",
    "Reconstruction",
    "Reject",
    "Renames",
    "ResidualStack",
    "Schedule",
    "SchedulePlugin",
    "SpecError",
    "State",
    "StreamingCodec",
    "SwiGLU",
    "TextError",
    "Tokenizer",
    "TokenizerPlugin",
    "TrainableCodec",
    "Utterance",
    "WavWriter",
    "apply_rotary",
    "auxiliary_loss",
    "cache_folder",
    "causal_convolution",
    "causal_convolution_step",
    "clean_text",
    "corpus_folder",
    "decode",
    "decoder_stream",
    "delta_rule",
    "delta_rule_step",
    "did_you_mean",
    "encode",
    "frame_rate",
    "frozen_json",
    "gated_delta_rule",
    "gated_delta_rule_step",
    "gated_linear_attention",
    "gated_linear_attention_step",
    "law_cases",
    "load_state",
    "log_once",
    "named_leaves",
    "read_audio",
    "read_json_manifest",
    "read_lines",
    "run_laws",
    "rwkv6_attention",
    "rwkv6_attention_step",
    "save_state",
    "scalar_decay_attention",
    "scalar_decay_attention_step",
    "selective_scan",
    "selective_scan_step",
    "takes_starts",
    "teacher_forcing",
    "tree_map",
    "use_fused_kernel",
    "validate_audio",
    "validate_codes",
    "write_atomic",
    "write_wav",
]

_NAMES = {
    "audio.codec": "decode decoder_stream encode frame_rate validate_audio validate_codes",
    "audio.read": "AudioError read_audio",
    "audio.wav": "WavWriter write_wav",
    "corpus.manifest": "EntryChecker clean_text corpus_folder read_json_manifest read_lines",
    "errors": "CheckpointError DataError LinaError PluginError SpecError TextError did_you_mean",
    "files.atomic": "write_atomic",
    "files.names": "cache_folder",
    "laws.cases": "law_cases run_laws",
    "laws.law": "LawCase LawFailed LawResult",
    "laws.tokenizer": "frozen_json",
    "model.auxiliary": "auxiliary_loss",
    "model.stack": "Layers MixerPlugin MixerStack ResidualStack SwiGLU",
    "model.tokens": "teacher_forcing",
    "ops.causal_conv": "causal_convolution causal_convolution_step",
    "ops.delta_rule": "delta_rule delta_rule_step gated_delta_rule gated_delta_rule_step",
    "ops.dispatch": "KernelConfig MixedPrecisionKernelConfig log_once use_fused_kernel",
    "ops.gated_linear_attention": "gated_linear_attention gated_linear_attention_step",
    "ops.rotary": "apply_rotary",
    "ops.rwkv6_attention": "rwkv6_attention rwkv6_attention_step",
    "ops.scalar_decay_attention": "scalar_decay_attention scalar_decay_attention_step",
    "ops.selective_scan": "selective_scan selective_scan_step",
    "plugin": (
        "PLUGIN_API BackbonePlugin CodecPlugin CorpusPlugin Half Plugin PluginConfig "
        "RecognizerPlugin TokenizerPlugin"
    ),
    "protocols": (
        "Backbone Codec DecoderStream EncoderStream Recognizer Reconstruction "
        "StreamingCodec Tokenizer TrainableCodec takes_starts"
    ),
    "renames": "Renames",
    "state": "State load_state named_leaves save_state tree_map",
    "training.plugin": "LossPlugin OptimizerPlugin ParameterGroups Schedule SchedulePlugin",
    "utterance": "Reject Utterance",
}
"""Module of ``lina.core`` -> the names that it defines; the imports above are for type checkers alone."""

_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'lina.core' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"lina.core.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
