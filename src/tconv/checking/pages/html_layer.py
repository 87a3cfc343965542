"""Section of one layer on the HTML page: its facts, pictures of its own kernel, its traps, and the layer elsewhere."""

from __future__ import annotations

from tconv._memory import si
from tconv.checking.layer_check import LayerCheck
from tconv.checking.pages import html_parts as html
from tconv.checking.pages import overview
from tconv.checking.pages.pixel_picture import line, picture
from tconv.checking.pages.responses import responses_of
from tconv.models.inventory.model_layer import StoredArray

FRAMEWORKS = {"torch": "PyTorch", "tensorflow": "TensorFlow", "keras": "Keras", "jax": "JAX", "onnx": "ONNX"}
"""Dialects and the names of their frameworks."""


def layer_section(check: LayerCheck, number: int, with_pictures: bool = True) -> str:
    """Return the HTML of a layer; its anchor is "layer-NUMBER"."""
    pictures = _pictures(check) if with_pictures else ""
    traps = "".join(f"<li>{trap_tag(trap.severity, trap.key)} {html.text(trap.what)}</li>" for trap in check.traps)
    return "\n".join(
        [
            f'<article id="layer-{number}"><h3>{number}. {html.name(check.name)}</h3>',
            f'<p class="soft">{html.text(check.layer.op, 80)}, {html.text(check.layer.place, 200)}{_form(check)}</p>',
            html.facts(_rows(check)),
            f"<ul>{traps}</ul>" if traps else "",
            f'<div class="pictures">{pictures}</div>' if pictures else "",
            "".join(_call(name, check) for name in FRAMEWORKS),
            "</article>",
        ]
    )


def trap_tag(severity: str, key: str) -> str:
    """Return a trap's key as a link to its description."""
    title = overview.SEVERITY_TITLES.get(severity, severity)  # type: ignore[call-overload]
    return f'<a class="tag {severity}" href="#trap-{html.name(key)}" title="{title}">{html.name(key)}</a>'


def _form(check: LayerCheck) -> str:
    form = check.layer.form
    return "" if form == "transposed convolution" else f"; in the file it is {form}"


def _rows(check: LayerCheck) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    if (g := check.geometry) is not None:
        crop = ", ".join(f"{lo} in front, {hi} behind" for lo, hi in dict.fromkeys(g.crop))
        axes = "" if len(set(g.crop)) == 1 else ", axis by axis"
        origin = f" (from {html.text(check.layer.crop_origin, 200)})" if check.layer.crop_origin else ""
        more = f", dilation {overview.dilation(check)}" if max(g.dilation) > 1 else ""
        more += f", {g.groups} groups" if g.groups > 1 else ""
        rows.append(("kernel", f"{overview.kernel(check)}, stride {overview.stride(check)}{more}"))
        rows.append(("crop", f"{crop}{axes}{origin}" if any(map(any, g.crop)) else f"none{origin}"))
    if (shapes := check.shapes) is not None:
        x, y = (html.text(overview.times(sizes), 200) for sizes in (shapes.x, shapes.y))
        chosen = f"; computed below for {html.text(', '.join(shapes.chosen), 200)}" if shapes.chosen else ""
        rows.append(("shapes", f"{x} &rarr; {y}, {html.text(check.layer.dtype, 40)}{chosen}"))
    rows.append(("weight", _array(check.layer.weight)))
    rows.append(("bias", _array(check.layer.bias)))
    rows.append(("activation", html.text(check.layer.activation, 80)))
    if check.macs is not None:
        exact, border = check.macs.exact, check.macs.border_free
        cropped = f", and {border:,} with those that the crop throws away" if border != exact else ""
        rows.append(("multiply-adds", f"{exact:,}{cropped}"))
    if (size := check.nbytes) is not None:
        rows.append(
            ("bytes", f"{si(size.total, 'B')}: x {si(size.x, 'B')}, y {si(size.y, 'B')}, weight {si(size.weight, 'B')}")
        )
    rows.append(("time", html.text(overview.timing(check))))
    if check.geometry is not None:
        field = overview.times(check.receptive_field)
        rows.append(("overlap", f"{overview.taps(check)} taps per phase; an output depends on {field} inputs"))
    rows.append(("checkerboard", _checkerboard(check)))
    rows.append(("agreement", _agreement(check)))
    return rows + [("note", html.text(note)) for note in overview.notes(check, 20)]


