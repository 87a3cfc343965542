"""The transposed convolution and its adjoint on JAX's arrays and tracers, for a `Geometry` and layouts.

`apply` and `adjoint` have all derivatives, `jax.vmap` and the other transforms. The functions of a dialect's words, and
of layers, call them.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tconv._memory import refuse_too_large
from tconv.dialects import DataLayout, WeightLayout
from tconv.geometry import Geometry
from tconv.jax import batching, lowering  # noqa: F401  (they register their rules)
from tconv.jax.call_layouts import Layouts, channels
from tconv.jax.primitives import CONV, TRANSPOSED, TRANSPOSED_BIAS, bind, common_dtype


def apply(
    x: Any,
    weight: Any,
    bias: Any,
    geometry: Geometry,
    data: DataLayout,
    weight_layout: WeightLayout,
    result: DataLayout,
    *,
    precision: Any = None,
    preferred_element_type: Any = None,
) -> Any:
    """Return the transposed convolution of x with weight, and a bias [C_out] or None; dtypes are those of the call.

    x is in the layout `data`, the weight in `weight_layout`, the output in `result`; layouts without N are of one
    image. The output has the dtype of x, or `preferred_element_type`. Raises ShapeError for sizes that do not fit, or
    that leave no output, and TooLargeError for a call that exceeds the memory of the machine.
    """
    x, weight = jnp.asarray(x), jnp.asarray(weight)
    one = "N" not in data.axes
    x = x[None] if one else x
    layouts = Layouts(with_batch(data), weight_layout, with_batch(result))
    parameters = _parameters(x, weight, precision, preferred_element_type)
    _check_sizes(x, weight, geometry, layouts, parameters["dtype"])
    parameters |= {"geometry": geometry, "layouts": layouts}
    if bias is None:
        y = bind(TRANSPOSED, x, weight, **parameters)
    else:
        y = bind(TRANSPOSED_BIAS, x, weight, jnp.asarray(bias), **parameters)
    return y[0] if one else y


def adjoint(
    y: Any,
    weight: Any,
    geometry: Geometry,
    data: DataLayout,
    weight_layout: WeightLayout,
    result: DataLayout,
    *,
    precision: Any = None,
    preferred_element_type: Any = None,
) -> Any:
    """Return the convolution whose transpose is `apply`: y in the layout `data`, the result in the layout `result`.

    Like `tconv.conv`, it leaves out the last elements of y that no window of the convolution reaches.
    """
    y, weight = jnp.asarray(y), jnp.asarray(weight)
    one = "N" not in data.axes
    y = y[None] if one else y
    layouts = Layouts(with_batch(result), weight_layout, with_batch(data))
    # the primitive's sizes fit exactly: elements that no window reaches are cropped away
    sizes = layouts.y.sizes(y.shape)[2]
    small = geometry.conv_shape(sizes) if all(isinstance(size, int) for size in sizes) else None
    if small is not None:
        full = geometry.full_shape(small)
        crop = [(lo, F - lo - L) for (lo, _), F, L in zip(geometry.crop, full, sizes, strict=True)]
        geometry = replace(geometry, crop=tuple(crop))
    parameters = _parameters(y, weight, precision, preferred_element_type)
    x = bind(CONV, y, weight, geometry=geometry, layouts=layouts, **parameters)
    return x[0] if one else x


def _check_sizes(x: Any, weight: Any, geometry: Geometry, layouts: Layouts, dtype: np.dtype[Any]) -> None:
    """Raise an error for sizes without output, or too large for this machine, where they are known while tracing."""
    batch, _, sizes = layouts.x.sizes(x.shape)
    if not all(isinstance(size, int) for size in sizes):  # symbols of `jax.export`
        return
    outputs = geometry.output_shape(sizes)
    # an accelerator has a memory of its own, and of a program of several processes each has a part of the arrays
    if isinstance(batch, int) and jax.default_backend() == "cpu" and jax.process_count() == 1:
        shape = batch, channels(layouts.weight, weight.shape, geometry.groups)[1], *outputs
        size = math.prod(shape) * dtype.itemsize
        refuse_too_large(size + x.nbytes + weight.nbytes, size, layouts.y.native_shape(shape))


def with_batch(layout: DataLayout) -> DataLayout:
    """Return the layout with N, in front where it has none."""
    return layout if "N" in layout.axes else DataLayout(("N", *layout.axes))


def _parameters(first: Any, second: Any, precision: Any, preferred: Any) -> dict[str, Any]:
    common = common_dtype(first.dtype, second.dtype)
    return {"precision": precision, "dtype": np.dtype(common if preferred is None else preferred)}
