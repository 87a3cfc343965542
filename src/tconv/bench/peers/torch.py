"""PyTorch in both memory formats, and functions that the other PyTorch peers share."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from tconv import dialect
from tconv.bench import dtypes
from tconv.bench.layers import Layer
from tconv.bench.peers import cuda
from tconv.bench.peers.interface import ISAS, LoadedLayer, Peer, Task, UnableError

if TYPE_CHECKING:  # at run time only public names of tconv: see `tconv.bench.revision`
    from tconv._arrays import Array


def start(threads: int, device: str) -> None:
    """Import PyTorch, with this many threads and without gradients."""
    torch: Any = import_module("torch")
    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    if device == "cuda":
        cuda.start(torch)


def tensors(task: Task) -> tuple[Any, Any]:
    """Return x and w on the task's device, in its dtype and memory format."""
    torch: Any = import_module("torch")
    if task.device == "cuda":
        cuda.allow(torch, task.dtype)
    kind = getattr(torch, "float32" if task.dtype == "tf32" else task.dtype)
    form = memory_format(task)
    x, w = (torch.from_numpy(array).to(task.device, kind, memory_format=form) for array in (task.x, task.w))
    return x, w


def memory_format(task: Task) -> Any:
    """Return PyTorch's memory format of the task's layout. Raises UnableError if it has none."""
    if task.layout != "last":
        return import_module("torch").contiguous_format
    names = {2: "channels_last", 3: "channels_last_3d"}
    if task.layer.geometry.ndim not in names:
        raise UnableError("PyTorch's channels_last is for 2 or 3 spatial axes")
    return getattr(import_module("torch"), names[task.layer.geometry.ndim])


def format_note(task: Task, output: Any) -> str:
    """Return a note if an output has another memory format than the task."""
    form = memory_format(task)
    return "" if output.is_contiguous(memory_format=form) else f"the output is not {str(form).partition('.')[2]}"


def loaded(task: Task, call: Callable[[], Any], note: str = "") -> LoadedLayer:
    """Return the loaded layer for a call that returns a tensor [N, C_out, *L]."""
    if task.device == "cuda":
        return cuda.loaded(import_module("torch"), call, read, note)
    return LoadedLayer({"dropped": call}, read=read, note=note)


def read(output: Any) -> Array:
    """Return a tensor as a NumPy array; float32 represents both 2-byte dtypes."""
    array: Array = (output if output.itemsize == 8 else output.float()).cpu().numpy()
    return array


def arguments(layer: Layer) -> dict[str, Any]:
    """Return the arguments of torch.nn.functional.conv_transposeNd."""
    return dialect("torch").arguments(layer.geometry, input=layer.input_shape)


def operator(layer: Layer) -> Any:
    """Return torch.nn.functional.conv_transpose1d, 2d or 3d."""
    return getattr(import_module("torch").nn.functional, f"conv_transpose{layer.geometry.ndim}d")


def reasons_against(layer: Layer) -> list[str]:
    """Return every reason why PyTorch cannot run a layer: more than 3 axes, or a crop beyond its padding rule."""
    ndim = [] if layer.geometry.ndim <= 3 else [f"PyTorch has 1 to 3 axes, this layer {layer.geometry.ndim}"]
    return ndim + dialect("torch").reasons_against(layer.geometry, layer.input_shape)


def _load(task: Task) -> LoadedLayer:
    x, w = tensors(task)
    run, native = operator(task.layer), arguments(task.layer)
    followed = activation(task)
    return loaded(task, lambda: followed(run(x, w, **native)), format_note(task, run(x, w, **native)))


def activation(task: Task) -> Callable[[Any], Any]:
    """Return the activation of a task, which overwrites its argument, as the models of PyTorch's users do."""
    torch: Any = import_module("torch")
    return torch.relu_ if task.activation else lambda y: y


DTYPES = tuple(dtypes.UNITS)

PEER = Peer(
    "PyTorch",
    ("torch",),
    start,
    reasons_against,
    _load,
    ("cpu", "cuda"),
    DTYPES,
    dtypes.LAYOUTS,
    ISAS,
    elsewhere=("last",),
)
