"""Plugin ``codec:mimi``: Mimi (Défossez et al. 2024, "Moshi", arXiv 2410.00037), by transformers' ``MimiModel``."""

import logging
from math import prod
from typing import Any, ClassVar

from lina.codecs.hugging_face.config import HuggingFaceConfig, check_config
from lina.codecs.hugging_face.mimi_stream import StreamingMimi, follow_the_module, streaming_obstacle
from lina.codecs.hugging_face.weights import load_model
from lina.codecs.hugging_face.whole import WholeCodec
from lina.core.errors import SpecError
from lina.core.plugin import CodecPlugin, PluginConfig

log = logging.getLogger("lina")


class Mimi(CodecPlugin):
    Config: ClassVar[type[PluginConfig]] = HuggingFaceConfig

    @classmethod
    def build(cls, *, config: HuggingFaceConfig) -> WholeCodec:
        """Raises PluginError without weights or transformers, SpecError for more codebooks than the weights have."""
        check_config("mimi", config, "kyutai/mimi")
        model = load_model("mimi", "MimiModel", "MimiConfig", config)
        sizes = model.config
        count = config.codebooks or sizes.num_quantizers
        least = sizes.num_semantic_quantizers + 1
        if not least <= count <= sizes.num_quantizers:
            raise SpecError(
                f"codec:mimi: config.codebooks is {count}; these weights take {least} to {sizes.num_quantizers}"
            )
        follow_the_module(model)
        hop = round(sizes.sampling_rate / sizes.frame_rate)
        obstacle = streaming_obstacle(model, hop)
        if obstacle is not None:
            log.warning("codec:mimi: %s; streaming approximately, through windows of whole decodes", obstacle)
        kind = StreamingMimi if obstacle is None else WholeCodec
        return kind(
            model,
            sample_rate=sizes.sampling_rate,
            hop=hop,
            codebook_sizes=(sizes.codebook_size,) * count,
            encoder=lambda model, audio: model.encode(audio, num_quantizers=count).audio_codes,
            decoder=lambda model, codes: model.decode(codes).audio_values,
        )

    @classmethod
    def example(cls) -> dict[str, Any]:
        ratios = [4, 2]
        sizes = {
            "hidden_size": 16,
            "num_filters": 4,
            "upsampling_ratios": ratios,
            "sampling_rate": 8000,
            "frame_rate": 8000 / prod(ratios) / 2,
            "codebook_size": 16,
            "codebook_dim": 8,
            "vector_quantization_hidden_dimension": 8,
            "num_quantizers": 4,
            "upsample_groups": 16,
            "num_hidden_layers": 2,
            "intermediate_size": 32,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "sliding_window": 8,
            "layer_scale_initial_scale": 0.5,
            "initializer_range": 0.3,
        }
        return {"config": HuggingFaceConfig(random_weights=True, sizes=sizes)}
