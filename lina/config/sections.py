"""The sections of a spec, every key with its bounds; ``train`` is in ``lina.config.train_section``."""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Protocol, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from lina.core.renames import Renames

PluginName = Annotated[str, StringConstraints(min_length=1, max_length=100)]
Options = dict[str, Any]
"""Options of a plugin, which its ``Config`` validates."""
NamedChoice = PluginName | Annotated[dict[PluginName, Options | None], Field(min_length=1, max_length=1)]
"""A plugin by its name, or by its name with options: ``muon``, or ``{muon: {momentum: 0.9}}``."""
FinalNorm = Literal["own", "layer", "rms", "none"]
Width = Annotated[int, Field(ge=1, le=65_536)]
Depth = Annotated[int, Field(ge=1, le=1000)]
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
    """Base of all sections of a spec: unknown keys are errors, values are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, serialize_by_alias=True)

    renames: ClassVar[Renames] = Renames()
    """Former names of keys and values, accepted with a warning."""


class BackboneSection(SpecSection):
    plugin: PluginName = ""
    """Name of a backbone plugin; needed without ``layers``, and else the first of them."""
    d_model: Width = 256
    """Width of the model, of its text encoder too."""
    n_layers: Depth = 3
    """Layers of each half, before and after the cross-attention; with ``layers`` as many as these, if left out."""
    head_norm: bool = True
    """LayerNorm between the last layer and the heads that predict codes."""
    final_norm: FinalNorm = "own"
    """Norm at the end of each half: the architecture's own (that of mamba and mamba2), or the same for all."""
    config: dict[str, Any] = {}
    """The plugin's own keys."""
    layers: Annotated[tuple[NamedChoice, ...], Field(min_length=1, max_length=1000)] | None = None
    """Backbones by layer, repeated to ``n_layers``: ``[gla, gla, transformer]``, ``[{gla: {n_heads: 2}}, mamba]``."""
    after: Annotated[tuple[NamedChoice, ...], Field(min_length=1, max_length=1000)] | None = None
    """Layers after the text, where they differ from those before it."""

    @model_validator(mode="after")
    def _pattern_has_its_length(self) -> Self:
        if self.layers and "n_layers" not in self.model_fields_set:
            self.__dict__.update(n_layers=len(self.layers))  # frozen for everyone else
            self.model_fields_set.add("n_layers")
        return self

    @model_validator(mode="after")
    def _first_layer_is_the_plugin(self) -> Self:
        if self.plugin:
            return self
        if not self.layers:
            raise ValueError("plugin is missing; add it, or layers")
        first = self.layers[0]
        name, options = next(iter(first.items())) if isinstance(first, dict) else (first, None)
        self.__dict__.update(plugin=name, config=options or {})  # frozen for everyone else
        self.model_fields_set.update(("plugin", "config"))
        return self


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
    """Rotary position embedding of the cross-attention's queries and keys."""
    rotary_channels: Annotated[int, Field(ge=2, le=65_536, multiple_of=2)] | None = None
    """Rotated channels per head; half of them if left out."""
    max_characters: Annotated[int, Field(ge=1, le=1_000_000)] = 1000
    """Longer texts are refused, in the corpus and in synthesis."""


class ConditionsSection(SpecSection):
    """Conditions of the model and their dropout in training."""

    speaker: bool = False
    """Condition the model on the speaker."""
    drop_text: Fraction = 0.0
    """Probability that the text of a training utterance is dropped, for classifier-free guidance."""
    drop_speaker: Fraction = 0.0
    """Probability that the speaker of a training row is dropped."""
    prompt: Fraction = 0.0
    """Probability that the beginning of a training utterance is a prompt, without loss."""

    @model_validator(mode="after")
    def _speaker_before_dropping(self) -> Self:
        if self.drop_speaker and not self.speaker:
            raise ValueError("drop_speaker needs speaker: true")
        return self


class Lengths(Protocol):
    """A section with bounds on the length of recordings."""

    min_seconds: float
    max_seconds: float


L = TypeVar("L", bound=Lengths)


def min_below_max(section: L) -> L:
    """Validator: raise ValueError if no recording could fit the bounds."""
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
    """Fraction of the corpus held out for validation."""
    min_seconds: Annotated[float, Field(ge=0.0, le=3600.0)] = 0.2
    """Shorter recordings are rejected."""
    max_seconds: Seconds = 20.0
    """Longer recordings are rejected."""
    max_rejects: Fraction = 0.05
    """The run stops if a larger fraction of the corpus is rejected."""
    workers: Annotated[int, Field(ge=1, le=4096)] = 1
    """Worker processes that encode the corpus, each on one core."""

    _min_below_max = model_validator(mode="after")(min_below_max)


