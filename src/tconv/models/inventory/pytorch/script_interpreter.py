"""Reader of TorchScript's code: its statements are followed on abstract values, without numbers of tensors.

Conditions and loops that are known are taken as they are. Of others, both branches are read, and the body once; what
differs after them is unknown.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import Any

from tconv.errors import FileError
from tconv.models.inventory.pytorch.object_pickle import Record
from tconv.models.inventory.pytorch.program import Program, Value
from tconv.models.inventory.pytorch.script_calls import ScriptCalls
from tconv.models.inventory.pytorch.script_code import ScriptClass, ScriptCode
from tconv.models.inventory.pytorch.script_values import (
    Dotted,
    Method,
    Number,
    Raised,
    Returned,
    ScriptObject,
    is_known,
)
from tconv.models.inventory.pytorch.tensors import Tensor

_MOST_STATEMENTS = 100_000
_DEEPEST = 60
_WRAPPING = 16  # values that are read in the time in which one of the file is named
_ROOTS = ("torch", "ops", "__torch__", "CONSTANTS")
_TYPES = ("annotate", "unchecked_cast")

Names = dict[str, Any]
"""Values by the names of a function's variables."""


class Interpreter:
    """One reading of a model's forward method."""

    def __init__(self, code: ScriptCode, constants: list[Any]) -> None:
        self.program = Program()
        self._code, self._constants = code, constants
        self._calls = ScriptCalls(self.program)
        self._statements, self._depth = 0, 0
        self._attributes: dict[tuple[int, str], Any] = {}
        self._restored: set[int] = set()
        self._alive: list[Any] = []  # so that no id is used again

    def read(self, model: Record) -> None:
        """Add the calls of the model's forward method to the program. Raises FileError if there is none."""
        kind = self._class(model)
        if kind is None or "forward" not in kind.methods:
            raise FileError("its model has no forward method in its code. Write torch.jit.script(model).save(name)")
        definition = kind.methods["forward"]
        inputs = [argument.arg for argument in definition.args.args[1:]]
        owner = ScriptObject(model, "")
        given = [self._input(argument) for argument in definition.args.args[1:]]
        self.program.inputs = self._calls.inputs(inputs, given)
        result = self._run(definition, [owner, *given], {}, owner)
        names = self._calls.tensors(result)
        self.program.results = frozenset(names)
        self.program.outputs = self._calls.inputs(names, [Value(name) for name in names])

    def _input(self, argument: ast.arg) -> Any:
        text = ast.unparse(argument.annotation)[:50] if argument.annotation is not None else "Tensor"
        return Value(argument.arg) if "Tensor" in text else Number(argument.arg)

    def _class(self, record: Record) -> ScriptClass | None:
        found = self._code.find(record.kind)
        return found if isinstance(found, ScriptClass) else None

    # -- functions ----------------------------------------------------------------------------------------------------

    def _run(
        self, definition: ast.FunctionDef, positional: list[Any], keywords: Names, owner: ScriptObject | None
    ) -> Any:
        """Return the result of a function or method."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise FileError(f"its code has calls more than {_DEEPEST} deep")
        module, self._calls.module = self._calls.module, self._calls.module if owner is None else owner.path
        arguments = [argument.arg for argument in definition.args.args]
        names: Names = {}
        for name, default in zip(arguments[::-1], definition.args.defaults[::-1], strict=False):
            names[name] = self._value(default, {})
        names |= dict(zip(arguments, positional, strict=False)) | keywords
        if owner is not None and "forward" in definition.name:
            self._calls.note_unused(definition, owner.path, positional)
        try:
            self._block(definition.body, names)
        except Returned as end:
            return end.value
        finally:
            self._depth -= 1
            self._calls.module = module
        return None

    def _block(self, body: Iterable[ast.stmt], names: Names) -> None:
        for statement in body:
            self._statements += 1
            if self._statements > _MOST_STATEMENTS:
                raise FileError(f"its code has more than {_MOST_STATEMENTS} statements in a row")
            self._statement(statement, names)

    def _statement(self, statement: ast.stmt, names: Names) -> None:
        if isinstance(statement, ast.Assign):
            value = self._value(statement.value, names)
            for target in statement.targets:
                self._assign(target, value, names)
        elif isinstance(statement, ast.AnnAssign):
            if statement.value is not None:
                self._assign(statement.target, self._value(statement.value, names), names)
        elif isinstance(statement, ast.Expr):
            self._value(statement.value, names)
        elif isinstance(statement, ast.Return):
            raise Returned(None if statement.value is None else self._value(statement.value, names))
        elif isinstance(statement, ast.If):
            self._if(statement, names)
        elif isinstance(statement, ast.For):
            self._for(statement, names)
        elif isinstance(statement, ast.While):
            self._once(statement.body, names, "a loop")
        elif isinstance(statement, ast.With):
            for item in statement.items:
                self._value(item.context_expr, names)
            self._block(statement.body, names)

    def _assign(self, target: ast.expr, value: Any, names: Names) -> None:
        if isinstance(target, ast.Name):
            names[target.id] = value
        elif isinstance(target, (ast.Tuple, ast.List)):
            fits = isinstance(value, (list, tuple)) and len(value) == len(target.elts)
            parts = value if fits else self._calls.parts(value, len(target.elts))
            for each, part in zip(target.elts, parts, strict=True):
                self._assign(each, part, names)
        elif isinstance(target, ast.Attribute):
            owner = self._value(target.value, names)
            if isinstance(owner, ScriptObject):
                self._attributes[id(owner.record), target.attr] = value
                self._alive.append(owner.record)

    # -- conditions and loops -----------------------------------------------------------------------------------------

    def _if(self, statement: ast.If, names: Names) -> None:
        condition = self._value(statement.test, names)
        if isinstance(condition, (bool, int)):
            self._block(statement.body if condition else statement.orelse, names)
            return
        ends: list[tuple[Names | None, Any]] = []
        for body in (statement.body, statement.orelse):
            own = self._copied(names)
            with self._calls.inside("a branch"):
                try:
                    self._block(body, own)
                    ends.append((own, None))
                except Raised:
                    continue
                except Returned as end:
                    ends.append((None, end))
        if not ends:
            raise Raised
        going = [end for end, _ in ends if end is not None]
        returned = [end for _, end in ends if end is not None]
        if not going:
            values = [end.value for end in returned]
            raise Returned(values[0] if len(values) == 1 else self._calls.joined(values[0], values[1]))
        names.clear()
        names.update(going[0] if len(going) == 1 else self._calls.joined_names(*going))

    def _for(self, statement: ast.For, names: Names) -> None:
        items = self._value(statement.iter, names)
        if isinstance(items, (list, tuple, range)):
            for item in items:
                self._assign(statement.target, item, names)
                self._block(statement.body, names)
            return
        self._assign(statement.target, Number(), names)
        self._once(statement.body, names, "a loop")

    def _once(self, body: list[ast.stmt], names: Names, place: str) -> None:
        """Read the body of a loop whose number of rounds depends on the input; what it changes is unknown."""
        own = self._copied(names)
        with self._calls.inside(place):
            try:
                self._block(body, own)
            except Raised:
                return
        joined = self._calls.joined_names(names, own)
        names.clear()
        names.update(joined)

    def _copied(self, names: Names) -> Names:
        """Return names whose lists can be filled apart."""
        lists = sum(len(value) for value in names.values() if isinstance(value, list))
        self._calls.spend((len(names) + lists) // 4)
        return {name: list(value) if isinstance(value, list) else value for name, value in names.items()}

    # -- expressions --------------------------------------------------------------------------------------------------

    def _value(self, node: ast.expr, names: Names) -> Any:
        self._calls.spend()
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Name):
            return names[node.id] if node.id in names else self._name(node.id)
        if isinstance(node, (ast.List, ast.Tuple)):
            parts = [self._value(part, names) for part in node.elts]
            return parts if isinstance(node, ast.List) else tuple(parts)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            value = self._value(node.operand, names)
            return -value if isinstance(value, (int, float)) else Number()
        if isinstance(node, ast.Attribute):
            return self._attribute(self._value(node.value, names), node.attr)
        if isinstance(node, ast.Subscript):
            return self._item(self._value(node.value, names), self._value(node.slice, names))
        if isinstance(node, ast.Call):
            return self._call(node, names)
        return Number()

    def _name(self, name: str) -> Any:
        return {"True": True, "False": False, "None": None}.get(name, Dotted(name))

    def _attribute(self, owner: Any, name: str) -> Any:
        if isinstance(owner, Dotted):
            if owner.name == "CONSTANTS":
                return self._constant(name)
            return Dotted(f"{owner.name}.{name}")
        if not isinstance(owner, ScriptObject):
            return Number()
        self._restore(owner)
        key = id(owner.record), name
        if key in self._attributes:
            return self._attributes[key]
        path = f"{owner.path}.{name}" if owner.path else name
        if name in owner.record.attributes:
            return self._wrapped(owner.record.attributes[name], path)
        kind = self._class(owner.record)
        if kind is not None and name in kind.constants:
            return self._value(kind.constants[name], {})
        if kind is not None and name in kind.methods:
            return Method(owner, kind.methods[name])
        return Number()

    def _restore(self, owner: ScriptObject) -> None:
        """Fill an object by its `__setstate__`, on abstract values, if its state is no dictionary."""
        record = owner.record
        if id(record) in self._restored or record.state is None or isinstance(record.state, dict):
            return
        self._restored.add(id(record))
        self._alive.append(record)
        kind = self._class(record)
        if kind is not None and "__setstate__" in kind.methods:
            state = self._wrapped(record.state, f"{owner.path}.state" if owner.path else "state")
            self._run(kind.methods["__setstate__"], [owner, state], {}, None)

    def _wrapped(self, value: Any, path: str) -> Any:
        """Return a value of the file as the reader follows it."""
        self._calls.spend(_WRAPPING)
        if isinstance(value, Tensor):
            return self._calls.constant(path, value)
        if isinstance(value, Record):
            return ScriptObject(value, path)
        if isinstance(value, (list, tuple)):
            return type(value)(self._wrapped(part, f"{path}.{at}") for at, part in enumerate(value))
        return value if is_known(value) else Number()

    def _constant(self, name: str) -> Any:
        number = int(name[1:]) if name[1:].isdigit() and len(name) < 9 else -1
        if not 0 <= number < len(self._constants):
            raise FileError(f"its code reads {name[:50]}, which constants.pkl does not have")
        return self._wrapped(self._constants[number], f"CONSTANTS.{name}")

    def _item(self, owner: Any, index: Any) -> Any:
        if isinstance(owner, (list, tuple)) and isinstance(index, int) and -len(owner) <= index < len(owner):
            return owner[index]
        if isinstance(owner, Number):
            text = f"{owner.expression}[{index}]" if owner.expression and isinstance(index, int) else ""
            return Number(text)
        if isinstance(owner, Value):
            return self._calls.call("aten.select", [owner, 0, index], {})
        return Number()

    def _call(self, node: ast.Call, names: Names) -> Any:
        if isinstance(node.func, ast.Name) and node.func.id not in names:
            return self._builtin(node.func.id, node.args, names)
        function = self._value(node.func, names)
        positional = [self._value(argument, names) for argument in node.args]
        keywords = {each.arg: self._value(each.value, names) for each in node.keywords if each.arg}
        if isinstance(function, Method):
            return self._run(function.definition, [function.owner, *positional], keywords, function.owner)
        if not isinstance(function, Dotted):
            return self._calls.unknown([function, *positional, *keywords.values()])
        if function.name.startswith("__torch__."):
            found = self._code.find(function.name)
            if isinstance(found, ast.FunctionDef):
                return self._run(found, positional, keywords, None)
            return self._calls.unknown([*positional, *keywords.values()])
        return self._calls.function(function.name, positional, keywords)

    def _builtin(self, name: str, arguments: list[ast.expr], names: Names) -> Any:
        """Return the result of a function that is called by its bare name."""
        if name in _TYPES and len(arguments) == 2:
            return self._value(arguments[1], names)
        if name == "uninitialized":
            return Number()
        values = [self._value(argument, names) for argument in arguments]
        if name == "getattr" and len(values) >= 2 and isinstance(values[1], str):
            return self._attribute(values[0], values[1])
        if name == "range" and values and all(isinstance(value, int) for value in values):
            return range(*values[:3]) if len(range(*values[:3])) <= _MOST_STATEMENTS else Number()
        if name in ("int", "float", "bool") and len(values) == 1:
            text = isinstance(values[0], str) and name == "float"
            if isinstance(values[0], (int, float)) or text:
                return {"int": int, "float": float, "bool": bool}[name](values[0])
            return values[0] if isinstance(values[0], Number) else Number()
        return self._calls.unknown(values)
