"""Installed plugins: the entry points that distributions declare. Imports none of them."""

import importlib.metadata
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution

GROUPS = {
    "backbone": "lina.backbones",
    "codec": "lina.codecs",
    "tokenizer": "lina.tokenizers",
    "corpus": "lina.corpora",
    "recognizer": "lina.recognizers",
    "optimizer": "lina.optimizers",
    "schedule": "lina.schedules",
    "loss": "lina.losses",
    "hook": "lina.hooks",
}
"""Role -> entry-point group."""

ALLOW_LIST = "LINA_PLUGINS"
"""Environment variable: comma-separated ``role:name`` or distributions; if set, all others are left out."""


UNNAMED = "(unnamed)"


@dataclass(frozen=True, order=True)
class Record:
    """An installed plugin as its distribution declares it; not imported."""

    role: str
    name: str
    distribution: str
    version: str
    value: str
    """``module:Class``."""

    @property
    def full_name(self) -> str:
        return f"{self.role}:{self.name}"

    @property
    def allowed(self) -> bool:
        """False: ``LINA_PLUGINS`` is set and leaves this plugin out."""
        listed = os.environ.get(ALLOW_LIST)
        if listed is None:
            return True
        allowed = {item.strip() for item in listed.split(",")}
        names = (self.full_name, f"{self.distribution}:{self.name}")
        return not allowed.isdisjoint(names) or any(
            same_distribution(self.distribution, one) for one in allowed
        )

    def __str__(self) -> str:
        return f"{self.full_name} ({self.distribution} {self.version}, {self.value})"


def records(role: str | None = None) -> list[Record]:
    """Every installed plugin (of one role), sorted."""
    return sorted(
        record
        for distribution in _distributions()
        for record in _declared(distribution)
        if role in (None, record.role)
    )


def _distributions() -> Iterator[Distribution]:
    """Distributions with entry points; of two copies of one, the first on the path, as for imports."""
    seen = set()
    for distribution in importlib.metadata.distributions():
        declared = distribution.read_text("entry_points.txt")
        if declared is None or "lina." not in declared:
            continue
        name = _canonical(_distribution_name(distribution))
        if name == UNNAMED or name not in seen:
            seen.add(name)
            yield distribution


def same_distribution(one: str, other: str) -> bool:
    """Compare two names of distributions as package installers do."""
    return _canonical(one) == _canonical(other)


def _canonical(distribution_name: str) -> str:
    """Normalize a name as package installers do: ``My_Pack`` is ``my-pack``."""
    name = re.sub(r"[-_.]+", "-", distribution_name).lower()
    return "lina" if name == "lina-voice" else name  # one tree, packaged with and without PyTorch


def _distribution_name(distribution: Distribution) -> str:
    # Metadata without a name is None or an error, by Python version; neither may hide the other plugins.
    try:
        return distribution.metadata["Name"] or UNNAMED
    except Exception:
        return UNNAMED


def _distribution_version(distribution: Distribution) -> str:
    try:
        return distribution.metadata["Version"] or "unknown"
    except Exception:
        return "unknown"


def _declared(distribution: Distribution) -> Iterator[Record]:
    roles = {group: role for role, group in GROUPS.items()}
    try:
        found = [entry for entry in distribution.entry_points if entry.group in roles]
    except Exception:
        return
    name, version = _distribution_name(distribution), _distribution_version(distribution)
    for entry in found:
        yield Record(roles[entry.group], entry.name, name, version, entry.value)
