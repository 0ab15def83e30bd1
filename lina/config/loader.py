"""Load a spec: includes, ``key=value`` overrides, interpolation, validation.

Nothing in a spec is executed, imported or read from the environment.
"""

import itertools
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import GrammarParseError, OmegaConfBaseException

from lina.config.codec_spec import CodecSpec
from lina.config.interpolation import REFERENCE_RULE, check_values, interpolate
from lina.config.layer_patterns import check_layer_patterns
from lina.config.renames import apply_renames
from lina.config.source_map import COMMAND_LINE, Key, Origin, SpecSource
from lina.config.spec import Spec
from lina.config.stale_options import without_stale_options
from lina.config.validation import validate
from lina.core.errors import SpecError, did_you_mean

MAX_BYTES = 1_000_000
MAX_FILES = 100
MAX_DEPTH = 40
MAX_EVENTS = 10_000
_KEY = re.compile(r"[\w-]{1,100}(\[\d{1,6}\])*(\.[\w-]{1,100}(\[\d{1,6}\])*){0,20}")
RENAMED_FOLDERS = {"seed": "lina_speech"}
"""Folders of the shipped specs: former name -> name."""

JOBS: dict[str, type[Spec] | type[CodecSpec]] = {"speech": Spec, "codec": CodecSpec}

log = logging.getLogger("lina")


def load_spec(path: str | Path, overrides: Sequence[str] = (), *, includes: bool = True) -> Spec:
    """The spec of job speech in the file ``path``; see ``load_job``.

    Raises:
        SpecError: one line, beginning with the file and line, for the first mistake.
    """
    spec = load_job(path, overrides, includes=includes)
    if not isinstance(spec, Spec):
        where = spec.origin.where(("job",))
        raise SpecError(f"{where}: job: {spec.job} does not train a speech model; name a spec of job speech")
    return spec


def load_job(path: str | Path, overrides: Sequence[str] = (), *, includes: bool = True) -> Spec | CodecSpec:
    """The spec of any job in the file ``path``, with ``key=value`` overrides on top.

    A file wins over what it includes, a later include over an earlier one, an override over all. Included files lie in
    the Git work tree of ``path``, else in the working directory if ``path`` does, else in the folder of ``path``.
    ``includes``: false refuses them.

    Raises:
        SpecError: one line, beginning with the file and line, for the first mistake.
    """
    root = _root(Path(path)) if includes else None
    sources = without_stale_options([*_command_line(overrides), *_files(Path(path), root, (), [])])
    origin = Origin(tuple(sources))
    tree = interpolate(_merge(sources), origin)
    job = tree.get("job", "speech")
    if not isinstance(job, str) or job not in JOBS:
        raise SpecError(f"{origin.where(('job',))}: job: unknown job {job!r}{did_you_mean(str(job), JOBS)}")
    tree, origin = apply_renames(JOBS[job], tree, origin)
    if includes:  # the stored spec of a run stays readable, as it was trained
        check_layer_patterns(tree, origin)
    return validate(JOBS[job], tree, origin).with_origin(origin)


def typed_values(settings: Sequence[str]) -> tuple[dict[str, Any], Origin]:
    """Tree and origin of ``key=value`` pairs from the command line.

    Raises:
        SpecError: a pair is not ``key=value``, or its value not YAML.
    """
    sources = _command_line(settings)
    origin = Origin((*sources, SpecSource(COMMAND_LINE, Path(), {})))
    return interpolate(_merge(origin.sources), origin), origin


def setting_keys(setting: str) -> list[str]:
    """Dotted keys that a ``key=value`` sets: of ``train={lr: 0.1}`` it is ``train.lr``.

    Raises:
        SpecError: as ``typed_values``.
    """

    def keys(tree: Any, prefix: str) -> list[str]:
        if not isinstance(tree, dict) or not tree:
            return [prefix]
        return [key for name, value in tree.items() for key in keys(value, f"{prefix}.{name}".lstrip("."))]

    return keys(_override(setting).tree, "")


