"""Byte-pair encoding (Sennrich et al. 2016), trained on the corpus or read from a file (``lina[bpe]``).

A trained vocabulary is byte-level, so it covers every character. A file in the JSON of the ``tokenizers`` library
keeps its own rules and ids. The library trains and encodes words; lina splits the stream before blanks.
"""

import contextlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from lina.core.errors import DataError, PluginError, SpecError, TextError, is_failure, one_line
from lina.core.plugin import PluginConfig, TokenizerPlugin
from lina.tokenizers.stream import SegmentStream, printable, refuse_surrogates
from lina.tokenizers.tokenizer_file import (
    BYTE_OF,
    Document,
    check_document,
    for_library,
    is_byte_level,
    read_document,
)

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_BEGIN_NAMES = ("[BOS]", "<s>", "<bos>")
_END_NAMES = ("[EOS]", "</s>", "<eos>")
# No supported pre-tokenizer joins a character to a blank after it.
_TO_LAST_WORD = re.compile(r".*\S(?= )", re.DOTALL)


class BPEConfig(PluginConfig):
    """Configuration of the BPE tokenizer."""

    vocab_size: int = Field(default=512, ge=258)
    """Maximum number of ids, including 256 bytes, BEGIN and END; a small corpus yields fewer."""
    lowercase: bool = False
    """Lower each character by itself."""
    file: Path | None = None
    """A tokenizers-format JSON with a BPE model; nothing is trained then."""

    @model_validator(mode="after")
    def _file_has_its_own_rules(self) -> "BPEConfig":
        for name in ("vocab_size", "lowercase"):
            if self.file is not None and name in self.model_fields_set:
                raise ValueError(f"{name!r} is for training, but 'file' has its own; remove one of them")
        return self


class BPETokenizer(SegmentStream):
    """BPE of words, which are the segments. BEGIN and END are the vocabulary's own marks, else the next ids."""

    def __init__(self, document: Any, where: str) -> None:
        """Load the vocabulary of ``document``, parsed tokenizers-format JSON; ``where`` names it in errors.

        Raises:
            PluginError: the library is not installed.
            SpecError: a part of the document is not supported.
        """
        self.where = where
        self.bpe = _load(for_library(document, where), where)
        document = json.loads(self.bpe.to_str())
        check_document(document, where)
        self.byte_level = is_byte_level(document)
        vocabulary: dict[str, int] = document["model"]["vocab"]
        self.known = frozenset(vocabulary)
        self.has_unknown = document["model"].get("unk_token") in vocabulary
        names = sorted(vocabulary, key=vocabulary.__getitem__)
        self.begin = _mark(names, _BEGIN_NAMES, "BEGIN")
        self.end = _mark(names, _END_NAMES, "END")
        self.vocab_size = len(names)
        self.names = tuple(names)

    def segment_end(self, text: str, start: int) -> int | None:
        words = _TO_LAST_WORD.match(text, start)
        return words.end() if words else None

    def encode(self, text: str) -> list[int]:
        """Encode words; special tokens are not recognized in texts: ``[BOS]`` is five characters.

        Raises:
            TextError: a character is missing in a file's vocabulary, which has no entry for unknown ones.
        """
        bpe = self.bpe
        try:
            if bpe.normalizer is not None:
                text = bpe.normalizer.normalize_str(text)
            words = [word for word, _ in bpe.pre_tokenizer.pre_tokenize_str(text)]
        except BaseException as error:
            if not is_failure(error):
                raise
            raise TextError(f"{self.where} cannot read the text ({one_line(error)})") from error
        if not self.has_unknown:
            self._refuse_unknown(words)
        return [token.id for word in words for token in bpe.model.tokenize(word)]

    def _refuse_unknown(self, words: list[str]) -> None:
        unknown = sorted(set("".join(words)) - self.known)
        if unknown:
            named = ", ".join(f"{one!r} (U+{ord(one):04X})" for one in unknown[:8])
            more = f" and {len(unknown) - 8} more" if len(unknown) > 8 else ""
            raise TextError(
                f"{self.where} does not know {named}{more}; remove or spell out, such as '1' as 'one'"
            )

    def labels(self, ids: Sequence[int]) -> list[str]:
        """Label each id by its token.

        Raises:
            ValueError: an id is outside the vocabulary.
        """
        return [self._label(one) for one in ids]

    def _label(self, one: int) -> str:
        if not 0 <= one < self.vocab_size:
            raise ValueError(f"id {one} is not in 0 .. {self.vocab_size - 1}")
        if one in (self.begin, self.end):
            return "BEGIN" if one == self.begin else "END"
        name = self.names[one]
        if not self.byte_level or any(letter not in BYTE_OF for letter in name):
            return printable(name)
        encoded = bytes(BYTE_OF[letter] for letter in name)
        try:
            return printable(encoded.decode("utf-8"))
        except ValueError:
            return "0x" + encoded.hex().upper()


