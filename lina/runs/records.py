"""What the small files of a run directory hold; ``lina.runs.files`` reads and writes them."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field

from lina.runs.file_record import FileRecord
from lina.runs.hooks import Sample


class MachineInfo(FileRecord):
    cpu: str = ""
    """The processor's name."""
    cores: int | None = None
    """Cores that the run could use."""
    gpu: str | None = None


class PluginInfo(FileRecord):
    role: str
    """``backbone``, ``codec``, ``tokenizer``, ``corpus`` or ``hook``."""
    name: str
    distribution: str = ""
    version: str = ""


class ModelInfo(FileRecord):
    """Counts of trained numbers; further parts may be added beside ``backbone``."""

    model_config = ConfigDict(extra="allow")

    parameters: int
    backbone: int | None = None


class RunInfo(FileRecord):
    lina: str
    """The version of lina."""
    started: str
    """ISO 8601, with the zone."""
    machine: MachineInfo = MachineInfo()
    versions: dict[str, str] = Field(default={})
    """Packages that matter to the result, by name."""
    plugins: tuple[PluginInfo, ...] = ()
    model: ModelInfo | None = None
    commit: str | None = None
    """Of lina, where it runs from a git checkout or was installed from one."""


class CodecInfo(FileRecord):
    name: str
    sample_rate: int
    """Hz."""
    hop: int
    """Samples a frame."""
    codebook_sizes: tuple[int, ...]


class DataSummary(FileRecord):
    utterances: int
    """All that are used, validation included."""
    valid: int
    """Those held out for validation."""
    seconds: float
    rejects: int = 0
    """Lines of ``rejects.jsonl``."""
    codec: CodecInfo | None = None


class MetricsRecord(FileRecord):
    """What was measured at a step. Fields of other plugins are kept."""

    model_config = ConfigDict(extra="allow")

    step: int
    split: Literal["train", "valid"]
    loss: float
    accuracy: tuple[float, ...] = ()
    """Share of right greedy guesses, one a codebook."""
    lr: float | None = None
    grad_norm: float | None = None
    """Before clipping."""
    frames_per_second: float | None = Field(default=None, alias="frames/s")
    seconds: float | None = None
    """Time spent in training so far, over all resumptions."""


class SampleRecord(FileRecord):
    """The fields of ``Sample`` and what the recogniser heard. Error rate 0.25: a quarter of the words."""

    id: str
    kind: str
    text: str
    audio: Path
    sample_rate: int
    reference: Path | None = None
    resynthesis: Path | None = None
    attention: Path | None = None
    text_labels: tuple[str, ...] = ()
    stopped: bool = True
    transcript: str | None = None
    language: str = "en"
    """Of the transcripts, as an ISO 639-1 code."""
    error_rate: float | None = None
    """Word error rate of ``transcript`` against ``text``."""
    reference_transcript: str | None = None
    resynthesis_transcript: str | None = None
    resynthesis_error_rate: float | None = None

    @classmethod
    def of(cls, sample: Sample, **heard: Any) -> "SampleRecord":
        """A record of a sample; ``heard`` are fields that ``Sample`` does not have."""
        return cls(**asdict(sample), **heard)

    def sample(self) -> Sample:
        return Sample(**{name: getattr(self, name) for name in Sample.__dataclass_fields__})


class Interval(FileRecord):
    """A mean or a rate, and its 95 % confidence interval."""

    value: float
    low: float
    high: float


class EvaluationGroup(FileRecord):
    name: str
    """Such as ``training sentences, greedy``, ``codec resynthesis``, ``recordings``, ``unseen sentences``."""
    sentences: int
    word_error_rate: float | None = None
    """Wrong words over words of all texts together; may exceed 1. None if nobody listened."""
    character_error_rate: float | None = None
    measures: dict[str, Interval] = Field(default={})
    """The same rates and all else that was measured, by the names of ``lina.evaluation.summary``."""
    minus_ceiling: dict[str, Interval] = Field(default={})
    """Differences to the codec's resynthesis, over the texts that have one."""


class Evaluation(FileRecord):
    recognizer: str
    groups: tuple[EvaluationGroup, ...] = ()


class CodecDistance(FileRecord):
    """How far decoded audio is from held-out recordings, with so many codebooks."""

    codebooks: int
    bits_per_second: float
    mel_distance: float
    """Mean difference of log10 mel magnitudes, summed over seven resolutions; 0 is the same."""
    spectral_distance: float
    """Mean difference of log10 magnitudes."""


class CodecEvaluation(FileRecord):
    utterances: int
    seconds: float
    distances: tuple[CodecDistance, ...] = ()


class InitPart(FileRecord):
    """What became of a part of the model; counts of numbers."""

    part: str
    loaded: int
    fresh: int
    """As a new model has them."""
    left: int
    """Numbers of the source that have no place here."""
    how: tuple[str, ...] = ()


class InitRecord(FileRecord):
    """What a run began with. Resuming needs no source: only, with low-rank matrices, what is trained."""

    source: str
    remarks: tuple[str, ...] = ()
    parts: tuple[InitPart, ...] = ()
    trained: int
    """Numbers that are trained, low-rank matrices among them."""
    frozen: int
    rank: int | None = None
    """Of the low-rank matrices; None where all is trained."""
    alpha: float | None = None
    targets: tuple[str, ...] = ()
    """Layers that have low-rank matrices."""
    whole: tuple[str, ...] = ()
    """Beside them, the parameters that are trained as they are."""
