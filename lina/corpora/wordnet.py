"""English sentences to synthesize: the examples in WordNet's glosses, free to use, copy and modify.

Fellbaum, WordNet (1998); the Debian package wordnet-base has the database, whose lines wndb(5) describes: a
gloss follows the first ``|``, its examples stand in double quotes.
"""

import hashlib
import re
import tempfile
from pathlib import Path

from lina.core.errors import DataError
from lina.corpora import debian

PACKAGE = "wordnet-base"
DATABASE = "usr/share/wordnet"
PARTS = ("data.noun", "data.verb", "data.adj", "data.adv")
FEWEST_WORDS, MOST_WORDS = 4, 25

EXAMPLE = re.compile(r'"([^"]+)"')
# Sentences with one pronunciation: no digits, dashes, brackets, abbreviations or dialogue marks.
PLAIN = re.compile(r"[A-Za-z][A-Za-z',;]*(?: [A-Za-z][A-Za-z',;]*)*[.!?]?")
SHOUTED = re.compile(r"\b[A-Z]{2,}\b")


def fetch(folder: Path) -> list[str]:
    """Fetch the sentences from a package by ``apt-get download`` (6 MB, deleted afterwards).

    Raises:
        DataError: No apt-get, no network, or a damaged package.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".wordnet-") as scratch:
        (package,) = debian.download((PACKAGE,), Path(scratch))
        debian.unpack(package, Path(scratch), lambda name: name.startswith(f"{DATABASE}/data."))
        return sentences(Path(scratch) / DATABASE)


def sentences(database: Path) -> list[str]:
    """Extract about 33,000 different sentences of 4 to 25 words, ordered by the hash of each.

    The first letter is capitalized; a period is appended to sentences without a final mark.

    Raises:
        DataError: ``database`` is not WordNet's.
    """
    found: set[str] = set()
    for part in PARTS:
        try:
            lines = (database / part).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{database / part}: is no part of WordNet's database: {error}") from None
        for line in lines:
            examples = EXAMPLE.findall(line.partition("|")[2])
            found.update(_with_ends(example) for example in examples if _is_sentence(example.strip()))
    if not found:
        raise DataError(f"{database}: holds no example sentences; is it WordNet's database?")
    return sorted(found, key=lambda text: hashlib.sha256(text.encode()).digest())


def _is_sentence(example: str) -> bool:
    plain = PLAIN.fullmatch(example) is not None and not SHOUTED.search(example)
    return plain and FEWEST_WORDS <= len(example.split()) <= MOST_WORDS


def _with_ends(example: str) -> str:
    text = example.strip().rstrip(",;")
    return text[0].upper() + text[1:] + ("" if text[-1] in ".!?" else ".")
