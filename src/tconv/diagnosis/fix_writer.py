"""Writer of fixes: Python statements about x, weight, bias and y, in the arguments and array library of one dialect.

Causes ask it for the statements that apply or undo them, and a finding joins these into one line to paste.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tconv.dialects import Dialect
from tconv.dialects import dialect as find_dialect
from tconv.dialects.layouts import Axis, DataLayout, WeightLayout, axes_of
from tconv.errors import TconvError
from tconv.geometry import Geometry

Arguments = tuple[tuple[str, object], ...]

_CONVERSIONS = {
    "paddle": ("np.asarray({})", "paddle.to_tensor({})"),
    "mlx": ("np.asarray({})", "mlx.core.array({})"),
    "mlx_general": ("np.asarray({})", "mlx.core.array({})"),
    "tinygrad": ("{}.numpy()", "tinygrad.Tensor({})"),
}
"""Code from an array to NumPy and back, for the dialects whose arrays tconv does not take."""

NEUTRAL = "numpy"
"""Name of the neutral choice: NumPy's functions and tconv's own, on arrays in PyTorch's layouts."""

_MOST_WRITTEN = 256  # numbers per channel that a line spells out


@dataclass(frozen=True)
class FixWriter:
    """Writer of statements for one dialect, about arrays in its layouts."""

    dialect: Dialect
    data_layout: DataLayout
    weight_layout: WeightLayout
    source: str
    """Name of the dialect whose layout the given weight has."""
    groups: int = 1
    source_arguments: Arguments = ()
    """The source's native arguments that select the layout of the weight."""
    neutral: bool = False

    @classmethod
    def of(
        cls,
        name: str,
        ndim: int,
        source: str,
        groups: int = 1,
        data_layout: DataLayout | None = None,
        weight_layout: WeightLayout | None = None,
        native: Mapping[str, object] | None = None,
    ) -> FixWriter:
        """Return the writer for this dialect, or for NEUTRAL.

        Layouts are the dialect's usual ones; those of the call are given only if the call is in this dialect. `native`
        holds the call's arguments, of which those that select a layout are used.
        """
        dialect = find_dialect("torch" if name == NEUTRAL else name)
        known = find_dialect(source).layout_arguments
        return cls(
            dialect,
            data_layout or dialect.data_layout(ndim, ndim + 2),
            weight_layout or dialect.weight_layout(ndim, groups=groups),
            source,
            groups,
            tuple((key, value) for key, value in (native or {}).items() if key in known),
            name == NEUTRAL,
        )

    @property
    def _torch(self) -> bool:
        return self.dialect.name == "torch" and not self.neutral

    @property
    def _own_arguments(self) -> Arguments:
        """The source's layout arguments if the source is this dialect."""
        return self.source_arguments if self.source == self.dialect.name else ()

    # -- axes and order ----------------------------------------------------------------------------------------------

    def _places(self, name: str, axes: Sequence[Axis]) -> tuple[int, ...]:
        order = self.weight_layout.axes if name == "weight" else self.data_layout.axes
        return tuple(order.index(axis) for axis in axes if axis in order)

    def flip(self, name: str, axes: Sequence[Axis]) -> str:
        """Return the statement that reverses an array along these axes."""
        places = self._places(name, axes)
        flipped = f"{name}.flip({', '.join(map(str, places))})" if self._torch else f"np.flip({name}, {places})"
        return f"{name} = {flipped}"

    def swap(self, name: str, a: Axis, b: Axis) -> str:
        """Return the statement that exchanges two axes of an array; "" if its layout lacks one of them."""
        places = self._places(name, (a, b))
        if len(places) < 2:
            return ""
        one, two = places
        return (
            f"{name} = {name}.transpose({one}, {two})" if self._torch else f"{name} = np.swapaxes({name}, {one}, {two})"
        )

    def permute(self, name: str, source: str, order: Sequence[int]) -> str:
        """Return the statement that sets `name` to the expression `source` with its axes in this order."""
        places = ", ".join(map(str, order))
        return f"{name} = {source}.permute({places})" if self._torch else f"{name} = np.transpose({source}, ({places}))"

    def reverse(self, name: str) -> str:
        """Return the statement that reverses a list of numbers, such as the bias."""
        return f"{name} = {name}.flip(0)" if self._torch else f"{name} = {name}[::-1]"

    def take(self, name: str, axis: Axis, order: Sequence[int]) -> str:
        """Return the statement that puts the entries of one axis into this order."""
        (place,) = self._places(name, (axis,))
        by_dialect = {  # these tensors take no array as an index, and JAX's arrays no list
            "torch": f"{name}[{':, ' * place}{list(order)}]",
            "tensorflow": f"tf.gather({name}, {list(order)}, axis={place})",
            "keras": f"keras.ops.take({name}, {list(order)}, axis={place})",
            "mlx": f"mlx.core.take({name}, mlx.core.array({list(order)}), axis={place})",
            "mlx_general": f"mlx.core.take({name}, mlx.core.array({list(order)}), axis={place})",
        }
        return f"{name} = " + by_dialect.get(self.dialect.name, f"{name}[{':, ' * place}np.array({list(order)})]")

    def take_weight(self, axis: Axis, order: Sequence[int]) -> str:
        """Return the statement that orders the weight's channels; "" where they are not all on one axis."""
        grouped = self.groups > 1 and self.weight_layout.grouped != axis
        return "" if grouped else self.take("weight", axis, order)

    def shuffle(self, name: str, rows: int, columns: int) -> str:
        """Return the statement that reads the channel axis as [rows, columns] and writes it as [columns, rows]."""
        return self.take(name, "C", [r * columns + c for c in range(columns) for r in range(rows)])

    # -- layouts -----------------------------------------------------------------------------------------------------

    def relayout(self, name: str, given: DataLayout) -> str:
        """Return the statement that brings x or y from this layout into the dialect's; "" if it is already there.

        A batch axis that only one of the layouts has is added, or its first image taken.
        """
        source, axes = name, given.axes
        if "N" in axes and "N" not in self.data_layout.axes:
            source = f"{name}[{':, ' * axes.index('N')}0]"
            axes = tuple(axis for axis in axes if axis != "N")
        elif "N" not in axes and "N" in self.data_layout.axes:
            source, axes = f"{name}[None]", ("N", *axes)
        if axes != self.data_layout.axes:
            return self.permute(name, source, [axes.index(axis) for axis in self.data_layout.axes])
        return "" if source == name else f"{name} = {source}"

    def data_from_stored(self, name: str, pattern: str, ndim: int) -> str:
        """Return the statement that reads x or y from `stored`, an array whose axes have this order."""
        stored = tuple(axis for axis in axes_of(pattern, ndim) if axis in self.data_layout.axes)
        if stored == self.data_layout.axes:
            return f"{name} = stored"
        return self.permute(name, "stored", [stored.index(axis) for axis in self.data_layout.axes])

    def weight_from_stored(self, source: str, array: str = "stored") -> str:
        """Return the statement that converts the weight from `array`, an expression in the layout of `source`."""
        if source == "jax":  # only the order of the axes is meant: JAX itself also reverses the taps
            source = "tensorflow"
            array = f"{array}.swapaxes(-1, -2)" if self._torch else f"np.swapaxes({array}, -1, -2)"
        return self._convert(array, source, (), self.dialect.name, self._own_arguments)

    def weight_from_memory(self, source: str, shape: tuple[int, ...]) -> str:
        """Return the statement that reads the weight's own memory, in PyTorch's axis order, as the layout of `source`.

        `shape` is the shape of the weight in the layout of `source`.
        """
        ndim, torch = len(shape) - 2, find_dialect("torch")
        canonical = replace(self, weight_layout=torch.weight_layout(ndim), dialect=torch)
        weight = (self if self.source == self.dialect.name else canonical)._converted(canonical)
        weight = weight.removeprefix("weight = ") or "weight"
        reshaped = f"{weight}.reshape{shape}" if self._torch else f"np.reshape({weight}, {shape})"
        return self.weight_from_stored(source, reshaped)

    def depthwise_weight(self, source: str, shape: tuple[int, ...]) -> str:
        """Return the statement that makes the weight of this canonical shape from `source` [*kernel, C, multiplier]."""
        ndim = len(shape) - 2
        statement = f"{self.permute('weight', source, (ndim, ndim + 1, *range(ndim)))}.reshape{shape}"
        if self.weight_layout == find_dialect("torch").weight_layout(ndim):
            return statement
        arguments = f'source="torch", target="{self.dialect.name}", groups={self.groups}'
        return f"{statement}; weight = tconv.convert(weight, {arguments})"

    def _convert(self, array: str, source: str, given: Arguments, target: str, wanted: Arguments) -> str:
        """Return the statement that converts an array between two weight layouts, in this dialect's array library."""
        to_numpy, from_numpy = _CONVERSIONS.get(self.dialect.name, ("{}", "{}"))
        converted = self._conversion(to_numpy.format(array), source, given, target, wanted)
        return f"weight = {from_numpy.format(converted)}"

    def _conversion(self, array: str, source: str, given: Arguments, target: str, wanted: Arguments) -> str:
        """Return the call of `tconv.convert` from `source` with its arguments `given` to `target` with `wanted`."""
        groups = f", groups={self.groups}" if self.groups > 1 else ""
        if wanted or (source == target and given):  # one call gives its arguments to both ends: go through PyTorch
            array, source, given = self._conversion(array, source, given, "torch", ()), "torch", wanted
        arguments = "".join(f", {key}={value!r}" for key, value in given)
        return f'tconv.convert({array}, source="{source}", target="{target}"{groups}{arguments})'

    def _converted(self, to: FixWriter) -> str:
        """Return the statement that converts the weight from the source's layout to that of `to`; "" if they agree."""
        ndim = sum(isinstance(axis, int) for axis in self.weight_layout.axes)
        if self.source == self.dialect.name:
            given = self.weight_layout
        else:
            given = find_dialect(self.source).weight_layout(ndim, groups=self.groups, **dict(self.source_arguments))
        if given == to.weight_layout:
            return ""
        usual = to.dialect.weight_layout(ndim, groups=self.groups)
        target = to.dialect.name if to.weight_layout == usual else "torch"
        return self._convert("weight", self.source, self.source_arguments, target, ())

    # -- numbers per channel -----------------------------------------------------------------------------------------

    def bias(self) -> str:
        """Return the expression of the bias as it is added to y."""
        if len(self._column) == 1:
            return "bias"
        shape = ", ".join(map(str, self._column))
        by_dialect = {"tensorflow": f"tf.reshape(bias, [{shape}])", "keras": f"keras.ops.reshape(bias, ({shape}))"}
        return by_dialect.get(self.dialect.name, f"bias.reshape({shape})")

    @property
    def _column(self) -> tuple[int, ...]:
        """Shape of one number per channel that broadcasts against y."""
        return -1, *[1] * len(self.data_layout.axes[self.data_layout.axes.index("C") + 1 :])

    def column(self, values: Sequence[float | complex]) -> str:
        """Return the expression of one number per channel that broadcasts against y; "" for more than 256."""
        if len(values) > _MOST_WRITTEN:
            return ""
        if not self._torch:
            return f"np.reshape({list(values)}, {self._column})"
        tensor = f"y.new_tensor({list(values)})"
        return f"{tensor}.reshape({', '.join(map(str, self._column))})" if len(self._column) > 1 else tensor

    def fold_batchnorm(self) -> str:
        """Return the statement that folds a BatchNorm into weight and bias."""
        arguments = [] if self.dialect.name == "torch" else [f'dialect="{self.dialect.name}"']
        arguments += [f"groups={self.groups}"] * (self.groups > 1)
        arguments += [f"{key}={value!r}" for key, value in self._own_arguments]
        # eps is that of the layer's framework, which need not be the one of this layout
        given = ", ".join(["weight", "bias", "gamma", "beta", "mean", "variance", "eps=eps", *arguments])
        return f"weight, bias = tconv.fold_batchnorm({given})"

    # -- precision ---------------------------------------------------------------------------------------------------

    def full_precision(self, name: str) -> str:
        """Return the setting that turns off products of rounded numbers, such as TF32's; "" if there is none."""
        if self.neutral:
            return ""
        if self._torch and name == "TF32":
            return "torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False"
        return {
            "torch": "torch.set_float32_matmul_precision('highest')",
            "tensorflow": "tf.config.experimental.enable_tensor_float_32_execution(False)" if name == "TF32" else "",
            "jax": 'jax.config.update("jax_default_matmul_precision", "highest")',
        }.get(self.dialect.name, "")

    def as_float32(self, bias: bool) -> str:
        """Return the statement that casts x, weight and, if there is one, the bias to float32."""
        casts = {
            "torch": "{}.float()",
            "tensorflow": 'tf.cast({}, "float32")',
            "keras": 'keras.ops.cast({}, "float32")',
        }
        names = ["x", "weight", *["bias"] * bias]
        cast = '{}.astype("float32")' if self.neutral else casts.get(self.dialect.name, '{}.astype("float32")')
        return f"{', '.join(names)} = {', '.join(map(cast.format, names))}"

    # -- the whole call ----------------------------------------------------------------------------------------------

    def recompute(
        self, geometry: Geometry, input: tuple[int, ...], bias: bool, given: DataLayout, before: str = ""
    ) -> str:
        """Return statements that compute y with this geometry from x and weight as they were given.

        `given` is the layout of x; `before` holds statements that change the arrays first. The call is written in the
        dialect's usual layouts, or as tconv's own in PyTorch's where the dialect has no arguments for this geometry.
        """
        ndim = geometry.ndim
        usual = FixWriter.of(NEUTRAL if self.neutral else self.dialect.name, ndim, self.source, self.groups)
        steps = []
        now, layout = self, given
        if before:
            steps += [self.relayout("x", given), self._converted(self), before]
            layout = self.data_layout
            now = replace(self, source=self.dialect.name)
        line = usual._call(geometry, input, bias)
        result = self.dialect.result_layout(ndim, ndim + 2)
        if not line:
            usual = replace(usual, data_layout=DataLayout.of("NC*", ndim), weight_layout=WeightLayout.of("IO*", ndim))
            numbers = ", ".join(map(str, (geometry.kernel, geometry.stride, geometry.crop, geometry.dilation)))
            argument = f"geometry=tconv.Geometry({numbers}, {geometry.groups})"
            to_numpy, from_numpy = _CONVERSIONS.get(self.dialect.name, ("{}", "{}"))
            arrays = ", ".join(map(to_numpy.format, ["x", "weight", *["bias"] * bias]))
            line = f"y = {from_numpy.format(f'tconv.conv_transpose({arrays}, {argument})')}"
            result = usual.data_layout
        steps += [usual.relayout("x", layout), now._converted(usual), line]
        if result.axes != self.data_layout.axes and set(result.axes) == set(self.data_layout.axes):
            steps.append(self.relayout("y", result))
        return "; ".join(filter(None, steps))

    def _call(self, geometry: Geometry, input: tuple[int, ...], bias: bool) -> str:
        """Return one line that computes y in the usual layouts; "" where the dialect cannot express the geometry."""
        dialect = self.dialect
        if self.neutral:
            return f"y = tconv.conv_transpose(x, weight{', bias' * bias}{_torch_arguments(geometry, input)})"
        if dialect.name == "onnx" and geometry.groups > 1:  # ONNX's own evaluator gets groups wrong
            dialect = find_dialect("onnxruntime")
        try:
            first, *rest = dialect.code(geometry, input).splitlines()
        except TconvError:
            return ""
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


def _torch_arguments(geometry: Geometry, input: tuple[int, ...]) -> str:
    """Return PyTorch's arguments, or tconv's crop where PyTorch has none: ", stride=2, padding=1", for example."""
    try:
        arguments = find_dialect("torch").arguments(geometry, input)
    except TconvError:
        g = geometry
        arguments = {"stride": g.stride, "crop": g.crop, "dilation": g.dilation, "groups": g.groups}
    defaults = {"stride": 1, "padding": 0, "output_padding": 0, "dilation": 1, "groups": 1}
    short = {name: value if name == "crop" else _short(value) for name, value in arguments.items()}
    return "".join(f", {name}={value}" for name, value in short.items() if value != defaults.get(name))


def _short(value: Any) -> Any:
    """Return one number where all axes have the same."""
    return value[0] if isinstance(value, tuple) and len(set(value)) == 1 else value
