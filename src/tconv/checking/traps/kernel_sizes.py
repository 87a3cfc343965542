"""Traps of kernels and strides: uneven overlap, outputs that no tap reaches, and kernels that are slow."""

from __future__ import annotations

from collections.abc import Iterator

from tconv.checking.trap import Trap
from tconv.checking.traps.trap_context import TrapContext, TrapKind
from tconv.weights.artifacts.report import VISIBLE

HUGE = 512
"""Taps of a 1-D kernel from which general kernels take many times as long."""

_UNEVEN = TrapKind(
    "uneven-overlap",
    "note",
    "a kernel that is no multiple of the stride, and its checkerboard",
    "The kernel is no multiple of the stride, so some outputs sum more taps than others. Weights can make up for it; "
    "these do not: the score says how much of the output is a pattern of phases for inputs that are constant over "
    "space.",
    "every runtime: it is the layer itself",
    "Odena et al. 2016, distill.pub; Project-MONAI/MONAI#722",
    "tconv.artifacts.equalise(weight, ...) for trained weights; a kernel that is a multiple of the stride before "
    "training",
)
_EMPTY = TrapKind(
    "outputs-without-tap",
    "note",
    "a stride above the kernel",
    "The stride exceeds the kernel's extent, so some outputs are the bias alone. Frameworks disagree about how many "
    "such "
    "rows stand at the end.",
    "every runtime: it is the layer itself; JAX and Keras add s - k rows under VALID",
    "finding jax_valid_longer_than_full",
    "a kernel of at least the stride; zeros inserted explicitly, if they are wanted",
)
_HUGE = TrapKind(
    "huge-kernel",
    "slow",
    "a 1-D kernel of many taps",
    f"The kernel has {HUGE} taps or more along one axis, as the inverse Fourier transform of a vocoder has. Kernels "
    f"that "
    "choose by a heuristic, or build columns, take 10 to 1000 times as long as the arithmetic.",
    "PyTorch (60 s for 0.1 s), TensorRT-RTX, ONNX Runtime, MLX, ggml, candle",
    "pytorch/pytorch#120982, #133304; NVIDIA/TensorRT-RTX-EP-ABI#8; microsoft/onnxruntime#23273; ml-explore/mlx#3082; "
    "ggml-org/ggml#1529; huggingface/candle#3383",
    "frames by a matrix product, then overlap-add: "
    "tconv rewrite MODEL.onnx -o OUT.onnx --step overlap-add; or tconv.conv_transpose",
)
KINDS = (_UNEVEN, _EMPTY, _HUGE)


def of_layer(context: TrapContext) -> Iterator[Trap]:
    """Yield the traps of a layer's kernel and stride."""
    g, layer, board = context.geometry, context.layer, context.check.checkerboard
    if g is None:
        return
    bare = [axis for axis, row in enumerate(g.overlap) if min(row) == 0]
    if bare:
        axis = bare[0]
        rows = g.overlap[axis].count(0)
        what = f"{rows} of each {g.stride[axis]} outputs along spatial axis {axis} have no tap, and are the bias"
        yield _EMPTY.trap(layer, what, overlap=[list(row) for row in g.overlap])
    elif any(len(set(row)) > 1 for row in g.overlap) and board is not None and (board.score or 0) >= VISIBLE:
        counts = " | ".join(" ".join(map(str, row[:8])) for row in g.overlap)
        what = (
            f"kernel {g.kernel} and stride {g.stride}: {counts} taps per phase; with these weights {board.score:.0%} "
            f"of "
            "the output's root mean square is a pattern of phases"
        )
        uneven = next(row for row in g.overlap if len(set(row)) > 1)
        yield _UNEVEN.trap(layer, what, score=board.score, overlap=list(uneven))
    longest = max(g.kernel)
    if longest >= HUGE and g.kernel.count(1) == g.ndim - 1:
        what = f"{longest} taps along one axis, stride {g.stride[g.kernel.index(longest)]}"
        yield _HUGE.trap(layer, what, taps=longest)
