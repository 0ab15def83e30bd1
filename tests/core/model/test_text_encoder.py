import torch

from lina.core.model.text_encoder import TextEncoder


def encoder() -> TextEncoder:
    torch.manual_seed(0)
    return TextEncoder(8, 2, 2, 0.0).eval()


@torch.no_grad()
def test_padding_is_never_read() -> None:
    encode, x = encoder(), torch.randn(2, 6, 8)
    mask = torch.tensor([[True] * 6, [True] * 4 + [False] * 2])
    expected = encode(x, mask)
    garbage = torch.where(mask[..., None], x, 1e3)
    assert torch.equal(encode(garbage, mask)[mask], expected[mask])
    torch.testing.assert_close(encode(x[1:, :4], mask[1:, :4]), expected[1:, :4], atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_it_reads_in_both_directions() -> None:
    encode, x = encoder(), torch.randn(1, 6, 8)
    mask = torch.ones(1, 6, dtype=torch.bool)
    before = encode(x, mask)
    for place in (0, 5):
        changed = x.clone()
        changed[0, place] = torch.randn(8)
        difference = (encode(changed, mask) - before).abs().amax(-1)[0]
        assert (difference > 1e-4).all()


@torch.no_grad()
def test_order_matters() -> None:
    encode, x = encoder(), torch.randn(1, 6, 8)
    mask = torch.ones(1, 6, dtype=torch.bool)
    assert not torch.allclose(encode(x.flip(1), mask).flip(1), encode(x, mask), atol=1e-3)
