"""Traps of the operations before and behind a layer, and of other forms of a transposed convolution."""

from __future__ import annotations

from collections.abc import Iterator

from tconv.checking.target_answers import CUSTOM_OPERATORS, CUSTOM_SOURCES
from tconv.checking.trap import Trap
from tconv.checking.traps.trap_context import TrapContext, TrapKind
from tconv.dialects.converter_faults import is_batchnorm, zero_pad

_PAD = TrapKind(
    "pad-in-front",
    "note",
    "a Pad with zeros in front",
    "A Pad with zeros stands before the layer. It crops nothing, and costs a copy of x; as pads of the layer, s times "
    "as many elements of y, it would cost nothing. Optimizers that fuse the two forget the stride.",
    "every runtime (time); OpenVINO 2026.4.1 (size) where the layer has pads of its own",
    "observed with openvino 2026.4.1",
    "the Pad removed, and the pads of the layer smaller by stride * pad on each side",
)
_MODE = TrapKind(
    "pad-mode",
    "note",
    "a Pad in front that is not zeros",
    "A Pad with reflected, repeated or constant elements stands before the layer. It cannot become a crop of y, and a "
    "converter that takes it for zeros is wrong along the borders.",
    "converters that fuse Pad into the layer",
    "ONNX specification, Pad: mode",
    "the borders compared: tconv diagnose MODEL --runtimes A B",
)
_BATCHNORM = TrapKind(
    "batchnorm-behind",
    "note",
    "a BatchNorm behind that can be folded",
    "A BatchNorm stands behind the layer. Folded into the weight it costs nothing; optimizers fold it for some layers "
    "only.",
    "onnxoptimizer 0.4.2; onnxsim 0.8.1 with groups",
    "observed with onnxoptimizer 0.4.2 and onnxsim 0.8.1; onnxslim 0.1.98 and onnxruntime 1.32.0 fold it, rightly",
    "tconv.fold_batchnorm, or tconv rewrite MODEL.onnx -o OUT.onnx --step fold-batchnorm",
)
_ZEROS = TrapKind(
    "inserted-zeros",
    "slow",
    "a convolution on inserted zeros",
    "The layer is written as zeros inserted into x and an ordinary convolution. It multiplies the zeros: stride_h * "
    "stride_w times as many products as the transposed convolution that it is.",
    "every runtime",
    "vdumoulin/conv_arithmetic; jax-ml/jax#23783",
    "one ConvTranspose with the arguments of this report",
)
_COMPUTED = TrapKind(
    "weight-at-run-time",
    "refused",
    "a weight that is computed while the model runs",
    "The weight is no constant of the file. Compilers for chips, and several runtimes, take constant weights only; "
    "quantizers and optimizers leave the layer out.",
    "ONNX Runtime's Core ML provider, Ethos-U, TensorFlow Lite's compilers for chips",
    "convtranspose_op_builder of onnxruntime; SUPPORTED_OPS of ethos-u-vela",
    "a model whose weight is a constant: fold the computation before the export",
)
_CUSTOM = TrapKind(
    "custom-operator",
    "refused",
    "an operator of one program alone",
    "The layer is a custom operator, which the usual runtimes of its format do not have: they refuse the whole file.",
    "every runtime but the program's own: LiteRT and TensorFlow Lite refuse MediaPipe's Convolution2DTransposeBias",
    CUSTOM_SOURCES["Convolution2DTransposeBias"],
    "TRANSPOSE_CONV, then ADD for the bias",
)
_INVALID = TrapKind(
    "invalid-arguments",
    "refused",
    "arguments that describe no layer",
    "The rules of the file's own framework refuse the layer: the sizes contradict each other, or nothing is left of "
    "the "
    "output. Runtimes refuse it, or give something else: XNNPACK another shape, ncnn ends the process.",
    "every runtime; ai-edge-litert 2.3.0 and ncnn 1.0.20261020 do not refuse it",
    "the framework's rules, as docs/dialects.md has them; observed with ai-edge-litert 2.3.0 and ncnn 1.0.20261020",
    "tconv.solve(input=, output=, kernel=, stride=), which returns arguments that fit",
)
KINDS = (_CUSTOM, _INVALID, _PAD, _MODE, _BATCHNORM, _ZEROS, _COMPUTED)


def of_layer(context: TrapContext) -> Iterator[Trap]:
    """Yield the traps of a layer's surroundings."""
    layer, g = context.layer, context.geometry
    if layer.weight is None:
        yield _COMPUTED.trap(layer, "; ".join(layer.limitations) or "its weight is no constant")
    if owner := CUSTOM_OPERATORS.get(layer.op):
        yield _CUSTOM.trap(layer, f"{layer.op} is an operator of {owner} alone", operator=layer.op)
    if context.read.refusal:
        yield _INVALID.trap(layer, context.read.refusal)
    if g is None:
        return
    front = layer.before[0] if layer.before else None
    if front is not None and front.op == "Pad":
        added = zero_pad(front, g.ndim)
        mode = str(front.attributes.get("mode", "constant"))
        if added is not None:
            pads = [(s * a, s * b) for s, (a, b) in zip(g.stride, added, strict=True)]
            what = f"{front.name!r} adds {added} zeros to x, which are {pads} elements of y"
            yield _PAD.trap(layer, what, added=added)
        elif front.attributes.get("pads") is not None and any(front.attributes["pads"]):
            yield _MODE.trap(layer, f"{front.name!r} pads x with mode {mode!r}", mode=mode)
    if layer.dialect == "onnx" and layer.after and is_batchnorm(layer.after[0]):
        behind = layer.after[0]
        groups = f"; the layer has {g.groups} groups" if g.groups > 1 else ""
        yield _BATCHNORM.trap(layer, f"{behind.op} {behind.name!r} stands behind the layer{groups}", groups=g.groups)
    if layer.form == "zero insertion and convolution":
        times = 1
        for s in g.stride:
            times *= s
        yield _ZEROS.trap(layer, f"stride {g.stride}: {times} times as many products as are needed", times=times)
