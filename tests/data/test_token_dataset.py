import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from lina.core.errors import DataError
from lina.data.token_dataset import TokenDataset


def write(
    folder: Path,
    *,
    codes: np.ndarray | None = None,
    offsets: Sequence[int] = (0, 2, 5),
    lines: list[dict[str, str]] | None = None,
    sizes: tuple[int, ...] = (8, 4),
    **manifest_changes: Any,
) -> Path:
    folder.mkdir(exist_ok=True)
    codes = np.array([[0, 0], [7, 3], [1, 2], [3, 1], [5, 0]], np.int16) if codes is None else codes
    save_file({"codes": codes, "offsets": np.array(offsets, np.int64)}, folder / "shard-00000.safetensors")
    if lines is None:
        lines = [{"id": name, "text": f"text {name}", "speaker": ""} for name in ("a", "b")]
    (folder / "shard-00000.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("shard-00000.*")}
    manifest = {
        "format": 1,
        "fingerprint": "f",
        "rejects": 1,
        "codec": {"sample_rate": 8_000, "hop": 80, "channels": 1, "codebook_sizes": list(sizes)},
        "shards": [{"name": "shard-00000", "utterances": 2, "frames": 5, "sha256": sums}],
    } | manifest_changes
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def test_good(tmp_path: Path) -> None:
    dataset = TokenDataset(write(tmp_path))
    assert len(dataset) == 2
    assert dataset.rejects == 1
    assert dataset[1].codes.tolist() == [[1, 2], [3, 1], [5, 0]]
    assert dataset.lengths.tolist() == [2, 3]
    for outside in (2, -1):
        with pytest.raises(IndexError, match=f"utterance {outside} of 2"):
            dataset[outside]


@pytest.mark.parametrize("value", [-1, 8])
def test_codes_out_of_range(tmp_path: Path, value: int) -> None:
    codes = np.zeros((5, 2), np.int16)
    codes[3, 0] = value
    message = f"codebook 0 has 8 entries, but its codes go from {min(0, value)} to {max(0, value)}"
    with pytest.raises(DataError, match=message):
        TokenDataset(write(tmp_path, codes=codes))


@pytest.mark.parametrize("sizes", [(8,), (8, 4, 4)])
def test_wrong_number_of_codebooks(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=rf"codes are \[5, 2\], expected \[5, {len(sizes)}\]"):
        TokenDataset(write(tmp_path, sizes=sizes))


@pytest.mark.parametrize("offsets", [(0, 2), (0, 2, 4), (1, 2, 5), (0, 6, 5), (0, 0, 5), (0, 1, 2, 5)])
def test_wrong_offsets(tmp_path: Path, offsets: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match="its offsets do not cut 5 frames into 2 utterances"):
        TokenDataset(write(tmp_path, offsets=offsets))


def test_wrong_lines(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot be read: .*text: is missing"):
        TokenDataset(write(tmp_path, lines=[{"id": "a"}]))


@pytest.mark.parametrize("file", ["shard-00000.safetensors", "shard-00000.jsonl"])
def test_altered_and_missing_files(tmp_path: Path, file: str) -> None:
    write(tmp_path)
    path = tmp_path / file
    raw = bytearray(path.read_bytes())
    raw[-2] ^= 1
    path.write_bytes(raw)
    with pytest.raises(DataError, match=r"is not what was written .* run the same command again"):
        TokenDataset(tmp_path)
    path.write_bytes(raw[:20])
    with pytest.raises(DataError, match=r"is not what was written|cannot be read"):
        TokenDataset(tmp_path)
    path.unlink()
    with pytest.raises(DataError, match=r"no such file, but manifest.json lists it"):
        TokenDataset(tmp_path)


def test_broken_manifests(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="run the data stage"):
        TokenDataset(tmp_path)
    write(tmp_path, format=2)
    with pytest.raises(DataError, match="is in format 2, this lina reads format 1"):
        TokenDataset(tmp_path)
    for content in ("{", "[]", '{"format": 1}'):
        (tmp_path / "manifest.json").write_text(content)
        with pytest.raises(DataError, match=r"manifest.json: cannot be read"):
            TokenDataset(tmp_path)


def many(tmp_path: Path, names: list[str]) -> TokenDataset:
    count = len(names)
    codes = np.zeros((count, 2), np.int16)
    lines = [{"id": name, "text": "t", "speaker": ""} for name in names]
    shards = [{"name": "shard-00000", "utterances": count, "frames": count, "sha256": {}}]
    folder = write(tmp_path, codes=codes, offsets=range(count + 1), lines=lines, shards=shards)
    return TokenDataset(folder, verify=False)


def test_split(tmp_path: Path) -> None:
    dataset = many(tmp_path, [f"u{number}" for number in range(1_000)])
    train, valid = dataset.split(0.1, seed=0)
    assert sorted([*train, *valid]) == list(range(1_000))
    assert 70 < len(valid) < 130
    again = dataset.split(0.1, seed=0)
    assert again.valid.tolist() == valid.tolist()
    assert dataset.split(0.1, seed=1).valid.tolist() != valid.tolist()
    assert set(dataset.split(0.05, seed=0).valid) < set(valid)


def test_split_is_kept_when_the_corpus_grows(tmp_path: Path) -> None:
    small = many(tmp_path / "small", [f"u{number}" for number in range(0, 400, 2)])
    large = many(tmp_path / "large", [f"u{number}" for number in range(400)])
    chosen = {small.ids[number] for number in small.split(0.2).valid}
    assert chosen <= {large.ids[number] for number in large.split(0.2).valid}


@pytest.mark.parametrize(("count", "valid"), [(2, 1e-9), (2, 0.999), (30, 0.001), (30, 0.999)])
def test_no_side_is_empty(tmp_path: Path, count: int, valid: float) -> None:
    split = many(tmp_path, [f"u{number}" for number in range(count)]).split(valid)
    assert len(split.train) >= 1
    assert len(split.valid) >= 1
    assert len(split.train) + len(split.valid) == count


def test_no_validation(tmp_path: Path) -> None:
    split = many(tmp_path, ["a", "b"]).split(0.0)
    assert split.train.tolist() == [0, 1]
    assert split.valid.tolist() == []


@pytest.mark.parametrize("valid", [-0.1, 1.0, float("nan")])
def test_bad_fractions(tmp_path: Path, valid: float) -> None:
    with pytest.raises(DataError, match="a fraction from 0 to below 1 is needed"):
        many(tmp_path, ["a", "b"]).split(valid)


def test_one_utterance_cannot_be_split(tmp_path: Path) -> None:
    dataset = many(tmp_path, ["a"])
    assert dataset.split(0.0).train.tolist() == [0]
    with pytest.raises(DataError, match=r"one utterance cannot be split; set data\.valid to 0"):
        dataset.split(0.1)