def _mark(names: list[str], candidates: Sequence[str], own: str) -> int:
    for name in candidates:
        if name in names:
            return names.index(name)
    names.append(own)
    return len(names) - 1


def _load(document: Any, where: str) -> "Tokenizer":
    tokenizer_class = _library().Tokenizer
    try:
        tokenizer: Tokenizer = tokenizer_class.from_str(json.dumps(document))
    except BaseException as error:
        if not is_failure(error):
            raise
        raise SpecError(f"{where} is no tokenizers-format JSON: {one_line(error)}") from error
    return tokenizer


def _library() -> Any:
    try:
        import tokenizers
    except ImportError as error:
        raise PluginError(f"tokenizer 'bpe' needs tokenizers ({error}); pip install 'lina[bpe]'") from error
    return tokenizers


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Keep the library from using threads, after which it warns in every forked process."""
    before = os.environ.get("TOKENIZERS_PARALLELISM")
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    try:
        yield
    finally:
        del os.environ["TOKENIZERS_PARALLELISM"]
        if before is not None:
            os.environ["TOKENIZERS_PARALLELISM"] = before


class BPE(TokenizerPlugin):
    """Tokenizer of byte pairs: shorter sequences than bytes, as frequent words become one id."""

    Config = BPEConfig

    @classmethod
    def example(cls) -> dict[str, Any]:
        config = BPEConfig(vocab_size=280)
        return {
            "config": config,
            "trained": cls.train(["the cat and the hat", "that is the hat"], config=config),
        }

    @classmethod
    def train(cls, texts: Iterable[str], *, config: BPEConfig) -> Document | None:
        """Train a byte-level vocabulary as a tokenizers-format document; None if a file is configured.

        Raises:
            DataError: there is no text.
            PluginError: the library is not installed.
        """
        if config.file is not None:
            return None
        corpus = [text for text in texts if text.strip()]
        if not corpus:
            raise DataError("tokenizer 'bpe' cannot be trained: the corpus has no text; check its manifest")
        for text in corpus:
            refuse_surrogates(text)
        library = _library()
        tokenizer = library.Tokenizer(library.models.BPE())
        if config.lowercase:
            tokenizer.normalizer = library.normalizers.Lowercase()
        tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
        trainer = library.trainers.BpeTrainer(
            vocab_size=config.vocab_size - 2,
            initial_alphabet=sorted(BYTE_OF),
            min_frequency=2,
            show_progress=False,
        )
        with _one_thread():
            tokenizer.train_from_iterator(corpus, trainer)
        document: Document = json.loads(tokenizer.to_str())
        return document

    @classmethod
    def build(cls, *, config: BPEConfig, trained: Any = None) -> BPETokenizer:
        """Build the tokenizer from its file or its trained vocabulary.

        Raises:
            PluginError: there is neither, or the library is not installed.
            SpecError: the file is missing, or a part of it is not supported.
        """
        if config.file is not None:
            return BPETokenizer(read_document(config.file), str(config.file))
        if trained is None:
            raise PluginError(
                "tokenizer 'bpe' has no vocabulary; train it on the corpus first, or configure a 'file'"
            )
        return BPETokenizer(trained, "the trained vocabulary")
