"""Checks of the built book: no network is needed, answers and products are readable, all public names are there."""

from __future__ import annotations

import ast
import re
from html import unescape
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.util.logging import getLogger

PACKAGE = Path(__file__).parents[2] / "src" / "tconv"
FETCHED = re.compile(r"<(?:script|img|iframe|link)\b[^>]*\b(?:src|href)=\"((?:https?:)?//[^\"]*)\"")
ANSWER = re.compile(r"<details>\s*<summary>\s*Answer\s*</summary>(.*?)</details>", re.S)
EMPHASIS = re.compile(r"\w<em>[^<]*</em>|<em>[^<]*</em>\w")  # Markdown reads a*b and c*d so
SUBMODULES = ("definition", "draw", "torch", "jax", "tensorflow", "keras", "onnx", "scale", "models", "dialects")
DOCUMENTED_AS = {
    "tconv.TconvError": "tconv.errors.TconvError",
    "tconv.dialect": "tconv.dialects.dialect",
    "tconv.keras.LayerReport": "tconv.torch.LayerReport",
    "tconv.keras.Report": "tconv.torch.Report",
}
WARN = getLogger(__name__).warning


def setup(app: Sphinx) -> dict[str, bool]:
    """Run the checks when all pages are written."""
    app.connect("build-finished", _check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _check(app: Sphinx, failure: Exception | None) -> None:
    if failure or app.builder.name != "html" or app.config.include_patterns != ["**"]:
        return  # some pages only
    for page in sorted(Path(app.outdir).rglob("*.html")):
        text = page.read_text()
        for address in FETCHED.findall(text):
            WARN(f"{page.name} needs a network: it fetches {address}")
        for place in EMPHASIS.findall(text):
            WARN(f"{page.name} has a product that is read as emphasis: write {place!r} as code, or its star as \\*")
        if unanswered := sum(not _value(answer) for answer in ANSWER.findall(text)):
            WARN(f"{page.name} has {unanswered} answers without a value: end their cells with one")
    documented = {name for name, *_ in app.env.get_domain("py").get_objects()}
    for name in sorted(public_names()):
        if DOCUMENTED_AS.get(name, name) in documented:
            continue
        WARN(f"docs/api/ has no {name}, which is public: add it to the page of its kind")


def _value(answer: str) -> bool:
    """Return if an answer's cell shows letters or digits, with which a reader's answer can be compared."""
    shown = re.search(r'class="cell_output.*?<pre>(.*?)</pre>', answer, re.S)
    return bool(shown and re.search(r"[a-z0-9]", unescape(re.sub(r"<[^>]*>", "", shown[1])), re.I))


def public_names() -> set[str]:
    """Return the full names in `__all__` of tconv and of its public modules, read without importing them.

    >>> {"tconv.conv_transpose", "tconv.torch.accelerate"} <= public_names()
    True
    """
    files = {"tconv": PACKAGE / "__init__.py"} | {f"tconv.{name}": _file_of(name) for name in SUBMODULES}
    modules = {module.removeprefix("tconv.") for module in files} | {"initializers", "artifacts", "errors"}
    return {f"{module}.{name}" for module, file in files.items() for name in _exported(file) if name not in modules}


def _file_of(module: str) -> Path:
    folder = PACKAGE / module
    return folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")


def _exported(file: Path) -> list[str]:
    for statement in ast.parse(file.read_text()).body:
        if isinstance(statement, ast.Assign) and getattr(statement.targets[0], "id", "") == "__all__":
            return list(ast.literal_eval(statement.value))
    return []
