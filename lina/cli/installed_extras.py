"""Missing optional packages per extra (``pip install 'lina[codec2]'``), without importing any."""

import re
from importlib.metadata import PackageNotFoundError, requires, version

REQUIREMENT = re.compile(r"^(?P<package>[A-Za-z0-9._-]+).*\bextra\s*==\s*['\"](?P<extra>[^'\"]+)['\"]")
NOT_FOR_USERS = "dev"


def missing_packages() -> dict[str, list[str]]:
    """Extra -> its packages that are not installed; empty for a complete extra."""
    try:
        lines = requires("lina") or []
    except PackageNotFoundError:
        return {}
    missing: dict[str, list[str]] = {}
    for line in lines:
        found = REQUIREMENT.match(line)
        # An extra that only refers to other extras has no packages of its own.
        if found is None or found["extra"] == NOT_FOR_USERS or found["package"] == "lina":
            continue
        packages = missing.setdefault(found["extra"], [])
        if not _installed(found["package"]):
            packages.append(found["package"])
    return missing


def _installed(package: str) -> bool:
    try:
        return bool(version(package))
    except PackageNotFoundError:
        return False
