"""Calls of one run of a module, as PyTorch's dispatcher sees them, with the sizes of that run."""

from __future__ import annotations

from typing import Any

from tconv.errors import FileError
from tconv.models.inventory.model_layer import ModelInput
from tconv.models.inventory.pytorch.constant_operations import OPERATIONS
from tconv.models.inventory.pytorch.module_arrays import array_of
from tconv.models.inventory.pytorch.program import AtenCall, Meta, Program, Value, values_in
from tconv.models.inventory.pytorch.signatures import SIGNATURES


def program_of_run(torch: Any, module: Any, example: Any) -> Program:
    """Return the calls of one run. Raises FileError if the module does not run on the example."""
    args: tuple[Any, ...] = tuple(example) if isinstance(example, (tuple, list)) else (example,)
    kwargs: dict[str, Any] = {}
    if isinstance(example, dict):
        args, kwargs = (), example
    recorder = _recorder(torch, module, [args, kwargs])
    handles = []
    try:
        for name, each in module.named_modules():
            handles += recorder.watch(name, each)
        with recorder:
            result = module(*args, **kwargs)
    except Exception as error:
        text = " ".join(str(error).split())[:200]
        raise FileError(
            f"the module does not run on the example: {type(error).__name__}: {text}. Write an example that fits it"
        ) from None
    finally:
        for handle in handles:
            handle.remove()
    program: Program = recorder.program
    results = recorder.flat(result)
    names = [recorder.name_of(tensor) for tensor in results]
    program.results = frozenset(names)
    program.outputs = [_described(name, tensor) for name, tensor in zip(names, results, strict=True)]
    return program


def _described(name: str, tensor: Any) -> ModelInput:
    return ModelInput(name, tuple(int(size) for size in tensor.shape), str(tensor.dtype).removeprefix("torch."))


def _recorder(torch: Any, module: Any, given: Any) -> Any:
    """Return a context that records every operation."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Recorder(TorchDispatchMode):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.program = Program()
            self._names: dict[int, str] = {}
            self._alive: list[Any] = []  # so that no id is used again
            self._constant: set[str] = set()
            self._stack: list[str] = []
            for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
                self._keep(name, tensor)
            for number, tensor in enumerate(self.flat(given)):
                name = f"input_{number}" if number else "x"
                self._called(tensor, name)
                self.program.inputs.append(_described(name, tensor))

        def flat(self, value: Any) -> list[Any]:
            """Return the tensors of nested containers."""
            return [each for each in torch.utils._pytree.tree_leaves(value) if isinstance(each, torch.Tensor)]

        def name_of(self, tensor: Any) -> str:
            """Return the name of a tensor; one that is not known is a constant."""
            if id(tensor) not in self._names:
                self._keep(f"constant_{len(self._names)}", tensor)
            return self._names[id(tensor)]

        def _keep(self, name: str, tensor: Any) -> None:
            self._called(tensor, name)
            self._constant.add(name)
            if not isinstance(tensor, torch.nn.parameter.UninitializedTensorMixin):
                self.program.constants[name] = array_of(torch, tensor)

        def _called(self, tensor: Any, name: str) -> None:
            self._names[id(tensor)] = name
            self._alive.append(tensor)
            if not isinstance(tensor, torch.nn.parameter.UninitializedTensorMixin):
                described = _described(name, tensor)
                self.program.metas[name] = Meta(described.shape, described.dtype)

        def watch(self, name: str, each: Any) -> list[Any]:
            """Return the handles of hooks that note which module is running."""

            def enter(*_: Any) -> None:
                self._stack.append(name)

            def leave(*_: Any) -> None:
                if self._stack:
                    self._stack.pop()

            try:
                return [each.register_forward_pre_hook(enter), each.register_forward_hook(leave, always_call=True)]
            except Exception:  # a compiled module takes no hooks
                return []

        def _argument(self, argument: Any) -> Any:
            if isinstance(argument, torch.Tensor):
                return Value(self.name_of(argument))
            if isinstance(argument, (list, tuple)):
                return [self._argument(part) for part in argument]
            if isinstance(argument, torch.dtype):
                return str(argument).removeprefix("torch.")
            return argument if argument is None or isinstance(argument, (bool, int, float, str)) else str(argument)[:99]

        def _unpacked(self, arguments: dict[str, Any], args: Any) -> dict[str, Any]:
            """Return the arguments that a quantized operation has packed with its weight."""
            try:
                weight, bias = args[1].unpack()
                names = ("stride", "padding", "output_padding", "dilation")
                packed: dict[str, Any] = {name: [int(each) for each in getattr(args[1], name)()] for name in names}
                packed["groups"] = int(args[1].groups())
            except (AttributeError, RuntimeError, IndexError):  # another kind of packed weight
                return arguments
            given = {"input": self._argument(args[0]), "weight": self._argument(weight), "bias": self._argument(bias)}
            return {**given, **packed}

        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            op, schema = function.__name__.split(".")[0], function._schema
            label = f"{schema.name.partition('::')[0]}.{op}"
            names = [argument.name for argument in schema.arguments]
            listed = SIGNATURES.get(op) if label.startswith("aten.") else None
            if listed is not None and len(listed) >= len(names):
                names = list(listed[: len(names)])
            arguments = {
                **{name: self._argument(value) for name, value in zip(names, args, strict=False)},
                **{name: self._argument(value) for name, value in (kwargs or {}).items()},
            }
            if label.startswith("quantized.conv_transpose"):
                arguments = self._unpacked(arguments, args)
            result = function(*args, **(kwargs or {}))
            outputs: list[str] = []
            for tensor in self.flat(result):
                name = f"{op.strip('_')}_{len(self.program.calls)}" + (f"_{len(outputs)}" if outputs else "")
                self._called(tensor, name)
                outputs.append(name)
            given = {value.name for value in values_in(list(arguments.values()))}
            stack = self._stack[-1].partition(".parametrizations")[0] if self._stack else ""
            self.program.calls.append(AtenCall(label, arguments, tuple(outputs), stack))
            if given <= self._constant:
                self._constant.update(outputs)
                if op not in OPERATIONS or not given:
                    for name, tensor in zip(outputs, self.flat(result), strict=True):
                        self.program.constants[name] = array_of(torch, tensor, op)
            return result

    return Recorder()