class EvaluateSection(SpecSection):
    """Texts on which the finished model is evaluated, and the recognizer."""

    recognizer: PluginName | None = None
    """Name of a recognizer plugin; without one, samples are synthesized but not scored."""
    config: dict[str, Any] = {}
    """The recognizer's own keys."""
    sentences: Annotated[int, Field(ge=0, le=1_000_000)] = 20
    """Training sentences to synthesize."""
    unseen: tuple[str, ...] = ()
    """Sentences that are not in the corpus."""
    texts: Path | None = None
    """A text set as in `lina evaluate --texts`: a file with one text per line, or a .jsonl manifest."""


class WindowSection(SpecSection):
    """Monotonic attention window: a row sees only text near its position (``core.generation.attention_window``)."""

    ahead: Annotated[int, Field(ge=1, le=1_000_000)] = 16
    """Readable positions (bytes, phonemes) after the window's position."""
    back: Annotated[int, Field(ge=0, le=1_000_000)] = 6
    """Readable positions before it."""
    pace: Annotated[float, Field(gt=0.0, le=1e6)] = 25.0
    """Positions per second by which the window advances, at most."""
    stall: Seconds | None = 1.0
    """Seconds without progress after which the window advances by one position; never if null."""
    stop_within: Annotated[int, Field(ge=0, le=1_000_000)] | None = 6
    """Speech may end only if at most this many positions are left; anywhere if null."""
    linger: Seconds | None = 1.5
    """Seconds after which speech that has come so far is ended; never if null."""
    settle: Seconds | None = 0.2
    """Seconds at the last position after which nothing before it can be read again; never if null."""


class RepetitionSection(SpecSection):
    """Resample codes of codebook 0 that repeat too often (``lina.core.generation.repetition``)."""

    last: Annotated[int, Field(ge=1, le=10_000)] = 10
    """Number of preceding frames to consider."""
    ratio: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1
    """A code that occurs in a larger fraction of them is resampled, from the whole distribution."""


class SynthesizeSection(SpecSection):
    """Sampling options: one number, or a list with one per codebook. Temperature 0 is greedy."""

    texts: tuple[str, ...] = ()
    """Texts to synthesize after training."""
    temperature: Temperature | tuple[Temperature, ...] = 0.0
    """Softmax temperature: above 1 more varied, below 1 less."""
    top_k: TopK | tuple[TopK, ...] | None = None
    """Sample among the ``top_k`` likeliest codes."""
    top_p: TopP | tuple[TopP, ...] | None = None
    """Sample among the likeliest codes of this total probability."""
    guidance: Annotated[float, Field(ge=0.0, le=MAX_GUIDANCE)] = 1.0
    """Scale of classifier-free guidance; 1 is off, other values need ``conditions.drop_text``."""
    best_of: Annotated[int, Field(ge=1, le=MAX_BEST_OF)] = 1
    """Candidates per text, with seeds of their own; the best by alignment is kept."""
    window: WindowSection | None = None
    """Monotonic attention window; ``{}`` is the defaults below, null is off."""
    repetition: RepetitionSection | None = None
    """Repetition-aware sampling; ``{}`` is the defaults below, null is off."""
    seed: Seed = 0
    """Random seed of the sampling."""
    max_seconds: Seconds = 20.0
    """Longest audio per sentence; a longer one is cut."""
    unknown: Literal["skip", "refuse"] = "skip"
    """Characters that the tokenizer cannot read: leave them out with a warning, or refuse the text."""
    lexicon: Path | None = None
    """A file with a word, a tab and its phonemes per line: these words are read so."""


class LoraSection(SpecSection):
    """Low-rank adaptation (LoRA): loaded weights are frozen, and low-rank matrices beside them are trained."""

    rank: Annotated[int, Field(ge=1, le=65_536)] = 8
    """Rank of the two matrices that are added to each target."""
    alpha: Annotated[float, Field(gt=0.0, le=1e6)] = 16.0
    """Scale: the product of the matrices is multiplied by alpha / rank."""
    targets: Annotated[
        tuple[Annotated[str, StringConstraints(min_length=1, max_length=200)], ...], Field(min_length=1)
    ] = ("encoder.*", "decoder.*")
    """Linear layers by name or end of the name; ``*`` matches anything. By default all of the backbone."""


class InitSection(SpecSection):
    """Initial weights, if not random."""

    source: Path | None = Field(default=None, alias="from")
    """A run, a checkpoint, or the name of a voice that comes with lina (``english``), whose weights are loaded."""
    average: bool = True
    """Load its averaged (EMA) weights where it has them."""
    backbone: Path | None = None
    """A weights file of another project that the backbone plugin can import."""
    lora: LoraSection | None = None
    """Train low-rank matrices and the parameters that were not loaded; freeze the others."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.source is not None and self.backbone is not None:
            raise ValueError("from and backbone are two sources; leave one out")
        if self.lora is not None and self.source is None and self.backbone is None:
            raise ValueError("lora adapts loaded weights; set from or backbone")
        return self
