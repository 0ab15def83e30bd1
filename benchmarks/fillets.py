"""Dutch and Czech speech for measuring: the two fish of the game Fish Fillets, from its Debian packages (GPL-2).

The dialogues are Lua files whose calls name a recording, who speaks, and what is said.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from lina.core.files.names import cache_folder
from lina.corpora import debian

GAME = "usr/share/games/fillets-ng"
SPEAKERS = {"font_small": "small-fish", "font_big": "big-fish"}
DIALOGUE = re.compile(r'dialogId\("([^"]+)",\s*"([^"]+)",[^\n]*\)\s*dialogStr\("((?:[^"\\]|\\.)*)"\)')


class Line(NamedTuple):
    id: str
    audio: Path
    text: str
    speaker: str


def lines(language: str) -> Iterator[Line]:
    """Speech of the two main speakers in ``nl`` or ``cs``, fetched once into the cache (100 MB and 33 or 39 MB).

    Raises:
        DataError: the packages cannot be fetched or unpacked.
    """
    folder = cache_folder() / f"fillets-{language}"
    game = folder / "unpacked" / GAME
    if not game.is_dir():
        packages = debian.download(("fillets-ng-data", f"fillets-ng-data-{language}"), folder)
        debian.unpack_whole(packages, folder, (f"{GAME}/script", f"{GAME}/sound"))
    for script in sorted(game.glob(f"script/*/dialogs_{language}.lua")):
        level = script.parent.name
        for name, font, text in DIALOGUE.findall(script.read_text(encoding="utf-8")):
            audio = game / "sound" / level / language / f"{name}.ogg"
            if font in SPEAKERS and audio.is_file():
                yield Line(f"{level}/{name}", audio, text.replace('\\"', '"'), f"{language}-{SPEAKERS[font]}")
