"""Drawings of `tconv draw`: its options as a picture, an animation or an architecture, and the sentence about it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

from cyclopts import Parameter

from tconv.cli.array_files import bare_array, read_array
from tconv.cli.explain_options import native_options
from tconv.cli.figures import picture_format, write_figure
from tconv.cli.layer_options import LayerOptions, NativeLayer, Sizes, channel_pair, notes_of
from tconv.dialects import dialect as find_dialect
from tconv.draw.animation import VIEWS, Animation, animate
from tconv.draw.animation.functional import ENDINGS
from tconv.draw.animation.wording import settings
from tconv.draw.architecture_picture import architecture, architecture_sizes
from tconv.draw.array_grid import by
from tconv.draw.dialect_words import STRIDES
from tconv.draw.operands import read_operands
from tconv.draw.padding_calls import usual_calls
from tconv.draw.palette import theme_of
from tconv.draw.registry import PICTURES
from tconv.errors import ArgumentError, FileError, TconvError
from tconv.io.output_files import NewFile

ANIMATED_ENDINGS = tuple(ending for ending in ENDINGS if ending != ".svg")
ARCHITECTURE = "architecture"


class Contents(NamedTuple):
    """Options beside those of the layer."""

    x: Path | None
    weight: Path | None
    at: list[int] | None
    channels: list[int] | None
    theme: str
    seconds: float | None
    width: int | None


@Parameter(name="*")
@dataclass
class ArchitectureOptions:
    """Options of an architecture, beside the layer, which is its transposed convolution.

    Parameters
    ----------
    depth
        Of architecture: levels. Default 4.
    down_kernel
        Of architecture: kernel of the convolution down. Default: a pooling.
    down_padding
        Of architecture: padding of the step down. Default 0.
    convolutions
        Of architecture: convolutions of each level. Default 2.
    convolution_kernel
        Of architecture: their kernel. Default 3.
    convolution_padding
        Of architecture: their padding. Default: the size stays.
    """

    depth: int | None = None
    down_kernel: Sizes = None
    down_padding: Sizes = None
    convolutions: int | None = None
    convolution_kernel: Sizes = None
    convolution_padding: Sizes = None

    def given(self) -> dict[str, Any]:
        """Return those that were given, as arguments of `architecture`."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name: value[0] if isinstance(value, list) and len(value) == 1 else value
            for name, value in values.items()
            if value is not None
        }


class Drawing(NamedTuple):
    """One drawing: what writes it, and what is seen. `make` returns Axes, or an animation."""

    make: Callable[[], Any]
    words: str
    animated: bool
    width: int | None = None

    def refuse_ending(self, path: Path, ending: str) -> None:
        """Raise FileError for a format in which it cannot be written, before it is drawn."""
        if not self.animated:
            picture_format(path)
        elif ending not in ENDINGS:
            raise FileError(f"{path} is an animation; it is written as {', '.join(ENDINGS)}. Write -o {path.stem}.gif")
        elif self.width is not None and ending == ".svg":
            raise ArgumentError(
                f"--width is {self.width}; an SVG has any size. Write -o {path.stem}.gif, or no --width"
            )

    def write(self, new: NewFile, ending: str) -> None:
        """Write it into an open file."""
        made = self.make()
        if isinstance(made, Animation):
            new.file.write(made.encoded(ending, self.width))
        else:
            write_figure(made, new, ending.removeprefix("."))


