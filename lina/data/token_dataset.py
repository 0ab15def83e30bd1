"""Read token shards: codes and text of each utterance by number, verified at loading."""

import hashlib
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Int, Int16
from pydantic import TypeAdapter
from safetensors import SafetensorError, safe_open
from torch import Tensor

from lina.core.errors import DataError, FileError
from lina.core.files.checks import sha256
from lina.core.files.json_file import parse_json, read_json
from lina.data.shard_records import MANIFEST, UTTERANCE_LINE, Manifest, ShardSummary

FORMAT = 1
_FORMAT: TypeAdapter[dict[str, Any]] = TypeAdapter(dict[str, Any])
LARGEST_MANIFEST = 256_000_000
"""Bytes of ``manifest.json``, for a million shards."""
REMEDY = "delete this folder (or this shard) and run the same command again"

Integers = npt.NDArray[np.int64]


class Tokens(NamedTuple):
    id: str
    codes: Int[Tensor, "T Q"]
    """int64."""
    text: str
    speaker: str


class Split(NamedTuple):
    """Numbers of the utterances on each side, ascending, int64."""

    train: Integers
    valid: Integers


class TokenDataset:
    """Utterances of a directory of token shards, in the order of the corpus.

    Codes stay on disk (memory-mapped); ids, texts and lengths are in memory. ``lina.data.batch_plan`` shuffles.

    Raises:
        DataError: a shard is missing, altered, or holds codes that its codebooks do not have.
    """

    def __init__(self, directory: str | Path, *, verify: bool = True) -> None:
        """``verify=False`` skips checksums and ranges, for a directory that has just been verified."""
        self.directory = Path(directory)
        manifest = _manifest(self.directory)
        codec = manifest.codec
        self.codebook_sizes, self.sample_rate = codec.codebook_sizes, codec.sample_rate
        self.hop, self.channels = codec.hop, codec.channels
        self.fingerprint = manifest.fingerprint
        """Hash of the codec, its configuration and the settings of the encoding."""
        self.content: str = _content(manifest.shards)
        """Hash of the codes, texts and speakers in their order."""
        self.rejects = manifest.rejects
        """Number of rejected entries of the corpus; rejects.jsonl has the reasons."""
        self.ids: list[str] = []
        self.texts: list[str] = []
        self.speakers: list[str] = []
        lengths: list[Integers] = []
        self._shards: list[Int16[Tensor, "T Q"]] = []
        self._starts: list[Integers] = []
        for shard in manifest.shards:
            offsets = self._load(shard, verify)
            self._starts.append(offsets[:-1])
            lengths.append(np.diff(offsets))
        self.lengths: Integers = np.concatenate([np.zeros(0, np.int64), *lengths])
        """Frames of each utterance, int64 [N]."""
        self._first = np.cumsum([0, *(len(starts) for starts in self._starts)])

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> Tokens:
        if not 0 <= index < len(self):
            raise IndexError(f"utterance {index} of {len(self)}")
        shard = int(np.searchsorted(self._first, index, side="right")) - 1
        start = int(self._starts[shard][index - self._first[shard]])
        codes = self._shards[shard][start : start + int(self.lengths[index])]
        return Tokens(self.ids[index], codes.to(torch.int64), self.texts[index], self.speakers[index])

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the directory: another process reads the same files."""
        return partial(TokenDataset, verify=False), (self.directory.absolute(),)

    def codes(self, index: int) -> Int[Tensor, "T Q"]:
        """Codes of one utterance, int64."""
        return self[index].codes

    @property
    def seconds(self) -> float:
        """Total duration, in whole frames."""
        return float(self.lengths.sum()) * self.hop / self.sample_rate

    def split(self, valid: float, seed: int = 0) -> Split:
        """Hold out a fraction of the utterances, as a function of their ids and the seed alone.

        An utterance keeps its side when others are added to the corpus. At least one utterance is on each
        side, unless ``valid`` is 0.

        Raises:
            DataError: the fraction is not in [0, 1), or there is only one utterance.
        """
        if not 0.0 <= valid < 1.0:
            raise DataError(f"data.valid is {valid}, but a fraction from 0 to below 1 is needed")
        numbers = np.arange(len(self), dtype=np.int64)
        if valid == 0.0:
            return Split(numbers, numbers[:0])
        if len(self) < 2:
            raise DataError(f"{self.directory}: one utterance cannot be split; set data.valid to 0")
        draws = np.array([_draw(id, seed) for id in self.ids])
        chosen = draws < valid
        chosen[draws.argmin()] = True
        chosen[draws.argmax()] = False
        return Split(numbers[~chosen], numbers[chosen])

    def _load(self, shard: ShardSummary, verify: bool) -> Integers:
        name = shard.name
        path, lines = self.directory / f"{name}.safetensors", self.directory / f"{name}.jsonl"
        for file in (path, lines):
            if not file.is_file():
                raise DataError(f"{file}: no such file, but manifest.json lists it; {REMEDY}")
            if verify and sha256(file) != shard.sha256.get(file.name):
                raise DataError(
                    f"{file}: is not what was written (its SHA-256 differs from manifest.json); {REMEDY}"
                )
        try:
            tensors: Any = safe_open(path, framework="pt")
            offsets: Integers = tensors.get_tensor("offsets").numpy()
            codes = tensors.get_tensor("codes")  # of the mapped file: nothing is read yet
            shape = list(codes.shape)
            described = [parse_json(line, UTTERANCE_LINE) for line in lines.read_bytes().splitlines()]
            for one in described:
                self.ids.append(one.id)
                self.texts.append(one.text)
                self.speakers.append(one.speaker)
        except (SafetensorError, ValueError) as error:
            raise DataError(f"{path}: cannot be read: {error}; {REMEDY}") from None
        expected = [shard.frames, len(self.codebook_sizes)]
        if shape != expected or codes.dtype != torch.int16 or offsets.dtype != np.int64 or offsets.ndim != 1:
            if shape == expected:
                raise DataError(f"{path}: codes are {codes.dtype}, offsets {offsets.dtype}; {REMEDY}")
            raise DataError(f"{path}: codes are {shape}, expected {expected} (frames, codebooks); {REMEDY}")
        count = len(described)
        if (
            len(offsets) != count + 1
            or offsets[0] != 0
            or offsets[-1] != shape[0]
            or (np.diff(offsets) < 1).any()
        ):
            raise DataError(
                f"{path}: its offsets do not cut {shape[0]} frames into {count} utterances; {REMEDY}"
            )
        if verify and count:
            self._check_range(path, codes)
        self._shards.append(codes)
        return offsets

    def _check_range(self, path: Path, codes: Tensor) -> None:
        low, high = codes.amin(dim=0).tolist(), codes.amax(dim=0).tolist()
        for codebook, size in enumerate(self.codebook_sizes):
            if low[codebook] < 0 or high[codebook] >= size:
                raise DataError(
                    f"{path}: codebook {codebook} has {size} entries, but its codes go from "
                    f"{low[codebook]} to {high[codebook]}; {REMEDY}"
                )


def _manifest(directory: Path) -> Manifest:
    path = directory / "manifest.json"
    try:
        version = read_json(path, _FORMAT, limit=LARGEST_MANIFEST).get("format")
        if version != FORMAT:
            raise DataError(f"{path}: is in format {version}, this lina reads format {FORMAT}; {REMEDY}")
        return read_json(path, MANIFEST, limit=LARGEST_MANIFEST)
    except FileNotFoundError:
        raise DataError(
            f"{path}: no such file; the tokens are not (all) made yet: run the data stage"
        ) from None
    except FileError as error:
        raise DataError(f"{path}: cannot be read: it {error.reason}; {REMEDY}") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}; {REMEDY}") from None


def _content(shards: Sequence[ShardSummary]) -> str:
    return hashlib.sha256(json.dumps([shard.sha256 for shard in shards]).encode()).hexdigest()


def _draw(id: str, seed: int) -> float:
    """Pseudorandom number in [0, 1), a function of ``id`` and ``seed``."""
    digest = hashlib.sha256(f"{seed}:{id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
