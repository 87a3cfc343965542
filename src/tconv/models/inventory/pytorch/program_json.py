"""Reader of the graphs in an exported program's JSON, inner ones (branches, loops, contexts) in place."""

from __future__ import annotations

from typing import Any

from tconv.errors import FileError
from tconv.models.inventory.model_layer import ModelInput
from tconv.models.inventory.pytorch.program import AtenCall, Meta, Program, Value, values_in
from tconv.models.inventory.pytorch.symbolic_sizes import expression_of, size_of
from tconv.models.inventory.pytorch.tensors import SCALAR_TYPES

_DEEPEST = 20
_MOST_CALLS = 500_000
_PLAIN = (
    "as_int",
    "as_ints",
    "as_float",
    "as_floats",
    "as_string",
    "as_strings",
    "as_bool",
    "as_bools",
    "as_int_lists",
    "as_float_lists",
    "as_operator",
)
_ONE = ("as_tensor", "as_sym_int", "as_sym_bool", "as_sym_float", "as_optional_tensor")
_SEVERAL = ("as_tensors", "as_sym_ints", "as_sym_bools", "as_sym_floats", "as_optional_tensors")
_CONTEXTS = ("wrap_with_set_grad_enabled", "wrap_with_autocast", "hints_wrapper", "invoke_subgraph")
_LATER = {13: "bfloat16", 28: "uint16", 34: "uint32", 35: "uint64", 29: "float8_e4m3fn", 30: "float8_e5m2"}


def scalar_type(number: Any) -> str:
    """Return the name of a type of the schema's numbers, which are one above PyTorch's own."""
    if type(number) is not int:
        return "?"
    return _LATER.get(number) or (SCALAR_TYPES.get(number - 1, "?") if number <= 12 else f"type {number}")


