"""Settings of the book: `sphinx-build -W --keep-going docs docs/_build/html` runs every cell and writes the pages.

Nothing is fetched while it builds or when it is read: no fonts, no scripts of other hosts.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.config import Config

DOCS = Path(__file__).parent
ROOT = DOCS.parent
_FOLDERS = [str(ROOT / "src"), str(DOCS / "_extensions")]
sys.path[:0] = _FOLDERS

# Cells run this checkout, whatever is installed, and print nothing but their own.
os.environ["PYTHONPATH"] = os.pathsep.join([*_FOLDERS, *filter(None, [os.environ.get("PYTHONPATH")])])
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

project = "tconv"
author = "the authors of tconv"
project_copyright = "the authors of tconv, Apache-2.0"
language = "en"

# those of the second line are in docs/_extensions
extensions = ["sphinx.ext.autodoc", "myst_nb", "sphinx_design", "sphinx_copybutton"]
extensions += ["book_checks", "cell_tabs", "docstring_prose", "picture_words", "repository_links"]
exclude_patterns = ["_build", "_extensions", "_static", "**/.ipynb_checkpoints"]
nitpicky = True

# -- Markdown
myst_enable_extensions = ["colon_fence", "deflist", "fieldlist", "attrs_inline"]
myst_heading_anchors = 4
myst_url_schemes = {"http": None, "https": None, "explorer": "_static/explorer.html#{{path}}"}

# -- the API reference: docstrings are prose with `code` in single backticks, and examples
default_role = "code"
autodoc_member_order = "groupwise"
nitpick_ignore_regex = [(r"py:.*", r".*")]  # types in signatures: of other libraries, or of no use to a caller

# -- cells
nb_custom_formats = {".md": "python_cells.read"}
nb_execution_mode = "cache"
nb_execution_raise_on_error = False  # a warning, so that one build names all pages that fail; -W makes it an error
nb_execution_show_tb = True
nb_execution_in_temp = True
nb_execution_timeout = 120  # seconds, of one cell
nb_merge_streams = True
nb_output_stderr = "remove"  # what frameworks say as they are imported
nb_code_prompt_show = "Show the {type}"
nb_code_prompt_hide = "Hide the {type}"
nb_ipywidgets_js = {}  # no page has widgets, whose scripts would come from another host


def _fingerprint_of_the_sources() -> str:
    """Return a hash of all that the cells run: pages are executed again when the library changed."""
    found = hashlib.sha256()
    for path in sorted((ROOT / "src").rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            found.update(path.read_bytes())
    return found.hexdigest()[:12]


nb_execution_cache_path = str(DOCS / "_build" / "cells" / _fingerprint_of_the_sources())

# -- pages
html_theme = "furo"
pygments_dark_style = "github-dark"
html_title = "tconv"
html_static_path = ["_static", "../src/tconv/data/explorer.html"]
html_css_files = ["book.css"]
html_js_files = ["questions.js"]
html_copy_source = False
html_show_sphinx = False
copybutton_exclude = ".linenos, .gp, .go"


def _hide_missing_pages(app: Sphinx, config: Config) -> None:
    """Say nothing of the pages that a build of a few (-D include_patterns=...) leaves out of the table of contents."""
    if list(config.include_patterns) != ["**"]:
        config.suppress_warnings = [*config.suppress_warnings, "toc.excluded", "toc.not_readable"]


def setup(app: Sphinx) -> None:
    """Register what depends on the options of the build."""
    app.connect("config-inited", _hide_missing_pages)
