"""The hand that writes fixes: Python statements about x, weight, bias and y in the words of one dialect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tconv.dialects import Dialect, dialect
from tconv.dialects.layouts import Axis, DataLayout, WeightLayout, axes_of
from tconv.errors import TconvError
from tconv.geometry import Geometry

Words = tuple[tuple[str, object], ...]

_FOREIGN = {
    "paddle": ("np.asarray({})", "paddle.to_tensor({})"),
    "mlx": ("np.asarray({})", "mlx.core.array({})"),
    "mlx_general": ("np.asarray({})", "mlx.core.array({})"),
    "tinygrad": ("{}.numpy()", "tinygrad.Tensor({})"),
}
"""Of dialects whose arrays tconv does not take: such an array as NumPy's, and the way back."""

NEUTRAL = "numpy"
"""Who writes NumPy's words and tconv's own, about arrays in PyTorch's layouts."""

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
    words: Words = ()
    """The source's native arguments that choose the weight's layout."""
    neutral: bool = False

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
        """For this dialect, or NEUTRAL; `data`, `weight` and `native` are the call's, if it is the call's dialect."""
        speaker = dialect("torch" if name == NEUTRAL else name)
        own = speaker.weight_layout(ndim, groups=groups)
        known = dialect(source).layout_arguments
        words = tuple((key, value) for key, value in (native or {}).items() if key in known)
        return cls(
            speaker,
            data or speaker.data_layout(ndim, ndim + 2),
            weight or own,
            source,
            groups,
            words,
            name == NEUTRAL,
        )

    @property
    def _torch(self) -> bool:
        return self.speaker.name == "torch" and not self.neutral

    def _places(self, name: str, axes: Sequence[Axis]) -> tuple[int, ...]:
        order = self.weight.axes if name == "weight" else self.data.axes
        return tuple(order.index(axis) for axis in axes if axis in order)

    def flip(self, name: str, axes: Sequence[Axis]) -> str:
        """Reverse an array along these axes."""
        places = self._places(name, axes)
        flipped = f"{name}.flip({', '.join(map(str, places))})" if self._torch else f"np.flip({name}, {places})"
        return f"{name} = {flipped}"

    def swap(self, name: str, a: Axis, b: Axis) -> str:
        """Exchange two axes of an array."""
        places = self._places(name, (a, b))
        if len(places) < 2:
            return ""
        one, two = places
        return (
            f"{name} = {name}.transpose({one}, {two})" if self._torch else f"{name} = np.swapaxes({name}, {one}, {two})"
        )

    def permute(self, name: str, source: str, order: Sequence[int]) -> str:
        """Order the axes of an array, `source` being what it is made of."""
        places = ", ".join(map(str, order))
        return f"{name} = {source}.permute({places})" if self._torch else f"{name} = np.transpose({source}, ({places}))"

    def relaid(self, name: str, given: DataLayout) -> str:
        """The statement that brings data, of one image if need be, from this layout into this dialect's; or ""."""
        source, axes = name, given.axes
        if "N" in axes and "N" not in self.data.axes:
            source = f"{name}[{':, ' * axes.index('N')}0]"
            axes = tuple(axis for axis in axes if axis != "N")
        elif "N" not in axes and "N" in self.data.axes:
            source, axes = f"{name}[None]", ("N", *axes)
        if axes != self.data.axes:
            return self.permute(name, source, [axes.index(axis) for axis in self.data.axes])
        return "" if source == name else f"{name} = {source}"

    def laid(self, name: str, pattern: str, ndim: int) -> str:
        """The statement that makes data of the array as it was stored, with its axes in this order."""
        stored = tuple(axis for axis in axes_of(pattern, ndim) if axis in self.data.axes)
        if stored == self.data.axes:
            return f"{name} = stored"
        return self.permute(name, "stored", [stored.index(axis) for axis in self.data.axes])

    def stored(self, source: str, array: str = "stored") -> str:
        """The weight made anew of an array in that dialect's layout: as it was stored, before it was reshaped."""
        if source == "jax":  # its axes alone are meant: jax itself reverses the taps, too
            source = "tensorflow"
            array = f"{array}.swapaxes(-1, -2)" if self._torch else f"np.swapaxes({array}, -1, -2)"
        words = self.words if self.source == self.speaker.name else ()
        return self._carry(array, source, (), self.speaker.name, words)

    def _carry(self, array: str, source: str, here: Words, target: str, there: Words) -> str:
        """The statement that carries an array of one dialect's weight layout into that of another."""
        read, made = _FOREIGN.get(self.speaker.name, ("{}", "{}"))
        return f"weight = {made.format(self._carried(read.format(array), source, here, target, there))}"

    def _carried(self, array: str, source: str, here: Words, target: str, there: Words) -> str:
        """An array of one dialect's weight layout in that of another, each with its own arguments."""
        groups = f", groups={self.groups}" if self.groups > 1 else ""
        if there or (source == target and here):  # arguments of one call are for both ends
            array, source, here = self._carried(array, source, here, "torch", ()), "torch", there
        words = "".join(f", {key}={value!r}" for key, value in here)
        return f'tconv.convert({array}, source="{source}", target="{target}"{groups}{words})'

    def reread(self, source: str, shape: tuple[int, ...]) -> str:
        """The weight made anew of its own memory, in PyTorch's order of axes, which is in that dialect's layout."""
        ndim = len(shape) - 2
        canonical = replace(self, weight=dialect("torch").weight_layout(ndim), speaker=dialect("torch"))
        weight = (self if self.source == self.speaker.name else canonical)._converted(canonical)
        weight = weight.removeprefix("weight = ") or "weight"
        return self.stored(source, f"{weight}.reshape{shape}" if self._torch else f"np.reshape({weight}, {shape})")

    def depthwise(self, source: str, shape: tuple[int, ...]) -> str:
        """The weight [C_in, C_out/groups, *kernel] of this shape made of one that is [*kernel, C, multiplier]."""
        ndim = len(shape) - 2
        made = f"{self.permute('weight', source, (ndim, ndim + 1, *range(ndim)))}.reshape{shape}"
        if self.weight == dialect("torch").weight_layout(ndim):
            return made
        words = f'source="torch", target="{self.speaker.name}", groups={self.groups}'
        return f"{made}; weight = tconv.convert(weight, {words})"

    def reverse(self, name: str) -> str:
        """Reverse a list of numbers, such as the bias."""
        return f"{name} = {name}.flip(0)" if self._torch else f"{name} = {name}[::-1]"

    def take(self, name: str, axis: Axis, order: Sequence[int]) -> str:
        """Put the entries of one axis into this order."""
        (place,) = self._places(name, (axis,))
        written = {  # an array as an index is not what tensors of these take, a list not what JAX's arrays do
            "torch": f"{name}[{':, ' * place}{list(order)}]",
            "tensorflow": f"tf.gather({name}, {list(order)}, axis={place})",
            "keras": f"keras.ops.take({name}, {list(order)}, axis={place})",
            "mlx": f"mlx.core.take({name}, mlx.core.array({list(order)}), axis={place})",
            "mlx_general": f"mlx.core.take({name}, mlx.core.array({list(order)}), axis={place})",
        }
        return f"{name} = " + written.get(self.speaker.name, f"{name}[{':, ' * place}np.array({list(order)})]")

    def shuffle(self, name: str, rows: int, columns: int) -> str:
        """Read the channel axis as [rows, columns] and write it as [columns, rows]."""
        return self.take(name, "C", [r * columns + c for c in range(columns) for r in range(rows)])

    def bias(self) -> str:
        """The bias as it is added to y."""
        if len(self._column) == 1:
            return "bias"
        shape = ", ".join(map(str, self._column))
        written = {"tensorflow": f"tf.reshape(bias, [{shape}])", "keras": f"keras.ops.reshape(bias, ({shape}))"}
        return written.get(self.speaker.name, f"bias.reshape({shape})")

    @property
    def _column(self) -> tuple[int, ...]:
        """The shape of one number per channel, as it is added to y."""
        return -1, *[1] * len(self.data.axes[self.data.axes.index("C") + 1 :])

    def column(self, values: Sequence[float | complex]) -> str:
        """These numbers, one per channel, as they are added to y or multiplied onto it; "" for too many of them."""
        if len(values) > _MOST_WRITTEN:
            return ""
        if not self._torch:
            return f"np.reshape({list(values)}, {self._column})"
        made = f"y.new_tensor({list(values)})"
        return f"{made}.reshape({', '.join(map(str, self._column))})" if len(self._column) > 1 else made

    def exact(self, name: str) -> str:
        """No products of rounded numbers, such as TF32's, where they are a setting."""
        if self.neutral:
            return ""
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
        each = wide.get(self.speaker.name, '{}.astype("float32")') if not self.neutral else '{}.astype("float32")'
        return f"{', '.join(names)} = {', '.join(map(each.format, names))}"

    def fold(self) -> str:
        """Weight and bias with the BatchNorm in them."""
        words = [] if self.speaker.name == "torch" else [f'dialect="{self.speaker.name}"']
        own = self.words if self.source == self.speaker.name else ()
        words += [f"groups={self.groups}"] * (self.groups > 1) + [f"{key}={value!r}" for key, value in own]
        given = ", ".join(["weight", "bias", "gamma", "beta", "mean", "variance", *words])
        return f"weight, bias = tconv.fold_batchnorm({given})"

    def anew(self, geometry: Geometry, input: tuple[int, ...], bias: bool, given: DataLayout, before: str = "") -> str:
        """Statements that compute y with this geometry from x and weight as they were given, `before` changing them.

        The call is written in the dialect's usual layouts; where it has no words for it, as tconv's own in PyTorch's.
        """
        ndim = geometry.ndim
        usual = Hand.of(NEUTRAL if self.neutral else self.speaker.name, ndim, self.source, self.groups)
        steps = []
        now, layout = self, given
        if before:
            steps += [self.relaid("x", given), self._converted(self), before]
            layout = self.data
            now = replace(self, source=self.speaker.name)
        line = usual._call(geometry, input, bias)
        result = self.speaker.result_layout(ndim, ndim + 2)
        if not line:
            usual = replace(usual, data=DataLayout.of("NC*", ndim), weight=WeightLayout.of("IO*", ndim))
            numbers = ", ".join(map(str, (geometry.kernel, geometry.stride, geometry.crop, geometry.dilation)))
            words = f"geometry=tconv.Geometry({numbers}, {geometry.groups})"
            read, made = _FOREIGN.get(self.speaker.name, ("{}", "{}"))
            arrays = ", ".join(map(read.format, ["x", "weight", *["bias"] * bias]))
            line = f"y = {made.format(f'tconv.conv_transpose({arrays}, {words})')}"
            result = usual.data
        steps += [usual.relaid("x", layout), now._converted(usual), line]
        if result.axes != self.data.axes and set(result.axes) == set(self.data.axes):
            steps.append(self.relaid("y", result))
        return "; ".join(filter(None, steps))

    def _call(self, geometry: Geometry, input: tuple[int, ...], bias: bool) -> str:
        """One line that computes y with this geometry in the usual layouts; "" for want of words."""
        speaker = self.speaker
        if self.neutral:
            return f"y = tconv.conv_transpose(x, weight{', bias' * bias}{_torch_words(geometry, input)})"
        if speaker.name == "onnx" and geometry.groups > 1:  # ONNX's own evaluator gets groups wrong
            speaker = dialect("onnxruntime")
        try:
            first, *rest = speaker.code(geometry, input).splitlines()
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

    def _converted(self, to: Hand) -> str:
        """The statement that brings the weight, in the source's layout, into that of another hand; "" if it is."""
        mine = self.source == self.speaker.name
        ndim = sum(isinstance(axis, int) for axis in self.weight.axes)
        given = (
            self.weight if mine else dialect(self.source).weight_layout(ndim, groups=self.groups, **dict(self.words))
        )
        if given == to.weight:
            return ""
        target = to.speaker.name if to.weight == to.speaker.weight_layout(ndim, groups=self.groups) else "torch"
        return self._carry("weight", self.source, self.words, target, ())


def _torch_words(geometry: Geometry, input: tuple[int, ...]) -> str:
    """PyTorch's arguments, or those of tconv that PyTorch lacks: ", stride=2, padding=1", say."""
    speaker = dialect("torch")
    try:
        words = speaker.arguments(geometry, input)
    except TconvError:
        g = geometry
        words = {"stride": g.stride, "crop": g.crop, "dilation": g.dilation, "groups": g.groups}
    plain = {"stride": 1, "padding": 0, "output_padding": 0, "dilation": 1, "groups": 1}
    said = {name: value if name == "crop" else _short(value) for name, value in words.items()}
    return "".join(f", {name}={value}" for name, value in said.items() if value != plain.get(name))


def _short(value: Any) -> Any:
    """One entry for all axes, where all have the same."""
    return value[0] if isinstance(value, tuple) and len(set(value)) == 1 else value
