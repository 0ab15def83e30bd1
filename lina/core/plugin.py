"""Base classes of plugins. An entry point names a subclass; the registry checks it when a spec names it.

A plugin class holds no state: it validates its own configuration and builds an object that implements a protocol of
``lina.core.protocols``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, final

from pydantic import BaseModel, ConfigDict

from lina.core.errors import CheckpointError, DataError, SpecError
from lina.core.renames import Renames

if TYPE_CHECKING:  # a tokenizer needs a base class, and no torch
    from torch import Tensor, nn

    from lina.core.protocols import Backbone, Codec, Recognizer, StreamingCodec, Tokenizer, TrainableCodec
    from lina.core.utterance import Reject, Utterance

PLUGIN_API = 1

Half = Literal["encoder", "decoder"]
"""The backbone before the text cross-attention, and the one after it."""


class PluginConfig(BaseModel):
    """The ``config:`` of a plugin in a spec. Unknown keys are errors; values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    renames: ClassVar[Renames] = Renames()
    """Former names of keys and values, accepted with a warning."""


class Plugin(ABC):
    """Base class of all roles."""

    plugin_api: ClassVar[int] = PLUGIN_API
    Config: ClassVar[type[PluginConfig]] = PluginConfig

    @classmethod
    @abstractmethod
    def example(cls) -> dict[str, Any]:
        """Keyword arguments for ``build``: the tiny configuration on which ``lina check`` runs the laws."""


class BackbonePlugin(Plugin):
    """Plugin of a whole stack. Most backbones are mixers: derive from ``lina.core.MixerPlugin`` for those."""

    @classmethod
    @abstractmethod
    def build(cls, *, d_model: int, n_layers: int, config: Any) -> Backbone:
        """Build a backbone (an ``nn.Module``) over vectors of width ``d_model``.

        Core builds three: before the text, after it, and the small position network of position-aware attention.

        Raises:
            SpecError: the sizes do not fit the configuration; the message names them.
        """

    @classmethod
    def import_weights(
        cls, tensors: Mapping[str, Tensor], *, d_model: int, n_layers: int, config: Any, half: Half
    ) -> Mapping[str, Tensor]:
        """Convert another project's weights for one half of the backbone: ``init: {backbone: FILE}`` of a spec.

        An optional capability. Core reads the file (tensors only, nothing is executed) and passes all of them;
        the result is named and shaped as in the state dict of ``build`` with the same sizes. Missing weights
        keep their initialization. By custom the encoder takes the model's first ``n_layers`` layers and the
        decoder the ``n_layers`` after them; the position network is never imported.

        Raises:
            CheckpointError: another kind of model, or other sizes; the message states both and what to write into
                the spec. Core prepends the file's name.
        """
        raise CheckpointError(
            f"{cls.__name__} imports no weights of other projects; leave init.backbone out, or name a backbone "
            "that does"
        )

    @classmethod
    def extreme(cls, backbone: nn.Module) -> None:
        """Change parameters in place so that gates saturate, for the laws: log-decays from -1e-4 to -1e4 per step.

        The default is ``lina.core.extreme_gates.saturate``: a mixer with a method ``extreme()`` sets its own gates,
        in stacks of several kinds too; elsewhere every matrix is scaled by 100 and every vector spread. Override
        either to change the gates alone.
        """
        from lina.core.extreme_gates import saturate

        saturate(backbone)


class CodecPlugin(Plugin):
    @classmethod
    @abstractmethod
    def build(cls, *, config: Any) -> Codec | StreamingCodec:
        """Build a codec. Weights come from local files named in the configuration, never from a network.

        Raises:
            PluginError: a needed package or file is missing; the message states the remedy.
        """

    @classmethod
    def build_trainable(cls, *, config: Any) -> TrainableCodec:
        """Build the codec with fresh weights, drawn by torch's generator: ``job: codec`` of a spec.

        An optional capability, with ``save_trained``.

        Raises:
            SpecError: this codec, or this configuration of it, cannot be trained.
        """
        raise SpecError(f"{cls.__name__} cannot be trained; name a codec that can, such as lina")

    @classmethod
    def save_trained(cls, codec: Any, path: Path) -> None:
        """Write a codec of ``build_trainable`` to a file that ``build`` reads by the plugin's configuration."""
        raise SpecError(f"{cls.__name__} cannot be trained, so there is nothing to save")


class TokenizerPlugin(Plugin):
    @classmethod
    @abstractmethod
    def build(cls, *, config: Any, trained: Any = None) -> Tokenizer:
        """Build a tokenizer; ``trained`` is the value that ``train`` returned for this run."""

    @classmethod
    def train(cls, texts: Iterable[str], *, config: Any) -> Any:
        """Learn from the texts of the corpus; returns a JSON value for ``build``, or None."""
        return None


class CorpusPlugin(Plugin):
    """Plugin that reads a corpus: recordings with their texts."""

    @classmethod
    @abstractmethod
    def read(cls, *, config: Any) -> Iterator[Utterance | Reject]:
        """Read every utterance in a fixed order; unusable entries become a ``Reject`` with its reason.

        Raises:
            DataError: the corpus as a whole is missing or unreadable; the message states how to get it.
        """

    @classmethod
    def get(cls, folder: Path) -> Path:
        """Fetch the corpus into ``folder`` (created if missing); returns the folder to read: ``lina data get``.

        Raises:
            DataError: there is nothing to fetch, or fetching failed; the message states the cause and the manual steps.
        """
        raise DataError(
            f"{cls.__name__}: nothing to fetch; this corpus reads the files that data.config.path names"
        )

    @classmethod
    @final
    def build(cls, *, config: Any) -> Iterator[Utterance | Reject]:
        return cls.read(config=config)


class RecognizerPlugin(Plugin):
    """Plugin of a speech recognizer, for the evaluate stage."""

    @classmethod
    @abstractmethod
    def build(cls, *, config: Any) -> Recognizer:
        """Build a recognizer from weights on this machine; nothing is fetched.

        Raises:
            PluginError: a needed package or file is missing; the message states the remedy.
        """
