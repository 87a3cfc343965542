"""`tconv upsample`: a picture or feature maps made larger by transposed convolutions, checked, and written whole."""

from __future__ import annotations

import math
import os
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from cyclopts import Parameter

from tconv._arguments import shown
from tconv._memory import physical_memory, si
from tconv.cli.console import Report
from tconv.errors import ArgumentError, FileError, TooLargeError
from tconv.io.output_files import NewFile, numbered
from tconv.io.pictures import format_for, write_picture
from tconv.operator.method_choice import explain_method
from tconv.upsampling import sample_photo, torch_comparison
from tconv.upsampling.check import Check, Checked, together
from tconv.upsampling.inputs import Job, SampleJob, Shape, job_for
from tconv.upsampling.learned import Learned
from tconv.upsampling.selection import choose
from tconv.upsampling.strips import enlarge, predicted_bytes, strips
from tconv.upsampling.upsampler import Array, Upsampler

_DIGITS = 100
"""Of a scale, at most: bytes can be foretold for it."""


def whole_number(_: Any, tokens: Any) -> int:
    """The value of --scale: "2.5" is refused, where a plain int would be rounded to."""
    text = tokens[0].value
    if text.isdecimal() and len(text) > _DIGITS:
        raise ArgumentError(f"--scale is a number of {len(text)} digits, which no memory holds. Write --scale 2")
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentError(
            f"--scale is {shown(text)[1:-1] or 'empty'}; an integer from 1 up is needed. Write --scale 2"
        )
    return int(text)


def upsample(
    source: Annotated[Path | None, Parameter(name="INPUT")] = None,
    /,
    *,
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    scale: Annotated[int | None, Parameter(converter=whole_number)] = None,
    model: str | None = None,
    kernel: str | None = None,
    weights: Path | None = None,
    overwrite: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    json: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
) -> None:
    """Make a picture or feature maps larger with transposed convolutions.

    Example: tconv upsample photo.jpg --scale 3 -o large.png

    Thousands of random outputs are checked against the definition before anything is written; no file is overwritten.

    Parameters
    ----------
    source
        A picture (PNG, JPEG, TIFF, WebP, GIF, HEIF) or feature maps (.npy, .npz: [H, W], [C, H, W] or [N, C, H, W]).
        Without it, a photograph that comes with tconv is shrunk and enlarged again, and compared with the original.
    output
        The file to write; its ending says the format. Without it, a new name in this directory.
    scale
        How many times larger: an integer, 2 unless --weights knows another. 1 only filters.
    model
        photo, a small network that comes with tconv: what pictures are made larger with if nothing else is asked for.
    kernel
        nearest, bilinear, bicubic (the usual one of feature maps), lanczos, or a .npy file: [kh, kw], or
        [C_in, C_out, kh, kw] across channels.
    weights
        A network of your own: .onnx, .safetensors with a description, or ncnn's .param beside its .bin.
    overwrite
        Let OUTPUT replace a file.
    json
        Print one JSON object instead of lines.
    """
    report = Report(json)
    upsampler = choose(source, scale, model, kernel, weights)
    scale = upsampler.scale
    job = job_for(source, upsampler)
    shapes = {key: _enlarged(batch.shape, upsampler) for key, batch in job.batches.items()}
    memory = _refuse_too_large(job, upsampler, shapes)
    stem = f"{job.stem}_x{scale}"
    _refuse_place(source, output, stem + job.ending)
    target = job.target(output or Path(stem + job.ending), shapes)
    seen: dict[str, str] = {}
    with ExitStack() as files:
        new = files.enter_context(NewFile(iter([output]) if output else numbered(stem, job.ending), overwrite))
        how = f"{scale} times by" if scale > 1 else "at its own size, filtered by"
        report.line("upsample", f"{how} {upsampler.words}")
        report.line("input", "; ".join([job.words, *job.notes]))
        pieces = _say_plan(report, job, upsampler, memory)
        results, checked = _run(report, job, upsampler, shapes, pieces)
        with report.timed("write"):
            target.write(new.file, results)
        size = new.size
        if isinstance(job, SampleJob):
            beside = f"{output.with_suffix('') if output else stem}_side_by_side"
            picture = files.enter_context(NewFile(numbered(beside, ".png")))
            seen = _compare(report, job, upsampler, results[""][0], picture)
    report.line("output", "; ".join([f"{new.path}: {target.words}, {si(size, 'B')}", *target.notes]))
    report.line("check", _say_checked(checked))
    for label, said in seen.items():
        report.line(label, said)
    report.facts |= {
        "upsampler": upsampler.name,
        "scale": scale,
        "input": {"path": None if source is None else str(source), "notes": job.notes, "arrays": _sizes(job)},
        "output": {"path": str(new.path), "bytes": size, "notes": target.notes, "arrays": _sizes(job, shapes)},
        "check": checked._asdict(),
    }
    report.close()


def _enlarged(shape: Shape, upsampler: Upsampler) -> Shape:
    n, c, h, w = shape
    return n, upsampler.channels(c), upsampler.scale * h, upsampler.scale * w


def _sizes(job: Job, shapes: dict[str, Shape] | None = None) -> list[dict[str, Any]]:
    """Every array for --json: key, sizes [N, C, H, W], dtype."""
    return [
        {"key": key, "shape": list((shapes or {key: batch.shape})[key]), "dtype": str(batch.values.dtype)}
        for key, batch in job.batches.items()
    ]


