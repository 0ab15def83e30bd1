"""Files on the Hugging Face hub by address, ``hf://ORGANIZATION/NAME@REVISION``, in a folder of this machine."""

import hashlib
import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from fnmatch import fnmatch
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from lina.core.errors import DataError
from lina.core.files.checks import sha256
from lina.core.files.hub_errors import Causes, cause_of, is_of_network
from lina.core.files.names import cache_folder

log = logging.getLogger("lina")

PREFIX = "hf://"
FORM = re.compile(r"hf://([\w-][\w.-]*)/([\w-][\w.-]*)(?:@([\w-][\w./-]*))?")
COMMIT = re.compile(r"[0-9a-f]{40}")
PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.pickle", "*.ckpt", "*.th")
"""Files that are neither fetched nor uploaded: reading them could execute code."""
UPLOAD_AGAIN = "cannot be reached; connect to the network, and upload again"


class Repository(NamedTuple):
    """The parts of an address."""

    id: str
    """ORGANIZATION/NAME."""
    revision: str | None
    """A commit, a tag or a branch."""


def is_address(value: object) -> bool:
    return isinstance(value, str) and value.startswith(PREFIX)


def parse_address(address: str) -> Repository:
    """Split an address.

    Raises:
        DataError: it has another form.
    """
    found = FORM.fullmatch(address)
    if found is None or ".." in address:
        raise DataError(
            f"{address}: is no address of the hub; write hf://ORGANIZATION/NAME or hf://ORGANIZATION/NAME@REVISION"
        )
    return Repository(f"{found[1]}/{found[2]}", found[3])


def local_folder(address: str) -> Path:
    """The folder that ``fetch`` fills.

    Raises:
        DataError: the address has another form.
    """
    repository = parse_address(address)
    return cache_folder() / "hub" / f"{repository.id}@{repository.revision or 'main'}".replace("/", "--")


def fetch(address: str, patterns: Sequence[str] | None = None) -> Path:
    """Download what is missing or has changed, and return the folder. Without a network, the folder is used as it is.

    Files that an earlier call brought, and that a branch has no longer, are deleted; others in the folder stay.

    Args:
        patterns: names to fetch, such as ``model.safetensors`` or ``*.json``; all but pickles if left out.

    Raises:
        DataError: the address has another form, huggingface_hub is not installed, the hub cannot be reached, it has no
            such repository or revision, or the folder cannot be written.
    """
    repository = parse_address(address)
    hub = _hub(address)
    reachable = _is_reachable()
    try:
        with nullcontext() if reachable else _quiet(hub):
            found = hub.snapshot_download(
                repository.id,
                revision=repository.revision,
                local_dir=local_folder(address),
                allow_patterns=None if patterns is None else list(patterns),
                ignore_patterns=list(PICKLES),
                local_files_only=not reachable,
            )
        if reachable:
            _remove_outdated(hub, repository, Path(found))
        elif repository.revision is None or not COMMIT.fullmatch(repository.revision):
            log.warning("%s: cannot be reached; its files of an earlier call are used", address)
    except Exception as error:  # the package raises errors of its own, of its HTTP client and of the system
        own = Causes(
            "cannot be reached, and is not in the cache; connect to the network, or name a local folder",
            f"{local_folder(address)} cannot be written",
            "make room or fix its permissions, or set LINA_CACHE to another folder",
        )
        raise DataError(f"{address}: {cause_of(hub, error, own)}") from error
    return Path(found)


class _Fetched(NamedTuple):
    """A file that a download brought, by the record that huggingface_hub keeps of it."""

    name: str
    """Path in the repository."""
    commit: str
    etag: str
    """SHA-256 of the content, or for a small file the hash by which git names it."""
    time: float
    """Seconds since the epoch at which the record was written."""
    record: Path


def _fetched(folder: Path) -> Iterator[_Fetched]:
    records = folder / ".cache" / "huggingface" / "download"
    for record in sorted(records.rglob("*.metadata")):
        lines = record.read_text().splitlines()
        with suppress(ValueError, IndexError):  # cut off: as if there were none
            name = record.relative_to(records).as_posix().removesuffix(".metadata")
            yield _Fetched(name, lines[0], lines[1], float(lines[2]), record)


def _git_hash(path: Path) -> str:
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0%b" % (len(content), content), usedforsecurity=False).hexdigest()