def _merge(sources: Sequence[SpecSource]) -> dict[str, Any]:
    try:
        merged: Any = OmegaConf.to_container(
            OmegaConf.merge(*(source.tree for source in reversed(sources))), resolve=False
        )
    except (OmegaConfBaseException, ValueError, TypeError, AttributeError) as error:
        raise SpecError(
            _clash(sources) or f"{sources[-1].name}: cannot be composed: {_flat(error)}"
        ) from None
    return {str(key): value for key, value in merged.items()}


def _clash(sources: Sequence[SpecSource]) -> str:
    """Message for a list merged with a section, if there is one."""
    for upper, lower in itertools.combinations(sources, 2):
        if (key := _differing(upper.tree, lower.tree)) is not None:
            here, there = Origin((upper,)).where(key), Origin((lower,)).where(key)
            return (
                f"{here}: {'.'.join(map(str, key))}: a list and a section do not mix; the other is at {there}"
            )
    return ""


def _differing(upper: Any, lower: Any, key: Key = ()) -> Key | None:
    if isinstance(upper, dict) and isinstance(lower, dict):
        shared = (name for name in upper if name in lower)
        found = (_differing(upper[name], lower[name], (*key, name)) for name in shared)
        return next((one for one in found if one is not None), None)
    return key if {type(upper), type(lower)} == {dict, list} else None


def _command_line(overrides: Sequence[str]) -> list[SpecSource]:
    """One source per override, the last first."""
    return [_override(override) for override in reversed(overrides)]


def _override(override: str) -> SpecSource:
    key, equals, value = override.partition("=")
    if not equals or not _KEY.fullmatch(key):
        raise SpecError(f"{COMMAND_LINE}: {override[:100]!r} is not key=value, such as train.steps=100")
    if key.partition(".")[0] == "include":
        raise SpecError(f"{COMMAND_LINE}: include belongs in a spec file")
    tree = _parsed(f"{COMMAND_LINE}: {key}", value, lambda: OmegaConf.from_dotlist([override]))
    return _checked(SpecSource(COMMAND_LINE, Path(), tree))


def _root(path: Path) -> Path:
    """Folder of all includes of a spec: its Git work tree, else the working directory if it is there, else its own."""
    here = Path.cwd().resolve()
    try:
        own = path.resolve()
        work_tree = next((folder for folder in own.parents if (folder / ".git").exists()), None)
        return work_tree or (here if own.is_relative_to(here) else own.parent)
    except (OSError, ValueError, RuntimeError):  # no path: reading it says so
        return here


def _files(path: Path, root: Path | None, including: tuple[Path, ...], read: list[Path]) -> list[SpecSource]:
    """Sources of ``path`` and all its includes, highest precedence first. ``root``: None refuses includes."""
    path = _renamed(path)
    text = _text(path, including)
    here = path.resolve()
    if here in including:
        chain = " -> ".join(one.name for one in (*including[including.index(here) :], here))
        raise SpecError(f"{path}: includes itself: {chain}")
    read.append(here)
    if len(read) > MAX_FILES:
        raise SpecError(f"{read[0]}: includes more than {MAX_FILES} files")
    tree = _parsed(str(path), text, lambda: OmegaConf.create(text))
    if not isinstance(tree, dict):
        raise SpecError(
            f"{path}: a spec is keys and values, such as name: first; this is {type(tree).__name__}"
        )
    includes = tree.pop("include", [])
    own = _checked(SpecSource(str(path), path.parent, tree, text))
    sources = [own]
    for include in reversed(_include_list(own, includes)):
        included = path.parent / include
        if root is None:
            raise SpecError(
                f"{path}: include: the spec of a run includes no files; restore the run's own spec"
            )
        if not _lies_in(included, root):
            raise SpecError(
                f"{path}: include: {include!r} is outside of {root}; put it there, or run lina in a folder of both"
            )
        sources += _files(included, root, (*including, here), read)
    return sources


