"""``lina convert``: conversion of other systems' checkpoints into runs."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from torch import Tensor

    from lina.core.model.delay_lm import DelayLM


ALIASES = {"seed": "lina-speech"}
"""Former names of commands."""


class AliasedGroup(click.Group):
    """Group that also accepts the former names of its commands, without listing them."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return super().get_command(ctx, ALIASES.get(cmd_name, cmd_name))


@click.group(cls=AliasedGroup, short_help="Convert checkpoints of other systems.")
def convert() -> None:
    """Convert checkpoints of other systems to runs.

    \b
    Example:
      lina convert lina-speech gla_60_librilight.pt runs/gla-60
    """


@convert.command("lina-speech", short_help="A checkpoint of lina-speech (beta).")
@click.argument("checkpoint", type=Path)
@click.argument("out", type=Path)
@click.option("--tokenizer", type=Path, metavar="FILE", help="Its vocabulary, such as bpe256.json.")
@click.option("--codec-weights", type=Path, metavar="FILE", help="EnCodec's weights, 24 kHz.")
@click.option("--verify", type=Path, metavar="EXPECTED", help="Expected outputs (safetensors).")
def lina_speech(
    checkpoint: Path, out: Path, tokenizer: Path | None, codec_weights: Path | None, verify: Path | None
) -> None:
    """Make the run OUT of CHECKPOINT, a file of lina-speech (beta).

    GLA, Mamba and RWKV-6 models and their training checkpoints are known; all
    sizes are read from the tensors, and nothing in the file is executed.
    Missing files can be put into OUT later.

    \b
    Example:
      lina convert lina-speech gla_60.pt runs/gla-60 --tokenizer bpe256.json
    """
    from lina.convert.lina_speech.run import convert as convert_checkpoint
    from lina.convert.lina_speech.verify import read_expected

    expected = read_expected(verify) if verify is not None else None

    def check(model: "DelayLM") -> None:
        if expected is not None:
            _verify(model, expected)

    done = convert_checkpoint(checkpoint, out, tokenizer=tokenizer, codec_weights=codec_weights, check=check)
    sizes = done.sizes
    click.echo(
        f"{out}: {sizes.backbone}, {done.parameters:,} parameters, width {sizes.d_model}, "
        f"{sizes.n_layers} layers per side, {sizes.codebooks} codebooks, {sizes.vocabulary} text ids"
    )
    for path in done.missing:
        click.echo(f"needed for synthesis, put it there: {path}")


def _verify(model: "DelayLM", expected: "dict[str, Tensor]") -> None:
    """Print the largest difference of each tensor.

    Raises:
        CheckpointError: one is too large.
    """
    from lina.convert.lina_speech.verify import LIMIT, differences
    from lina.core.errors import CheckpointError

    found = differences(model, expected)
    for one in found:
        click.echo(f"{one.name:24} largest difference {one.largest:.1e}")
    if large := [one.name for one in found if not one.small]:
        raise CheckpointError(
            f"--verify: {'; '.join(large)}: off by more than {LIMIT:g}; the run was not written, since the file "
            "is of another model, or lina computes it wrongly"
        )
