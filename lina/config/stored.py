"""Load the spec that a run directory holds."""

from collections.abc import Sequence
from pathlib import Path

from lina.config.codec_resolve import resolve_codec
from lina.config.codec_spec import CodecSpec
from lina.config.loader import load_job, load_spec
from lina.config.resolve import resolve
from lina.config.run_files import SPEC_FILE
from lina.config.spec import Spec
from lina.core.errors import PluginError, SpecError


def load_run_spec(directory: Path, overrides: Sequence[str] = ()) -> Spec:
    """The spec of a run or an exported voice, which may come from anyone.

    Raises:
        SpecError: it cannot be read, or includes other files: a run directory holds its whole spec.
    """
    return load_spec(directory / SPEC_FILE, overrides, includes=False)


def load_stored_spec(path: Path) -> Spec | CodecSpec:
    """The spec of an earlier start in current names, for comparison with the spec of this one.

    Configurations of plugins that cannot be loaded now stay as written: the comparison then names them.

    Raises:
        SpecError: the file cannot be read as a spec.
    """
    spec = load_job(path, includes=False)
    try:
        return resolve(spec).spec if isinstance(spec, Spec) else resolve_codec(spec).spec
    except (PluginError, SpecError):
        return spec
