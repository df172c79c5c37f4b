"""How Sphinx makes the documentation, and of what: `tcpdl.manual`, and the table of series."""

from __future__ import annotations

from typing import Any

import tcpdl
from tcpdl.admin.series import SERIES
from tcpdl.manual.pages import PAGES, as_markdown

project = "tcpdl"
version = release = tcpdl.__version__
author = copyright = "the tcpdl maintainers"  # noqa: A001 - Sphinx calls it so

extensions = ["myst_parser"]
exclude_patterns = ["examples"]
nitpicky = True

html_theme = "furo"
html_title = f"tcpdl {version}"
html_copy_source = False
html_show_sourcelink = False

# Two dashes are those of an option, and quotes are to be copied.
smartquotes = False
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
suppress_warnings = ["misc.highlighting_failure"]

_MADE = {f"manual/{page.file_name}": page for page in PAGES}


def _source(app: Any, name: str, source: list[str]) -> None:
    """Put what is made in place of what a page of the manual has in its file."""
    if name in _MADE:
        source[0] = as_markdown(_MADE[name])
    source[0] = source[0].replace("```series\n```", _series())


def _series() -> str:
    """The table of all series."""
    rows = ["| series | labels | what it is |", "|---|---|---|"]
    for one in SERIES:
        labels = ", ".join(f"`{label}`" for label in one.labels)
        rows.append(f"| `{one.name}` ({one.kind}) | {labels} | {one.help} |")
    return "\n".join(rows)


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _source)
