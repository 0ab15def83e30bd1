"""The sentences that lina's English voice learns from, as hibari-tts reads them: always the same ones.

    python -m benchmarks.voice_texts --out data/voice/sentences.txt
    python -m benchmarks.hibari_speech data/voice/sentences.txt --out data/voice/hibari

Most are WordNet's example sentences (free to use), also two or three in a row, and what its nouns mean. They have no
figures, hardly a question and no single word, so the rest is made from WordNet's words: questions, numbers, dates,
money, names, lists, repeated and alike words. What is kept out for tests (``codec_split.py``, ``benchmarks/texts``) is
left out.
"""

import argparse
import calendar
import hashlib
import random
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import yaml

from benchmarks.codec_split import KEPT, KeptOut, chosen
from lina.corpora import debian, wordnet
from lina.tokenizers.english import Style, normalize

SEED = 20261123
HERE = Path(__file__).parent
TEST_TEXTS = HERE / "texts"
STYLE = Style(day_first=False, joiner=".")

FILES = {"thing": "06", "food": "13", "animal": "05", "person": "18", "place": "15"}
"""WordNet's lexicographer files (lexnames(5)) of noun.artifact, .food, .animal, .person and .location."""
PLAIN_WORD = re.compile(r"[a-z]{3,12}")
GLOSS = re.compile(r"[a-z][a-z',]*(?: [a-z][a-z',]*)*")
ARTICLE = re.compile(r"(?:a|an|the|any|someone|one) ")
PLAIN_NAME = re.compile(r"[A-Z][a-z]{2,11}")

WORDS = yaml.safe_load((HERE / "voice_words.yaml").read_text(encoding="utf-8"))
MONTHS, DAYS = list(calendar.month_name)[1:], list(calendar.day_name)
MINUTES = (0, 5, 10, 15, 20, 30, 40, 45, 55)


def lemmas(database: Path, common: set[str]) -> dict[str, list[str]]:
    """Words by kind, those that WordNet's examples use too; places are names."""
    kinds: dict[str, list[str]] = {kind: [] for kind in (*FILES, "adjective", "verb")}
    for part, of in (("data.noun", FILES), ("data.adj", {"adjective": ""}), ("data.verb", {"verb": ""})):
        for line in (database / part).read_text(encoding="utf-8").splitlines():
            fields = line.split(" ")
            for kind, number in of.items():
                if len(fields) > 4 and number in ("", fields[1]):
                    pattern = PLAIN_NAME if kind == "place" else PLAIN_WORD
                    if pattern.fullmatch(fields[4]) and fields[4] in common:
                        kinds[kind].append(fields[4])
    return {kind: sorted(set(words)) for kind, words in kinds.items()}


def filled(templates: Iterable[str], words: dict[str, list[str]], draw: random.Random) -> Iterator[str]:
    """Templates in turn, each blank filled anew."""
    figures: dict[str, Callable[[], str]] = {
        "first": lambda: draw.choice(WORDS["first_names"]),
        "last": lambda: draw.choice(WORDS["last_names"]),
        "day": lambda: draw.choice(DAYS),
        "unit": lambda: draw.choice(WORDS["units"]),
        "small": lambda: str(draw.randint(2, 99)),
        "number": lambda: str(
            draw.choice([draw.randint(*of) for of in ((2, 99), (100, 9999), (10_000, 999_999))])
        ),
        "decimal": lambda: f"{draw.randint(0, 99)}.{draw.randint(1, 99)}",
        "percent": lambda: f"{draw.randint(1, 100)}%",
        "money": lambda: draw.choice(
            (f"${draw.randint(1, 5000)}", f"${draw.randint(1, 200)}.{draw.randint(1, 99):02}")
        ),
        "year": lambda: str(draw.randint(1700, 2050)),
        "date": lambda: f"{draw.choice(MONTHS)} {draw.randint(1, 28)}, {draw.randint(1700, 2050)}",
        "time": lambda: f"{draw.randint(1, 12)}:{draw.choice(MINUTES):02} {draw.choice(('a.m.', 'p.m.'))}",
        "ordinal": lambda: _ordinal(draw.randint(1, 40)),
        "digits": lambda: f"{draw.randint(200, 999)}-{draw.randint(1000, 9999)}",
    }
    many = list(templates)
    while True:
        draw.shuffle(many)
        for template in many:
            yield re.sub(
                r"\{(\w+)\}",
                lambda blank: figures[blank[1]]() if blank[1] in figures else draw.choice(words[blank[1]]),
                template,
            )


def single(words: dict[str, list[str]], draw: random.Random) -> Iterator[str]:
    """One word, as an answer, a question or a shout."""
    while True:
        kind = draw.choice(sorted(words))
        yield draw.choice(words[kind]).capitalize() + draw.choice((".", ".", "?", "!"))


def repeated(words: dict[str, list[str]], draw: random.Random) -> Iterator[str]:
    """The same word several times, with and without commas."""
    while True:
        word, times = draw.choice(words[draw.choice(("adjective", "animal", "thing"))]), draw.randint(2, 5)
        comma = draw.choice((", ", " "))
        yield draw.choice(
            (
                f"{comma.join([word] * times).capitalize()}!",
                f"It was {comma.join(['very'] * times)} {word}.",
                f"{', '.join([draw.choice(('No', 'Yes', 'Well', 'Oh'))] + ['no'] * (times - 1))}, not the {word}!",
                f"The {word} and the {word} and the {word}.",
                f"A {word}, a {word}, and another {word}.",
            )
        )


