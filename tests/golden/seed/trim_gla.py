"""Makes gla.safetensors, a small copy of the golden files that the seed system's own code computed.

    python tests/golden/seed/trim_gla.py FOLDER

FOLDER holds gla.pt (a checkpoint of random weights in the seed's format) and gla.expected.safetensors. Of the
embeddings only the rows that are read are kept, of the head 256 tokens a codebook (the greedy ones among them); all
else is the same numbers under the same names, behind ``model.`` and ``expected.``.
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

KEPT = 256


def trim(folder: Path) -> dict[str, torch.Tensor]:
    weights = torch.load(folder / "gla.pt", weights_only=True)["model"]
    expected = load_file(folder / "gla.expected.safetensors")
    inputs, greedy = expected["delayed"].flatten(0, 1).T, expected["greedy"]
    read, said = [], []
    for codebook in range(len(greedy)):
        used = torch.cat([torch.arange(3), inputs[codebook], greedy[codebook]]).unique()
        read.append(torch.nn.functional.pad(used, (0, KEPT - len(used)), value=-1))
        others = torch.arange(1027)[~torch.isin(torch.arange(1027), greedy[codebook])]
        filling = others[torch.linspace(0, len(others) - 1, KEPT - len(greedy[codebook].unique())).long()]
        said.append(torch.cat([greedy[codebook].unique(), filling]).sort().values)
    width = max(int((row >= 0).sum()) for row in read)
    read_tokens, said_tokens = torch.stack(read)[:, :width], torch.stack(said)
    books = torch.arange(len(greedy))[:, None]
    weights["rvq_embed.weight"] = weights["rvq_embed.weight"][books, read_tokens.clamp(min=0)]
    weights["logits_head.weight"] = weights["logits_head.weight"][books, said_tokens]
    expected["logits"] = expected["logits"].gather(
        -1, said_tokens.expand(*expected["logits"].shape[:2], -1, -1)
    )
    named = {f"model.{name}": value for name, value in weights.items() if not name.endswith("rotary.freqs")}
    named |= {f"expected.{name}": value for name, value in expected.items()}
    return {**named, "read_tokens": read_tokens, "said_tokens": said_tokens}


if __name__ == "__main__":
    kept = {name: value.contiguous() for name, value in trim(Path(sys.argv[1])).items()}
    save_file(kept, Path(__file__).with_name("gla.safetensors"))
