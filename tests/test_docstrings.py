"""Every public function and class has an example that runs. Sources are read, nothing is imported."""

import ast
import doctest
from functools import cache
from pathlib import Path

import pytest

HOME = Path(__file__).parents[1] / "src" / "tconv"
FACES = [
    "tconv", "tconv.definition", "tconv.dialects", "tconv.draw", "tconv.jax", "tconv.keras", "tconv.keras.initializers",
    "tconv.models", "tconv.onnx", "tconv.scale", "tconv.tensorflow", "tconv.torch", "tconv.weights.artifacts",
    "tconv.weights.initializers",
]  # fmt: skip


def file_of(module):
    path = HOME.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def names_of(module):
    """Return what the statements of a module define: functions and classes, and (module, name) of imported ones."""
    found = {}
    for node in ast.walk(ast.parse(file_of(module).read_text())):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.col_offset == 0:
            found[node.name] = node
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tconv"):
            found |= {alias.asname or alias.name: (node.module, alias.name) for alias in node.names}
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = node.value
    return found


def definition_of(module, name):
    """Return the function or class of a public name; None for a module, a constant, or a name that is made."""
    node = names_of(module).get(name)
    if isinstance(node, tuple):
        is_module = file_of(".".join(node)).exists()
        return None if is_module or not file_of(node[0]).exists() else definition_of(*node)
    return node if isinstance(node, (ast.FunctionDef, ast.ClassDef)) else None


def public_names(module):
    names = names_of(module)
    if isinstance(names.get("__all__"), ast.List):
        return ast.literal_eval(names["__all__"])
    return [
        name for name, node in names.items() if name[0] != "_" and isinstance(node, (ast.FunctionDef, ast.ClassDef))
    ]


PUBLIC = {
    f"{module}.{name}": definition
    for module in FACES
    for name in public_names(module)
    if (definition := definition_of(module, name)) is not None
}


@pytest.mark.parametrize("name", PUBLIC)
def test_it_has_an_example_that_runs(name):
    examples = doctest.DocTestParser().get_examples(ast.get_docstring(PUBLIC[name]) or "")
    if isinstance(PUBLIC[name], ast.ClassDef):  # or its construction or call has one
        methods = [node for node in PUBLIC[name].body if isinstance(node, ast.FunctionDef)]
        texts = [ast.get_docstring(node) or "" for node in methods if node.name in ("__init__", "__call__")]
        examples += [each for text in texts for each in doctest.DocTestParser().get_examples(text)]
    assert [each for each in examples if not each.options.get(doctest.SKIP)], f"write an example into {name}"


def test_all_public_names_are_found():
    assert len(PUBLIC) > 100
    assert {"tconv.Geometry", "tconv.torch.accelerate", "tconv.scale.Job", "tconv.draw.scatter"} <= set(PUBLIC)
