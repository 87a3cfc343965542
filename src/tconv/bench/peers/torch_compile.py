"""torch.compile with freezing: weights are constants, which Inductor may store in any layout."""

from __future__ import annotations

import shutil
from importlib import import_module
from typing import Any

from tconv.bench import dtypes
from tconv.bench.peers import torch
from tconv.bench.peers.interface import ISAS, LoadedLayer, Peer, Task, UnableError


def _start(threads: int, device: str) -> None:
    if device == "cpu" and not any(map(shutil.which, ("c++", "g++", "clang++"))):
        raise UnableError("Inductor needs a C++ compiler, and none was found; install g++")
    torch.start(threads, device)
    inductor: Any = import_module("torch._inductor.config")
    inductor.freezing = True


def _load(task: Task) -> LoadedLayer:
    library: Any = import_module("torch")
    library._dynamo.reset()
    x, w = torch.tensors(task)
    layer, g = task.layer, task.layer.geometry
    kind = getattr(library.nn, f"ConvTranspose{g.ndim}d")
    sizes = {"in_channels": layer.in_channels, "out_channels": layer.out_channels, "kernel_size": g.kernel}
    module = library.nn.utils.skip_init(kind, **sizes, **torch.arguments(layer), bias=False)
    module.weight = library.nn.Parameter(w, requires_grad=False)
    if task.activation:
        module = library.nn.Sequential(module, library.nn.ReLU())
    compiled = library.compile(module.eval())
    return torch.loaded(task, lambda: compiled(x), torch.format_note(task, compiled(x)))


PEER = Peer(
    "torch.compile with freezing",
    ("torch",),
    _start,
    torch.reasons_against,
    _load,
    ("cpu", "cuda"),
    tuple(name for name in torch.DTYPES if name != "float64"),  # freezing fails there
    dtypes.LAYOUTS,
    ISAS,
)
