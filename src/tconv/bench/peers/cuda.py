"""PyTorch's peers on a GPU: dtypes, eager calls and CUDA graphs. Never run on a GPU so far, only on stand-ins.

A graph contains one call; a replay costs one launch, so its time is the GPU's own. An eager call also pays for
PyTorch's dispatch, which overlaps with the GPU's work where that takes longer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tconv.bench.peers.interface import LoadedLayer, UnableError

if TYPE_CHECKING:  # at run time only public names of tconv: see `tconv.bench.revision`
    from tconv._arrays import Array


def start(torch: Any) -> None:
    """Set cuDNN to benchmark mode. Raises UnableError without a GPU."""
    if not torch.cuda.is_available():
        raise UnableError("PyTorch finds no CUDA device")
    torch.backends.cudnn.benchmark = True


def allow(torch: Any, dtype: str) -> None:
    """Allow TF32 in convolutions and products if TF32 is measured, and forbid it otherwise."""
    torch.backends.cudnn.allow_tf32 = dtype == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = dtype == "tf32"


def loaded(torch: Any, call: Callable[[], Any], read: Callable[[Any], Array], note: str) -> LoadedLayer:
    """Return the call as modes "eager" and "graph": as it is, and captured in a CUDA graph with a fixed output."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # cuDNN chooses its algorithm and allocates before the capture
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = call()

    def replay() -> Any:
        graph.replay()
        return output

    return LoadedLayer(
        {"eager": call, "graph": replay},
        read=read,
        poison=lambda: output.fill_(float("nan")),
        wait=torch.cuda.synchronize,
        note=note,
    )
