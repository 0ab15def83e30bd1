"""The sections of a spec, every key with its bounds; ``train`` is in ``lina.config.train_section``."""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Protocol, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from lina.core.renames import Renames

PluginName = Annotated[str, StringConstraints(min_length=1, max_length=100)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Count = Annotated[int, Field(ge=1, le=1_000_000_000)]
Seconds = Annotated[float, Field(gt=0.0, le=3600.0)]
MAX_SEED = 2**63 - 1
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]
Temperature = Annotated[float, Field(ge=0.0, le=100.0)]
TopK = Annotated[int, Field(ge=1, le=1_000_000)]
TopP = Annotated[float, Field(gt=0.0, le=1.0)]
MAX_GUIDANCE = 100.0
MAX_BEST_OF = 64


class SpecSection(BaseModel):
    """A part of a spec: unknown keys are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, serialize_by_alias=True)

    renames: ClassVar[Renames] = Renames()
    """Former names of keys and values, accepted with a warning."""


class BackboneSection(SpecSection):
    plugin: PluginName
    """Name of a backbone plugin."""
    d_model: Annotated[int, Field(ge=1, le=65_536)] = 256
    """Width of the model, of its text encoder too."""
    n_layers: Annotated[int, Field(ge=1, le=1000)] = 3
    """Layers on each side of the text."""
    head_norm: bool = True
    """Whether a LayerNorm stands between the last layer and the heads that predict codes."""
    config: dict[str, Any] = {}
    """The plugin's own keys."""


class CodecSection(SpecSection):
    plugin: PluginName
    """Name of a codec plugin."""
    config: dict[str, Any] = {}
    """The plugin's own keys."""


class TokenizerSection(SpecSection):
    plugin: PluginName
    """Name of a tokenizer plugin."""
    config: dict[str, Any] = {}
    """The plugin's own keys."""


class TextSection(SpecSection):
    """The text encoder and the cross-attention from audio to text."""

    renames = Renames(values={"attention": {"blind": "position"}})

    layers: Annotated[int, Field(ge=0, le=1000)] = 3
    """Layers of the text encoder."""
    heads: Annotated[int, Field(ge=1, le=1024)] = 4
    """Heads of the text encoder."""
    attention: Literal["position", "plain"] = "position"
    """``plain``: ordinary cross-attention; ``position``: position-aware (PACA), by a network over positions."""
    heads_cross: Annotated[int, Field(ge=1, le=1024)] = 1
    """Heads of ``plain``; ``position`` has one."""
    position_dim: Annotated[int, Field(ge=2, le=65_536)] = 64
    """Width of the recurrent network of ``position``."""
    position_layers: Annotated[int, Field(ge=1, le=1000)] = 1
    """Layers of the recurrent network of ``position``."""
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """In the text encoder."""
    rotary: bool = False
    """Whether queries and keys of the attention are turned by their positions."""
    rotary_channels: Annotated[int, Field(ge=2, le=65_536, multiple_of=2)] | None = None
    """How many channels of each head are turned; half of them if left out."""
    max_characters: Annotated[int, Field(ge=1, le=1_000_000)] = 1000
    """Longer texts are refused, in the corpus and in speaking."""


class ConditionsSection(SpecSection):
    """What besides the text the model is told in training, and how often it is left out."""

    speaker: bool = False
    """Whether the model is told who speaks."""
    drop_text: Fraction = 0.0
    """Probability that a training utterance is not told its text."""
    drop_speaker: Fraction = 0.0
    """Probability that a training row is not told its speaker."""
    prompt: Fraction = 0.0
    """Probability that the beginning of a training utterance is given as a prompt."""

    @model_validator(mode="after")
    def _speaker_before_dropping(self) -> Self:
        if self.drop_speaker and not self.speaker:
            raise ValueError("drop_speaker needs speaker: true")
        return self


class Lengths(Protocol):
    """A section that says how long recordings may be."""

    min_seconds: float
    max_seconds: float


L = TypeVar("L", bound=Lengths)


def min_below_max(section: L) -> L:
    """A validator. Raises ValueError where no recording could be right."""
    if section.min_seconds >= section.max_seconds:
        raise ValueError(
            f"min_seconds ({section.min_seconds}) must be below max_seconds ({section.max_seconds})"
        )
    return section


class DataSection(SpecSection):
    renames = Renames(keys={"processes": "workers"})

    source: PluginName
    """Name of a corpus plugin."""
    config: dict[str, Any] = {}
    """The plugin's own keys."""
    valid: Annotated[float, Field(ge=0.0, le=0.5)] = 0.02
    """Part of the corpus that is held back for validation."""
    min_seconds: Annotated[float, Field(ge=0.0, le=3600.0)] = 0.2
    """Shorter recordings are rejected."""
    max_seconds: Seconds = 20.0
    """Longer recordings are rejected."""
    max_rejects: Fraction = 0.05
    """The run stops if a larger part of the corpus cannot be used."""
    workers: Annotated[int, Field(ge=1, le=4096)] = 1
    """Worker processes that encode the corpus, each on one core."""

    _min_below_max = model_validator(mode="after")(min_below_max)


