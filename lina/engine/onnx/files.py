"""The folder of an exported model's graphs, and the names in it. Imports no torch.

start.onnx      ids, mask and speaker of a text -> the state of a stream
step.onnx       state -> next state and outputs; step-int8.onnx the same with 8-bit products
decoder.onnx    codes of a frame and the codec decoder's state -> samples and its next state; decoder-4.onnx of 4 frames
int8.onnx       one 8-bit product, by which a processor is checked
facts.json      all else that speaking needs
weights.safetensors, decoder.safetensors    weights, see ``WEIGHTS`` and ``DECODER_WEIGHTS``
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, NonNegativeInt, PositiveInt, TypeAdapter, ValidationError

from lina.core.errors import CheckpointError, FileError, first_reason
from lina.core.files.json_file import read_json

FOLDER = "onnx"
"""Of the graphs in a run or a voice."""
FACTS = "facts.json"
FORMAT = "lina-onnx-1"
START, STEP, STEP_INT8, CHECK_INT8 = (f"{name}.onnx" for name in ("start", "step", "step-int8", "int8"))
GROUP = 4
"""Frames that are decoded together where time allows: the decoder's weights are then read once for all of them."""
DECODERS = {1: "decoder.onnx", GROUP: f"decoder-{GROUP}.onnx"}
"""Files of the codec's decoder by the frames that each decodes at once."""
NEXT = "next."
"""Prefix of a step's outputs that are the next step's inputs."""
OUTPUTS = ("codes", "attention", "flags", "logits")
CODES, AUDIO = "codes", "audio"
"""Input and output of the decoder."""
LM, CODEC = "lm.", "codec."
"""Beginnings of the names of weights: of the language model, and of the codec's decoder."""
BLOCKS, SCALES = "|blocks", "|scales"
"""Endings of the names of a matrix in 8 bits, and of its scales, in graphs."""
WEIGHTS = "weights.safetensors"
"""All weights in float32, once, at the places that the graphs name: of a folder for other programs than lina."""
DECODER_WEIGHTS = "decoder.safetensors"
"""The decoder's, in a run or a voice, whose checkpoint has the language model's."""


LARGEST_STATE = 16_000_000
"""Numbers of a leaf of the decoder's state."""


def _bounded(shape: list[int]) -> list[int]:
    if math.prod(shape) > LARGEST_STATE:
        raise ValueError(f"a state of shape {shape} is larger than any decoder's")
    return shape


class _Features(BaseModel):
    widest: PositiveInt | None
    recent: NonNegativeInt


class _Weights(BaseModel):
    file: str
    sha256: str


class _Tokenizer(BaseModel):
    plugin: str
    config: dict[str, Any]
    trained: Any
    unknown: str


class _Speech(BaseModel):
    sample_rate: PositiveInt
    hop: PositiveInt
    channels: PositiveInt
    codebook_sizes: list[PositiveInt]
    parameters: PositiveInt
    speakers: list[str]
    default_speaker: NonNegativeInt
    max_characters: PositiveInt
    tokenizer: _Tokenizer | None
    synthesize: dict[str, Any]
    decoder_state: dict[str, Annotated[list[NonNegativeInt], AfterValidator(_bounded)]]


class _Facts(BaseModel):
    """The part of ``facts.json`` that speaking reads; that of a voice also has ``outside``, ``weights``, ``inputs``."""

    features: _Features
    outside: dict[str, list[str]] = {}
    weights: _Weights | None = None
    inputs: dict[str, str] = {}
    speech: _Speech


_FACTS = TypeAdapter(_Facts)


@dataclass(frozen=True)
class GraphFolder:
    """The graphs of one architecture; their weights are given where they are loaded."""

    path: Path
    facts: dict[str, Any]

    @property
    def widest(self) -> int | None:
        """The largest top_k that the step can serve; None: any."""
        width: int | None = self.facts["features"]["widest"]
        return width

    @property
    def recent(self) -> int:
        """Tokens that the step's repetition rule looks at."""
        return int(self.facts["features"]["recent"])


def read_folder(path: Path) -> GraphFolder | None:
    """Read the folder of a run's graphs; None if there is none.

    Raises:
        CheckpointError: it is damaged, or of another version of lina.
    """
    facts = path / FACTS
    if not facts.is_file():
        return None
    try:
        found: Any = read_json(facts)
        form = found["format"]
    except (FileError, OSError, KeyError, TypeError) as error:
        raise CheckpointError(f"{facts}: cannot be read ({error}); export the graphs again") from None
    if form != FORMAT:
        raise CheckpointError(
            f"{facts}: its format is {form!r}, and this lina reads {FORMAT!r}; export again"
        )
    try:
        _FACTS.validate_python(found, strict=True)
    except ValidationError as error:
        raise CheckpointError(f"{facts}: {first_reason(error)}; export the graphs again") from None
    return GraphFolder(path, found)
