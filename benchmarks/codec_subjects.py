"""The codecs measured: lina's by plugin and configuration, Lyra, and published figures of others."""

import hashlib
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.lyra import Lyra
from lina.config.source_map import Origin, SpecSource
from lina.config.validation import validate
from lina.core.audio.codec import AnyCodec
from lina.core.errors import LinaError, SpecError
from lina.core.files.checks import sha256
from lina.core.registry import load

ORIGINAL = "original"
DEFAULTS = (
    *(f"lina codebooks={codebooks}" for codebooks in (2, 4, 6, 8)),
    *(f"codec2 mode={mode}" for mode in (3200, 1300, 700)),
)
LYRA_REFIT = "codebooks_8x1024.npy"

PUBLISHED = {
    f"EnCodec 24 kHz, {codebooks} codebooks": {
        "bits_per_second": 750 * codebooks,
        "frame_rate": 75.0,
        "pesq": pesq,
        "stoi": stoi,
        "source": "published by Codec-SUPERB (Wu et al. 2024, arXiv 2402.13071), results of its repository; "
        "other recordings",
    }
    for codebooks, pesq, stoi in ((2, 1.462, 0.773), (4, 1.923, 0.841), (8, 2.538, 0.893))
}


@dataclass(frozen=True)
class Subject:
    """A codec to measure; ``codec`` None is the original."""

    name: str
    codec: AnyCodec | None = None
    files: tuple[Path, ...] = ()
    """Its weights."""

    @property
    def weights_bytes(self) -> int | None:
        return sum(file.stat().st_size for file in self.files) if self.files else None

    @property
    def fingerprint(self) -> str:
        """Of the weights: two files of one name are two codecs."""
        digests = "".join(sha256(file) for file in self.files)
        return hashlib.sha256(digests.encode()).hexdigest()[:16] if digests else ""


@dataclass(frozen=True)
class Choice:
    """Selection of codecs, sent to other processes, which build the codecs anew."""

    codecs: tuple[str, ...] = ()
    """``PLUGIN KEY=VALUE ...``; none: the default ones, as far as they are there."""
    weights: Path | None = None
    """For every codec named lina."""
    lyra: Path | None = None

    def subjects(self) -> tuple[list[Subject], list[str]]:
        """List the original, the selected codecs, and a line for each missing default.

        Raises:
            LinaError: A codec selected by name cannot be built.
        """
        listed, complaints = [Subject(ORIGINAL)], []
        for line in self.codecs or DEFAULTS:
            try:
                listed.append(_lina(line, self.weights))
            except LinaError as error:
                if self.codecs or (self.weights is not None and line.startswith("lina")):
                    raise
                complaints.append(f"{line} is left out: {error}")
        if self.lyra is not None:
            listed += _lyra(self.lyra)
        if repeated := {one.name for one in listed if [other.name for other in listed].count(one.name) > 1}:
            raise SpecError(f"--codec {min(repeated)!r} is given twice; name it once")
        return listed, complaints


def _lina(line: str, weights: Path | None) -> Subject:
    plugin_name, config = parse(line)
    plugin = load("codec", plugin_name)
    if plugin_name == "lina" and weights is not None and "weights" not in config:
        config["weights"] = str(weights)
        line = f"{line} ({weights.name})"
    source = SpecSource(f"--codec {line!r}", Path(), config)
    checked = validate(plugin.Config, config, Origin((source,)))
    return Subject(line, plugin.build(config=checked), _weights(plugin, checked))


def parse(line: str) -> tuple[str, dict[str, Any]]:
    """``lina codebooks=4`` -> ("lina", {"codebooks": 4}).

    Raises:
        SpecError: nothing is named, or a word is not KEY=VALUE.
    """
    words = line.split()
    if not words:
        raise SpecError("--codec is empty; write PLUGIN KEY=VALUE ..., such as 'lina codebooks=4'")
    config: dict[str, Any] = {}
    for word in words[1:]:
        key, equals, value = word.partition("=")
        if not (key and equals):
            raise SpecError(f"--codec {line!r}: {word!r} is not KEY=VALUE; write such as 'lina codebooks=4'")
        try:
            config[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise SpecError(f"--codec {line!r}: the value of {key} cannot be read: {value!r}") from None
    return words[0], config


def _weights(plugin: Any, config: Any) -> tuple[Path, ...]:
    """The file that the configuration names, or else what lies beside the plugin's code."""
    named = getattr(config, "weights", None)
    if isinstance(named, Path):
        return (
            tuple(sorted(file for file in named.iterdir() if file.is_file())) if named.is_dir() else (named,)
        )
    if getattr(config, "random_weights", False):
        return ()
    return tuple(sorted(Path(inspect.getfile(plugin)).parent.glob("*.safetensors")))


def _lyra(folder: Path) -> Sequence[Subject]:
    refit = folder / LYRA_REFIT
    kinds = [("lyra 16 x 16", Lyra(folder, stages=16))]
    if refit.is_file():
        kinds.append(("lyra + refit 4 x 1024", Lyra(folder, refit, 4)))  # 2 kbit/s, as lina's eight
    return [Subject(name, codec, codec.files) for name, codec in kinds]