def alike(words: dict[str, list[str]], draw: random.Random) -> Iterator[str]:
    """Words that begin alike, as tongue twisters have them."""
    nouns = words["thing"] + words["animal"] + words["food"]

    def pick(of: list[str], start: str) -> str:
        return draw.choice([word for word in of if word[0] == start] or of)

    frames = (
        (words["adjective"], "{} ", nouns, "{}s ", words["verb"], "{} ", words["adjective"], "{} ", nouns, "{}s."),
        (words["person"], "The {} ", words["verb"], "{}s ", words["adjective"], "{}, ", words["adjective"], "{} ",
         nouns, "{}s by the ", nouns, "{}."),
    )  # fmt: skip
    while True:
        start, frame = draw.choice(words["adjective"])[:1], draw.choice(frames)
        spelled = "".join(
            str(form).format(pick(list(of), start)) for of, form in zip(frame[::2], frame[1::2], strict=True)
        )
        yield spelled[0].upper() + spelled[1:]


def listed(words: dict[str, list[str]], draw: random.Random) -> Iterator[str]:
    """Three to six things."""
    kinds = ("thing", "food", "animal")
    while True:
        *things, last = (draw.choice(words[draw.choice(kinds)]) for _ in range(draw.randint(3, 6)))
        begin = draw.choice(("We need", "I bought", "There were", "She saw"))
        yield f"{begin} {', '.join(things)}, and {last}."


def joined(sentences: list[str], draw: random.Random) -> Iterator[str]:
    """Two or three sentences in a row, of at most 40 words."""
    while True:
        row = draw.sample(sentences, draw.choice((2, 2, 3)))
        if sum(len(one.split()) for one in row) <= 40:
            yield " ".join(row)


def defined(database: Path) -> Iterator[str]:
    """Definitions of nouns as sentences: "A robin is a small bird with a red breast."

    Of plain words only, mixed by the hash of each.
    """
    found = set()
    for line in (database / "data.noun").read_text(encoding="utf-8").splitlines():
        fields, gloss = line.split(" "), line.partition("|")[2].split(";")[0].strip()
        spelled = ARTICLE.match(gloss) and GLOSS.fullmatch(gloss) and not wordnet.SHOUTED.search(gloss)
        if len(fields) > 4 and PLAIN_WORD.fullmatch(fields[4]) and spelled and 3 <= len(gloss.split()) <= 16:
            found.add(f"{'An' if fields[4][0] in 'aeiou' else 'A'} {fields[4]} is {gloss}.")
    yield from sorted(found, key=lambda text: hashlib.sha256(text.encode()).digest())


def _ordinal(number: int) -> str:
    ending = "th" if 10 < number % 100 < 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def texts() -> list[str]:
    with tempfile.TemporaryDirectory() as scratch:
        (package,) = debian.download((wordnet.PACKAGE,), Path(scratch))
        debian.unpack(package, Path(scratch), lambda name: name.startswith(f"{wordnet.DATABASE}/data."))
        database = Path(scratch) / wordnet.DATABASE
        examples = wordnet.sentences(database)
        common = {word for one in examples for word in re.findall(r"[A-Za-z]+", one)}
        words = lemmas(database, common)
        meanings = list(defined(database))
    tests = [
        line for file in sorted(TEST_TEXTS.rglob("*.txt")) for line in file.read_text("utf-8").splitlines()
    ]
    out = KeptOut([*chosen(examples, KEPT["hibari"]), *tests])
    examples = [one for one in examples if one not in out]
    draw, example = random.Random(SEED), iter(examples)
    parts: list[tuple[Iterator[str], int]] = [
        (example, 26_000),
        (joined(examples, draw), 3_600),
        (filled(WORDS["questions"], words, draw), 2_600),
        (filled(WORDS["everyday"], words, draw), 2_600),
        (filled(WORDS["figures"], words, draw), 2_600),
        (single(words, draw), 1_400),
        (repeated(words, draw), 900),
        (alike(words, draw), 700),
        (listed(words, draw), 700),
        # More of the same, after it: what comes before is drawn as it always was.
        (example, len(examples)),
        (iter(meanings), 12_000),
        (joined(examples, draw), 3_000),
        (filled(WORDS["everyday"], words, draw), 3_000),
        (filled(WORDS["questions"], words, draw), 1_500),
    ]
    texts_by_order: dict[str, None] = {}
    for source, count in parts:
        until = len(texts_by_order) + count
        while len(texts_by_order) < until and (text := next(source, None)) is not None:
            if text not in out:
                texts_by_order[normalize(text, STYLE)] = None
    lines = list(texts_by_order)
    draw.shuffle(lines)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    lines = texts()
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{arguments.out}: {len(lines)} sentences, {sum(len(one.split()) for one in lines)} words")


if __name__ == "__main__":
    main()
