"""Plugin ``codec:dac``: Descript Audio Codec (Kumar et al. 2023, arXiv 2306.06546), by transformers' ``DacModel``."""

from math import prod
from typing import Any, ClassVar

from lina.codecs.hugging_face.config import HuggingFaceConfig, check_config
from lina.codecs.hugging_face.weights import load_model
from lina.codecs.hugging_face.whole import WholeCodec
from lina.core.errors import SpecError
from lina.core.plugin import CodecPlugin, PluginConfig


class DAC(CodecPlugin):
    Config: ClassVar[type[PluginConfig]] = HuggingFaceConfig

    @classmethod
    def build(cls, *, config: HuggingFaceConfig) -> WholeCodec:
        """Raises PluginError without weights or transformers, SpecError for more codebooks than the weights have."""
        check_config("dac", config, "descript/dac_44khz")
        model = load_model("dac", "DacModel", "DacConfig", config)
        sizes = model.config
        count = config.codebooks or sizes.n_codebooks
        if count > sizes.n_codebooks:
            raise SpecError(f"codec:dac: config.codebooks is {count}; these weights have {sizes.n_codebooks}")
        return WholeCodec(
            model,
            sample_rate=sizes.sampling_rate,
            hop=prod(sizes.downsampling_ratios),
            codebook_sizes=(sizes.codebook_size,) * count,
            encoder=lambda model, audio: model.encode(audio, n_quantizers=count).audio_codes,
            decoder=lambda model, codes: model.decode(audio_codes=codes).audio_values[:, None],
        )

    @classmethod
    def example(cls) -> dict[str, Any]:
        sizes = {
            "encoder_hidden_size": 4,
            "decoder_hidden_size": 16,
            "downsampling_ratios": [2, 5],
            "n_codebooks": 3,
            "codebook_size": 16,
            "codebook_dim": 4,
        }
        return {"config": HuggingFaceConfig(random_weights=True, sizes=sizes)}
