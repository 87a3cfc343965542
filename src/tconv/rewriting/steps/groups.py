"""Groups as one dense layer, or as one layer each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tconv._arrays import Array
from tconv.geometry import Geometry
from tconv.rewriting.builder import Builder
from tconv.rewriting.operations import ConvTranspose, Sizes
from tconv.rewriting.steps.crops import append
from tconv.rewriting.steps.step import RewriteStep, Variant, too_many


def _ungrouped(g: Geometry) -> Geometry:
    return Geometry(g.kernel, g.stride, g.crop, g.dilation)


def _groups_missing(operation: ConvTranspose) -> list[str]:
    return ["it has one group"] if operation.geometry.groups == 1 else []


class NoGroups(RewriteStep):
    """Dense layer whose weight has zeros between the groups."""

    name = "no-groups"
    summary = "a dense weight with zeros between the groups"
    waste = "the zeros between groups are multiplied: as many times the multiply-adds as there are groups"
    adds_zeros = True

    def obstacles(self, operation: ConvTranspose, sizes: Sizes, variant: Variant) -> list[str]:
        return _groups_missing(operation)

    def build(self, operation: ConvTranspose, builder: Builder, variant: Variant) -> None:
        g, w = operation.geometry, operation.weight
        shape = (w.shape[0], w.shape[1] * g.groups, *w.shape[2:])
        c_in, c_out = w.shape[0] // g.groups, w.shape[1]

        def dense(array: Array) -> Array:
            wide = np.zeros(shape, array.dtype)
            for group in range(g.groups):
                rows = slice(group * c_in, (group + 1) * c_in)
                wide[rows, group * c_out : (group + 1) * c_out] = array[rows]
            return wide

        append(builder, replace(operation, weight=w.derived(shape, dense), geometry=_ungrouped(g)))


class SplitGroups(RewriteStep):
    """Layer per group, on its part of the channels."""

    name = "split-groups"
    summary = "one layer per group, between a split and a concatenation"

    def obstacles(self, operation: ConvTranspose, sizes: Sizes, variant: Variant) -> list[str]:
        return _groups_missing(operation) or too_many(operation.geometry.groups, "groups")

    def build(self, operation: ConvTranspose, builder: Builder, variant: Variant) -> None:
        g, w, bias = operation.geometry, operation.weight, operation.bias
        c_in, c_out = w.shape[0] // g.groups, w.shape[1]
        results = []
        for group, part in enumerate(builder.split(0, 1, g.groups)):
            rows = slice(group * c_in, (group + 1) * c_in)
            columns = slice(group * c_out, (group + 1) * c_out)
            weight = w.derived((c_in, *w.shape[1:]), lambda array, rows=rows: array[rows])  # type: ignore[misc]
            own = None if bias is None else bias.derived((c_out,), lambda array, columns=columns: array[columns])  # type: ignore[misc]
            layer = replace(operation, weight=weight, bias=own, geometry=_ungrouped(g))
            results.append(append(builder, layer, part))
        builder.concat(results, 1)


STEP, SPLIT = NoGroups(), SplitGroups()
