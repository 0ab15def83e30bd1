"""Causes of failures of huggingface_hub, in a line with the remedy."""

import errno
import os
import re
from typing import Any, NamedTuple

from lina.core.errors import SYSTEM_ERRORS, one_line

NETWORK_ERROR_NAMES = {"TransportError", "RequestException", "SSLError", "gaierror"}
"""Classes of huggingface_hub's HTTP clients, of ``ssl`` and ``socket``, which are not imported for their errors."""


class Causes(NamedTuple):
    """Causes that read differently for a download and an upload."""

    offline: str
    disk: str
    remedy: str
    """Of the disk's failure."""


def cause_of(hub: Any, error: Exception, own: Causes) -> str:
    """The cause of a failure and its remedy, in one line."""
    errors = hub.errors
    gated = isinstance(error, errors.GatedRepoError)
    if isinstance(error, errors.RepositoryNotFoundError) and not gated:
        return (
            "the hub has no such repository, or it is private; check its name, or log in with: hf auth login"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return "the repository has no such revision; check it, or leave out @REVISION"
    status = getattr(getattr(error, "response", None), "status_code", None)
    if gated or status in (401, 403) or isinstance(error, errors.LocalTokenNotFoundError):
        return "access is refused; accept the repository's terms, and log in with: hf auth login"
    if isinstance(error, errors.LocalEntryNotFoundError | errors.OfflineModeIsEnabled):
        return own.offline
    if status is None and is_of_network(error):
        return own.offline
    if status is None and (number := _system_error(error)) in SYSTEM_ERRORS:
        return f"{own.disk} ({os.strerror(number)}); {own.remedy}"
    return f"failed ({type(error).__name__}: {one_line(error)}); try again later, or use a local folder"


def is_of_network(error: Exception) -> bool:
    """Test for an error of the network, in the words of any HTTP client."""
    names = {one.__name__ for one in type(error).__mro__}
    return (
        isinstance(error, ConnectionError | TimeoutError)
        or bool(names & NETWORK_ERROR_NAMES)
        or getattr(error, "errno", None) in (errno.ENETUNREACH, errno.EHOSTUNREACH)
    )


def _system_error(error: Exception) -> int | None:
    """Number of an error of the system, also of one that huggingface_hub's library in Rust reports by its message."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    found = re.search(r"\(os error (\d+)\)", str(error))
    return int(found[1]) if found else None
