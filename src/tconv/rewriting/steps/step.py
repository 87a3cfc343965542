"""Step: one exact way to write a transposed convolution as other operations, with all reasons against it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple

from tconv.errors import MethodError, ShapeError
from tconv.rewriting.builder import Builder
from tconv.rewriting.expression import Expression
from tconv.rewriting.operations import Constant, ConvTranspose, Sizes

MOST_BYTES = 2**30
"""Most bytes of constants that one step may write."""
MOST_OPERATIONS = 256
"""Most operations that one step may write."""

Variant = Mapping[str, Any]
"""Choice among the forms of a step, such as the factors of a stride, as keyword arguments."""


class RewriteStep(ABC):
    """Exact rewrite of one operation. Sizes are the shape of its input, None for those that vary."""

    name: ClassVar[str]
    summary: ClassVar[str]
    """One sentence for a table."""
    waste: ClassVar[str] = ""
    """Multiply-adds that it spends on zeros, as a sentence; "" for none."""
    adds_zeros: ClassVar[bool] = False
    """True where weights are multiplied with zeros that the layer does not have: 0 * inf is no zero."""

    def variants(self, operation: ConvTranspose, sizes: Sizes) -> tuple[Variant, ...]:
        """Return the forms that a planner tries, the preferred one first."""
        return ({},)

    def obstacles(self, operation: ConvTranspose, sizes: Sizes, variant: Variant) -> list[str]:
        """Return the step's own reasons against an operation whose crop is known."""
        return []

    @abstractmethod
    def build(self, operation: ConvTranspose, builder: Builder, variant: Variant) -> Any:
        """Append the operations that compute the layer; the last one gives the result."""

    def reasons_against(self, operation: ConvTranspose, sizes: Sizes, **variant: Any) -> list[str]:
        """Return all reasons why the step cannot be applied; [] if it can.

        Without `variant` these are the reasons against the preferred form.
        """
        return self.tried(operation, sizes, variant)[0]

    def apply(self, operation: ConvTranspose, sizes: Sizes, **variant: Any) -> Expression:
        """Return the expression that equals the operation. Raises MethodError with all reasons against it."""
        reasons, expression = self.tried(operation, sizes, variant)
        if expression is None:
            raise MethodError(f"{self.name} cannot rewrite this layer: {'; '.join(reasons)}. Use another step")
        return expression

    def tried(self, operation: ConvTranspose, sizes: Sizes, variant: Variant) -> tuple[list[str], Expression | None]:
        """Return all reasons against the step, and the expression if there are none."""
        settled = self.settled(operation, sizes)
        if settled is None:
            return ["its crop depends on the input's size, which varies; write explicit-pads before it"], None
        form = self._form(settled, sizes, variant)
        reasons = self.obstacles(settled, sizes, form)
        if self.adds_zeros and not operation.weight.is_finite:
            reasons.append("its weight has NaN or infinity, which zeros would spread to other outputs")
        if reasons:
            return reasons, None
        try:
            builder = Builder(sizes)
            self.build(settled, builder, form)
            expression = builder.expression()
        except ShapeError as error:
            return [str(error)], None
        reasons = limits(expression, operation)
        return reasons, None if reasons else expression

    def settled(self, operation: ConvTranspose, sizes: Sizes) -> ConvTranspose | None:
        """Return the operation with a crop that holds for all its inputs; None if it follows from unknown sizes."""
        if operation.output_shape is None:
            return operation
        known = [size for size in sizes[2:] if size is not None]
        if len(known) < len(sizes) - 2:
            return None
        g = operation.geometry_for(known)
        return replace(operation, geometry=g, output_shape=None, auto_pad="NOTSET", output_padding=())

    def _form(self, operation: ConvTranspose, sizes: Sizes, variant: Variant) -> Variant:
        """Return the form that was asked for, else the preferred one; {} if there is none."""
        if variant:
            return variant
        forms = self.variants(operation, sizes)
        return forms[0] if forms else {}


def limits(expression: Expression, operation: ConvTranspose) -> list[str]:
    """Return the reasons against an expression because of its size, or of sums that its dtype rounds."""
    reasons = []
    grown = expression.weight_bytes
    if grown > max(MOST_BYTES, 2 * operation.weight.nbytes):
        reasons.append(f"its weights would take {grown / 2**20:.0f} MB; {MOST_BYTES >> 20} are allowed")
    if len(expression.operations) > MOST_OPERATIONS:
        reasons.append(f"it would be {len(expression.operations)} operations; {MOST_OPERATIONS} are allowed")
    dtype = operation.weight.dtype
    if dtype.itemsize < 4 and "add" in expression.kinds:
        reasons.append(f"it adds values that {dtype.name} has already rounded, and rounds the sum again")
    if is_writable(operation) and not all(map(is_writable, expression.layers)):
        reasons.append(
            "a layer of it would have pads below 0, or an output_padding that is not below its stride or dilation; "
            "write explicit-pads or no-output-padding before it"
        )
    return reasons


def is_writable(operation: ConvTranspose) -> bool:
    """Return True for a crop that a file can have: by a rule, or as pads of at least 0 and a small output_padding."""
    g = operation.geometry
    given = operation.output_padding or (0,) * g.ndim
    by_rule = operation.auto_pad != "NOTSET" or operation.output_shape is not None
    crop = [(0, 0)] * g.ndim if by_rule else g.crop
    axes = zip(crop, given, g.stride, g.dilation, strict=True)
    return all(lo >= 0 and max(op, -hi) < max(s, d) for (lo, hi), op, s, d in axes)


def too_many(count: int, things: str) -> list[str]:
    """Return the reason against so many operations, before they are written; [] for few."""
    if count <= MOST_OPERATIONS:
        return []
    return [f"it would have {count} {things}; {MOST_OPERATIONS} operations are allowed"]


class SeparateBias(NamedTuple):
    """Bias of a layer whose output is extended by rows that hold only bias."""

    inside: Constant | None
    """Bias that the layer adds itself."""
    value: float
    """Number in the new rows."""
    behind: Constant | None
    """Bias that is added to everything at the end."""


def separate_bias(bias: Constant | None) -> SeparateBias:
    """Return the bias for a layer with rows around its output: one number is padded, several are added behind."""
    if bias is None:
        return SeparateBias(None, 0.0, None)
    numbers = bias.array
    if numbers.size and (numbers == numbers[0]).all():
        return SeparateBias(bias, float(numbers[0]), None)
    return SeparateBias(None, 0.0, bias)