def _array(array: StoredArray | None) -> str:
    if array is None:
        return ""
    stored = array.quantization.dtype if array.quantization is not None else array.stored_dtype
    kept = f", stored as {html.text(stored, 40)}" if stored and stored != array.dtype else ""
    origin = "" if array.origin == "constant" else f"; computed by {html.text(array.origin, 200)}"
    return f"{overview.times(array.shape)} {html.text(array.dtype, 40)}{kept}{origin}"


def _checkerboard(check: LayerCheck) -> str:
    board = check.checkerboard
    if board is None:
        return ""
    if board.score is None:
        return f"not measured: {html.text(board.reason)}"
    worst = f"; channel {board.worst_channel} has {overview.percent(board.worst)}" if board.worst is not None else ""
    return f"{html.text(board.verdict, 40)}: {overview.percent(board.score)} of the output is a pattern{worst}"


def _agreement(check: LayerCheck) -> str:
    found = check.agreement
    if found is None:
        return ""
    if found.difference is None:
        gap = f"shape {overview.times(found.shape)}, and {overview.times(found.expected)} is right"
    else:
        gap = f"differs from the definition by {found.difference:.2g} of the output (rounding: {found.rounding:.2g})"
    return f"{html.text(found.runtime, 80)} {gap}{'' if found.agrees else ' <b class=wrong>DIFFERS</b>'}"


# -- pictures ----------------------------------------------------------------------------------------------------


def _pictures(check: LayerCheck) -> str:
    weight = None if check.geometry is None else check.canonical_weight()
    if check.geometry is None or weight is None:  # the notes of the layer say why it cannot be read
        return ""
    board = check.checkerboard
    worst = None if board is None else board.worst_channel
    found = responses_of(weight, check.geometry, worst)
    if found is None:
        return ""
    mixed = (
        "its input channel" if found.inputs == 1 else f"{found.inputs} input channels, mixed to the strongest pattern"
    )
    size, shown, whole = (overview.times(each) for each in (found.impulse.shape, found.shown, found.whole))
    cut = "" if found.shown == found.whole else f"; the first {shown} of {whole}"
    flat = "it has no pattern" if found.pattern < 1e-6 else "what repeats is the pattern of phases"
    named = f"{found.channel}, the one with the strongest pattern," if found.channel == worst else f"{found.channel}"
    impulse = f"Kernel, {size}: response of output channel {named} to a single 1 in {mixed}."
    constant = (
        f"Response of the same channel to a constant 1 of {overview.times(found.input_shape)}, with its borders{cut}. "
        f"Away from them, {flat}."
    )
    if found.constant.ndim == 1:
        return html.figure(line(found.impulse, "kernel"), impulse) + html.figure(
            line(found.constant, "response to a constant"), constant
        )
    return html.figure(picture(found.impulse, "signed", "kernel"), f"{impulse} Orange is above 0, blue below.") + (
        html.figure(picture(found.constant, "grey", "response to a constant"), constant)
    )


# -- the layer elsewhere -----------------------------------------------------------------------------------------


def _call(name: str, check: LayerCheck) -> str:
    call = check.calls.get(name)
    if call is None:
        return ""
    reasons = "".join(f"<p class=soft>{html.text(reason)}</p>" for reason in call.reasons)
    body = html.code(call.code) if call.code else "<p>It cannot be written.</p>"
    return f"<details><summary>in {FRAMEWORKS[name]}</summary>{body}{reasons}</details>"