def drawing_of(
    name: str, options: LayerOptions, levels: ArchitectureOptions, contents: Contents, animated: bool
) -> Drawing:
    """Return the drawing of this name. Raises ArgumentError for another name and for options that it does not have."""
    view = name.replace("-", "_")
    known = [*PICTURES, ARCHITECTURE, *(each.replace("_", "-") for each in VIEWS if each not in PICTURES)]
    if name not in known and view not in VIEWS:
        raise ArgumentError(f"there is no picture {name!r}; there are {', '.join(known)}. Write tconv draw scatter")
    animated = animated or (view in VIEWS and name not in PICTURES)
    if animated and view not in VIEWS:
        raise ArgumentError(
            f"{name} has no animation; {', '.join(each.replace('_', '-') for each in VIEWS)} have one. Write tconv "
            f"draw {name} without --animate, and -o {name}.svg"
        )
    with options.in_words(2):
        theme_of(contents.theme)  # before a file is opened
    _refuse_options_of_others(name, options, levels, contents, animated)
    if name == ARCHITECTURE:
        return _architecture(options, levels, contents)
    if name == "channels":
        return _channels(options, contents)
    x, w = (None if path is None else bare_array(path) for path in (contents.x, contents.weight))
    layer = options.layer(kernel=None if w is None else w.shape, input=None if x is None else x.shape)
    sizes: dict[str, Any] = {"input": layer.input} if x is None else {}
    sizes |= {"kernel": layer.kernel} if w is None else {}
    seconds = 1.0 if contents.seconds is None else contents.seconds
    with options.in_words(len(layer.kernel)):
        if animated:
            film = animate(
                x, w, view=view, dialect=layer.rules.name, theme=contents.theme, seconds=seconds,
                **sizes, **layer.native,
            )  # fmt: skip
            film.check_width(".gif", contents.width)
            text = f"{film.title}, {len(film.frames)} steps in {film.seconds:g} s{_notes(layer, x, w)}"
            return Drawing(lambda: film, text, True, contents.width)
        given = read_operands(x, w, dialect=layer.rules.name, **sizes, **layer.native)
    words: dict[str, Any] = {"theme": contents.theme}
    if contents.at is not None:
        words["output"] = tuple(contents.at)
    if name == "padding":
        words["calls"] = _calls(layer)
    picture, g = PICTURES[name], given.geometry
    sizes_text = f"{by(given.x.shape)} → {by(g.output_shape(given.x.shape))}"
    text = f"{_sentence(name)}: {sizes_text} (kernel {by(g.kernel)}, {settings(g)}){_notes(layer, x, w)}"
    is_sized = x is None

    def make() -> Any:
        return _in_options(lambda: picture.draw(*given, **words), options, layer, is_sized)

    return Drawing(make, text, False)


def _refuse_options_of_others(
    name: str, options: LayerOptions, levels: ArchitectureOptions, contents: Contents, animated: bool
) -> None:
    """Raise ArgumentError for options that this picture would ignore."""
    ignored = {
        "at": contents.at is not None and (name != "gather" or animated),
        "channels": contents.channels is not None and name != "channels",
        "x": contents.x is not None and name in ("overlap", "padding", "channels", "matrix", ARCHITECTURE),
        "weight": contents.weight is not None and name in ("overlap", "padding", ARCHITECTURE),
        "seconds": contents.seconds is not None and not animated,
        "width": contents.width is not None and not animated,
    } | dict.fromkeys(levels.given(), name != ARCHITECTURE)
    if name == "channels":
        ignored |= {key: value is not None for key, value in vars(options).items() if key not in ("dialect", "groups")}
    if wrong := [f"--{key.replace('_', '-')}" for key, is_ignored in ignored.items() if is_ignored]:
        has = ", which shows the numbers of --channels 2 4, or those of --weight w.npy" if name == "channels" else ""
        raise ArgumentError(f"{wrong[0]} has no effect on {name}{has}. Write it without {wrong[0]}")


def _in_options(draw: Callable[[], Any], options: LayerOptions, layer: NativeLayer, is_sized: bool) -> Any:
    """Return what is drawn; what an error says of the place, and of an x that `is_sized` alone, becomes options."""
    try:
        with options.in_words(len(layer.kernel)):
            return draw()
    except TconvError as error:
        raise type(error)(_places_as_options(_sizes_as_options(str(error), is_sized))) from None


def _sizes_as_options(message: str, is_sized: bool = True) -> str:
    """Return a message with the part of x that it proposes as the size of the input.

    >>> _sizes_as_options("x is large. Write a part of it, x[:4, :4]")
    'x is large. Write --input 4 4'
    """
    part = re.compile(r"(a part of it, |a part of x, )?x\[:?(\d+(?:, :\d+)*)\]")
    text = part.sub(lambda found: "--input " + found[2].replace(", :", " "), message) if is_sized else message
    text = text.replace("Write a smaller input_shape", "Write a smaller --input")
    return re.sub(r", or tconv\.draw\.matrix\(.*\), which", ", or tconv draw matrix, which", text)


def _places_as_options(message: str) -> str:
    """Return a message about the place of gather in the words of --at.

    >>> _places_as_options("output is (3, 0); the output has shape (2, 2). Write output=(1, 0)")
    '--at is 3 0; the output has shape (2, 2). Write --at 1 0'
    """
    if not message.startswith("output is "):
        return message
    text = re.sub(r"^output is \(([-\d, ]+)\)", lambda at: f"--at is {_spaced(at[1])}", message)
    return re.sub(
        r"(or |Write output=)\(([\d, ]+)\)", lambda at: f"{at[1].removesuffix('output=')}--at {_spaced(at[2])}", text
    )


def _spaced(numbers: str) -> str:
    return numbers.replace(",", " ").replace("  ", " ").strip()


def _calls(layer: NativeLayer) -> tuple[Any, ...]:
    """Return the calls that the padding picture compares: the one of the options, and the usual ones."""
    own = {name: value for name, value in layer.native.items() if "strid" not in name and "dilat" not in name}
    if not own:
        return ()
    call = {"dialect": layer.rules.name, **own}
    return (call, *(other for other in usual_calls(layer.geometry, layer.input) if other != call))


