"""Expression: a few operations on numbered values that compute one transposed convolution.

Value 0 is x [N, C, *spatial]; the output is the last operation's. Batch and spatial sizes stay variable: every shape
that depends on them is written as `SizeOf` a value. `evaluate` runs an expression in NumPy, to test it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tconv._arrays import Array
from tconv.errors import ShapeError
from tconv.geometry import Geometry
from tconv.rewriting.evaluation import values_of
from tconv.rewriting.operations import Constant, ConvTranspose, Operation, Sizes, sources_of
from tconv.rewriting.shape_rules import output_shapes, size_reader


@dataclass(frozen=True, eq=False)
class Expression:
    """Operations in the order in which they run; the last one's first output is the result.

    Raises ShapeError for operations that do not fit.
    """

    operations: tuple[Operation, ...]
    input: Sizes
    """Shape of value 0."""
    shapes: dict[int, Sizes] = field(init=False)
    """Shape of each value."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "shapes", self._shapes())

    def _shapes(self) -> dict[int, Sizes]:
        shapes: dict[int, Sizes] = {0: self.input}
        number = size_reader(shapes)
        for operation in self.operations:
            sizes = [size for name in operation.sized for size in getattr(operation, name)]
            sources = {source.value for size in sizes for source in sources_of(size)}
            missing = [value for value in (*operation.inputs, *sources) if value not in shapes]
            if missing:
                raise ShapeError(
                    f"{operation.kind} reads value {missing[0]}, which no operation before it writes. Write the "
                    "operations in the order in which they run"
                )
            taken = [value for value in operation.outputs if value in shapes]
            if taken:
                raise ShapeError(f"{operation.kind} writes value {taken[0]}, which exists. Use another number")
            results = output_shapes(operation, [shapes[value] for value in operation.inputs], number)
            shapes.update(zip(operation.outputs, results, strict=True))
        return shapes

    @property
    def output(self) -> int:
        """Number of the value that is the result; 0 without operations."""
        return self.operations[-1].outputs[0] if self.operations else 0

    @property
    def layers(self) -> tuple[ConvTranspose, ...]:
        """Transposed convolutions of the expression."""
        return tuple(operation for operation in self.operations if isinstance(operation, ConvTranspose))

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of its operations, each once, in the order of their first use."""
        return tuple(dict.fromkeys(operation.kind for operation in self.operations))

    @property
    def weight_bytes(self) -> int:
        """Bytes of its constants, each counted once."""
        found = {id(constant): constant.nbytes for operation in self.operations for constant in operation.constants}
        return sum(found.values())

    def with_input(self, sizes: Sizes) -> Expression:
        """Return the expression for another shape of x, where more or fewer sizes are known."""
        return Expression(self.operations, tuple(sizes))

    def replaced(self, operation: Operation, by: Expression) -> Expression:
        """Return the expression in which another expression stands for an operation of one input and output.

        The other's value 0 is the operation's input; its result takes the place of the operation's output.
        """
        place = next(i for i, other in enumerate(self.operations) if other is operation)
        fresh = max(self.shapes) + 1

        def number(value: int) -> int:
            if value == 0:
                return operation.inputs[0]
            return operation.outputs[0] if value == by.output else fresh + value

        inner = tuple(other.renumbered(number) for other in by.operations)
        return Expression((*self.operations[:place], *inner, *self.operations[place + 1 :]), self.input)

    def evaluate(self, x: Any) -> Array:
        """Return the expression of x in NumPy: float64 inside, int64 for integers, rounded once to x's dtype.

        >>> import numpy as np
        >>> layer(np.ones((1, 1, 2)), None, Geometry(2, 2)).evaluate(np.float32([[[1, 2]]]))
        array([[[1., 1., 2., 2.]]], dtype=float32)
        """
        return values_of(self.operations, x)[self.output]


def layer(
    weight: Any, bias: Any, geometry: Geometry, input: Sequence[int | None] | None = None, **words: Any
) -> Expression:
    """Return one transposed convolution as an expression.

    weight [C_in, C_out/groups, *kernel] and bias [C_out] are NumPy arrays or `Constant`s. `input` is the shape of x
    with None for sizes that vary; without it all but the channels do. `words` are `output_padding`, `auto_pad` and
    `output_shape`, as in `ConvTranspose`. Raises ShapeError if they do not fit.
    """
    w = weight if isinstance(weight, Constant) else Constant.of(weight)
    b = bias if bias is None or isinstance(bias, Constant) else Constant.of(bias)
    sizes = (None, w.shape[0], *[None] * geometry.ndim) if input is None else tuple(input)
    return Expression((ConvTranspose((0,), (1,), w, b, geometry, **words),), sizes)
