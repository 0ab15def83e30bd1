"""Runs the Triton kernel of the fused heads on a CPU, against the plain form; needs TRITON_INTERPRET=1."""

import torch

from lina.core.ops import codebook_cross_entropy_triton as kernels
from lina.core.ops.codebook_cross_entropy import _differentiate


def main() -> None:
    torch.manual_seed(0)
    for sizes, widest in (((7, 4, 11), 4096), ((33, 33), 4096), ((37, 5, 20), 16)):
        kernels.WIDEST = widest
        logits, rows = 4 * torch.randn(9, sum(sizes)), 9
        offsets = torch.tensor([sum(sizes[:book]) for book in range(len(sizes))])
        targets = torch.stack([torch.randint(0, size, (rows,)) for size in sizes], 1)
        loss_mask, share = torch.rand(rows, len(sizes)) < 0.7, torch.tensor(0.25)
        found = torch.nn.functional.pad(logits, (0, 3))
        loss, right, expected = _differentiate(logits, sizes, offsets, targets, loss_mask, share, True)
        losses, correct = kernels.differentiate(found, sizes, offsets, targets, loss_mask, share, True)
        torch.testing.assert_close(losses.sum(), loss)
        assert correct.sum(0).equal(right)
        assert expected is not None
        torch.testing.assert_close(found, torch.nn.functional.pad(expected, (0, 3)))
        untouched = logits.clone()
        kernels.differentiate(untouched, sizes, offsets, targets, loss_mask, share, False)
        assert untouched.equal(logits)
        print("agrees", sizes, widest, flush=True)


if __name__ == "__main__":
    main()
