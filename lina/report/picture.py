"""Images as data URIs: small PNG files with a palette."""

import base64
import io
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

LEVELS = 64
"""Colors per image: more are indistinguishable and take more bytes."""

Palette = Literal["magma", "ink"]
_INK = (58, 134, 255)


def png(values: Float[Tensor, "rows columns"], palette: Palette) -> str:
    """Encode values in 0 .. 1 as a data URI, the first row on top; NaN is drawn as 0.

    ``magma`` runs from black to pale yellow; ``ink`` is one blue whose opacity is the value, for any background.
    """
    from PIL import Image

    levels = (values.nan_to_num(0.0).clamp(0.0, 1.0) * (LEVELS - 1)).round().to(torch.uint8)
    image = Image.fromarray(levels.numpy()).convert("L")
    image = Image.frombytes("P", image.size, image.tobytes())
    options = {}
    if palette == "ink":
        image.putpalette(bytes(_INK) * LEVELS)
        options["transparency"] = bytes(round(255 * level / (LEVELS - 1)) for level in range(LEVELS))
    else:
        image.putpalette(_magma())
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True, **options)
    return data_uri("image/png", file.getvalue())


def _magma() -> bytes:
    from matplotlib import colormaps

    colors = colormaps["magma"](torch.linspace(0, 1, LEVELS).numpy(), bytes=True)
    return bytes(colors[:, :3].tobytes())


def data_uri(media_type: str, content: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"
