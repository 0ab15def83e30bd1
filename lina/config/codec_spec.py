"""What a run of job codec is. ``lina.config.loader.load_job`` reads one."""

from typing import Literal

from lina.config.codec_sections import CodecDataSection, CodecEvaluateSection, CodecTrainSection
from lina.config.sections import CodecSection
from lina.config.spec import AnySpec


class CodecSpec(AnySpec):
    """A whole run of job codec: from recordings to a codec's weights."""

    job: Literal["codec"]
    """Makes it a spec of this kind."""
    codec: CodecSection
    data: CodecDataSection
    train: CodecTrainSection = CodecTrainSection()
    evaluate: CodecEvaluateSection = CodecEvaluateSection()
