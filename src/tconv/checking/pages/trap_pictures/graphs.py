"""Pictures of traps about nodes and runtimes: refusals, other numbers, folding, versions."""

from __future__ import annotations

from tconv.checking.pages.trap_pictures.svg_parts import arrow, box, drawing, label, row
from tconv.checking.trap import Trap


def _node(x: float, y: float, words: str, style: str, width: float = 84) -> str:
    return box(x, y, width, 26, style) + label(x + width / 2, y + 17, words, "middle")


def refused(_: Trap) -> str:
    """Draw a node that a runtime stops at."""
    parts = [
        label(10, 18, "loading or running stops at the node"),
        _node(10, 32, "before", "cell"),
        arrow(96, 45, 116),
        _node(118, 32, "this layer", "bad"),
        arrow(204, 45, 224),
        _node(226, 32, "after", "empty"),
        label(10, 82, "an error, and no numbers", "small"),
    ]
    return drawing(90, parts, "A runtime refuses the node")


def process_ends(_: Trap) -> str:
    """Draw a node at which the whole process ends."""
    parts = [
        label(10, 18, "the process ends at the node"),
        _node(10, 32, "before", "cell"),
        arrow(96, 45, 116),
        _node(118, 32, "this layer", "bad"),
        label(212, 49, "no error to catch", "badtext"),
        label(10, 82, "a crash of the library, not an exception", "small"),
    ]
    return drawing(90, parts, "A runtime ends the whole process")


def other_numbers(_: Trap) -> str:
    """Draw the outputs of two runtimes, of the same size and with other numbers."""
    parts = [
        label(10, 18, "by the rules"),
        row(10, 28, ["cell"] * 9, 18, list("314159265")),
        label(10, 70, "this version"),
        row(10, 80, ["cell"] * 2 + ["bad"] * 5 + ["cell"] * 2, 18, list("312718265")),
        label(10, 122, "the same size, other numbers, no error", "small"),
    ]
    return drawing(130, parts, "A runtime whose output has the same size and other numbers")


def unknown_numbers(_: Trap) -> str:
    """Draw an output of which a part is not defined."""
    parts = [
        label(10, 18, "by the rules"),
        row(10, 28, ["cell"] * 9, 18, list("314159265")),
        label(10, 70, "this version"),
        row(10, 80, ["bad"] * 2 + ["cell"] * 7, 18, list("??4159265")),
        label(10, 122, "a part is read from memory that is not x", "small"),
    ]
    return drawing(130, parts, "A runtime that reads outside its input")


def foldable_norm(_: Trap) -> str:
    """Draw a BatchNorm behind the layer, and the layer alone with its scales in the weight."""
    parts = [
        label(10, 18, "two passes over y"),
        _node(10, 28, "ConvTranspose", "cell", 96),
        arrow(108, 41, 128),
        _node(130, 28, "BatchNorm", "bad", 96),
        label(10, 80, "one: its scales are in the weight"),
        _node(10, 90, "ConvTranspose", "cell", 96),
    ]
    return drawing(124, parts, "A BatchNorm behind the layer can be folded into its weight")


def computed_weight(_: Trap) -> str:
    """Draw a weight that comes out of another node."""
    parts = [
        _node(10, 20, "x", "cell", 50),
        arrow(62, 33, 128),
        _node(10, 64, "other nodes", "bad", 90),
        arrow(102, 77, 124, 48),
        _node(130, 28, "ConvTranspose", "cell", 100),
        label(104, 96, "the weight is known only while it runs", "small"),
    ]
    return drawing(104, parts, "The weight is computed while the model runs")


def version_line(_: Trap) -> str:
    """Draw an old operator version before what the layer needs."""
    parts = [
        label(10, 18, "versions of the operator"),
        *(_node(10 + 62 * place, 30, word, style, 56) for place, (word, style) in enumerate(
            (("file", "bad"), ("...", "empty"), ("needed", "cell"), ("now", "cell"))
        )),
        label(10, 78, "the file names a version that lacks what it uses", "small"),
    ]  # fmt: skip
    return drawing(86, parts, "A file of an operator version that lacks what it uses")


def newer_file(_: Trap) -> str:
    """Draw the versions that a runtime knows, and the later one of the file."""
    parts = [
        label(10, 18, "operator sets"),
        _node(10, 30, "an older runtime knows", "cell", 160),
        _node(178, 30, "this file", "bad", 84),
        label(10, 78, "it refuses the file, or takes it with a warning", "small"),
    ]
    return drawing(86, parts, "A file of a later operator set than a runtime knows")


def custom_operator(_: Trap) -> str:
    """Draw a node that only the program which wrote it has."""
    parts = [
        label(10, 18, "the program that wrote it"),
        _node(10, 28, "its own operator", "cell", 120),
        label(170, 18, "every other runtime"),
        _node(170, 28, "its own operator?", "bad", 120),
        label(10, 78, "the whole file is refused", "small"),
    ]
    return drawing(86, parts, "An operator that one program alone has")
