"""Write the first and the needed characters of the normalizer's patterns, which it would derive at every start.

python -m benchmarks.rule_characters
"""

import json
import re
import sys
from typing import Any

from lina.tokenizers.english import RULES
from lina.tokenizers.english.first_characters import first_characters, needed_characters
from lina.tokenizers.english.rule import CHARACTERS, pattern_hash


def characters_of(source: str) -> list[Any]:
    """First characters, a flag for those beyond ASCII, and needed characters of a pattern, as the file has them."""
    pattern = re.compile(source)
    first = first_characters(pattern)
    return ["".join(sorted(first.named)), first.others, "".join(sorted(needed_characters(pattern)))]


def main() -> int:
    found = {pattern_hash(one.source): characters_of(one.source) for one in RULES}
    lines = [f"{json.dumps(key)}: {json.dumps(found[key])}" for key in sorted(found)]
    CHARACTERS.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{CHARACTERS}: {len(found)} patterns")
    return 0


if __name__ == "__main__":
    sys.exit(main())
