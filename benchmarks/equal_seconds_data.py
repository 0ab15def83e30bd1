"""Codes and text ids of a corpus in one file, small enough to travel, for ``benchmarks.equal_seconds``."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

VALID = 32
"""Every so many utterances, one is held out."""
FRAME_RATE = 25.0


def pack_tokens(run: Path, out: Path) -> None:
    """Write codes and text ids of a run's corpus into one file."""
    from lina.data.token_dataset import TokenDataset

    data = TokenDataset(run / "data")
    texts = load_file(run / "data" / "text.safetensors")
    codes = torch.cat([data.codes(i).short() for i in range(len(data))])
    lengths = torch.tensor(data.lengths)
    sizes = torch.tensor(data.codebook_sizes)
    contents = {"codes": codes, "lengths": lengths, "ids": texts["ids"], "offsets": texts["offsets"]}
    save_file({**contents, "codebook_sizes": sizes}, out)
    print(f"{out}: {len(data)} utterances, {data.seconds / 60:.1f} min, {out.stat().st_size / 1e6:.2f} MB")


def training_data(path: Path) -> tuple[Any, tuple[int, ...], int]:
    """Training data, codebook sizes and the size of the vocabulary of a file of ``pack_tokens``."""
    from lina.data.training_data import TrainingData

    found = load_file(path)
    lengths = found["lengths"].tolist()
    codes = found["codes"].long().split(lengths)
    texts = found["ids"].long().tensor_split(found["offsets"][1:-1].long())
    count = len(lengths)
    valid = range(0, count, VALID)
    data = TrainingData(
        codes=codes.__getitem__,
        lengths=lengths,
        texts=[one.tolist() for one in texts],
        speakers=[0] * count,
        ids=[str(i) for i in range(count)],
        train=[i for i in range(count) if i % VALID],
        valid=list(valid),
        frame_rate=FRAME_RATE,
        identity=path.name,
    )
    return data, tuple(found["codebook_sizes"].tolist()), int(found["ids"].max()) + 1
