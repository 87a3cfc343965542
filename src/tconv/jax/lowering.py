"""Lowering of the primitives: what they become in a compiled program, on each platform.

On the CPU the transposed convolution is a call of tconv's handler, where the kernel has no reason against it. C and W,
other platforms, and programs that are exported have JAX's standard operators: an exported program runs in processes
without tconv. JAX asks for the rule of each platform of a program, so one for several platforms chooses where it runs.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import numpy as np

from tconv.jax.call_attributes import digest, encoded
from tconv.jax.ffi_handler import TARGET, handler
from tconv.jax.jax_names import is_exported, lower_standard, register_lowering
from tconv.jax.kernel_choice import choose
from tconv.jax.primitives import PRIMITIVES, STANDARD, TRANSPOSED, TRANSPOSED_BIAS


def _on_cpu(primitive: Any, context: Any, *operands: Any, **parameters: Any) -> Any:
    x, w, *bias = context.avals_in
    layouts, geometry = parameters["layouts"], parameters["geometry"]
    choice = choose(x, w, bias[0] if bias else None, geometry, layouts, parameters["dtype"])
    if choice.reasons or choice.problem is None or is_exported(context):
        return lower_standard(STANDARD[primitive])(context, *operands, **parameters)
    text = encoded(choice.problem, layouts, choice.method)
    handler().add(text)
    return jax.ffi.ffi_lowering(TARGET)(context, *operands, call=text, digest=np.int64(digest(text)))


for _primitive in PRIMITIVES:
    register_lowering(_primitive, lower_standard(STANDARD[_primitive]))
for _primitive in (TRANSPOSED, TRANSPOSED_BIAS):
    register_lowering(_primitive, partial(_on_cpu, _primitive), platform="cpu")
