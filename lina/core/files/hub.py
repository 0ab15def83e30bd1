"""Files on the Hugging Face hub by address, ``hf://ORGANIZATION/NAME@REVISION``, in a folder of this machine."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lina.core.errors import DataError
from lina.core.files.names import cache_folder

PREFIX = "hf://"
FORM = re.compile(r"hf://([\w-][\w.-]*)/([\w-][\w.-]*)(?:@([\w-][\w./-]*))?")
PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt", "*.th")
"""Files that are never fetched: reading them could execute code."""


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

    Args:
        patterns: names to fetch, such as ``model.safetensors`` or ``*.json``; all but pickles if left out.

    Raises:
        DataError: the address has another form, huggingface_hub is not installed, the hub cannot be reached, or it has
            no such repository or revision.
    """
    repository = parse_address(address)
    hub = _hub(address)
    try:
        found = hub.snapshot_download(
            repository.id,
            revision=repository.revision,
            local_dir=local_folder(address),
            allow_patterns=None if patterns is None else list(patterns),
            ignore_patterns=list(PICKLES),
        )
    except Exception as error:  # the package raises errors of its own, of its HTTP client and of the system
        raise DataError(f"{address}: {_cause(hub, error)}") from error
    return Path(found)


def upload(folder: Path, address: str, message: str) -> str:
    """Upload the files of ``folder`` as one commit, to a repository that is created if it is missing; its address.

    Raises:
        DataError: as in ``fetch``, or there is no right to write.
    """
    repository = parse_address(address)
    hub = _hub(address)
    try:
        api = hub.HfApi()
        api.create_repo(repository.id, exist_ok=True)
        done = api.upload_folder(
            repo_id=repository.id,
            folder_path=folder,
            revision=repository.revision,
            commit_message=message,
        )
    except Exception as error:
        raise DataError(f"{address}: {_cause(hub, error)}") from error
    return f"{PREFIX}{repository.id}@{done.oid}"


def _hub(address: str) -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise DataError(f"{address}: needs huggingface_hub ({error}); pip install 'lina[hub]'") from None
    return huggingface_hub


def _cause(hub: Any, error: Exception) -> str:
    errors = hub.errors
    gated = isinstance(error, errors.GatedRepoError)
    if isinstance(error, errors.RepositoryNotFoundError) and not gated:
        return (
            "the hub has no such repository, or it is private; check its name, or log in with: hf auth login"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return "the repository has no such revision; check it, or leave out @REVISION"
    status = getattr(getattr(error, "response", None), "status_code", None)
    if gated or status in (401, 403):
        return "access is refused; accept the repository's terms, and log in with: hf auth login"
    offline = isinstance(error, errors.LocalEntryNotFoundError | errors.OfflineModeIsEnabled)
    broken = isinstance(error, OSError) or type(error).__name__ in (
        "ConnectError",
        "ConnectTimeout",
        "ReadTimeout",
    )
    if offline or (broken and status is None):
        return "cannot be reached, and is not in the cache; connect to the network, or name a local folder"
    reason = str(error).strip().splitlines() or [""]
    return f"failed ({type(error).__name__}: {reason[0][:200]})"