class EvaluateSection(SpecSection):
    """What the finished model is asked to say, and who listens."""

    recognizer: PluginName | None = None
    """Name of a speech recogniser plugin; without one, samples are made but not judged."""
    config: dict[str, Any] = {}
    """The recogniser's own keys."""
    sentences: Annotated[int, Field(ge=0, le=1_000_000)] = 20
    """Training sentences to say back."""
    unseen: tuple[str, ...] = ()
    """Sentences that are not in the corpus."""
    texts: Path | None = None
    """A file of texts, one a line, or a .jsonl manifest: a text set, as `lina evaluate --texts` measures it."""


class WindowSection(SpecSection):
    """Monotonic attention window: a row sees only text near its position (``core.generation.attention_window``)."""

    ahead: Annotated[int, Field(ge=1, le=1_000_000)] = 16
    """Positions (bytes, phonemes) that can be read beyond the place."""
    back: Annotated[int, Field(ge=0, le=1_000_000)] = 6
    """Positions that can still be read before it."""
    pace: Annotated[float, Field(gt=0.0, le=1e6)] = 25.0
    """Positions a second by which the place goes forward, at most."""
    stall: Seconds | None = 1.0
    """Seconds without moving after which the place is pushed on by one position; never if null."""
    stop_within: Annotated[int, Field(ge=0, le=1_000_000)] | None = 6
    """Speech may end only where so many positions or fewer are left; anywhere if null."""
    linger: Seconds | None = 1.5
    """Seconds after which speech that has come so far is ended; never if null."""


class RepetitionSection(SpecSection):
    """Sampled codes of codebook 0 that come too often are drawn again (``lina.core.generation.repetition``)."""

    last: Annotated[int, Field(ge=1, le=10_000)] = 10
    """Frames before this one that are looked at."""
    ratio: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1
    """A code that is in a larger part of them is drawn again, from the whole distribution."""


class SynthesizeSection(SpecSection):
    """Sampling takes one number, or a list with one for each codebook. Temperature 0 is greedy."""

    texts: tuple[str, ...] = ()
    """Said after training."""
    temperature: Temperature | tuple[Temperature, ...] = 0.0
    """Above 1 more varied, below 1 less."""
    top_k: TopK | tuple[TopK, ...] | None = None
    """Sample among so many likeliest codes."""
    top_p: TopP | tuple[TopP, ...] | None = None
    """Sample among the likeliest codes that have this probability together."""
    guidance: Annotated[float, Field(ge=0.0, le=MAX_GUIDANCE)] = 1.0
    """How much is made of what the text changes; 1 is off, all else needs ``conditions.drop_text``."""
    best_of: Annotated[int, Field(ge=1, le=MAX_BEST_OF)] = 1
    """Each text is said so many times, with seeds of their own, and the best by alignment is kept."""
    window: WindowSection | None = None
    """What of the text can be read at a time; ``{}`` is the defaults below, null all of it."""
    repetition: RepetitionSection | None = None
    """Loops of one code are broken; ``{}`` is the defaults below, null is off."""
    seed: Seed = 0
    """Of the sampling."""
    max_seconds: Seconds = 20.0
    """A sentence that has not ended is cut there."""
    unknown: Literal["skip", "refuse"] = "skip"
    """Characters that the tokenizer cannot read: leave them out with a warning, or refuse the text."""
    lexicon: Path | None = None
    """A file with a word, a tab and its phonemes per line: these words are read so."""


class LoraSection(SpecSection):
    """Low-rank adaptation: what was loaded stays as it is, and small matrices beside it are trained."""

    rank: Annotated[int, Field(ge=1, le=65_536)] = 8
    """Inner width of the two matrices that are added to each target."""
    alpha: Annotated[float, Field(gt=0.0, le=1e6)] = 16.0
    """Their product counts alpha / rank times."""
    targets: Annotated[
        tuple[Annotated[str, StringConstraints(min_length=1, max_length=200)], ...], Field(min_length=1)
    ] = ("encoder.*", "decoder.*")
    """Linear layers by name or its end; ``*`` stands for anything. By default all of both halves of the backbone."""


class InitSection(SpecSection):
    """What the first weights are, if not random."""

    source: Path | None = Field(default=None, alias="from")
    """A run, or one checkpoint of a run, whose weights are taken over."""
    average: bool = True
    """Take its averaged weights where it has kept them."""
    backbone: Path | None = None
    """A file of another project whose weights the backbone plugin can import."""
    lora: LoraSection | None = None
    """Train small matrices beside what was loaded, and what was not loaded; all else stays as it is."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.source is not None and self.backbone is not None:
            raise ValueError("from and backbone are two sources; leave one out")
        if self.lora is not None and self.source is None and self.backbone is None:
            raise ValueError("lora adapts loaded weights; say where they are: from, or backbone")
        return self
