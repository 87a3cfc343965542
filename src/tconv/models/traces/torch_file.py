"""Reader of TorchScript files and exported PyTorch programs.

A run is watched at PyTorch's dispatcher, below TorchScript's interpreter. So loops and conditions are unrolled,
`output_size` has become an output_padding, and a weight that a weight norm computes is a tensor like any other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.errors import FileError, MissingExtraError
from tconv.models.traces.torch_archive import reason_against
from tconv.models.traces.trace import Input, LayerCall, Recorder, RunError, Trace, plain

_CONVOLUTIONS = ("convolution", "_convolution", "convolution_overrideable")
_NO_DATA = ("empty", "empty_like", "new_empty", "sym_size", "size", "scalar_tensor")
_MOST_GUESSES = 24


def open_network(path: Path, runtime: str) -> TorchFile:
    """Return the network in a .pt or .pt2 file. Raises FileError, MissingExtraError."""
    try:
        import torch
    except ImportError:
        raise MissingExtraError(f"{path.name}", "torch", "torch") from None
    torch.set_grad_enabled(False)
    try:
        if path.suffix.lower() == ".pt2":
            return _Program(torch, torch.export.load(path))
        script = torch.jit.load(path, map_location="cpu").eval()
    except Exception:
        raise FileError(
            f"{path} is neither TorchScript nor an exported program: {reason_against(path)}. Pickled modules are not "
            f"read, because that would run their code. Write {_saving(path.stem, path.suffix)}"
        ) from None
    torch.jit.set_fusion_strategy([])
    return _Script(torch, script)


def _saving(stem: str, ending: str) -> str:
    """Return the statement that saves a PyTorch model so that it is read, beside the file, which may be its weights."""
    if ending.lower() == ".pt2":
        return f"torch.export.save(torch.export.export(model, (x,)), {stem + '_export.pt2'!r})"
    return f"torch.jit.script(model).save({stem + '_script.pt'!r})"


class TorchFile:
    """A module that is called with tensors."""

    inputs: list[Input]

    def __init__(self, torch: Any, module: Any) -> None:
        self._torch, self._module = torch, module

    def run(self, feeds: list[Array]) -> list[Array]:
        """Return the outputs, those of tuples and dictionaries one after another."""
        return [array for array in map(plain, self._call(self._tensors(feeds))) if array is not None]

    def trace(self, feeds: list[Array]) -> Trace:
        """Return outputs, steps and tensors."""
        tensors = self._tensors(feeds)
        watcher = _watcher(self._torch, self._module, tensors)
        try:
            with watcher:
                outputs = list(self._call(tensors))
        except RunError:
            self.run(feeds)  # TorchScript leaves out the reason where it is watched, so that the plain run has it
            raise
        recorder: Recorder = watcher.recorder
        return recorder.finish([array for array in map(plain, outputs) if array is not None])

    def _tensors(self, feeds: list[Array]) -> list[Any]:
        return [self._torch.from_numpy(np.array(feed)) for feed in feeds]

    def _call(self, tensors: list[Any]) -> Iterator[Any]:
        try:
            yield from _flat(self._torch, self._apply(tensors))
        except Exception as error:  # TorchScript and the guards of programs raise many types
            raise RunError(f"PyTorch fails: {_reason(error)}") from None

    def _apply(self, tensors: list[Any]) -> Any:
        return self._module(*tensors)


class _Script(TorchFile):
    """A TorchScript module; the file contains no shapes of inputs."""

    def __init__(self, torch: Any, module: Any) -> None:
        super().__init__(torch, module)
        guesses = tuple(_guesses(module))
        self.inputs = []
        for argument in module.forward.schema.arguments[1:]:
            kind = str(argument.type)
            if kind == "Tensor":
                self.inputs.append(Input(argument.name, None, layout="first", guesses=guesses))
            elif not argument.has_default_value():
                raise FileError(f"its input {argument.name!r} is {kind}; tensors are needed. Write a module of tensors")


class _Program(TorchFile):
    """An exported program; its graph contains the shapes of the example."""

    def __init__(self, torch: Any, program: Any) -> None:
        super().__init__(torch, program.module())
        self._program = program
        placeholders = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
        self._leaves: list[Any] = []
        self.inputs = []
        for given in program.graph_signature.user_inputs:
            value = placeholders[given].meta.get("val") if isinstance(given, str) and given in placeholders else given
            if isinstance(value, torch.Tensor):
                shape = tuple(size if type(size) is int else None for size in value.shape)
                self.inputs.append(Input(str(given), shape, str(value.dtype).removeprefix("torch."), "first"))
                self._leaves.append(None)
            else:
                self._leaves.append((value,))

    def _apply(self, tensors: list[Any]) -> Any:
        given = iter(tensors)
        leaves = [next(given) if leaf is None else leaf[0] for leaf in self._leaves]
        args, kwargs = self._torch.utils._pytree.tree_unflatten(leaves, self._program.call_spec.in_spec)
        return self._module(*args, **kwargs)


def _reason(error: Exception) -> str:
    """Return the last line of an error that says something; TorchScript's begin with pages of code.

    A last line that only names a type follows the line of code that fails.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    if not lines[-1].endswith(":"):
        return lines[-1][:300]
    marked = next((number for number, line in enumerate(lines) if "<--- HERE" in line), 0)
    return f"{lines[-1][:-1][:80]} in {lines[marked - 1][:200]!r}" if marked else f"{lines[-1][:-1][:300]}, no reason"


