"""PyTorch in its default layout, and functions that the other PyTorch peers share."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from tconv import dialect
from tconv.bench.layers import Layer
from tconv.bench.peers import cuda
from tconv.bench.peers.interface import LoadedLayer, Peer, Task

if TYPE_CHECKING:  # at run time only public names of tconv: see `tconv.bench.revision`
    from tconv._arrays import Array


def start(threads: int, device: str) -> None:
    """Import PyTorch, with this many threads and without gradients."""
    torch: Any = import_module("torch")
    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    if device == "cuda":
        cuda.start(torch)


def tensors(task: Task, **layout: Any) -> tuple[Any, Any]:
    """Return x and w on the task's device, in its precision."""
    torch: Any = import_module("torch")
    if task.device == "cuda":
        cuda.allow(torch, task.precision)
    kind = torch.bfloat16 if task.precision == "bf16" else torch.float32
    x, w = (torch.from_numpy(array).to(task.device, kind, **layout) for array in (task.x, task.w))
    return x, w


def loaded(task: Task, call: Callable[[], Any], note: str = "") -> LoadedLayer:
    """Return the loaded layer for a call that returns a tensor [N, C_out, *L]."""
    if task.device == "cuda":
        return cuda.loaded(import_module("torch"), call, read, note)
    return LoadedLayer({"dropped": call}, read=read, note=note)


def read(output: Any) -> Array:
    """Return a tensor as a NumPy array; float32 represents every bfloat16."""
    array: Array = output.float().cpu().numpy()
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


def load_as(task: Task, memory_format: str) -> LoadedLayer:
    """Load the operator on x and w in this memory format. A note tells if PyTorch's output has another format."""
    torch: Any = import_module("torch")
    layout = {"memory_format": getattr(torch, memory_format)}
    x, w = tensors(task, **layout)
    run, native = operator(task.layer), arguments(task.layer)
    same = run(x, w, **native).is_contiguous(**layout)
    return loaded(task, lambda: run(x, w, **native), "" if same else f"the output is not {memory_format}")


PEER = Peer(
    "PyTorch, default layout",
    ("torch",),
    start,
    reasons_against,
    lambda task: load_as(task, "contiguous_format"),
    ("cpu", "cuda"),
)
