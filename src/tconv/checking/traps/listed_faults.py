"""Traps that are listed faults: runtimes and converters that deviate from their own rules, applied to a layer."""

from __future__ import annotations

from collections.abc import Iterator

from tconv.checking.layer_reading import native_arguments
from tconv.checking.trap import Severity, Trap
from tconv.checking.traps.trap_context import TrapContext, TrapKind
from tconv.dialects.fault import Fault, LayerSurroundings
from tconv.dialects.faults import FAULTS, faults_of
from tconv.errors import TconvError
from tconv.geometry import Geometry

_OUTCOMES: dict[str, Severity] = {"refusal": "refused", "end of the process": "refused"}
_ENDINGS = {"refusal": ("refuse", "the call is refused"), "end of the process": ("process", "the process ends")}
"""Word that a fault's text has if it says its outcome, and the text that says it otherwise."""
_INSTEAD = {
    "layer": "another version, or a layer that this fault does not affect: tconv rewrite writes one for ONNX files",
    "int8 layer": 'torch.backends.quantized.engine = "qnnpack", or "fbgemm"',
    "gradient of x": "an output_padding of at most the padding for training",
    "fusion": "the file rewritten by tconv rewrite, or the same layer with fixed sizes and explicit pads",
    "conversion": "another converter, and tconv diagnose on its result",
}


def _key(fault: Fault) -> str:
    return fault.key.replace("_", "-")


def _severity(fault: Fault) -> Severity:
    """Return "note" for software that nobody deploys, or that only some users ask for."""
    usual = fault.reach == "in use" and fault.computation != "gradient of x"
    return _OUTCOMES.get(fault.outcome, "wrong") if usual else "note"


def _kind(fault: Fault) -> TrapKind:
    title = f"{fault.what} ({fault.versions})"
    instead = _INSTEAD[fault.computation]
    return TrapKind(_key(fault), _severity(fault), title, f"{fault.what}.", fault.versions, fault.source, instead)


READ_DIALECTS = frozenset(("onnx", "torch", "keras", "tensorflow", "tflite", "ncnn"))
"""Dialects in whose words the readers of model files give a layer; faults of others affect no file."""

_OF_INVALID_CALLS = ("xnnpack_valid_size", "ncnn_empty_output")
"""Faults that affect only calls which their own rules refuse: these are the trap "invalid-arguments"."""

KINDS = tuple(
    _kind(fault)
    for key, fault in FAULTS.items()
    if READ_DIALECTS.intersection(fault.dialects) and key not in _OF_INVALID_CALLS
)


def of_layer(context: TrapContext) -> Iterator[Trap]:
    """Yield the listed faults of the layer's dialect that affect it, for some of the sizes that its file allows."""
    read = context.read
    if read.geometry is None or read.in_channels is None or read.out_channels is None:
        return
    around = LayerSurroundings(
        read.geometry,
        read.in_channels,
        read.out_channels,
        context.layer.before,
        context.layer.after,
        context.has_open_sizes,
        context.layer.bias is not None,
        context.scales_axis,
    )
    trials = list(read.trials())
    for fault in faults_of(context.layer.dialect):
        if fault.key in _OF_INVALID_CALLS:
            continue
        if fault.computation == "int8 layer" and context.layer.dtype not in ("int8", "uint8"):
            continue
        if fault.around is not None and not fault.around(around):
            continue
        hit = [sizes for sizes, geometry in trials if _applies(fault, geometry, sizes, context)]
        if hit:
            word, ending = _ENDINGS.get(fault.outcome, ("", ""))
            ending = "" if word in fault.what else ending
            what = f"{fault.what}{_extent(hit, len(trials))}{f'; {ending}' if ending else ''}"
            yield _kind(fault).trap(context.layer, what, sizes=[list(sizes) for sizes in hit[:8]], tried=len(trials))


def _applies(fault: Fault, geometry: Geometry, sizes: tuple[int, ...], context: TrapContext) -> bool:
    try:
        return bool(fault.applies(geometry, sizes, native_arguments(context.layer)))
    except (TconvError, AttributeError, TypeError, ValueError):  # arguments that its condition does not expect
        return False


def _extent(hit: list[tuple[int, ...]], tried: int) -> str:
    if tried == 1 or len(hit) == tried:
        return ""
    return f" (for {len(hit)} of {tried} sizes tried, {' x '.join(map(str, hit[0]))} among them)"
