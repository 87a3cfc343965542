"""Traps: everything about a layer or a file that goes wrong, is refused or is slow somewhere.

A family is one file of this folder with `KINDS`, its kinds of traps, and `of_layer`, which yields those that a layer
has; some have `of_file` for whole files. Adding a family is one file and one entry of `FAMILIES`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from shlex import quote

from tconv.checking.trap import Trap
from tconv.checking.traps import (
    chip_limits,
    contradictions,
    float_formats,
    frozen_sizes,
    integer_scales,
    kernel_sizes,
    listed_faults,
    neighbours,
    operator_versions,
    scale_axes,
    stored_numbers,
)
from tconv.checking.traps.trap_context import TrapContext, TrapKind
from tconv.models.inventory.model_layer import ModelInventory

FAMILIES = (
    listed_faults,
    frozen_sizes,
    neighbours,
    scale_axes,
    integer_scales,
    stored_numbers,
    float_formats,
    kernel_sizes,
    chip_limits,
    operator_versions,
    contradictions,
)
"""Files of this folder, in the order in which their traps are listed."""

TRAPS: dict[str, TrapKind] = {kind.key: kind for family in FAMILIES for kind in family.KINDS}
"""Every kind of trap by its key."""


def of_layer(context: TrapContext) -> Iterator[Trap]:
    """Yield the traps of one layer."""
    for family in FAMILIES:
        yield from (_with_file(trap, context.model) for trap in family.of_layer(context))


def _with_file(trap: Trap, model: ModelInventory) -> Trap:
    """Return a trap whose commands name the model's file, where it is one that they take."""
    if model.format != "ONNX" or not model.source.endswith(".onnx"):
        return trap
    return replace(trap, instead=trap.instead.replace("MODEL.onnx", quote(model.source)))


def of_file(model: ModelInventory) -> Iterator[Trap]:
    """Yield the traps of a whole file."""
    yield from operator_versions.of_file(model)
