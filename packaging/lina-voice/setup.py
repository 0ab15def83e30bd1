"""Build of lina-voice: lina's modules without those that need PyTorch, and the reader of words of hibari-tts.

hibari-tts is a voice of its own with a reader of words. lina needs the reader alone, and pip cannot install half of a
package, so the wheel holds a copy of it, with its license and notice (Apache-2.0).
"""

import re
import shutil
from importlib.metadata import distribution
from pathlib import Path, PurePosixPath

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

NEEDS_MORE = re.compile(
    r"^(?:import|from) (?:torch|jaxtyping|omegaconf|yaml|pluggy|rich|jinja2)\b", re.MULTILINE
)
"""An import, at the top of a module, of what lina-voice is without."""
SYNTHESIS = {"hibari.onnx", "vocab.json", "voices.json"}
"""Data of hibari's voice: half of its size."""
FOLDER = "lina/tokenizers/hibari"
"""Place of the copy, as ``lina.tokenizers.hibari_g2p`` knows it."""


def place_of(file: PurePosixPath) -> PurePosixPath | None:
    """Place of a file of hibari-tts in the copy; None if it is left out."""
    if file.parts[:2] == ("hibari", "assets") and file.name not in SYNTHESIS:
        return PurePosixPath(*file.parts[1:])
    if file.parts[:2] == ("hibari", "g2p") and file.suffix == ".py":
        return PurePosixPath(*file.parts[1:])
    return PurePosixPath(file.name) if file.name in ("LICENSE", "NOTICE") else None


class BuildVoice(build_py):
    """The build of modules, and then the copy."""

    def find_package_modules(self, package: str, package_dir: str) -> list[tuple[str, str, str]]:
        found: list[tuple[str, str, str]] = super().find_package_modules(package, package_dir)
        return [one for one in found if not NEEDS_MORE.search(Path(one[2]).read_text("utf-8"))]

    def run(self) -> None:
        if self.editable_mode:  # reads by hibari-tts itself
            super().run()
            return
        shutil.rmtree(Path(self.build_lib, "lina"), ignore_errors=True)  # of earlier builds
        super().run()
        self._copy_reader()

    def _copy_reader(self) -> None:
        for file in distribution("hibari-tts").files or ():
            place = place_of(file)
            if place is not None:
                target = Path(self.build_lib, FOLDER, place)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(Path(file.locate()), target)
        if not Path(self.build_lib, FOLDER, "g2p/lexicon.py").is_file():
            raise RuntimeError("hibari-tts is not installed from a wheel; pip install hibari-tts==0.2.1")


class NoSources(sdist):
    """No archive of sources: they lie outside of this folder, and setuptools would leave them out."""

    def run(self) -> None:
        raise RuntimeError(
            "lina-voice has no sdist; build its wheel: pip wheel --no-deps packaging/lina-voice"
        )


setup(cmdclass={"build_py": BuildVoice, "sdist": NoSources})
