"""PyTorch, its default layout; what the other peers made of PyTorch share stands here, too."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from tconv import dialect
from tconv.bench.layers import Layer
from tconv.bench.peers import cuda
from tconv.bench.peers.interface import Peer, Ready, Task

if TYPE_CHECKING:  # at run time only public names of tconv: see `tconv.bench.revision`
    from tconv._arrays import Array


def start(threads: int, device: str) -> None:
    """Import PyTorch on this many threads, its float32 being float32."""
    torch: Any = import_module("torch")
    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    if device == "cuda":
        cuda.start(torch)


def tensors(task: Task, **layout: Any) -> tuple[Any, Any]:
    """Both arrays on the task's device, in its precision."""
    torch: Any = import_module("torch")
    if task.device == "cuda":
        cuda.allow(torch, task.precision)
    kind = torch.bfloat16 if task.precision == "bf16" else torch.float32
    x, w = (torch.from_numpy(array).to(task.device, kind, **layout) for array in (task.x, task.w))
    return x, w


def ready(task: Task, call: Callable[[], Any], note: str = "") -> Ready:
    """What the worker needs of a call that returns a tensor [N, C_out, *L]."""
    if task.device == "cuda":
        return cuda.ready(import_module("torch"), call, read, note)
    return Ready({"dropped": call}, read=read, note=note)


def read(output: Any) -> Array:
    """A tensor as NumPy; float32 holds every bfloat16."""
    array: Array = output.float().cpu().numpy()
    return array


def arguments(layer: Layer) -> dict[str, Any]:
    """The arguments of torch.nn.functional.conv_transposeNd."""
    return dialect("torch").arguments(layer.geometry, input=layer.input_shape)


def operator(layer: Layer) -> Any:
    """torch.nn.functional.conv_transpose1d, 2d or 3d."""
    return getattr(import_module("torch").nn.functional, f"conv_transpose{layer.geometry.ndim}d")


def reasons_against(layer: Layer) -> list[str]:
    """PyTorch has 1 to 3 axes and its own rule of padding."""
    ndim = [] if layer.geometry.ndim <= 3 else [f"PyTorch has 1 to 3 axes, this layer {layer.geometry.ndim}"]
    return ndim + dialect("torch").reasons_against(layer.geometry, layer.input_shape)


def load_as(task: Task, memory_format: str) -> Ready:
    """The operator on x and w in this memory format; the output's format is PyTorch's choice, and is noted."""
    torch: Any = import_module("torch")
    layout = {"memory_format": getattr(torch, memory_format)}
    x, w = tensors(task, **layout)
    run, given = operator(task.layer), arguments(task.layer)
    kept = run(x, w, **given).is_contiguous(**layout)
    return ready(task, lambda: run(x, w, **given), "" if kept else f"the output is not {memory_format}")


PEER = Peer(
    "PyTorch, default layout",
    ("torch",),
    start,
    reasons_against,
    lambda task: load_as(task, "contiguous_format"),
    ("cpu", "cuda"),
)
