"""Weights from any framework's layout to any other's: one array, or the layers of a whole state dict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from tconv import _arrays
from tconv._arguments import shown
from tconv.dialects import Dialect, find
from tconv.errors import ArgumentError

Layers = Mapping[str, Mapping[str, Any]] | Iterable[str]


def convert(
    weight: Any, *, source: str, target: str, groups: int = 1, layers: Layers | None = None, **native: Any
) -> Any:
    """A transposed convolution's weight, carried from one framework's layout to another's.

    >>> import numpy as np, tconv
    >>> w = np.zeros((3, 3, 64, 32), np.float32)                    # TensorFlow: [kh, kw, C_out, C_in]
    >>> tconv.convert(w, source="tensorflow", target="torch").shape
    (32, 64, 3, 3)
    >>> state = {"up.weight": w, "up.bias": np.zeros(64, np.float32)}
    >>> made = tconv.convert(state, source="tensorflow", target="torch", layers=["*.weight"])
    >>> {name: array.shape for name, array in made.items()}
    {'up.weight': (32, 64, 3, 3), 'up.bias': (64,)}

    `weight` is an array of NumPy, PyTorch, TensorFlow or JAX, and the result a contiguous array of its own. `groups` is
    the layer's; `native` holds arguments of either dialect that change its weight layout. The source's are read first,
    so an argument that both dialects have means the same for both.

    A mapping from names to arrays is a state dict: `layers` then names its transposed convolutions by patterns with *
    and ?, the first that matches counting; as a mapping it gives each pattern its own groups and arguments. All other
    entries are passed on as they are.

    Raises ShapeError if a weight has no spatial axis or its groups do not divide its channels, ArgumentError for an
    argument that neither dialect has, or a pattern that matches nothing.
    """
    if not isinstance(weight, Mapping):
        if layers is not None:
            raise ArgumentError(
                "layers= was given with one weight; it is for a mapping from names to arrays. Write the call without "
                "it, or convert({...}, layers=...)"
            )
        return _one(weight, "weight", find(source, "source"), find(target, "target"), {"groups": groups, **native})
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
    made = dict(weight)
    for name, array in weight.items():
        if (rule := next((rules[pattern] for pattern in rules if _matches(name, pattern)), None)) is not None:
            made[name] = _one(
                array, name, find(source, "source"), find(target, "target"), {"groups": groups, **native, **rule}
            )
    return made


def _patterns(layers: Any) -> list[Any] | None:
    """The patterns in `layers`; None where it holds none, a string being one and not several."""
    try:
        return None if isinstance(layers, (str, bytes)) else list(layers)
    except TypeError:
        return None


def _rule(layers: Any, pattern: Any) -> Mapping[str, Any]:
    """A pattern's own groups and arguments."""
    if not isinstance(pattern, str):
        raise ArgumentError(
            f'layers holds {shown(pattern)}; patterns are strings. Write layers=["decoder.*.weight"], for example'
        )
    rule = layers[pattern] if isinstance(layers, Mapping) else {}
    if not isinstance(rule, Mapping) or not all(isinstance(word, str) for word in rule):
        raise ArgumentError(
            f"layers[{pattern!r}] is {shown(rule)}; the layer's own groups and arguments are needed, by name. "
            f"Write layers={{{pattern!r}: {{}}}}, or layers={{{pattern!r}: {{'groups': 2}}}}"
        )
    return rule


def _matches(name: Any, pattern: str) -> bool:
    return isinstance(name, str) and fnmatchcase(name, pattern)


def _one(weight: Any, name: str, source: Dialect, target: Dialect, words: dict[str, Any]) -> Any:
    groups = words.pop("groups")
    for word in words:
        if not any(word in end.layout_arguments for end in (source, target)):
            raise ArgumentError(
                f"{word}= changes no weight layout of {source.name} or {target.name}. Write groups= alone for {name}"
            )
    library, w = _arrays.take(weight, name)
    reading, writing = (
        {word: words[word] for word in words if word in end.layout_arguments} for end in (source, target)
    )
    canonical = source.to_canonical(w, groups, **reading)
    return _arrays.give(np.array(target.to_native(canonical, groups, **writing), order="C"), library)