def _guesses(module: Any) -> Iterator[tuple[int | None, ...]]:
    """Yield shapes of inputs that the parameters suggest: those of the first convolutions and matrices."""
    found: list[tuple[int | None, ...]] = []
    for _, parameter in list(module.named_parameters()) + list(module.named_buffers()):
        shape = tuple(parameter.shape)
        if len(shape) >= 3:
            found += [(1, channels, *[None] * (len(shape) - 2)) for channels in (shape[1], shape[0])]
        elif len(shape) == 2:
            found += [(1, shape[1]), (1, None, shape[1])]
        if len(shape) >= 3 and shape[1] == 1:  # a depthwise kernel, after any first layer
            found += [(1, channels, *[None] * (len(shape) - 2)) for channels in (3, 1)]
    yield from list(dict.fromkeys(found))[:_MOST_GUESSES]


def _flat(torch: Any, value: Any) -> Iterator[Any]:
    """Yield the tensors of nested tuples, lists and dictionaries."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _flat(torch, part)
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from _flat(torch, part)


def _watcher(torch: Any, module: Any, inputs: list[Any]) -> Any:
    """Return a context that records every operation on tensors that depend on the inputs."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Watcher(TorchDispatchMode):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.recorder = Recorder()
            self._numbers: dict[tuple[int, int], int] = {}
            self._alive: list[Any] = []  # so that no id is used again
            self._owners = {id(tensor): name for name, tensor in _named(module)}
            self._addresses = {tensor.data_ptr(): name for name, tensor in _named(module) if tensor.numel()}
            for tensor in inputs:
                self._number(tensor)

        def _key(self, tensor: Any) -> tuple[int, int]:
            return id(tensor), tensor._version

        def _number(self, tensor: Any, keep: bool = False) -> int:
            number = self.recorder.tensor(tensor.detach().numpy(), keep)
            self._numbers[self._key(tensor)] = number
            self._alive.append(tensor)
            return number

        def _known(self, tensors: Iterable[Any]) -> list[int]:
            """Return the numbers of the tensors that depend on the inputs."""
            numbers = []
            for tensor in tensors:
                versions = (self._numbers.get((id(tensor), version)) for version in range(tensor._version, -1, -1))
                numbers += [number for number in versions if number is not None][:1]
            return numbers

        def _owner(self, tensors: Iterable[Any]) -> str:
            """Return the name of the module that has the first of these tensors, or from whose tensors it came."""
            for tensor in tensors:
                if name := self._owners.get(id(tensor)) or self._addresses.get(tensor.data_ptr()):
                    return name.split(".parametrizations")[0]
            return ""

        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = function(*args, **(kwargs or {}))
            op = function.__name__.split(".")[0]
            given = [each for each in _flat(torch, [args, kwargs or {}]) if type(each) is not type(None)]
            known, owner = self._known(given), self._owner(given)
            results = list(_flat(torch, result))
            if not known or op in _NO_DATA:
                for tensor in results:
                    if owner:
                        self._owners[id(tensor)] = owner
                        self._alive.append(tensor)
                return result
            layer = _layer(args) if op in _CONVOLUTIONS and args[6] else None
            module_name = owner.rpartition(".")[0] if owner else ""
            numbers = [self._number(tensor, layer is not None) for tensor in results]
            self.recorder.step(module_name, _title(op, layer), known, numbers, layer)
            return result

    return Watcher()


def _named(module: Any) -> Iterator[tuple[str, Any]]:
    yield from module.named_parameters()
    yield from module.named_buffers()


def _title(op: str, layer: LayerCall | None) -> str:
    if layer is not None:
        return f"conv_transpose{layer.weight.ndim - 2}d"
    return "conv" if op in _CONVOLUTIONS else op.strip("_")


def _layer(args: Any) -> LayerCall:
    """Return the call of aten::convolution with transposed=True."""
    _, weight, bias, stride, padding, dilation, _, output_padding, groups = args[:9]
    names = {
        "stride": stride,
        "padding": padding,
        "output_padding": output_padding,
        "groups": groups,
        "dilation": dilation,
    }
    ndim = weight.ndim - 2
    arguments = {
        name: value if name == "groups" else list(value) * (ndim if len(value) == 1 else 1)
        for name, value in names.items()
    }
    stored = None if bias is None else bias.detach().numpy()
    return LayerCall(
        "torch", arguments, np.array(weight.detach().numpy()), None if stored is None else np.array(stored)
    )
