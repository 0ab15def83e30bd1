"""Records in the small files of a run directory; ``lina.runs.files`` reads and writes them."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class FileRecord(BaseModel):
    """Base of all records in files."""

    # NaN and infinity become the strings "NaN" and "Infinity", which JSON can hold and pydantic reads back.
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        populate_by_name=True,
        ser_json_inf_nan="strings",
        protected_namespaces=(),
    )


class MachineInfo(FileRecord):
    cpu: str = ""
    """The processor's name."""
    cores: int | None = None
    """CPU cores available to the run."""
    gpu: str | None = None


class PluginInfo(FileRecord):
    role: str
    """``backbone``, ``codec``, ``tokenizer``, ``corpus`` or ``hook``."""
    name: str
    distribution: str = ""
    version: str = ""
    source: str = ""
    """Fingerprint of its code (``lina.runs.code_fingerprint``), without the parts that cannot change results."""
    files: dict[str, str] = Field(default={})
    """SHA-256 of the files that its configuration names, such as a codec's weights, by name or address."""


class ModelInfo(FileRecord):
    """Numbers of trainable parameters; further parts may be added beside ``backbone``."""

    model_config = ConfigDict(extra="allow")

    parameters: int
    backbone: int | None = None


class StartInfo(FileRecord):
    """A later start of a run with other versions or other code than the start before."""

    started: str
    """ISO 8601, with the zone."""
    lina: str
    versions: dict[str, str] = Field(default={})
    plugins: tuple[PluginInfo, ...] = ()
    commit: str | None = None


class RunInfo(FileRecord):
    """The first start of a run, whose versions trained it, and later ones that differ."""

    lina: str
    """The version of lina."""
    started: str
    """ISO 8601, with the zone."""
    machine: MachineInfo = MachineInfo()
    versions: dict[str, str] = Field(default={})
    """Versions of the packages that affect the result, by name."""
    plugins: tuple[PluginInfo, ...] = ()
    model: ModelInfo | None = None
    commit: str | None = None
    """Git commit of lina, where it runs from a checkout or was installed from one."""
    later: tuple[StartInfo, ...] = ()


class CodecInfo(FileRecord):
    name: str
    sample_rate: int
    """Hz."""
    hop: int
    """Samples per frame."""
    codebook_sizes: tuple[int, ...]


class DataSummary(FileRecord):
    utterances: int
    """Utterances in use, validation included."""
    valid: int
    """Utterances held out for validation."""
    seconds: float
    rejects: int = 0
    """Lines of ``rejects.jsonl``."""
    codec: CodecInfo | None = None


class MetricsRecord(FileRecord):
    """Metrics of one step. Fields of other plugins are kept."""

    model_config = ConfigDict(extra="allow")

    step: int
    split: Literal["train", "valid"]
    loss: float
    accuracy: tuple[float, ...] = ()
    """Share of correct greedy predictions, one per codebook."""
    lr: float | None = None
    grad_norm: float | None = None
    """Before clipping."""
    frames_per_second: float | None = Field(default=None, alias="frames/s")
    """Of all ranks together."""
    ranks: int | None = Field(default=None, ge=1)
    """Ranks that shared the step; None in lines of earlier versions and of codecs."""
    seconds: float | None = None
    """Training time so far, over all resumptions."""


class Sample(FileRecord):
    """Speech that a run has synthesized into ``samples/``. Paths are relative to the run directory."""

    id: str
    kind: str
    """``train`` (a training sentence), ``valid``, ``unseen`` or ``spec`` (a text of the spec)."""
    text: str
    audio: Path
    sample_rate: int
    """Hz."""
    reference: Path | None = None
    """The recording, where there is one."""
    resynthesis: Path | None = None
    """The recording encoded and decoded by the codec: the ceiling of any model on this codec."""
    attention: Path | None = None
    """safetensors: ``attention`` float32 [T, J] over text positions, and the text's ids ``text`` int64 [J]."""
    text_labels: tuple[str, ...] = ()
    """A printable label for each of the J text positions."""
    stopped: bool = True
    """False: the model did not end by itself and was cut at the limit."""
    transcript: str | None = None
    """None until the sample has been transcribed; so are the fields below."""
    language: str = "en"
    """Of the transcripts, as an ISO 639-1 code."""
    error_rate: float | None = None
    """Word error rate of ``transcript`` against ``text``; 0.25 is a quarter of the words."""
    reference_transcript: str | None = None
    resynthesis_transcript: str | None = None
    resynthesis_error_rate: float | None = None


class Interval(FileRecord):
    """A mean or rate with its 95 % confidence interval."""

    value: float
    low: float
    high: float


class EvaluationGroup(FileRecord):
    name: str
    """Such as ``training sentences, greedy``, ``codec resynthesis``, ``recordings``, ``unseen sentences``."""
    sentences: int
    word_error_rate: float | None = None
    """Word errors over words of all texts together; may exceed 1. None without a recognizer."""
    character_error_rate: float | None = None
    measures: dict[str, Interval] = Field(default={})
    """All metrics, by the names of ``lina.evaluation.summary``."""
    minus_ceiling: dict[str, Interval] = Field(default={})
    """Differences from the codec's resynthesis, over the texts that have one."""


class Evaluation(FileRecord):
    recognizer: str
    groups: tuple[EvaluationGroup, ...] = ()


class CodecDistance(FileRecord):
    """Distance of decoded audio from held-out recordings, with ``codebooks`` codebooks."""

    codebooks: int
    bits_per_second: float
    mel_distance: float
    """Mean difference of log10 mel magnitudes, summed over seven resolutions; 0 is identical."""
    spectral_distance: float
    """Mean difference of log10 magnitudes."""


class CodecEvaluation(FileRecord):
    utterances: int
    seconds: float
    distances: tuple[CodecDistance, ...] = ()


class InitPart(FileRecord):
    """Initialization of one part of the model, in numbers of parameters."""

    part: str
    loaded: int
    fresh: int
    """Parameters initialized at random, as in a new model."""
    left: int
    """Parameters of the source without a counterpart here."""
    how: tuple[str, ...] = ()


class InitRecord(FileRecord):
    """Initialization of a run. Resuming does not need the source, only, with LoRA, ``targets`` and ``whole``."""

    source: str
    remarks: tuple[str, ...] = ()
    parts: tuple[InitPart, ...] = ()
    trained: int
    """Trainable parameters, low-rank matrices included."""
    frozen: int
    rank: int | None = None
    """Rank of the LoRA matrices; None where all parameters are trained."""
    alpha: float | None = None
    targets: tuple[str, ...] = ()
    """Layers with LoRA matrices."""
    whole: tuple[str, ...] = ()
    """Parameters that are trained in full beside the LoRA matrices."""