def _channels(options: LayerOptions, contents: Contents) -> Drawing:
    """Return the picture of channels: of a weight in the dialect's layout, or of two numbers."""
    if contents.weight is not None and contents.channels is not None:
        raise ArgumentError("--channels was given beside --weight, which has its own. Write it without --channels")
    groups = options.groups
    if contents.weight is not None:
        weight: Any = find_dialect(options.dialect).to_canonical(read_array(contents.weight), groups)
        pair = (weight.shape[0], weight.shape[1] * groups)
    else:
        weight = pair = channel_pair(contents.channels) or (2 * groups, 2 * groups)
    text = f"{_sentence('channels')}: {pair[0]} → {pair[1]} channels, {groups} group{'s' * (groups > 1)}"

    def make() -> Any:
        try:
            return PICTURES["channels"].function(weight, groups=groups, theme=contents.theme)
        except TconvError as error:
            message = _channels_as_options(str(error))
            if contents.weight is not None:
                rules, axes = find_dialect(options.dialect), weight.ndim - 2
                message = _part_in_layout(message, rules.weight_layout(axes, groups=groups).axes)
            raise type(error)(message) from None

    return Drawing(make, text, False)


def _channels_as_options(message: str) -> str:
    """Return a message with the numbers of channels that it proposes as --channels.

    >>> _channels_as_options("9 channels are many. Write fewer channels, (5, 5)")
    '9 channels are many. Write --channels 5 5'
    """
    text = re.sub(r"fewer channels, \((\d+), (\d+)\)", r"--channels \1 \2", message)
    return re.sub(r"fewer channels or groups, up to \((\d+), (\d+)\)", r"--channels \1 \2, or fewer of them", text)


def _part_in_layout(message: str, axes: Sequence[Any]) -> str:
    """Return a message that proposes a part of a weight [C_in, C_out/groups, ...] with the part in these axes.

    >>> _part_in_layout("Write a part of it, weight[:2, :3]", (0, 1, "O", "I"))
    'Write a part of it, weight[:, :, :3, :2]'
    >>> _part_in_layout("Write the first groups, weight[:2] with groups=1", ("I", "O", 0, 1))
    'Write the first groups, weight[:2] with --groups 1'

    Where groups lie depends on more than the order of the axes; no part of groups is proposed in other layouts.
    """
    groups = re.compile(r"the first groups, (weight\[[:\d]+\]) with groups=(\d+)")
    if tuple(axes[:2]) == ("I", "O"):
        return groups.sub(r"the first groups, \1 with --groups \2", message)
    message = groups.sub("a weight of fewer groups", message)

    def native(found: re.Match[str]) -> str:
        parts = dict(zip("IO", found[1].split(", "), strict=False))
        slices = [parts.get(axis, ":") for axis in axes]
        while slices[-1] == ":":
            slices.pop()
        return f"weight[{', '.join(slices)}]"

    return re.sub(r"\bweight\[([:\d, ]+)\]", native, message)


def _architecture(options: LayerOptions, levels: ArchitectureOptions, contents: Contents) -> Drawing:
    """Return the picture of an encoder-decoder; its words are the table of sizes."""
    if options.input is None:
        raise ArgumentError("there is no size. Write tconv draw architecture --input 101 101 --depth 4")
    ndim = len(options.input)
    kernel = options.kernel or [2]
    full = LayerOptions(**{**vars(options), "kernel": kernel * ndim if len(kernel) == 1 else kernel})
    layer = full.layer()
    words = levels.given() | layer.native
    if options.stride is None:  # the usual one of an architecture is 2
        own = native_options(options.option)
        words = {name: value for name, value in words.items() if name not in STRIDES or name in own}
    with full.in_words(ndim):
        made = architecture_sizes(input=layer.input, kernel=layer.kernel, dialect=layer.rules.name, **words)

    def make() -> Any:
        return architecture(
            input=layer.input, kernel=layer.kernel, dialect=layer.rules.name, theme=contents.theme, **words
        )

    notes = "".join(f"\n{note}" for note in notes_of(layer))
    return Drawing(make, f"{made}{notes}", False)


def _notes(layer: NativeLayer, x: Any, w: Any) -> str:
    """Return what may surprise about the layer, as the end of a sentence."""
    return "".join(f"; {note}" for note in notes_of(layer, x is not None or w is not None))


def _sentence(name: str) -> str:
    """Return what is seen in a picture, as the beginning of a sentence."""
    summary = PICTURES[name].summary
    return summary[0].upper() + summary[1:]
