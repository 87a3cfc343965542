"""Sentences, numbers and orders that the table of the command line and the pages share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from tconv._memory import si
from tconv.checking.layer_check import LayerCheck, Shapes
from tconv.checking.report import Check
from tconv.checking.summary import seconds_text
from tconv.checking.trap import SEVERITIES, Severity, Trap
from tconv.checking.traps import TRAPS
from tconv.models.inventory.model_layer import Size

SEVERITY_TITLES: dict[Severity, str] = {
    "wrong": "wrong numbers",
    "refused": "refused",
    "slow": "slow",
    "note": "worth knowing",
}
"""Meaning of each severity for a reader: wrong numbers come without an error, a refusal with one."""

_COUNTED: dict[Severity, str] = {
    "wrong": "with wrong numbers on some runtime",
    "refused": "refused by some runtime",
    "slow": "slow on some runtime",
    "note": "with notes",
}


@dataclass(frozen=True)
class TrapGroup:
    """Traps of one key that are avoided in the same way, and the layers that have them."""

    key: str
    severity: Severity
    who: str
    source: str
    instead: tuple[str, ...]
    """Lines to write instead, the different ones once each."""
    layers: tuple[int, ...]
    """Numbers of the layers from 1; empty for the whole file."""
    sentences: tuple[tuple[str, tuple[int, ...]], ...]
    """Different descriptions, with the layers of each."""
    example: Trap
    """First of the traps, for its picture."""

    @property
    def title(self) -> str:
        """Name of the trap in a few words."""
        return TRAPS[self.key].title if self.key in TRAPS else self.key

    @property
    def meaning(self) -> str:
        """Condition and consequence; "" if the sentences about this file begin with them, or nothing is known."""
        meaning = TRAPS[self.key].meaning if self.key in TRAPS else ""
        return "" if all(text.startswith(meaning.removesuffix(".")) for text, _ in self.sentences) else meaning


def trap_groups(check: Check) -> list[TrapGroup]:
    """Return the traps of a check by key and by who is hit, the gravest first, then by their first layer."""
    found: dict[tuple[str, str, str, str], list[tuple[int, Trap]]] = {}
    numbered = [(0, trap) for trap in check.file_traps]
    numbered += [(number, trap) for number, layer in enumerate(check.layers, 1) for trap in layer.traps]
    for number, trap in numbered:
        found.setdefault((trap.severity, trap.key, trap.who, trap.source), []).append((number, trap))
    groups = []
    for members in found.values():
        sentences: dict[str, list[int]] = {}
        for number, trap in members:
            sentences.setdefault(trap.what, []).append(number)
        first = members[0][1]
        groups.append(
            TrapGroup(
                first.key,
                first.severity,
                first.who,
                first.source,
                tuple(dict.fromkeys(trap.instead for _, trap in members)),
                _numbers(number for number, _ in members),
                tuple((text, _numbers(numbers)) for text, numbers in sentences.items()),
                first,
            )
        )
    return sorted(groups, key=lambda group: SEVERITIES.index(group.severity))


def _numbers(numbers: Iterable[int]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(number for number in numbers if number))


def worst_first(check: Check) -> list[int]:
    """Return the indices of the layers: gravest trap, most traps, strongest checkerboard first."""

    def badness(index: int) -> tuple[float, ...]:
        layer = check.layers[index]
        graveness = min((SEVERITIES.index(trap.severity) for trap in layer.traps), default=len(SEVERITIES))
        refusals = sum(answer.accepted is False for answer in layer.targets.values())
        score = layer.checkerboard.score if layer.checkerboard is not None else None
        return graveness, -len(layer.traps), -refusals, -(score or 0.0), index

    return sorted(range(len(check.layers)), key=badness)


# -- sentences ---------------------------------------------------------------------------------------------------


def about(check: Check) -> str:
    """Return the format, its version and the program that wrote the file."""
    written = f"written by {check.producer}" if check.producer else ""
    return ", ".join(part for part in (check.format, check.version, written) if part)


def counts(check: Check) -> str:
    """Return how many layers there are, and how many of them have traps of each severity."""
    count = len(check.layers)
    if not count:
        return "no transposed convolution, in any of its forms"
    text = f"{count} transposed convolution{'s' * (count != 1)}"
    grave: Counter[Severity] = Counter()
    for layer in check.layers:
        grave.update({trap.severity for trap in layer.traps})
    parts = [f"{number} {_COUNTED[severity]}" for severity in SEVERITIES if (number := grave[severity])]
    if check.file_traps:
        traps = len(check.file_traps)
        parts.append(f"{traps} trap{'s' * (traps != 1)} of the whole file")
    if not parts:
        return f"{text}; no trap was found"
    return f"{text}: {', '.join(parts)}"


def notes(check: Check | LayerCheck, most: int) -> list[str]:
    """Return the notes of a check or of a layer, at most so many, and how many more there are."""
    left = len(check.notes) - most
    return [*check.notes[:most], *([f"and {left} more, in the JSON report"] if left > 0 else [])]


def layer_list(numbers: Sequence[int], longest: int = 12) -> str:
    """Return numbers of layers for a reader, runs of them shortened.

    >>> layer_list([1, 2, 3, 7])
    'layers 1-3, 7'
    """
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    texts = [str(low) if low == high else f"{low}-{high}" for low, high in runs]
    if len(texts) > longest:
        left = sum(high - low + 1 for low, high in runs[longest:])
        texts = [*texts[:longest], f"and {left} more"]
    return f"layer{'s' * (len(numbers) != 1)} {', '.join(texts)}" if numbers else "the whole file"


# -- numbers of one layer ----------------------------------------------------------------------------------------


def times(sizes: Iterable[Size]) -> str:
    """Return sizes joined by x: "3x3", "height x width" for names, "?" for what is not known."""
    texts = ["?" if size is None else str(size) for size in sizes]
    return ("x" if all(text.isdigit() or text == "?" for text in texts) else " x ").join(texts)


def kernel(layer: LayerCheck) -> str:
    """Return the kernel: "4x4"; "?" without a geometry."""
    return "?" if layer.geometry is None else times(layer.geometry.kernel)


def stride(layer: LayerCheck) -> str:
    """Return the stride, one number if it is the same on all axes."""
    return "?" if layer.geometry is None else _once(layer.geometry.stride)


def dilation(layer: LayerCheck) -> str:
    """Return the dilation, one number if it is the same on all axes."""
    return "?" if layer.geometry is None else _once(layer.geometry.dilation)


def _once(numbers: tuple[int, ...]) -> str:
    return str(numbers[0]) if len(set(numbers)) == 1 else times(numbers)


def groups(layer: LayerCheck) -> str:
    """Return the group count, "depthwise" where each channel has its own."""
    if layer.geometry is None:
        return "?"
    count = layer.geometry.groups
    return "depthwise" if count > 1 and count == layer.in_channels == layer.out_channels else str(count)


def channels(layer: LayerCheck) -> str:
    """Return the channels: "8 -> 4"."""
    return f"{times([layer.in_channels])} -> {times([layer.out_channels])}"


def sizes(layer: LayerCheck, longest: int = 28) -> str:
    """Return the spatial sizes: "16x24 -> 32x48", "h x w -> 2*h x 2*w"; "e.g. 64 -> 128" for unknown or long ones."""
    shapes = layer.shapes
    if shapes is None:
        return "?"
    text = f"{times(shapes.x[2:])} -> {times(shapes.y[2:])}"
    if (len(text) <= longest and "?" not in text) or shapes.sample_y is None:
        return text
    return f"e.g. {times(shapes.sample_x[2:])} -> {times(shapes.sample_y[2:])}"


def chosen(check: Check) -> str:
    """Return the sizes that the file leaves open, and those that the numbers are for; "" if there are none."""
    open_layers = [(n, layer.shapes) for n, layer in enumerate(check.layers, 1) if layer.shapes and layer.shapes.chosen]
    if not open_layers:
        return ""
    names = list(dict.fromkeys(size for _, shapes in open_layers for size in shapes.chosen))
    number, first = open_layers[0]
    if all(_is_name(name.partition(" = ")[0]) for name in names) and len(names) <= 4:
        listed = ", ".join(names)
    else:
        alone = any(
            not set(shapes.chosen) <= set(first.chosen) or not _is_named(shapes) for _, shapes in open_layers[1:]
        )
        rest = "; those of other layers are chosen for each layer alone" if alone else ", and what follows from it"
        listed = f"x of {times(first.sample_x)} in layer {number}{rest}"
    return f"The file leaves sizes open; the numbers are for {listed}. --size chooses others."


def _is_name(text: str) -> bool:
    return text.replace(".", "_").isidentifier()


def _is_named(shapes: Shapes) -> bool:
    return all(" = " in size for size in shapes.chosen)


def macs(layer: LayerCheck) -> str:
    """Return the multiply-adds: "14.7 M"; "?" if they are not known."""
    return "?" if layer.macs is None else si(layer.macs.exact, "").strip()


_FORMS: dict[str, str] = {
    "transposed convolution": "",
    "convolution and depth to space": "Conv + DepthToSpace",
    "zero insertion and convolution": "Conv on inserted zeros",
}


def form(layer: LayerCheck) -> str:
    """Return the operations that stand for the layer in a few words; "" for a transposed convolution of that name."""
    return _FORMS.get(layer.layer.form, layer.layer.form)


def cost(layer: LayerCheck) -> list[str]:
    """Return the multiply-adds, and after a run the time of the layer and its multiple of the bound: ["33 M", ...]."""
    spent, ratio = _seconds(layer), _over_bound(layer)
    lines = [macs(layer)] + ([seconds_text(spent)] if spent is not None else [])
    return lines + ([f"{ratio:.1f}x bound"] if ratio is not None else [])


def _seconds(layer: LayerCheck) -> float | None:
    """Return the time of a layer on its runtime, or on tconv where the runtime has none."""
    timed = layer.timing
    return None if timed is None else timed.tconv if timed.runtime is None else timed.runtime


def _over_bound(layer: LayerCheck) -> float | None:
    spent = _seconds(layer)
    return spent / layer.timing.bound if spent is not None and layer.timing and layer.timing.bound else None


def timing(layer: LayerCheck) -> str:
    """Return the times of a layer and its bound: "openvino 1.2 ms, tconv 0.8 ms, bound 0.5 ms (bytes)"."""
    found = layer.timing
    if found is None:
        return ""
    named = ((found.runtime_name, found.runtime), ("tconv", found.tconv))
    parts = [f"{name} {seconds_text(spent)}" for name, spent in named if spent is not None]
    parts += [f"bound {seconds_text(found.bound)} ({found.bound_by})"] if found.bound is not None else []
    return ", ".join([*parts, *([found.note] if found.note else [])])


def peaks(check: Check) -> str:
    """Return what the times of a check are, and what their bound is computed from; "" without a run."""
    names = dict.fromkeys(
        layer.timing.runtime_name for layer in check.layers if layer.timing and layer.timing.runtime_name
    )
    if check.machine is None or all(layer.timing is None for layer in check.layers):
        return ""
    of = " and ".join(names) or "tconv"
    why = "" if names else ": a single layer is timed on its own runtime for ONNX files and modules only"
    machine = f"{check.machine.gflops:.0f} GFLOP/s, {check.machine.gbytes:.1f} GB/s"
    text = f"Times are of {of}, each layer alone{why}. The bound is the least that this machine needs ({machine})."
    if any((ratio := _over_bound(layer)) is not None and ratio < 0.95 for layer in check.layers):
        text += " Times below it: the bytes stay in a cache, or the machine was busy while its peaks were measured."
    return text


def agreement(check: Check) -> str:
    """Return how the layers of a run compare with tconv: "all 2 layers agree with tconv: ..."; "" without a run."""
    found = {number: layer.agreement for number, layer in enumerate(check.layers, 1) if layer.agreement is not None}
    count = len(check.layers)
    if check.run is None or check.run.error or not count:
        return ""
    if not found:
        return "no layer was compared with tconv; the notes of the layers say why"
    other = [number for number, each in found.items() if not each.agrees]
    if other:
        return f"{layer_list(other)} of {count} {'differs' if len(other) == 1 else 'differ'} from tconv"
    gaps = [each.difference for each in found.values() if each.difference is not None]
    if len(found) == count:
        who = "the layer agrees" if count == 1 else f"all {count} layers agree"
    else:
        who = f"{len(found)} of {count} layers {'was' if len(found) == 1 else 'were'} compared, and agree"
        who += "s" * (len(found) == 1)
    return f"{who} with tconv" + (f": largest difference {max(gaps):.1g} of the root mean square" if gaps else "")


def source(check: Check) -> str:
    """Return the name of the file without its folders, or the type of a module."""
    return PurePath(check.source).name or check.source


def overlap(layer: LayerCheck) -> str:
    """Return the evenness of the taps per phase: "even", "uneven", or "gaps" for phases without a tap."""
    if layer.geometry is None:
        return "?"
    rows = layer.overlap
    if any(0 in row for row in rows):
        return "gaps"
    return "even" if all(len(set(row)) == 1 for row in rows) else "uneven"


def taps(layer: LayerCheck, longest: int = 12) -> str:
    """Return the taps per phase: "2 2", or "1 2 | 1" for axes that differ."""
    rows = [" ".join(map(str, row[:longest])) + " ..." * (len(row) > longest) for row in layer.overlap]
    return " | ".join(rows[:1] if len(set(rows)) == 1 else rows)


def percent(score: float) -> str:
    """Return a share for a reader: "0.3 %", "87 %"."""
    return f"{100 * score:.0f} %" if score >= 0.0995 else f"{100 * score:.1f} %"


def checkerboard(layer: LayerCheck) -> str:
    """Return the checkerboard of the weight: "even", "31 %", or "?" if it was not measured."""
    board = layer.checkerboard
    if board is None or board.score is None:
        return "?"
    return f"even, {percent(board.score)}" if board.verdict == "even" else percent(board.score)
