"""Source code in a TorchScript archive, as syntax trees: classes and functions by name. Nothing is compiled."""

from __future__ import annotations

import ast
import re
import warnings
from dataclasses import dataclass, field

from tconv.errors import FileError
from tconv.models.inventory.pytorch.zip_archive import Archive

_MOST_CHARACTERS = 16 << 20
_MOST_SIGNS = 800_000  # each can be a node of a syntax tree, of about 1 kB
_WORDS = re.compile(r"[\w ]+")


@dataclass(eq=False)
class ScriptClass:
    """A class of TorchScript: its methods, and the constants in its body."""

    name: str
    methods: dict[str, ast.FunctionDef] = field(default_factory=dict)
    constants: dict[str, ast.expr] = field(default_factory=dict)


class ScriptCode:
    """Classes and functions of the files below `code/`, parsed when they are asked for."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._modules: dict[str, dict[str, ScriptClass | ast.FunctionDef]] = {}
        self._left, self._signs = _MOST_CHARACTERS, _MOST_SIGNS

    def find(self, name: str) -> ScriptClass | ast.FunctionDef | None:
        """Return the class or function of a full name, "__torch__.torch.nn.functional.pad"; None if there is none."""
        module, _, last = name.rpartition(".")
        return self._module(module).get(last)

    def _module(self, name: str) -> dict[str, ScriptClass | ast.FunctionDef]:
        if name not in self._modules:
            member = f"code/{name.replace('.', '/')}.py"
            self._modules[name] = self._parsed(name, member) if name and member in self._archive else {}
        return self._modules[name]

    def _parsed(self, module: str, member: str) -> dict[str, ScriptClass | ast.FunctionDef]:
        text = self._archive.text(member)
        self._left -= len(text)
        if self._left < 0:
            raise FileError(f"{self._archive.path} has more than {_MOST_CHARACTERS} characters of code")
        self._signs -= len(_WORDS.sub("", text))
        if self._signs < 0:
            raise FileError(f"{self._archive.path} has more than {_MOST_SIGNS} signs and lines of code")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise FileError(
                f"{self._archive.path}: {member} is damaged, or no TorchScript: {str(error)[:100]}. Write it again"
            ) from None
        found: dict[str, ScriptClass | ast.FunctionDef] = {}
        for node in tree.body:
            if isinstance(node, ast.FunctionDef):
                found[node.name] = node
            elif isinstance(node, ast.ClassDef):
                found[node.name] = _class(f"{module}.{node.name}", node)
        return found


def _class(name: str, node: ast.ClassDef) -> ScriptClass:
    made = ScriptClass(name)
    for part in node.body:
        if isinstance(part, ast.FunctionDef):
            made.methods[part.name] = part
        elif isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name) and part.value is not None:
            made.constants[part.target.id] = part.value
    return made