def _lies_in(path: Path, root: Path) -> bool:
    try:
        return path.resolve().is_relative_to(root)
    except (OSError, ValueError, RuntimeError):  # no path, or links in a circle: reading it says so
        return True


def _renamed(path: Path) -> Path:
    """The same spec under its folder's new name, where only that exists; otherwise ``path``."""
    folder = RENAMED_FOLDERS.get(path.parent.name)
    if folder is None or path.exists():
        return path
    renamed = path.parent.with_name(folder) / path.name
    if not renamed.is_file():
        return path
    log.warning("%s: the folder was renamed; reading %s", path, renamed)
    return renamed


def _include_list(source: SpecSource, includes: Any) -> list[str]:
    listed = [includes] if isinstance(includes, str) else includes
    if not isinstance(listed, list) or not all(isinstance(one, str) and one for one in listed):
        raise SpecError(f"{source.name}: include: expected a file or a list of files, found {includes!r}")
    for one in listed:
        if Path(one).is_absolute():
            raise SpecError(f"{source.name}: include: {one!r} is absolute; name it relative to this file")
    return listed


def _checked(source: SpecSource) -> SpecSource:
    check_values(source.tree, Origin((source,)))
    return source


def _text(path: Path, including: tuple[Path, ...]) -> str:
    by = f" (included by {including[-1].name})" if including else ""
    try:
        if not path.is_file():
            there = "is not a file" if path.exists() else "does not exist"
            near = [one.name for one in path.parent.glob("*.yaml")] if path.parent.is_dir() else []
            hint = did_you_mean(path.name, near[:20]) or "; name a YAML file such as specs/first.yaml"
            raise SpecError(f"{path}: this spec {there}{by}{hint}")
        if path.stat().st_size > MAX_BYTES:
            raise SpecError(f"{path}: a spec of more than {MAX_BYTES} bytes is refused{by}")
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise SpecError(f"{path}: not UTF-8 text (byte {error.start}){by}; save it as UTF-8") from None
    except (OSError, ValueError) as error:
        raise SpecError(f"{path}: cannot be read: {error}{by}") from None


def _parsed(name: str, text: str, create: Any) -> Any:
    """Parse ``text`` with OmegaConf, after refusing YAML bombs."""
    try:
        _small(name, text)
        return OmegaConf.to_container(create(), resolve=False)
    except yaml.MarkedYAMLError as error:
        where = _at_line(name, error.problem_mark or error.context_mark)
        raise SpecError(
            f"{where}: not valid YAML: {', '.join(filter(None, (error.context, error.problem)))}"
        ) from None
    except GrammarParseError as error:
        where = Origin((SpecSource(name, Path(), {}, text),)).where(tuple((error.full_key or "").split(".")))
        raise SpecError(f"{where}: {error.full_key}: its ${{...}} is not allowed; {REFERENCE_RULE}") from None
    except (yaml.YAMLError, OmegaConfBaseException, ValueError, AssertionError, RecursionError) as error:
        raise SpecError(f"{name}: not valid as a spec: {_flat(error) or type(error).__name__}") from None


def _small(name: str, text: str) -> None:
    """Refuse ``text`` at the first event beyond a limit.

    Read by PyYAML's own parser in Python, not by libyaml: libyaml scans up to a thousand brackets ahead of its
    first event, and has a limit of its own on them, which would be met before this one.
    """
    depth = 0
    for count, event in enumerate(yaml.parse(text, yaml.SafeLoader)):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH or count > MAX_EVENTS:
            limit = (
                f"nested deeper than {MAX_DEPTH}" if depth > MAX_DEPTH else f"more than {MAX_EVENTS} values"
            )
            raise SpecError(f"{_at_line(name, event.start_mark)}: {limit}; a spec is smaller than that")


def _at_line(name: str, mark: Any) -> str:
    """File and line of a YAML mark, if any; the command line has no lines."""
    return name if mark is None or name.startswith(COMMAND_LINE) else f"{name}:{mark.line + 1}"


def _flat(error: Exception) -> str:
    return " ".join(str(error).split())