class GraphReader:
    """Conversion of one description to a program."""

    def __init__(self, graph: dict[str, Any], signature: dict[str, Any]) -> None:
        self._graph, self._signature = graph, signature
        self._program = Program()
        self._owners: dict[str, str] = {}
        self._expressions: dict[str, str] = {}
        self._fresh = 0

    def program(self) -> Program:
        """Return the program, without its constants. Raises FileError, and KeyError or TypeError for other JSON."""
        inputs = []
        for entry in self._signature.get("input_specs", ()):
            for kind in ("parameter", "buffer", "tensor_constant"):
                if kind in entry:
                    self._owners[entry[kind]["arg"]["name"]] = str(entry[kind].get(f"{kind}_name", ""))
            if "user_input" in entry:
                inputs += _names(entry["user_input"]["arg"])
        outputs: list[str] = []
        for entry in self._signature.get("output_specs", ()):
            if "user_output" in entry:
                outputs += _names(entry["user_output"]["arg"])
        self._read(self._graph, {}, "", 0)
        self._program.inputs = self._described(inputs)
        self._program.outputs = self._described(outputs)
        self._program.results = frozenset(outputs)
        return self._program

    def _described(self, names: list[str]) -> list[ModelInput]:
        found = []
        for name in dict.fromkeys(names):
            meta = self._program.metas.get(name)
            if meta is not None:
                found.append(ModelInput(name, meta.shape, meta.dtype))
        return found

    def _read(self, graph: dict[str, Any], renamed: dict[str, str], place: str, depth: int) -> None:
        """Add the calls of a graph; `renamed` are names of its values that have another one in the program."""
        if depth > _DEEPEST:
            raise FileError(f"its graphs are nested more than {_DEEPEST} deep")
        for name, meta in graph.get("tensor_values", {}).items():
            self._program.metas.setdefault(renamed.get(name, name), _meta(meta))
        for name, entry in graph.get("sym_int_values", {}).items():
            inner = entry.get("as_expr") if isinstance(entry, dict) else None
            if isinstance(inner, dict) and isinstance(inner.get("expr_str"), str):
                self._expressions[renamed.get(name, name)] = str(expression_of(inner["expr_str"]) or "")
        for node in graph["nodes"]:
            self._node(node, renamed, place, depth)

    def _node(self, node: dict[str, Any], renamed: dict[str, str], place: str, depth: int) -> None:
        if len(self._program.calls) >= _MOST_CALLS:
            raise FileError(f"it has more than {_MOST_CALLS} operations")
        op = _op(str(node["target"]))
        arguments: dict[str, Any] = {}
        graphs: list[tuple[str, dict[str, Any]]] = []
        for number, entry in enumerate(node["inputs"]):
            inner = entry["arg"].get("as_graph")
            if isinstance(inner, dict):
                graphs.append((str(inner.get("name", "")), inner["graph"]))
            else:
                arguments[str(entry.get("name") or number)] = self._argument(entry["arg"], renamed)
        outputs = tuple(renamed.get(name, name) for entry in node["outputs"] for name in _names(entry))
        if graphs:
            self._inner(op, graphs, arguments, outputs, depth)
            if op.rpartition(".")[2] in _CONTEXTS:
                return
        module = self._module(node.get("metadata"), arguments)
        self._program.calls.append(AtenCall(op, arguments, outputs, module, place))

    def _inner(
        self,
        op: str,
        graphs: list[tuple[str, dict[str, Any]]],
        arguments: dict[str, Any],
        outputs: tuple[str, ...],
        depth: int,
    ) -> None:
        """Add the calls of inner graphs, whose inputs are the last values that the call is given."""
        given = [value.name for value in values_in(list(arguments.values()))]
        context = op.rpartition(".")[2] in _CONTEXTS
        for label, graph in graphs:
            inputs = [name for entry in graph["inputs"] for name in _names(entry)]
            self._fresh += 1
            own = {name for node in graph["nodes"] for entry in node["outputs"] for name in _names(entry)}
            renamed = {name: f"{name}@{self._fresh}" for name in own}
            if len(given) >= len(inputs):
                renamed |= dict(zip(inputs, given[len(given) - len(inputs) :], strict=True))
            if context:
                results = [name for entry in graph["outputs"] for name in _names(entry)]
                renamed |= {inner: outer for inner, outer in zip(results, outputs, strict=False) if inner in own}
            self._read(graph, renamed, "" if context else f"{op.rpartition('.')[2]}'s {label}"[:100], depth + 1)

    def _argument(self, argument: Any, renamed: dict[str, str]) -> Any:
        """Return an argument as Python's constants and values."""
        if not isinstance(argument, dict) or len(argument) != 1:
            raise FileError("an argument is no object of one entry")
        ((kind, given),) = argument.items()
        if kind in _PLAIN:
            return given
        if kind in _ONE:
            return self._value(given, renamed)
        if kind in _SEVERAL:
            return [self._value(each, renamed) for each in given]
        if kind == "as_nested_tensors":
            return [[self._value(each, renamed) for each in row] for row in given]
        if kind == "as_scalar_type":
            return scalar_type(given)
        return None

    def _value(self, entry: Any, renamed: dict[str, str]) -> Any:
        """Return one value, or the number in its place."""
        if not isinstance(entry, dict):
            raise FileError("a value has no name")
        if isinstance(entry.get("as_tensor"), dict):
            entry = entry["as_tensor"]
        for key in ("as_int", "as_float", "as_bool"):
            if key in entry:
                return entry[key]
        name = entry.get("name", entry.get("as_name"))
        if not isinstance(name, str):
            return None
        name = renamed.get(name, name)
        return Value(name, self._expressions.get(name, ""))

    def _module(self, metadata: Any, arguments: dict[str, Any]) -> str:
        """Return the name of the module that makes a call, from its stack or its parameters."""
        stack = metadata.get("nn_module_stack") if isinstance(metadata, dict) else None
        if isinstance(stack, str) and stack:
            entry = stack[-4000:].rpartition(";")[2].split(",")
            if len(entry) > 1:
                return entry[1].removeprefix("L['self'].").partition(".parametrizations")[0][:200]
        for value in values_in(list(arguments.values())):
            if owner := self._owners.get(value.name):
                return owner.rpartition(".")[0].partition(".parametrizations")[0]
        return ""


def _names(entry: Any) -> list[str]:
    """Return the names of the values in an argument; constants have none."""
    if not isinstance(entry, dict):
        return []
    for kind, given in entry.items():
        parts = [given] if kind in _ONE else given if kind in _SEVERAL and isinstance(given, list) else []
        found = [each.get("name", each.get("as_name")) for each in parts if isinstance(each, dict)]
        if parts:
            return [name for name in found if isinstance(name, str)]
    return []


def _op(target: str) -> str:
    """Return an operation without its overload: "aten.conv_transpose2d" for "torch.ops.aten.conv_transpose2d.input"."""
    if not target.startswith("torch.ops."):
        return target[:200]
    parts = target.removeprefix("torch.ops.").split(".")
    return ".".join(parts[:2])[:200]


def _meta(entry: Any) -> Meta:
    if not isinstance(entry, dict):
        return Meta()
    sizes = entry.get("sizes")
    shape = tuple(size_of(each) for each in sizes) if isinstance(sizes, list) and len(sizes) < 65 else None
    return Meta(shape, scalar_type(entry.get("dtype")))