def _refuse_place(source: Path | None, output: Path | None, name: str) -> None:
    """FileError where OUTPUT is there and is no file, or is the input; `name` is what it would be called unasked."""
    if output is None or not os.path.exists(output):
        return
    if os.path.isdir(output):
        raise FileError(f"{output} is a directory; a file is needed. Write -o {output / name}")
    if not os.path.isfile(output):
        raise FileError(f"{output} is a device or a pipe; a file is needed. Write -o {name}")
    if source is not None and os.path.exists(source) and os.path.samefile(source, output):
        raise FileError(f"{output} is the input itself, which is not overwritten. Write another name")


def _refuse_too_large(job: Job, upsampler: Upsampler, shapes: dict[str, Shape]) -> int:
    """The bytes that the run will hold, or TooLargeError where the machine does not have them."""
    needed = sum(predicted_bytes(batch.shape, upsampler, batch.values) for batch in job.batches.values())
    there = physical_memory()
    if there is not None and needed > there:
        _, channels, height, width = max(shapes.values(), key=lambda shape: math.prod(shape))
        raise TooLargeError(
            f"the result would be {width} x {height} with {channels} channels, about {si(needed, 'B')} of memory with "
            f"the input; this machine has {si(there, 'B')}. Write a smaller --scale, or cut the input"
        )
    return needed


def _say_plan(report: Report, job: Job, upsampler: Upsampler, memory: int) -> int:
    """Say what will run, from the same planning as `tconv.plan`: one strip's method, all work. How many strips."""
    flops, pieces, planned = 0, 0, []
    for batch in job.batches.values():
        n, c, h, w = batch.shape
        dtype = batch.values.computed
        ranges = list(strips(upsampler, (c, h, w), dtype.itemsize))
        pieces += n * len(ranges)
        flops += sum(2 * n * problem.macs.exact for problem in upsampler.passes((c, h, w), dtype))
        rows = upsampler.window(ranges[0], h)
        planned = [explain_method(p, "auto") for p in upsampler.passes((c, rows.stop - rows.start, w), dtype)]
    passes = [
        {"kernel": p.problem.geometry.kernel, "stride": p.problem.geometry.stride, "method": p.method} for p in planned
    ]
    kinds = Counter(f"{'x'.join(map(str, p['kernel']))} stride {'x'.join(map(str, p['stride']))}" for p in passes)
    said = ", ".join(f"{count} of {kind}" if count > 1 else kind for kind, count in kinds.items())
    report.line(
        "plan",
        f"transposed convolution{'s' * (len(passes) > 1)} {said}, by {planned[0].method}; {si(flops, 'FLOP')} in "
        f"{pieces} strip{'s' * (pieces != 1)}, {si(memory, 'B')} of memory",
    )
    for note in upsampler.notes:
        report.line("note", note)
    report.facts["plan"] = {
        "passes": passes,
        "flops": flops,
        "strips": pieces,
        "memory_bytes": memory,
        "notes": upsampler.notes,
    }
    return pieces


def _run(
    report: Report, job: Job, upsampler: Upsampler, shapes: dict[str, Shape], pieces: int
) -> tuple[dict[str, Array], Checked]:
    """Read, enlarge and check every image of every array."""
    with report.timed("read"):
        arrays = job.read()
    results = {key: job.empty(key, shape) for key, shape in shapes.items()}
    checks = []
    images = sum(len(array) for array in arrays.values())
    with report.progress("upsampling", pieces) as tick:
        for key, array in arrays.items():
            values = job.batches[key].values
            for x, y in zip(array, results[key], strict=True):
                check = Check(x, upsampler, values, images)
                with report.timed("upsample"):
                    enlarge(x, upsampler, values, y, check, tick)
                with report.timed("check"):
                    checks.append(check.verdict(y))
    return results, together(checks)


def _say_checked(checked: Checked) -> str:
    finite = checked.outputs - checked.not_finite
    said = f"{finite} random outputs equal the definition: largest difference {checked.difference:.2g}, "
    said += f"allowed {checked.tolerance:.2g}"
    return said + f"; {checked.not_finite} more are inf or NaN there, too" * (checked.not_finite > 0)


def _compare(report: Report, job: SampleJob, upsampler: Upsampler, result: Array, picture: NewFile) -> dict[str, str]:
    """Scores against the original, and the side-by-side picture (plainer, the result, the original), each in a line."""
    name, scale = upsampler.name, job.scale
    plain = sample_photo.enlarged(job.read()[""][0], scale, upsampler.plainer)
    alike = name == upsampler.plainer or scale == 1  # at its own size, nearest is the original
    detail = sample_photo.side_by_side([plain, result, job.original][alike:])
    form, _ = format_for(picture.path, detail.shape, detail.dtype, alpha=False)
    write_picture(picture.file, form, detail, alpha=False)
    report.facts["side_by_side"] = str(picture.path)
    said = {}
    for label, unit, score in (("psnr", " dB", sample_photo.psnr), ("ssim", "", sample_photo.ssim)):
        scores = {each: score(job.original, made) for each, made in ((name, result), (upsampler.plainer, plain))}
        report.facts[label] = {each: value if np.isfinite(value) else None for each, value in scores.items()}
        beside = "" if alike else f" ({upsampler.plainer} {scores[upsampler.plainer]:.4g}{unit})"
        measured = f"{scores[name]:.4g}{unit}" if np.isfinite(scores[name]) else "no difference"
        said[label] = f"{measured} in luma, against the original{beside}"
    if (
        isinstance(upsampler, Learned)
        and (times := torch_comparison.times(upsampler.model, job.read()[""][0])) is not None
    ):
        ours, theirs = (f"{seconds * 1e3:.3g} ms" for seconds in (times.here, times.torch))
        said["torch"] = f"{times.version} takes {theirs} for this network and picture, tconv {ours} (the best of 5)"
        report.facts["torch"] = times._asdict()
    said["see"] = f"{picture.path}: {f'{upsampler.plainer} | ' * (not alike)}{name} | original, a detail"
    return said
