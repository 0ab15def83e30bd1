"""Signatures of exported voices: minisign's, of ``SHA256SUMS``, which has the hashes of all other files."""

from pathlib import Path

from lina.core.errors import FileError, LinaError, PluginError
from lina.core.files.checks import read_bounded

SUFFIX = ".minisig"
LARGEST = 10_000
"""Bytes of a key or a signature."""


def verify(signed: Path, key: Path) -> str:
    """Verify the signature beside a file by the public key in another, and return its trusted comment.

    Raises:
        PluginError: the library is not installed.
        LinaError: there is no signature or no key, one of them is damaged, or the signature is of another file or key.
    """
    try:
        import minisign
    except ImportError as error:
        raise PluginError(f"--key needs py-minisign ({error}); pip install 'lina[signature]'") from None
    beside = signed.with_name(signed.name + SUFFIX)
    if not beside.exists():
        raise FileError(signed, "is not signed; ask its author for a signature, or leave out --key")
    try:
        public = minisign.PublicKey.from_bytes(read_bounded(key, LARGEST))
    except (minisign.ParseError, ValueError) as error:
        raise FileError(key, f"is no public key of minisign ({error}); pass the author's .pub file") from None
    try:
        signature = minisign.Signature.from_bytes(read_bounded(beside, LARGEST))
    except (minisign.ParseError, ValueError) as error:
        raise FileError(beside, f"is no signature of minisign ({error}); get the voice again") from None
    try:
        public.verify(signed.read_bytes(), signature)
    except minisign.VerifyError as error:
        raise LinaError(
            f"{beside}: does not fit {signed.name} and {key} ({error}); use nothing of this voice before its author "
            "has confirmed key and files"
        ) from None
    comment: str = signature.trusted_comment
    return comment
