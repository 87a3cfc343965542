"""The structure of the package: layers of imports without circles, names that are used once, and files of one page."""

from __future__ import annotations

import ast
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"

LAYERS = (
    ("__main__",),
    ("cli",),
    ("bench",),
    ("__init__",),
    ("keras",),
    ("torch", "jax", "tensorflow", "onnx"),
    ("checking",),
    ("rewriting",),
    ("acceleration", "targets"),
    ("diagnosis",),
    ("upsampling",),
    ("scale",),
    ("streaming",),
    ("models",),
    ("draw",),
    ("io", "linalg", "size_solver"),
    ("weights",),
    ("operator",),
    ("kernels",),
    ("dialects",),
    ("definition",),
    ("_textbook_arguments",),
    ("geometry",),
    ("_arguments", "_memory"),
    ("_arrays", "_cached_property", "_extras", "_fork"),
    ("errors",),
)
"""Folders and modules of tconv from top to bottom: each may import what is in a line below its own."""

LOOSE_MODULES = 12
LONGEST_FILES = {"src": 450, "benchmarks": 450, "examples": 450, "tests": 1200}
KERNEL_PACKAGES = {"numpy", "llvmlite", "xxhash"}
OPENINGS = ("What", "Whether", "How", "Where", "Why", "Whose", "Who", "Which", "If", "So")
"""First words of docstrings that ask a question instead of describing a function, class or module."""


# -- the modules and their imports -------------------------------------------------------------------------------


@cache
def modules() -> dict[str, Path]:
    """Return the dotted name and the file of every module of tconv; a package has the name of its folder."""
    files = sorted((SOURCE / "tconv").rglob("*.py"))
    names = (".".join(file.relative_to(SOURCE).with_suffix("").parts) for file in files)
    return {name.removesuffix(".__init__"): file for name, file in zip(names, files, strict=True)}


@cache
def tree(name: str) -> ast.Module:
    return ast.parse(modules()[name].read_text())


def imported(name: str) -> Iterator[str]:
    """Yield all modules that a module imports, at its top, inside functions, or for typing only."""
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} has a relative import"
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                yield submodule if submodule in modules() else str(node.module)


@cache
def own_imports(name: str) -> set[str]:
    """Return the modules of tconv that a module imports."""
    return {other for other in imported(name) if other in modules()} - {name}


def unit(name: str) -> str:
    """Return the folder or module of tconv that a module belongs to, as it stands in LAYERS."""
    return name.split(".")[1] if "." in name else "__init__"


def circle_from(start: str) -> list[str] | None:
    """Return a shortest path of imports from a module back to itself."""
    paths, reached = [[start]], {start}
    for path in paths:
        for other in sorted(own_imports(path[-1])):
            if other == start:
                return [*path, start]
            if other not in reached:
                reached.add(other)
                paths.append([*path, other])
    return None


def test_imports_have_no_circle():
    circles = {frozenset(circle): " -> ".join(circle) for name in modules() if (circle := circle_from(name))}
    assert not circles, "\n".join(sorted(circles.values()))


def test_imports_point_downward():
    height = {name: row for row, names in enumerate(LAYERS) for name in names}
    assert set(map(unit, modules())) == set(height)
    upward = [
        f"{name} imports {other}"
        for name in modules()
        for other in own_imports(name)
        if unit(other) != unit(name) and height[unit(other)] <= height[unit(name)]
    ]
    assert not upward, "\n".join(sorted(upward))


def test_kernels_import_no_framework():
    known = KERNEL_PACKAGES | set(sys.stdlib_module_names) | {"tconv"}
    kernels = [name for name in modules() if unit(name) == "kernels"]
    assert len(kernels) > 20
    foreign = [f"{name}: {other}" for name in kernels for other in imported(name) if other.split(".")[0] not in known]
    assert not foreign


def test_the_parts_of_an_example_import_no_other_examples():
    files = sorted((ROOT / "examples").glob("*_parts/*.py"))
    folders = {file.parent.name for file in files}
    assert "shared_parts" in folders
    strays = []
    for file in files:
        nodes = ast.walk(ast.parse(file.read_text()))
        modules = [node.module for node in nodes if isinstance(node, ast.ImportFrom)]
        others = folders - {"shared_parts", file.parent.name}
        strays += [f"{file.relative_to(ROOT)}: {module}" for module in modules if module.split(".")[0] in others]
    assert not strays


# -- names -------------------------------------------------------------------------------------------------------


def definitions(name: str, kind: type) -> list[str]:
    """Return the names of the functions or classes at the top of a module."""
    return [node.name for node in tree(name).body if isinstance(node, kind)]


def test_few_modules_are_beside_the_folders():
    loose = [name for name in modules() if name.count(".") == 1 and modules()[name].parent == SOURCE / "tconv"]
    loose = [name for name in loose if not name.endswith("__")]
    assert len(loose) <= LOOSE_MODULES, loose


def test_no_public_function_shares_its_name_with_a_module_of_its_package():
    package_of = {
        name: name if file.name == "__init__.py" else name.rpartition(".")[0] for name, file in modules().items()
    }
    shared = [
        f"{name}:{function}"
        for name in modules()
        for function in definitions(name, ast.FunctionDef)
        if f"{package_of[name]}.{function}" in modules()
    ]
    assert not shared, "\n".join(shared)


def test_no_class_name_is_used_three_times():
    uses: dict[str, list[str]] = {}
    for name in modules():
        for kind in definitions(name, ast.ClassDef):
            uses.setdefault(kind, []).append(name)
    assert not {kind: names for kind, names in uses.items() if len(names) > 2}


# -- files and docstrings ----------------------------------------------------------------------------------------


def docstrings(name: str) -> Iterator[tuple[str, str]]:
    """Yield (place, docstring) of a module, its classes, functions and documented values."""
    for node in ast.walk(tree(name)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
            for statement in node.body:
                if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                    yield f"{name}:{statement.lineno}", str(statement.value.value)


def test_docstrings_begin_with_a_verb_or_a_noun():
    found = [entry for name in modules() for entry in docstrings(name)]
    assert len(found) > 1000
    openings = tuple(f"{word} " for word in OPENINGS)
    questions = [f"{place}: {text.splitlines()[0]}" for place, text in found if text.startswith(openings)]
    assert not questions, "\n".join(questions)


@pytest.mark.parametrize("folder", LONGEST_FILES)
def test_no_file_is_long(folder):
    lengths = Counter({file: len(file.read_text().splitlines()) for file in (ROOT / folder).rglob("*.py")})
    long = {str(file.relative_to(ROOT)): lines for file, lines in lengths.items() if lines > LONGEST_FILES[folder]}
    assert not long
