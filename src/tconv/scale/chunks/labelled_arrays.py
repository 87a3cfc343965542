"""Arrays of xarray: their names of axes and coordinates, for the input and for what is computed of it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from tconv.errors import ArrayError
from tconv.scale.chunks.axis_chunks import output_scale
from tconv.scale.chunks.image_axes import ImageAxes
from tconv.scale.operators.tile_operator import TileOperator
from tconv.scale.regions import Sizes


@dataclass
class Labels:
    """DataArray that an array was taken from."""

    of: Any

    @property
    def names(self) -> list[str]:
        """Names of the axes."""
        return [str(name) for name in self.of.dims]

    def labelled(self, result: Any, operator: TileOperator, axes: ImageAxes, out_axes: ImageAxes, sizes: Sizes) -> Any:
        """Return a result as a DataArray: with the names of the input, its attributes, and coordinates that still hold.

        Evenly spaced coordinates along a spatial axis become those of the centres of the outputs. Others along axes
        whose size changes are left out.
        """
        import xarray

        names = self.of.dims
        order = out_axes.ordered(
            [names[axis] for axis in axes.images],
            "channel" if axes.channel is None else names[axes.channel],
            [names[axis] for axis in axes.spatial],
        )
        changed: dict[Any, Any] = {}
        for number, axis in enumerate(axes.spatial):
            scale, offset = output_scale(operator, sizes, number)
            length = result.shape[out_axes.spatial[number]]
            if not (scale == 1 and offset == 0 and length == sizes[number]):
                changed[names[axis]] = (np.arange(length) + 0.5 - float(offset)) / float(scale or 1) - 0.5
        if axes.channel is not None and operator.channels[0] != operator.channels[1]:
            changed[names[axes.channel]] = None
        coordinates = {}
        for name, values in self.of.coords.items():
            along = [dimension for dimension in values.dims if dimension in changed]
            if not along:
                coordinates[name] = values
            elif values.dims == (name,) and changed[name] is not None and (line := _line(values.values)) is not None:
                start, step = line
                moved = (start + step * changed[name]).astype(np.result_type(values.dtype, np.float32), copy=False)
                coordinates[name] = xarray.Variable((name,), moved, values.attrs)
        return xarray.DataArray(result, dims=order, coords=coordinates, attrs=self.of.attrs, name=self.of.name)


def _line(values: Any) -> tuple[float, float] | None:
    """Return start and step of evenly spaced numbers; None for others."""
    if values.dtype.kind not in "iuf" or len(values) < 2:
        return None
    numbers = values.astype(float)
    step = (numbers[-1] - numbers[0]) / (len(numbers) - 1)
    even = numbers[0] + step * np.arange(len(numbers))
    return (numbers[0], step) if step and np.allclose(numbers, even, rtol=0, atol=1e-4 * abs(step)) else None


def unlabelled(array: Any) -> tuple[Any, Labels | None]:
    """Return the array of a DataArray, lazy if it is not in memory, and its labels; others as they are, and None."""
    xarray = sys.modules.get("xarray")
    if xarray is None or not isinstance(array, (xarray.DataArray, xarray.Dataset, xarray.Variable)):
        return array, None
    if not isinstance(array, xarray.DataArray):
        raise ArrayError(
            f"array is an xarray.{type(array).__name__}; one DataArray is needed. Write "
            + ("array['name of a variable']" if isinstance(array, xarray.Dataset) else "xarray.DataArray(array)")
        )
    if array.chunks is None and not array.variable._in_memory:
        return array.chunk().data, Labels(array)
    return array.data, Labels(array)
