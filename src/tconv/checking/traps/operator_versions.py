"""Traps of operator sets: files that need a newer ONNX than many runtimes have, and types before their time."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tconv.checking.trap import Trap
from tconv.checking.traps.trap_context import TrapContext, TrapKind
from tconv.models.inventory.model_layer import ModelInventory

_USUAL = 21
_RELEASES = {22: "1.17 (October 2024)", 23: "1.18 (May 2025)", 24: "1.19", 25: "1.20"}
"""Releases of ONNX in which operator sets appeared."""
_BFLOAT16 = 22

_NEW = TrapKind(
    "new-opset",
    "note",
    "an operator set that many runtimes lack",
    f"The file has an operator set above {_USUAL}. ConvTranspose itself changed in 11 and 22 (bfloat16) only, but a "
    "runtime with an older ONNX refuses the whole file, or takes it with a warning.",
    "runtimes built with an ONNX before the release that the sentence names; TensorRT and vendors' converters lag",
    "onnx/onnx docs/Versioning.md",
    "the export with opset_version=17, or onnx.version_converter.convert_version(model, 17)",
)
_EARLY = TrapKind(
    "bfloat16-before-opset-22",
    "refused",
    "bfloat16 in an operator set that lacks it",
    "ConvTranspose takes bfloat16 from operator set 22 on. In an older one the file is invalid.",
    "onnx.checker, ONNX Runtime",
    "ONNX specification, ConvTranspose-22",
    "operator set 22, or the layer in float32 between two Casts",
)
KINDS = (_NEW, _EARLY)


def opset_of(model: ModelInventory) -> int | None:
    """Return the operator set of an ONNX file; None for other files."""
    found = re.search(r"opset (\d+)", model.version) if model.format == "ONNX" else None
    return None if found is None else int(found.group(1))


def of_file(model: ModelInventory) -> Iterator[Trap]:
    """Yield the traps of a whole file."""
    opset = opset_of(model)
    if opset is not None and opset > _USUAL and model.layers:
        release = _RELEASES.get(opset, f"with operator set {opset}")
        what = f"the file has operator set {opset}, which needs ONNX {release}"
        yield _NEW.trap(None, what, opset=opset)


def of_layer(context: TrapContext) -> Iterator[Trap]:
    """Yield the traps of a layer's types in its operator set."""
    opset = opset_of(context.model)
    if opset is not None and opset < _BFLOAT16 and context.layer.dtype == "bfloat16":
        yield _EARLY.trap(context.layer, f"the layer is bfloat16, and the file has operator set {opset}", opset=opset)
