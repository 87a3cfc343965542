"""The hand that writes fixes: Python statements about x, weight, bias and y in the words of one dialect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tconv.dialects import Dialect, dialect
from tconv.dialects.layouts import Axis, DataLayout, WeightLayout
from tconv.errors import TconvError
from tconv.geometry import Geometry

_MOST_WRITTEN = 256  # numbers per channel that a line spells out


@dataclass(frozen=True)
class Hand:
    """Writes for one dialect, for arrays in its layouts."""

    speaker: Dialect
    data: DataLayout
    weight: WeightLayout
    source: str
    """The dialect whose layout the weight that was given has."""
    groups: int = 1
    words: tuple[tuple[str, object], ...] = ()
    """The native arguments that choose the weight's layout."""

    @classmethod
    def of(
        cls,
        name: str,
        ndim: int,
        source: str,
        groups: int = 1,
        data: DataLayout | None = None,
        weight: WeightLayout | None = None,
        native: Mapping[str, object] | None = None,
    ) -> Hand:
        """For the dialect of this name; `data`, `weight` and `native` are the call's, if it is the call's dialect."""
        speaker = dialect(name)
        own = speaker.weight_layout(ndim)
        words = {key: value for key, value in (native or {}).items() if key in speaker.layout_arguments}
        return cls(
            speaker,
            data or speaker.data_layout(ndim, ndim + 2),
            weight or own,
            source,
            groups,
            tuple(words.items()) if weight not in (None, own) else (),
        )

    @property
    def _torch(self) -> bool:
        return self.speaker.name == "torch"

    def _places(self, name: str, axes: Sequence[Axis]) -> tuple[int, ...]:
        order = self.weight.axes if name == "weight" else self.data.axes
        return tuple(order.index(axis) for axis in axes if axis in order)

    def flip(self, name: str, axes: Sequence[Axis]) -> str:
        """Reverse an array along these axes."""
        places = self._places(name, axes)
        flipped = f"{name}.flip({', '.join(map(str, places))})" if self._torch else f"numpy.flip({name}, {places})"
        return f"{name} = {flipped}"

    def swap(self, name: str, a: Axis, b: Axis) -> str:
        """Exchange two axes of an array."""
        places = self._places(name, (a, b))
        if len(places) < 2:
            return ""
        one, two = places
        return (
            f"{name} = {name}.transpose({one}, {two})"
            if self._torch
            else f"{name} = numpy.swapaxes({name}, {one}, {two})"
        )

    def permute(self, name: str, source: str, order: Sequence[int]) -> str:
        """Order the axes of an array, `source` being what it is made of."""
        places = ", ".join(map(str, order))
        return (
            f"{name} = {source}.permute({places})" if self._torch else f"{name} = numpy.transpose({source}, ({places}))"
        )

    def relaid(self, name: str, given: DataLayout) -> str:
        """The statement that brings data of this layout into this dialect's; "" where it has it."""
        if given == self.data or len(given.axes) != len(self.data.axes):
            return ""
        return self.permute(name, name, [given.axes.index(axis) for axis in self.data.axes])

    def stored(self, source: str, array: str = "stored") -> str:
        """The weight made anew of an array in that dialect's layout: as it was stored, before it was reshaped."""
        groups = f", groups={self.groups}" if self.groups > 1 else ""
        if source == "jax":  # its axes alone are meant: jax itself reverses the taps, too
            source, array = "tensorflow", f"{array}.swapaxes(-1, -2)"
        return f'weight = tconv.convert({array}, source="{source}", target="{self.speaker.name}"{groups})'

    def reread(self, source: str, shape: tuple[int, ...]) -> str:
        """The weight made anew of its own memory, which is in that dialect's layout."""
        return self.stored(source, f"weight.reshape{shape}")

    def reverse(self, name: str) -> str:
        """Reverse a list of numbers, such as the bias."""
        return f"{name} = {name}.flip(0)" if self._torch else f"{name} = {name}[::-1]"

    def take(self, name: str, axis: Axis, order: Sequence[int]) -> str:
        """Put the entries of one axis into this order."""
        (place,) = self._places(name, (axis,))
        return f"{name} = {name}[{':, ' * place}{list(order)}]"

    def shuffle(self, name: str, rows: int, columns: int) -> str:
        """Read the channel axis as [rows, columns] and write it as [columns, rows]."""
        return self.take(name, "C", [r * columns + c for c in range(columns) for r in range(rows)])

    def bias(self) -> str:
        """The bias as it is added to y."""
        return f"bias.reshape({', '.join(map(str, self._column))})" if len(self._column) > 1 else "bias"

    @property
    def _column(self) -> tuple[int, ...]:
        """The shape of one number per channel, as it is added to y."""
        return -1, *[1] * len(self.data.axes[self.data.axes.index("C") + 1 :])

    def column(self, values: Sequence[float | complex]) -> str:
        """These numbers, one per channel, as they are added to y or multiplied onto it; "" for too many of them."""
        if len(values) > _MOST_WRITTEN:
            return ""
        if not self._torch:
            return f"numpy.reshape({list(values)}, {self._column})"
        made = f"y.new_tensor({list(values)})"
        return f"{made}.reshape({', '.join(map(str, self._column))})" if len(self._column) > 1 else made

    def exact(self, name: str) -> str:
        """No products of rounded numbers, such as TF32's, where they are a setting."""
        if self._torch and name == "TF32":
            return "torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False"
        return {
            "torch": "torch.set_float32_matmul_precision('highest')",
            "tensorflow": "tf.config.experimental.enable_tensor_float_32_execution(False)" if name == "TF32" else "",
            "jax": 'jax.config.update("jax_default_matmul_precision", "highest")',
        }.get(self.speaker.name, "")

    def widened(self, bias: bool) -> str:
        """x, weight and bias in float32."""
        wide = {"torch": "{}.float()", "tensorflow": 'tf.cast({}, "float32")', "keras": 'keras.ops.cast({}, "float32")'}
        names = ["x", "weight", *["bias"] * bias]
        each = wide.get(self.speaker.name, '{}.astype("float32")')
        return f"{', '.join(names)} = {', '.join(map(each.format, names))}"

    def fold(self) -> str:
        """Weight and bias with the BatchNorm in them."""
        words = [] if self.speaker.name == "torch" else [f'dialect="{self.speaker.name}"']
        words += [f"groups={self.groups}"] * (self.groups > 1) + [f"{key}={value!r}" for key, value in self.words]
        given = ", ".join(["weight", "bias", "gamma", "beta", "mean", "variance", *words])
        return f"weight, bias = tconv.fold_batchnorm({given})"

    def call(self, geometry: Geometry, input: tuple[int, ...], bias: bool) -> str:
        """One line that computes y with this geometry; tconv's own, in PyTorch's layouts, for want of other words."""
        speaker = self.speaker
        if speaker.name == "onnx" and geometry.groups > 1:  # ONNX's own evaluator gets groups wrong
            speaker = dialect("onnxruntime")
        try:
            first, *rest = speaker.code(geometry, input).splitlines()
        except TconvError:
            g = geometry
            numbers = ", ".join(map(str, (g.kernel, g.stride, g.crop, g.dilation, g.groups)))
            added = ", bias" if bias else ""
            return f"y = tconv.conv_transpose(x, weight{added}, geometry=tconv.Geometry({numbers}))"
        if "\n".join([first, *rest]).count("y = ") != 1 + len(rest):  # a program, not a call and a slice
            behind = [f"y = y + {self.bias()}"] if bias else []
            return "; ".join([first, *rest, *behind])
        extends = any(line.startswith("y = y[") is False for line in rest)
        if bias and self._torch and not extends:
            first, bias = first.replace("(x, weight", "(x, weight, bias", 1), False
        for line in rest:
            if line.startswith("y = y[") and not extends:
                first += line.removeprefix("y = y")
            else:
                first += "; " + line
        return first + (f"{'; y = y' if ';' in first else ''} + {self.bias()}" if bias else "")

    def convert(self) -> str:
        """The statement that brings the given weight into this dialect's layout; "" where it has it."""
        if self.source == self.speaker.name or self.weight == dialect(self.source).weight_layout(
            len(self.weight.axes) - 2
        ):
            return ""
        groups = f", groups={self.groups}" if self.groups > 1 else ""
        return f'weight = tconv.convert(weight, source="{self.source}", target="{self.speaker.name}"{groups})'
