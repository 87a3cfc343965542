"""A check as plain text, for `print`; the command line has a table, and pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tconv.checking.layer_check import LayerCheck
from tconv.checking.trap import Trap
from tconv.models.inventory.model_layer import Size


def text(check: Any) -> str:
    """Return a `Check` as lines: the file, each layer, and its traps."""
    count = len(check.layers)
    about = ", ".join(part for part in (check.format, check.version, check.producer) if part)
    lines = [f"{check.source}: {about}; {count} transposed convolution{'s' * (count != 1)}"]
    for layer in check.layers:
        lines += _layer(layer)
    lines += [line for trap in check.file_traps for line in _trap(trap, "")]
    if check.run is not None and check.run.error:
        lines.append(f"run       {check.run.error}")
    elif check.run is not None:
        lines.append(f"run       on {check.run.runtime}, {_inputs(check.run.inputs)}")
    return "\n".join(lines + [f"note      {note}" for note in check.notes])


def _inputs(inputs: Mapping[str, tuple[int, ...]]) -> str:
    given = ", ".join(f"{name} {list(shape)}" for name, shape in inputs.items())
    return f"with {given}" if given else "each layer alone"


def _layer(check: LayerCheck) -> list[str]:
    layer, g = check.layer, check.geometry
    lines = ["", f"{layer.name}  ({layer.op}, {layer.place})"]
    if layer.form != "transposed convolution":
        lines.append(f"  form        {layer.form}")
    if g is not None:
        parts = [f"kernel {g.kernel}", f"stride {g.stride}", f"crop {g.crop}"]
        parts += [f"dilation {g.dilation}"] if max(g.dilation) > 1 else []
        parts += [f"groups {g.groups}"] if g.groups > 1 else []
        origin = f", from {layer.crop_origin}" if layer.crop_origin else ""
        lines.append(f"  geometry    {', '.join(parts)}{origin}")
    if check.shapes is not None:
        lines.append(f"  shapes      {sizes_text(check.shapes.x)} -> {sizes_text(check.shapes.y)}, {layer.dtype}")
        if check.shapes.chosen:
            lines.append(f"              the numbers below are for {', '.join(check.shapes.chosen)}")
    if check.macs is not None and check.nbytes is not None:
        lines.append(
            f"  cost        {check.macs.exact:,} multiply-adds ({check.macs.border_free:,} with what is cropped), "
            f"{check.nbytes.total:,} bytes (weight {check.nbytes.weight:,})"
        )
    if check.timing is not None:
        lines.append(f"  time        {_timing(check)}")
    if g is not None:
        rows = " | ".join(" ".join(map(str, row[:16])) + (" ..." if len(row) > 16 else "") for row in check.overlap)
        lines.append(f"  overlap     {rows} taps per phase; receptive field {check.receptive_field}")
    if (board := check.checkerboard) is not None:
        score = f"{board.score:.3f}: {board.verdict}" if board.score is not None else f"not measured: {board.reason}"
        lines.append(f"  checkerboard {score}")
    if (agreement := check.agreement) is not None:
        gap = "another shape" if agreement.difference is None else f"{agreement.difference:.2g} of the output's rms"
        lines.append(f"  agreement   {agreement.runtime}: {gap}{'' if agreement.agrees else '  DIFFERS'}")
    for name, answer in check.targets.items():
        reasons = "; ".join(str(limit["text"]) for limit in answer.limits) or "not known"
        lines.append(f"  {name}: {'accepted' if answer.accepted else reasons}")
        lines += [f"              rewrite: {', '.join(answer.steps)}"] if answer.steps else []
    lines += [line for trap in check.traps for line in _trap(trap, "  ")]
    return lines + [f"  note        {note}" for note in check.notes]


def _timing(check: LayerCheck) -> str:
    timing = check.timing
    assert timing is not None
    parts = [] if timing.bound is None else [f"bound {seconds_text(timing.bound)} ({timing.bound_by})"]
    parts += [] if timing.runtime is None else [f"{timing.runtime_name} {seconds_text(timing.runtime)}"]
    parts += [] if timing.tconv is None else [f"tconv {seconds_text(timing.tconv)}"]
    return ", ".join(parts + ([timing.note] if timing.note else []))


def _trap(trap: Trap, indent: str) -> list[str]:
    return [
        f"{indent}{trap.severity.upper():<8}{trap.key}: {trap.what}",
        f"{indent}        who: {trap.who}  [{trap.source}]",
        f"{indent}        instead: {trap.instead}",
    ]


def sizes_text(sizes: tuple[Size, ...]) -> str:
    """Return sizes for a reader: "1 x 64 x height x ?"."""
    return " x ".join("?" if size is None else str(size) for size in sizes)


def seconds_text(seconds: float) -> str:
    """Return a time for a reader, in ms or us."""
    return f"{seconds * 1e3:.3g} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.3g} us"