def _remove_outdated(hub: Any, repository: Repository, folder: Path) -> None:
    """Delete the files that earlier downloads brought and that the commit of the last one lacks."""
    fetched = list(_fetched(folder))
    if len({one.commit for one in fetched}) < 2:
        return
    commit = max(fetched, key=lambda one: one.time).commit
    try:
        there = set(hub.HfApi().list_repo_files(repository.id, revision=commit))
    except Exception:  # as the download does without a network: the folder is used as it is
        return
    for one in fetched:
        if one.commit == commit or one.name in there:
            continue
        path = folder / one.name
        if path.is_file() and one.etag == (sha256(path) if len(one.etag) == 64 else _git_hash(path)):
            path.unlink()  # with another content it is the user's own by now
        one.record.unlink()


def read_remote(address: str, name: str) -> bytes | None:
    """Content of one small file as it is on the hub; None if the file, its revision or the repository is missing.

    Raises:
        DataError: as in ``fetch``.
    """
    repository = parse_address(address)
    hub = _hub(address)
    if not _is_reachable():
        raise DataError(f"{address}: {UPLOAD_AGAIN}")
    with TemporaryDirectory() as folder:
        try:
            path = hub.hf_hub_download(repository.id, name, revision=repository.revision, local_dir=folder)
            return Path(path).read_bytes()
        except Exception as error:
            errors = hub.errors
            missing = (
                errors.RepositoryNotFoundError,
                errors.RevisionNotFoundError,
                errors.EntryNotFoundError,
            )
            if isinstance(error, missing) and not isinstance(
                error, errors.GatedRepoError | errors.LocalEntryNotFoundError
            ):
                return None
            own = Causes(
                UPLOAD_AGAIN,
                f"{folder} cannot be written",
                "fix this and upload again",
            )
            raise DataError(f"{address}: {cause_of(hub, error, own)}") from error


def upload(
    folder: Path, address: str, message: str, replaced: Sequence[str] = (), left_out: Sequence[str] = ()
) -> str:
    """Upload the files of ``folder`` as one commit, to a repository that is created if it is missing; its address.

    Args:
        replaced: names, such as ``*.safetensors``, of files that the same commit deletes in the repository unless
            ``folder`` has them.
        left_out: names of files of ``folder`` that are not uploaded.

    Raises:
        DataError: as in ``fetch``, there is no right to write, or ``folder`` has a pickle or cannot be read.
    """
    repository = parse_address(address)
    for path in sorted(folder.rglob("*")):
        if path.is_file() and any(fnmatch(path.name.lower(), pattern) for pattern in PICKLES):
            raise DataError(
                f"{path}: is a pickle by its name, which nobody would fetch, for reading it could execute code; store "
                "it as safetensors, or remove it"
            )
    hub = _hub(address)
    if not _is_reachable():
        raise DataError(f"{address}: {UPLOAD_AGAIN}")
    try:
        api = hub.HfApi()
        api.create_repo(repository.id, exist_ok=True)
        done = api.upload_folder(
            repo_id=repository.id,
            folder_path=folder,
            revision=repository.revision,
            commit_message=message,
            delete_patterns=list(replaced) or None,
            ignore_patterns=list(left_out) or None,
        )
    except Exception as error:
        own = Causes(
            UPLOAD_AGAIN,
            f"{folder} cannot be read",
            "fix this and upload again",
        )
        raise DataError(f"{address}: {cause_of(hub, error, own)}") from error
    return f"{PREFIX}{repository.id}@{done.oid}"


def _hub(address: str) -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise DataError(f"{address}: needs huggingface_hub ({error}); pip install 'lina[hub]'") from None
    return huggingface_hub


def _is_reachable() -> bool:
    """Test for an answer of the hub, of any status, to one short request.

    huggingface_hub's own first request may be repeated for half a minute, with two lines for each attempt.
    """
    from huggingface_hub import constants, errors, get_session

    try:
        get_session().head(constants.ENDPOINT, timeout=constants.HF_HUB_ETAG_TIMEOUT)
    except Exception as error:  # of the HTTP client, which differs between versions of the package
        return not (isinstance(error, errors.OfflineModeIsEnabled) or is_of_network(error))
    return True


@contextmanager
def _quiet(hub: Any) -> Iterator[None]:
    """Silence the package's warnings within the context: lina reports the cause itself."""
    logger = logging.getLogger(hub.__name__)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
