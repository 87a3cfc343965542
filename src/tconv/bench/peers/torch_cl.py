"""PyTorch with channels_last tensors in and out."""

from __future__ import annotations

from tconv.bench.layers import Layer
from tconv.bench.peers import torch
from tconv.bench.peers.interface import LoadedLayer, Peer, Task

_FORMATS = {2: "channels_last", 3: "channels_last_3d"}


def _reasons_against(layer: Layer) -> list[str]:
    if layer.geometry.ndim not in _FORMATS:
        return ["PyTorch has channels_last for 2 and 3 axes"]
    return torch.reasons_against(layer)


def _load(task: Task) -> LoadedLayer:
    return torch.load_as(task, _FORMATS[task.layer.geometry.ndim])


PEER = Peer("PyTorch, channels_last", ("torch",), torch.start, _reasons_against, _load, ("cpu", "cuda"))
