"""Calls that a module makes, by `torch.fx` or by its registered submodules; a leaf module becomes an operation.

No numbers are computed, so shapes are unknown.
"""

from __future__ import annotations

import re
from typing import Any

from tconv.models.inventory.model_layer import ModelInput
from tconv.models.inventory.pytorch.module_arrays import array_of, parameter_of
from tconv.models.inventory.pytorch.program import AtenCall, Meta, Program, Value
from tconv.models.inventory.pytorch.signatures import named

_CONVOLUTION = re.compile(r"Conv(Transpose)?([123])d")
_MOST_DEPTH = 200


def convolution_kind(module: Any) -> tuple[bool, int] | None:
    """Return (is transposed, axes) of a convolution of PyTorch or tconv; None for any other module."""
    for base in type(module).__mro__:
        match = _CONVOLUTION.fullmatch(base.__name__.removeprefix("Lazy").removeprefix("Parametrized"))
        if match and base.__module__.partition(".")[0] in ("torch", "tconv"):
            return bool(match[1]), int(match[2])
    return None


class ModuleCalls:
    """Collector of the calls of one module."""

    def __init__(self, torch: Any, module: Any) -> None:
        self._torch, self._module = torch, module
        self._program = Program()
        self._next = 0

    # -- by torch.fx --------------------------------------------------------------------------------------------------

    def traced(self) -> Program:
        """Return the program that `torch.fx` finds. Raises whatever the module's code raises on proxies."""
        torch = self._torch

        class Tracer(torch.fx.Tracer):  # type: ignore[misc,name-defined]
            def is_leaf_module(self, m: Any, module_qualified_name: str) -> bool:
                return convolution_kind(m) is not None or super().is_leaf_module(m, module_qualified_name)

        if convolution_kind(self._module) is not None:
            return self.walked()
        graph = Tracer().trace(self._module)
        for node in graph.nodes:
            if node.op == "placeholder":
                self._program.inputs.append(ModelInput(node.name, None))
            elif node.op == "get_attr":
                self._constant(node.name, str(node.target))
            elif node.op == "call_module":
                given = [self._argument(each) for each in node.args]
                extra = {key: self._argument(value) for key, value in node.kwargs.items()}
                self._leaf(str(node.target), self._module.get_submodule(node.target), given, node.name, extra)
            elif node.op in ("call_function", "call_method"):
                self._function(node)
            elif node.op == "output":
                results = [value.name for value in node.all_input_nodes]
                self._program.results = frozenset(results)
                self._program.outputs = [ModelInput(name, None) for name in results]
        return self._program

    def _constant(self, name: str, path: str) -> None:
        """Take a parameter or buffer that the module's code reads by itself."""
        found = self._module
        for part in path.split("."):
            found = getattr(found, part)
        if isinstance(found, self._torch.Tensor):
            self._program.constants[name] = array_of(self._torch, found)

    def _argument(self, argument: Any) -> Any:
        if isinstance(argument, self._torch.fx.Node):
            return Value(argument.name)
        if isinstance(argument, (list, tuple)):
            return [self._argument(part) for part in argument]
        if isinstance(argument, self._torch.dtype):
            return str(argument).removeprefix("torch.")
        return argument if argument is None or isinstance(argument, (bool, int, float, str)) else str(argument)[:100]

    def _function(self, node: Any) -> None:
        name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
        name = {"truediv": "div", "iadd": "add", "imul": "mul"}.get(name.strip("_"), name)
        positional = [self._argument(each) for each in node.args]
        keywords = {key: self._argument(value) for key, value in node.kwargs.items()}
        if name in ("view", "reshape", "permute", "expand") and len(positional) > 2:
            positional = [positional[0], positional[1:]]
        module = ""
        stack = node.meta.get("nn_module_stack") or {}
        for entry in stack.values():
            module = str(entry[0]) if isinstance(entry, tuple) else str(entry)
        self._program.calls.append(AtenCall(f"aten.{name}", named(name, positional, keywords), (node.name,), module))

    # -- by registered submodules -------------------------------------------------------------------------------------

    def walked(self) -> Program:
        """Return the calls of the submodules in the order in which they are registered."""
        self._walk("", self._module, Value("x"), 0)
        return self._program

    def _walk(self, name: str, module: Any, value: Value, depth: int) -> Value:
        """Add the calls of a module on a value, and return its result."""
        if depth > _MOST_DEPTH:
            return self._fresh()
        children = list(module.named_children())
        if convolution_kind(module) is not None or not children:
            if not isinstance(module, (self._torch.nn.ModuleList, self._torch.nn.ModuleDict)):
                return self._leaf(name, module, [value], self._fresh().name, {})
            return value
        chained = isinstance(module, self._torch.nn.Sequential)
        for key, child in children:
            own = f"{name}.{key}" if name else key
            result = self._walk(own, child, value if chained else self._fresh(), depth + 1)
            value = result if chained else value
        return value if chained else self._fresh()

    def _fresh(self) -> Value:
        self._next += 1
        return Value(f"value_{self._next}")

    # -- modules that are one operation -------------------------------------------------------------------------------

    def _leaf(self, name: str, module: Any, given: list[Any], output: str, keywords: dict[str, Any]) -> Value:
        """Add the call of a module without submodules, and return its result."""
        kind = type(module).__name__
        convolution = convolution_kind(module)
        if convolution is not None:
            self._convolution(name, module, *convolution, given, output, keywords)
            return Value(output)
        source = given[0] if given else next(iter(keywords.values()), None)
        arguments: dict[str, Any] = {}
        if "BatchNorm" in kind or kind == "InstanceNorm":
            op = "batch_norm"
            arguments = {"input": source, **self._arrays(name, module, "weight", "bias", "running_mean", "running_var")}
            arguments |= {"training": False, "eps": float(module.eps)}
        elif kind == "PixelShuffle":
            op, arguments = "pixel_shuffle", {"self": source, "upscale_factor": module.upscale_factor}
        elif kind in ("ZeroPad1d", "ZeroPad2d", "ZeroPad3d", "ConstantPad1d", "ConstantPad2d", "ConstantPad3d"):
            op, arguments = (
                "constant_pad_nd",
                {"self": source, "pad": list(module.padding), "value": float(module.value)},
            )
        elif kind in ("Identity", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d"):
            op, arguments = "alias", {"self": source}
        else:
            op = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind).lower().replace("leaky_re_lu", "leaky_relu")
            op = {"re_lu": "relu", "re_lu6": "relu6", "si_lu": "silu"}.get(op, op)
            own = ("negative_slope", "alpha", "min_val", "max_val", "dim", "eps", "num_groups", "approximate")
            facts = {
                key: getattr(module, key) for key in own if isinstance(getattr(module, key, None), (int, float, str))
            }
            arguments = {"self": source, **facts, **self._arrays(name, module, "weight", "bias")}
        self._program.calls.append(AtenCall(f"aten.{op}", arguments, (output,), name))
        return Value(output)

    def _arrays(self, name: str, module: Any, *roles: str) -> dict[str, Any]:
        """Return the values of a module's parameters and buffers, which become constants of the program."""
        found: dict[str, Any] = {}
        for role in roles:
            array = parameter_of(self._torch, module, role)
            if array is None:
                continue
            label = f"{name}.{role}" if name else role
            if isinstance(array, str):
                self._program.absent[label] = array
            else:
                self._program.constants[label] = array
                self._program.metas[label] = Meta(array.shape, array.dtype)
            found[role] = Value(label)
        return found

    def _convolution(
        self,
        name: str,
        module: Any,
        transposed: bool,
        axes: int,
        given: list[Any],
        output: str,
        keywords: dict[str, Any],
    ) -> None:
        source = given[0] if given else keywords.get("input")
        arguments = {"input": source, **self._arrays(name, module, "weight", "bias")}
        for key in ("stride", "padding", "dilation", *(["output_padding"] if transposed else [])):
            value = getattr(module, key)
            arguments[key] = value if isinstance(value, str) else list(value) if isinstance(value, tuple) else value
        arguments["groups"] = int(module.groups)
        mode = getattr(module, "padding_mode", "zeros")
        if not transposed and mode != "zeros":
            self._program.calls.append(
                AtenCall(
                    "aten.pad",
                    {"self": source, "pad": list(module._reversed_padding_repeated_twice), "mode": mode},
                    (f"{output}_pad",),
                    name,
                )
            )
            arguments |= {"input": Value(f"{output}_pad"), "padding": [0] * axes}
        if transposed and (given[1:] or keywords.get("output_size") is not None):
            arguments["output_padding"] = [Value(f"{output}_size", "from output_size")]
        parts = type(module).__module__.split(".")
        space = "quantized" if "quantized" in parts and "dynamic" not in parts else "aten"
        op = f"{space}.conv_transpose{axes}d" if transposed else f"{space}.conv{axes}d"
        self._program.calls.append(AtenCall(op, arguments, (output,), name))
