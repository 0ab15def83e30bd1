"""Sphinx configuration of the documentation site: ``make docs``."""

import shutil
from pathlib import Path

from sphinx.application import Sphinx

import lina

project = "lina"
author = "the lina authors"
copyright = "2026, the lina authors"
version = release = lina.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["samples"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4
html_theme = "furo"
html_title = "lina"
autodoc_typehints = "description"
autodoc_member_order = "bysource"


def copy_samples(app: Sphinx, exception: Exception | None) -> None:
    """Copy the page of samples with its players, which is no page of Sphinx's."""
    if exception is None and app.builder.name == "html":
        source = Path(app.srcdir) / "samples"
        shutil.copytree(source, Path(app.outdir) / "samples", dirs_exist_ok=True)


def setup(app: Sphinx) -> None:
    app.connect("build-finished", copy_samples)
