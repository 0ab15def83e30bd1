"""Sphinx configuration of the documentation site: ``make docs``."""

import lina

project = "lina"
author = "the lina authors"
copyright = "2026, the lina authors"
version = release = lina.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["samples"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4
suppress_warnings = ["myst.xref_missing_file"]
html_theme = "furo"
html_title = "lina"
html_static_path: list[str] = []
html_extra_path = ["samples"]
autodoc_typehints = "description"
autodoc_member_order = "bysource"
