"""`tconv upsample`: the command around `tconv.upsample`, which enlarges pictures and feature maps.

It parses options, shows progress and prints results; the work is done in `tconv.upsampling`.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from cyclopts import Parameter

from tconv._memory import si
from tconv.cli.console import Report, waiting
from tconv.cli.progress_bar import shown_progress
from tconv.errors import ArgumentError
from tconv.io.output_files import NewFile, numbered
from tconv.upsampling.definition_check import CheckResult, merged
from tconv.upsampling.file_batch import FileBatch, batch_folder, is_folder, output_folder
from tconv.upsampling.file_run import FileRun, open_run, refuse_url
from tconv.upsampling.inputs import SampleInput, is_feature_file
from tconv.upsampling.network_options import read_network_options
from tconv.upsampling.option_names import COMMAND
from tconv.upsampling.run import Run, RunPlan
from tconv.upsampling.sample_comparison import Comparison, compare, write_side_by_side
from tconv.upsampling.target_size import read_target_size
from tconv.upsampling.thread_limit import limited_threads, read_threads
from tconv.upsampling.tile_input import is_tiled
from tconv.upsampling.tile_options import read_tile_options
from tconv.upsampling.upsampler import AnyUpsampler
from tconv.upsampling.upsampler_selection import Selection

_GROUP = "Larger than memory"
_TILES = Parameter(group=_GROUP)


def run(
    *inputs: Annotated[str, Parameter(name="INPUT")],
    output: Annotated[str | None, Parameter(alias="-o")] = None,
    scale: str | None = None,
    width: str | None = None,
    height: str | None = None,
    model: str | None = None,
    kernel: str | None = None,
    weights: str | None = None,
    value_range: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    channel_order: str | None = None,
    threads: str | None = None,
    overwrite: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    no_alpha: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    no_check: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    json: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    max_memory: Annotated[str | None, _TILES] = None,
    resume: Annotated[bool, Parameter(group=_GROUP, negative="--no-resume", show_default=False)] = True,
    verify: Annotated[bool, Parameter(group=_GROUP, negative=(), show_default=False)] = False,
    repair: Annotated[bool, Parameter(group=_GROUP, negative=(), show_default=False)] = False,
    level: Annotated[str | None, _TILES] = None,
    page: Annotated[str | None, _TILES] = None,
    axes: Annotated[str | None, _TILES] = None,
    tile: Annotated[str | None, _TILES] = None,
    chunks: Annotated[str | None, _TILES] = None,
    shards: Annotated[str | None, _TILES] = None,
    workers: Annotated[str | None, _TILES] = None,
    scheduler: Annotated[str | None, _TILES] = None,
) -> int:
    """Make pictures or feature maps larger with transposed convolutions.

    Example: tconv upsample photo.jpg --scale 3 -o large.png

    Example: tconv upsample *.jpg -o large/

    Example: tconv upsample photo.jpg --weights network.onnx

    Example: tconv upsample photo.jpg --width 1920

    Example: tconv upsample huge.tif -o huge.zarr --max-memory 1GB

    Random outputs are recomputed from the definition before anything is written: thousands, or as many as take no
    longer than the work itself, but some of each file. No file is overwritten without --overwrite.

    Parameters
    ----------
    inputs
        Pictures (PNG, JPEG, TIFF, WebP, GIF, HEIF, BMP, JPEG 2000), feature maps (.npy, .npz: [H, W], [C, H, W] or
        [N, C, H, W]), or folders of them. Without one, a photograph that comes with tconv is shrunk, enlarged again
        and compared with the original. Of several files, a broken one does not stop the others.
    output
        The file to write; its ending selects the format. For several inputs, with a / at the end, or if it is one: a
        folder.
        Without it, new names in this directory.
    scale
        How many times larger: 2, 1.5 or 4/3; 2 unless --weights has another one. Where a network has no such scale, its
        result is made smaller, or larger, by bicubic interpolation. 1 and less only filter.
    width
        Pixels across, instead of a scale; the aspect ratio stays unless --height is given, too.
    height
        Pixels down, instead of a scale.
    model
        photo, a small network that comes with tconv: used for pictures if nothing else is asked for. photo-large is
        one of twice the size for x2: more detail in up to twice the time.
    kernel
        nearest, bilinear, bicubic (the usual one of feature maps), lanczos, or a .npy file: [kh, kw], or
        [C_in, C_out, kh, kw] across channels.
    weights
        A network of your own: .onnx, ncnn's .param beside its .bin, .safetensors, .pth, .pt or .ckpt.
    value_range
        The network's numbers for black and white, 0..1 unless its file says others: 0..255 or -1..1.
    channel_order
        rgb, or bgr for a network that reads blue first.
    threads
        Threads of this run; all cores without it.
    overwrite
        Let OUTPUT replace a file.
    no_alpha
        The file's opacity is a band like the others.
    no_check
        Recompute no outputs.
    json
        Print one JSON object instead of lines.
    max_memory
        Most memory of this process, 1GB or 512MB: one .tif, .npy or Zarr store is enlarged tile by tile into another
        one, with the bits of the whole. A call that was stopped goes on where it stopped. Zarr stores have 1GB
        without it, or 512MB above what the process holds if that is more.
    resume
        --no-resume starts anew.
    verify
        Read the finished output again, and compare it with its journal.
    repair
        --verify, and make damaged tiles anew.
    level
        Level of a pyramid, 0 the largest.
    page
        Page of a TIFF file, 0 the first.
    axes
        Names of the stored axes, TCYX for example, where the store has none.
    tile
        Pixels of a tile of the work along both axes, or ROWSxCOLUMNS; chosen from the memory.
    chunks
        Pixels of the output that are compressed together; of TIFF: of a tile.
    shards
        Pixels of one file of a Zarr store.
    workers
        Processes of dask.distributed on this machine.
    scheduler
        Address of a scheduler of dask.distributed: tcp://127.0.0.1:8786.
    """
    report = Report(json)
    if output == "":
        raise ArgumentError("-o is empty; a file or a folder is needed. Write -o large.png")
    if "" in inputs:
        raise ArgumentError("INPUT is empty; a file or a folder is needed. Write tconv upsample photo.jpg, for example")
    for text, name in [*((text, "INPUT") for text in inputs), (output or "", "-o")]:
        refuse_url(text, name)
    sources = tuple(map(Path, inputs))
    tiles = read_tile_options(
        max_memory,
        resume,
        {"tile": tile, "chunks": chunks, "shards": shards},
        {"level": level, "page": page, "workers": workers},
        axes,
        scheduler,
    )
    with limited_threads(read_threads(threads, COMMAND)):
        network = read_network_options(value_range, channel_order, COMMAND)
        target = read_target_size(scale, width, height, COMMAND)
        selection = Selection(target, model, kernel, weights, COMMAND, network)
        if verify or repair or tiles.given or any(is_tiled(source, output, tiles) for source in sources):
            from tconv.cli.upsample_tiles import Switches, run_tiles

            switches = Switches(overwrite, no_alpha, no_check, verify or repair, repair)
            _load(report, selection, sources)
            return run_tiles(report, sources, output, selection, tiles, switches)
        return _upsample(report, sources, output, selection, overwrite, no_alpha, no_check)


def _upsample(
    report: Report,
    sources: tuple[Path, ...],
    output: str | None,
    selection: Selection,
    overwrite: bool,
    no_alpha: bool,
    no_check: bool,
) -> int:
    """Enlarge the sources and return the exit code."""
    folder = Path(output) if output and is_folder(output, Path(output)) else None
    alpha = False if no_alpha else None
    if len(sources) > 1 or any(os.path.isdir(source) for source in sources):
        folder = batch_folder(output, Path(output), sources, COMMAND) if output else None
        _load(report, selection, sources)
        return _upsample_many(report, FileBatch(sources, selection, folder, overwrite, not no_check, alpha))
    _load(report, selection, sources)
    with report.timed("load"):
        single = open_run(sources[0] if sources else None, selection, alpha)
    single.checked = not no_check
    with output_folder(folder):
        _upsample_one(report, single, sources, Path(output) if output and not folder else None, folder, overwrite)
    return 0


def _load(report: Report, selection: Selection, sources: tuple[Path, ...]) -> None:
    """Load the network of a file, which takes seconds if it is deep, and say so on a terminal."""
    if selection.weights_name is None or (sources and all(map(is_feature_file, sources))):
        return
    with report.timed("load"), waiting(f"loading {selection.weights_name}", report.as_json):
        selection.for_pictures()


# -- one input ---------------------------------------------------------------------------------------------------


def _upsample_one(
    report: Report, run: Run, sources: tuple[Path, ...], output: Path | None, folder: Path | None, overwrite: bool
) -> None:
    """Enlarge one input and print every detail."""
    compared: dict[str, str] = {}
    with ExitStack() as files:
        file_run = files.enter_context(FileRun(run, COMMAND, sources, output, folder, overwrite))
        report.line("upsample", run.upsampler.text)
        report.line("input", "; ".join([run.source.description, *run.source.notes]))
        plan = run.plan()
        strips = run.strip_count()
        report.line("plan", _plan_text(run, plan, strips))
        for note in run.upsampler.notes:
            report.line("note", note)
        report.facts["plan"] = _plan_facts(run, plan, strips)
        with shown_progress("upsampling", quiet=report.as_json) as bar:
            bar.begin(str(file_run.path), run.pixels)
            results = file_run.execute(bar.advance, report.timed)
        if isinstance(run.source, SampleInput):
            beside = files.enter_context(NewFile(numbered(f"{file_run.stem}_side_by_side", ".png")))
            comparison = compare(run.source, run.upsampler, results[""][0])
            write_side_by_side(beside.file, comparison.panels)
            compared = _comparison_lines(report, run, comparison, beside.path)
    for note in run.warnings:
        report.line("note", note)
    text = f"{file_run.path}: {file_run.format.description}, {si(file_run.size, 'B')}"
    report.line("output", "; ".join([text, *file_run.format.notes]))
    report.line("check", _check_text(file_run.check))
    for label, line in compared.items():
        report.line(label, line)
    report.facts |= {
        "upsampler": run.upsampler.name,
        "scale": run.upsampler.scale,
        "input": _input_facts(run, sources[0] if sources else None),
        "output": _output_facts(file_run),
        "check": _check_facts(file_run.check),
    }
    report.close()


def _comparison_lines(report: Report, run: Run, comparison: Comparison, path: Path) -> dict[str, str]:
    """Return the lines that compare the result with the original photograph, by label; add them to the facts."""
    name, plainer = run.upsampler.name, run.upsampler.plainer
    lines = {}
    report.facts["side_by_side"] = str(path)
    for label, unit, scores in (("psnr", " dB", comparison.psnr), ("ssim", "", comparison.ssim)):
        report.facts[label] = {key: value if np.isfinite(value) else None for key, value in scores.items()}
        beside = f" ({plainer} {scores[plainer]:.4g}{unit})" if len(comparison.panels) > 2 else ""
        score = f"{scores[name]:.4g}{unit}" if np.isfinite(scores[name]) else "no difference"
        lines[label] = f"{score} in luma, against the original{beside}"
    if (times := comparison.torch) is not None:
        here, torch = (f"{seconds * 1e3:.3g} ms" for seconds in (times.here, times.torch))
        lines["torch"] = f"{times.version} takes {torch} for this network and picture, tconv {here} (the best of 5)"
        report.facts["torch"] = times._asdict()
    lines["see"] = f"{path}: {' | '.join(comparison.panels)}, a detail"
    return lines


# -- many inputs -------------------------------------------------------------------------------------------------


def _upsample_many(report: Report, batch: FileBatch) -> int:
    """Enlarge every input, print a line for each, and at the end what failed; return the exit code."""
    files = []
    checks: list[CheckResult | None] = []
    methods: list[AnyUpsampler] = []
    with shown_progress("upsampling", len(batch.paths), quiet=report.as_json) as bar:
        for source, file_run in batch.run(bar.advance, report.timed, bar.begin):
            run = file_run.run
            if run.method not in methods:
                methods.append(run.method)
                _print_method(report, run)
            notes = [*run.source.notes, *file_run.format.notes, *run.warnings]
            text = f"{file_run.path}: {file_run.format.description}, {si(file_run.size, 'B')}"
            report.line("output", "; ".join([text, *notes]))
            checks.append(file_run.check)
            files.append(
                {
                    "upsampler": run.upsampler.name,
                    "scale": run.upsampler.scale,
                    "input": _input_facts(run, source),
                    "output": _output_facts(file_run),
                    "check": _check_facts(file_run.check),
                }
            )
    files += [{"input": {"path": str(failure.source)}, "error": failure.reason} for failure in batch.failures]
    report.facts |= {"files": files, "succeeded": len(checks), "failed": len(batch.failures)}
    if checks:
        done = [check for check in checks if check is not None]
        report.line("check", _check_text(merged(done) if done else None))
    report.close(with_time=bool(checks))
    if not batch.failures:
        return 0
    print(f"tconv: {batch.summary(len(checks))}", file=sys.stderr)
    for failure in batch.failures:
        print(f"tconv: {failure}", file=sys.stderr)
    return 1


def _print_method(report: Report, run: Run) -> None:
    """Print a method, and the input and plan of the first file that it makes larger."""
    report.line("upsample", run.method.text)
    report.line("input", f"{run.source.description}, the first")
    report.line("plan", _plan_text(run, run.plan(), run.strip_count()))
    for note in run.method.notes:
        report.line("note", note)


# -- texts and facts ---------------------------------------------------------------------------------------------


def _plan_text(run: Run, plan: RunPlan, strips: int) -> str:
    """Return the transposed convolutions that run, their methods, work, strips and memory."""
    shapes = ((each.problem.geometry.kernel, each.problem.geometry.stride) for each in plan.passes)
    counts = Counter(f"{'x'.join(map(str, kernel))} stride {'x'.join(map(str, stride))}" for kernel, stride in shapes)
    kinds = ", ".join(f"{count} of {kind}" if count > 1 else kind for kind, count in counts.items())
    if run.upsampler.learned:
        kinds = kinds.replace(" stride 1x1", "")
    size = f"{strips} strip{'s' * (strips != 1)}, {si(run.memory, 'B')} of memory"
    if not plan.passes:
        return f"weighted sums along rows and columns (NumPy), in {size}"
    methods = Counter(each.method for each in plan.passes)
    by = ", ".join(f"{count} by {method}" for method, count in methods.most_common())
    by = by if len(methods) > 1 else f"by {plan.passes[0].method}"
    work = si(plan.flops, "FLOP")
    work += " as direct sums" if any("F(4,3)" in method for method in methods) else ""
    if run.upsampler.learned:  # of a deep network there are many kinds
        height, width = next(iter(run.shapes.values()))[2:]
        size = f"{width} x {height} pixels in {size}"
        return "; ".join([size, *plan.notes, f"{work}: convolutions {kinds}, {by}"])
    text = f"transposed convolution{'s' * (len(plan.passes) > 1)} {kinds}; {by}; {work} in {size}"
    return "; ".join([text, *plan.notes])


def _plan_facts(run: Run, plan: RunPlan, strips: int) -> dict[str, Any]:
    passes = [
        {"kernel": each.problem.geometry.kernel, "stride": each.problem.geometry.stride, "method": each.method}
        for each in plan.passes
    ]
    return {
        "passes": passes,
        "flops": plan.flops,
        "strips": strips,
        "memory_bytes": run.memory,
        "notes": [*run.upsampler.notes, *plan.notes],
    }


def _input_facts(run: Run, source: Path | None) -> dict[str, Any]:
    shapes = {key: batch.shape for key, batch in run.source.batches.items()}
    return {
        "path": None if source is None else str(source),
        "notes": [*run.source.notes, *run.warnings],
        "arrays": _array_facts(run, shapes),
    }


def _output_facts(file_run: FileRun) -> dict[str, Any]:
    return {
        "path": str(file_run.path),
        "bytes": file_run.size,
        "notes": file_run.format.notes,
        "arrays": _array_facts(file_run.run, file_run.run.shapes),
    }


def _array_facts(run: Run, shapes: dict[str, Any]) -> list[dict[str, Any]]:
    """Return key, sizes [N, C, H, W] and dtype of every array."""
    return [
        {"key": key, "shape": list(shapes[key]), "dtype": str(batch.values.dtype)}
        for key, batch in run.source.batches.items()
    ]


def _check_text(check: CheckResult | None) -> str:
    if check is None:
        return "nothing was checked (--no-check)"
    finite = check.outputs - check.not_finite
    fewer = f" (of {check.wanted}, in the time of the work)" if check.outputs < check.wanted else ""
    if check.layers:
        layers = f"{check.layers} of {check.layers_in_all} layers"
        layers = "every layer of the network" if check.layers == check.layers_in_all else layers
        text = f"{check.layer_outputs:,} random outputs of {layers} and {finite:,} of the picture agree with the "
        text += f"definition: differences are at most {max(check.layer_share, 0.01):.0%} of what is allowed"
    else:
        text = f"{finite} random outputs{fewer} agree with the definition: largest difference {check.difference:.2g}, "
        text += f"allowed {check.tolerance:.2g}"
    return text + f"; {check.not_finite} more are inf or NaN in both" * (check.not_finite > 0)


def _check_facts(check: CheckResult | None) -> dict[str, Any] | None:
    return None if check is None else check._asdict()
