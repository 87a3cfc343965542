"""What PyTorch's peers do on a GPU: precisions, eager and graph calls. Not tried yet: no GPU was at hand.

A graph holds one call; replaying it costs one launch, so its time is the GPU's own. An eager call also pays PyTorch's
dispatch, which hides behind the GPU's work where that takes longer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tconv.bench.peers.interface import Ready, UnableError

if TYPE_CHECKING:  # at run time only public names of tconv: see `tconv.bench.revision`
    from tconv._arrays import Array


def start(torch: Any) -> None:
    """Set cuDNN to benchmark mode. Raises UnableError without a GPU."""
    if not torch.cuda.is_available():
        raise UnableError("PyTorch finds no CUDA device")
    torch.backends.cudnn.benchmark = True


def allow(torch: Any, precision: str) -> None:
    """TF32 in convolutions and products if it is what is measured, and not otherwise."""
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"


def ready(torch: Any, call: Callable[[], Any], read: Callable[[Any], Array], note: str) -> Ready:
    """The call as it is, and captured in a CUDA graph whose output stays where it is."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # cuDNN chooses its algorithm and allocates before the capture
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        held = call()

    def replay() -> Any:
        graph.replay()
        return held

    return Ready(
        {"eager": call, "graph": replay},
        read=read,
        poison=lambda: held.fill_(float("nan")),
        wait=torch.cuda.synchronize,
        note=note,
    )
