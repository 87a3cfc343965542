"""Conversion of weights between the layouts of any two frameworks: one array, or the layers of a whole state dict.

Ports of a model between frameworks use it, and so do the fixes of `diagnose`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from tconv import _arrays
from tconv._arguments import shown
from tconv.dialects import Dialect, find, names
from tconv.dialects.framework_layers import layer_of, refuse_other_modules, taken
from tconv.errors import ArgumentError, ArrayError

Layers = Mapping[str, Mapping[str, Any]] | Iterable[str]


def convert(
    weight: Any,
    *,
    source: str | None = None,
    target: str,
    groups: int | None = None,
    layers: Layers | None = None,
    **native: Any,
) -> Any:
    """Return a transposed convolution's weight, converted from one framework's layout to another's.

    >>> import numpy as np, tconv
    >>> w = np.zeros((3, 3, 64, 32), np.float32)                    # TensorFlow: [kh, kw, C_out, C_in]
    >>> tconv.convert(w, source="tensorflow", target="torch").shape
    (32, 64, 3, 3)
    >>> state = {"up.weight": w, "up.bias": np.zeros(64, np.float32)}
    >>> converted = tconv.convert(state, source="tensorflow", target="torch", layers=["*.weight"])
    >>> {name: array.shape for name, array in converted.items()}
    {'up.weight': (32, 64, 3, 3), 'up.bias': (64,)}

    `weight` is an array of NumPy, PyTorch, TensorFlow or JAX, and the result is a new contiguous array. `groups` is the
    layer's; `native` are arguments of either dialect that change its weight layout. An argument that both dialects have
    applies to both.

    A layer of PyTorch, Keras, Flax NNX, Equinox, Paddle, MLX or tinygrad has its source and groups, and its weight is
    converted. A list of a kernel and a bias [C_out], as Keras' `get_weights()` returns it, is converted to such a list.

    A mapping from names to arrays is a state dict: `layers` then names its transposed convolutions by patterns with *
    and ?, of which the first match counts; as a mapping it gives each pattern its own groups and arguments. All other
    entries stay as they are.

    Raises ShapeError if a weight has no spatial axis or its groups do not divide its channels, ArgumentError for an
    argument that neither dialect has, or a pattern that matches nothing.
    """
    layer = layer_of(weight, "weight")
    if layer is not None:
        if source is not None and find(source, "source").name != layer.dialect:
            raise ArgumentError(
                f"source is {source!r}, and the weight is a {layer.kind} in the layout of {layer.dialect!r}. Write "
                f"source={layer.dialect!r}, or leave it out"
            )
        given = {"groups": groups, **{name: value for name, value in native.items() if name in layer.arguments}}
        weight, source, _, _ = taken(weight, "weight", layer.dialect, given)
        groups = layer.groups
        reader = find(source, "source")
        native = {k: v for k, v in layer.arguments.items() if k in reader.layout_arguments} | native
    else:
        refuse_other_modules(weight, "weight")
    if source is None:
        raise ArgumentError(
            'source= is missing; only a layer of a framework has its own. Write source="torch", for example, or one of '
            f"{', '.join(names())}"
        )
    groups = 1 if groups is None else groups
    if isinstance(weight, (list, tuple)) and (pair := _kernel_and_bias(weight)) is not None:
        kernel, *bias = pair
        return [convert(kernel, source=source, target=target, groups=groups, layers=layers, **native), *bias]
    if layer is not None or not isinstance(weight, Mapping):
        if layers is not None:
            raise ArgumentError(
                "layers= was given with one weight; it is for a mapping from names to arrays. Write the call without "
                "it, or convert({...}, layers=...)"
            )
        return _convert_one(
            weight, "weight", find(source, "source"), find(target, "target"), {"groups": groups, **native}
        )
    patterns = _patterns(layers)
    if patterns is None:
        raise ArgumentError(
            f"a state dict of {len(weight)} entries was given with layers={shown(layers)}; patterns must name its "
            'transposed convolutions. Write layers=["decoder.*.weight"], or layers={"up.weight": {"groups": 2}}'
        )
    rules = {pattern: _rule(layers, pattern) for pattern in patterns}
    for pattern in rules:
        if not any(_matches(name, pattern) for name in weight):
            raise ArgumentError(
                f"the pattern {pattern!r} matches none of the {len(weight)} names. Write one that does: "
                f"{', '.join([name for name in weight if isinstance(name, str)][:5])}"
            )
    converted = dict(weight)
    for name, array in weight.items():
        if (rule := next((rules[pattern] for pattern in rules if _matches(name, pattern)), None)) is not None:
            converted[name] = _convert_one(
                array, name, find(source, "source"), find(target, "target"), {"groups": groups, **native, **rule}
            )
    return converted


def _kernel_and_bias(given: Any) -> list[Any] | None:
    """Return a list of one weight, or of a weight and its bias; None for nested numbers. Raises ArrayError for others.

    The lists of a whole model have other arrays too, and it is not known which are of transposed convolutions.
    """
    ranks: list[int] = [entry.ndim for entry in given if hasattr(entry, "ndim")]
    if not ranks or len(ranks) < len(given):
        return None
    if len(ranks) > 2 or ranks[0] < 3 or ranks[1:] not in ([], [1]):
        raise ArrayError(
            f"weight is a list of arrays with {', '.join(map(str, ranks))} axes; one weight, or a weight and its bias, "
            "is needed. Write tconv.convert(weight[0], ...), for example, with the place of the weight"
        )
    return list(given)


def _patterns(layers: Any) -> list[Any] | None:
    """Return the patterns in `layers` as a list; None if it is a string or not iterable."""
    try:
        return None if isinstance(layers, (str, bytes)) else list(layers)
    except TypeError:
        return None


def _rule(layers: Any, pattern: Any) -> Mapping[str, Any]:
    """Return a pattern's own groups and arguments. Raises ArgumentError."""
    if not isinstance(pattern, str):
        raise ArgumentError(
            f'layers contains {shown(pattern)}; patterns are strings. Write layers=["decoder.*.weight"], for example'
        )
    rule = layers[pattern] if isinstance(layers, Mapping) else {}
    if not isinstance(rule, Mapping) or not all(isinstance(key, str) for key in rule):
        raise ArgumentError(
            f"layers[{pattern!r}] is {shown(rule)}; the layer's own groups and arguments are needed, by name. "
            f"Write layers={{{pattern!r}: {{}}}}, or layers={{{pattern!r}: {{'groups': 2}}}}"
        )
    return rule


def _matches(name: Any, pattern: str) -> bool:
    return isinstance(name, str) and fnmatchcase(name, pattern)


def _convert_one(weight: Any, name: str, source: Dialect, target: Dialect, arguments: dict[str, Any]) -> Any:
    groups = arguments.pop("groups")
    for key in arguments:
        if not any(key in dialect.layout_arguments for dialect in (source, target)):
            raise ArgumentError(
                f"{key}= changes no weight layout of {source.name} or {target.name}. Write the call without {key}="
            )
    library, w = _arrays.take(weight, name)
    reading, writing = (
        {key: value for key, value in arguments.items() if key in dialect.layout_arguments}
        for dialect in (source, target)
    )
    canonical = source.to_canonical(w, groups, **reading)
    return _arrays.give(np.array(target.to_native(canonical, groups, **writing), order="C"), library)
