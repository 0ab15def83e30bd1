"""What a run of job codec is. ``lina.core.spec_load.load_job`` reads one."""

from typing import Literal

from lina.core.codec_training.sections import CodecDataSection, CodecEvaluateSection, CodecTrainSection
from lina.core.spec import AnySpec
from lina.core.spec_sections import CodecSection


class CodecSpec(AnySpec):
    """A whole run of job codec: from recordings to a codec's weights."""

    job: Literal["codec"]
    """Makes it a spec of this kind."""
    codec: CodecSection
    data: CodecDataSection
    train: CodecTrainSection = CodecTrainSection()
    evaluate: CodecEvaluateSection = CodecEvaluateSection()
