"""Debian packages made on the spot."""

import gzip
import io
import lzma
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

SOUNDS = "usr/share/asterisk/sounds/en_US_f_Allison"
TEXTS = "usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz"

LIST = """; Core sounds

hello: Hello,  world.
dir/at: at [@]
menu: Press 1: for help
beep: [this is a simple beep tone]
silence/1: (1 second of silence)
join: <beep ascending>
intro: Leave a message. (simple tone sound plays)
iax: IAX (note: does not say "2")
gone: No recording of this.
"""
RECORDED = ("hello", "dir/at", "menu", "beep", "silence/1", "join", "intro", "iax")


def tar(
    files: Mapping[str, bytes | tarfile.TarInfo], compress: Callable[[bytes], bytes] = lzma.compress
) -> bytes:
    """A compressed archive of {name: content}; a ``TarInfo`` as content is added as it is."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            member = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            data = b"" if isinstance(content, tarfile.TarInfo) else content
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return compress(buffer.getvalue())


def deb(members: Mapping[str, bytes]) -> bytes:
    """An ar archive of {name: content}."""
    parts = [b"!<arch>\n"]
    for name, content in members.items():
        parts.append(f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode())
        parts.append(content + b"\n" * (len(content) % 2))
    return b"".join(parts)


def package(
    files: Mapping[str, bytes | tarfile.TarInfo],
    compress: Callable[[bytes], bytes] = lzma.compress,
    suffix: str = ".xz",
) -> bytes:
    return deb(
        {"debian-binary": b"2.0\n", "control.tar.xz": tar({}), f"data.tar{suffix}": tar(files, compress)}
    )


def asterisk(folder: Path) -> Path:
    """Both packages of the Asterisk prompts, small, in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    sound = {f"./{SOUNDS}/{name}.g722": bytes(range(256)) * 8 for name in RECORDED}
    sound["./usr/bin/other"] = b"not wanted"
    texts = {f"./{TEXTS}": gzip.compress(LIST.encode())}
    (folder / "asterisk-core-sounds-en-g722_1-1_all.deb").write_bytes(package(sound))
    (folder / "asterisk-core-sounds-en_1-1_all.deb").write_bytes(package(texts, gzip.compress, ".gz"))
    return folder
