"""The command `tconv bench`: layers of real networks on tconv and other libraries.

Outputs are checked, samples are interleaved, and the table starts with the layers where tconv is slower.
"""

from __future__ import annotations

import json
import shlex
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from tconv import kernels
from tconv.bench import child_process, dtypes, result_file, revision, row_groups, summary, table
from tconv.bench import layers as registry
from tconv.bench import peers as known_peers
from tconv.bench.html_report import to_html
from tconv.bench.peer_process import PeerProcess, TimedPeer
from tconv.bench.roofline import machine_facts
from tconv.bench.runner import ReportProgress, Runner
from tconv.bench.summary import Result
from tconv.cli import bench_framework
from tconv.errors import ArgumentError, MethodError
from tconv.io.output_files import NewFile
from tconv.kernels.num_threads import most_threads

_TOLERANCE = (
    "max error <= (4 u (sqrt(K) + 4)) x the reference's root mean square, K terms in the longest sum, u the spacing "
    "around 1 of float32 (2**-23), or of float64 in float64; float16 and bfloat16: and one rounding of the output, for "
    "peers 8 spacings more; TF32: 8 spacings more; x and weight rounded first, reference in float64, compared with the "
    "definition at random outputs"
)


_SECONDS = 20.0  # for each layer, dtype and layout
_SECONDS_OF_MODELS = 480.0
_WIDTH = 150  # columns of the widest table


def run(
    *,
    layers: Annotated[list[str] | None, Parameter(consume_multiple=True, negative="")] = None,
    peers: Annotated[list[str] | None, Parameter(consume_multiple=True, negative="")] = None,
    threads: int = 2,
    rounds: int = 15,
    seconds: float | None = None,
    base: str | None = None,
    dtype: str | None = None,
    layout: str | None = None,
    activation: Literal["relu"] | None = None,
    isa: Literal["native", "avx2", "sse4"] = "native",
    device: Literal["cpu", "cuda"] = "cpu",
    registry_file: Annotated[Path, Parameter(name="--registry")] = registry.REGISTRY,
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    html: Path | None = None,
    framework: str | None = None,
    backend: str | None = None,
    models: Annotated[bool, Parameter(negative="")] = False,
    training: Annotated[bool, Parameter(negative="")] = False,
    overhead: Annotated[bool, Parameter(negative="")] = False,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Time tconv and its peers on the transposed convolutions of real networks.

    Examples: tconv bench --layers "unet up1" "dcgan last" --peers torch openvino -o result.json;
    tconv bench --layout first,last --dtype float32,bfloat16; tconv bench --layers core --isa avx2

    Every output is checked against a float64 reference before it is timed. Each peer has its own process; their
    samples are interleaved. The table starts with the layers where tconv is behind. Peers that are not installed are
    named first. Exit code 1: a result was wrong, or there was no peer to compare tconv with.

    Parameters
    ----------
    layers
        Names or kinds from the registry (core, grouped, depthwise, depthwise-1d, few-channels, batch); all by default.
        Hyphens may replace spaces.
    peers
        Peers that tconv is compared with; all by default. tconv:METHOD is one method of tconv.
    threads
        Threads of every peer.
    rounds
        Largest number of rounds for each layer.
    seconds
        Time for the whole run, divided among layers and dtypes; each has at least 3 rounds. By default 20 for each
        layer, dtype and layout; 480 for --framework, --models, --training and --overhead.
    base
        Also measure tconv of this git revision, in the same run.
    dtype
        Dtypes of x, weight and output, with commas: float32 (the default), bfloat16, float16, float64. On cuda:
        float32,tf32,bfloat16.
    layout
        Layouts of x and output, with commas: first is [N, C, *L], last is [N, *L, C]. Both are interleaved. With first
        alone, a peer that has only channels last is measured in that, and PyTorch in both.
    activation
        Activation after the layer: relu. tconv and the peers that can fuse it.
    isa
        Instructions of tconv and its peers: avx2 or sse4 restricts those that have a variable for it, and leaves out
        the others.
    device
        Device to run on. On cuda: eager and as a graph.
    registry_file
        Another registry of layers, a JSON file like the one that comes with tconv.
    output
        Write the result with all samples to this file, which must not exist.
    html
        Write an HTML page to this file, which must not exist.
    framework
        Compare a framework with itself on tconv's kernel instead, inside its own programs: torch (the default of the
        three options below), jax (in jax.jit), tensorflow (in tf.function): forward passes of the layers, also against
        a convolution and depth to space; keras: whole models, with the largest possible gain. --dtype and --layout are
        those of x and weight; the framework's own layout by default.
    backend
        Backends of Keras, with commas: tensorflow,jax,torch (all by default).
    models
        Time whole PyTorch or Keras models, as they are and accelerated, with the largest possible gain; --layers are
        then names of models. PyTorch: --dtype bfloat16 or float16 is that of autocast, and --layout last gives the
        model and its input that memory format.
    training
        Time a forward and backward pass of each layer, or a training step of a Keras model.
    overhead
        Time a call with next to nothing to compute.
    as_json
        Print the result and its summary as one JSON object.
    """
    for name, value in (("threads", threads), ("rounds", rounds), ("seconds", seconds)):
        if value is not None and not value > 0:  # nor NaN
            raise ArgumentError(f"--{name} is {value}; it must be above 0. Write --{name} 2, for example")
    if isa != "native" and device != "cpu":
        raise ArgumentError(f"--isa {isa} is about CPUs, and --device is {device}. Write --device cpu")
    if threads > most_threads():
        raise ArgumentError(
            f"--threads is {threads}; tconv uses at most {most_threads()} on this machine, and its peers would use "
            "more. Write --threads 2"
        )
    others = {"peers": bool(peers), "activation": activation is not None, "isa": isa != "native"}
    others |= {"device": device != "cpu", "registry": registry_file != registry.REGISTRY}
    asked = {"models": models, "training": training, "overhead": overhead}
    if (compared := bench_framework.kind_of(framework, asked, others)) is not None:
        options = bench_framework.Options(
            *compared,
            layers=layers or (),
            threads=threads,
            rounds=rounds,
            seconds=seconds or _SECONDS_OF_MODELS,
            dtype=dtype,
            layout=layout,
            backend=backend,
            base=base,
            output=output,
            html=html,
            as_json=as_json,
        )
        return bench_framework.run(options, progress)
    if backend is not None:
        raise ArgumentError(f"--backend {backend} is about --framework keras. Write --framework keras")
    known = dtypes.DTYPES[device]
    usual = "float32" if device == "cpu" else ",".join(known)
    chosen = dtypes.selected("dtype", usual if dtype is None else dtype, known)
    layouts = dtypes.selected("layout", layout or "first", dtypes.LAYOUTS)
    selected = registry.select(registry.read(registry_file), layers or ())
    names = known_peers.select(peers or (), kernels.names())
    if all(name.partition(":")[0] != "tconv" for name in names):
        names = ["tconv", *names]
    written: dict[str, Any] = {"layers": layers, "peers": peers, "threads": threads, "rounds": rounds}
    written |= {"dtype": ",".join(chosen), "layout": ",".join(layouts)}
    written |= {"activation": activation, "isa": isa, "seconds": seconds, "base": base, "device": device}
    with ExitStack() as stack:  # files that cannot be written are refused now, not after the run
        html_file = stack.enter_context(NewFile([html])) if html is not None else None
        with NewFile([output]) if output is not None else nullcontext() as json_file:
            processes: list[TimedPeer] = [_peer_process(name, threads, device, isa) for name in names]
            if base is not None:
                processes.insert(1, _base_process(base, threads, device, isa, stack))
            known_by_name = {name: known_peers.peer(name) for name in names}
            groups = row_groups.groups(selected, chosen, layouts, processes, known_by_name)
            seconds = seconds or _SECONDS * len(groups) * len(layouts)
            runner = Runner(groups, processes, _prober(threads, device, isa), rounds, seconds)
            runner.activation = activation or ""
            result: Result = {
                "date": datetime.now(UTC).isoformat(timespec="minutes"),
                "command": _command(written),
                "revision": revision.describe(),
                "machine": machine_facts(),
                "threads": threads,
                "device": device,
                "tolerance": _TOLERANCE,
                "layouts": layouts,
                "activation": activation,
                "isa": isa,
            }
            runner.after_start = lambda answers: _report_absent(answers, device)
            with progress(as_json) as runner.report_progress:
                code = _run(runner)
            result |= runner.result
            if json_file is not None:
                json_file.file.write(result_file.to_text(result).encode())
        if html_file is not None:
            html_file.file.write(to_html(result).encode())
        _print(result, as_json)
    if not code and summary.alone(result):
        print("tconv: no peer ran any layer; there is nothing to compare tconv with", file=sys.stderr)
        return 1
    return code or int(summary.wrong(result))


def _report_absent(answers: dict[str, Any], device: str) -> None:
    """Print the peers that did not start. Raises MethodError if tconv was to be compared, and no peer started."""
    absent = {name: answer["reason"] for name, answer in answers.items() if answer["state"] != "started"}
    for name, reason in absent.items():
        print(f"not available: {name}: {reason}", file=sys.stderr, flush=True)
    compared = summary.others(answers)
    if compared and all(name in absent for name in compared):
        instead = "--peers tconv to time tconv alone" if device == "cpu" else "--device cpu"
        raise MethodError(
            f"none of the peers is available ({', '.join(compared)}); at least one is needed. Write {instead}"
        )


def _run(runner: Runner) -> int:
    try:
        runner.run()
    except KeyboardInterrupt:  # the children have ended; what was measured is shown
        return 130
    return 0


def _peer_process(name: str, threads: int, device: str, isa: str) -> PeerProcess:
    command = child_process.command("worker", name, str(threads), device)
    return PeerProcess(name, command, child_process.environment(threads, device, isa), isa=isa)


def _prober(threads: int, device: str, isa: str) -> PeerProcess:
    command = child_process.command("roofline", str(threads), device)
    return PeerProcess("machine", command, child_process.environment(threads, device, isa))


def _base_process(ref: str, threads: int, device: str, isa: str, stack: ExitStack) -> PeerProcess:
    """The process of tconv of a revision, which is unpacked for as long as the run lasts."""
    if device != "cpu":
        raise ArgumentError(f"--base compares on the CPU, and --device is {device}. Write --device cpu")
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tconv-base-")))
    unpacked = revision.unpack(ref, folder)
    command = unpacked.command("worker", "tconv", str(threads), device)
    return PeerProcess(unpacked.peer_name, command, unpacked.environment(threads, isa), isa=isa)


def _command(options: dict[str, Any]) -> str:
    parts = ["tconv", "bench"]
    for name, value in options.items():
        if value is not None:
            parts += [f"--{name}", *(map(str, value) if isinstance(value, list) else [str(value)])]
    return shlex.join(parts)


@contextmanager
def progress(quiet: bool) -> Iterator[ReportProgress]:
    """Show a bar on a terminal; elsewhere print a line to stderr when a layer begins."""
    if quiet:
        yield lambda text, share: None
        return
    if not sys.stderr.isatty():
        last = [""]

        def print_step(text: str, share: float) -> None:
            if text != last[0]:
                last[0] = text
                print(f"{share:4.0%} {text}", file=sys.stderr, flush=True)

        yield print_step
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    # few refreshes: the bar is drawn by this process while the peers are timed
    with Progress(*columns, console=Console(stderr=True), transient=True, refresh_per_second=1) as bar:
        task = bar.add_task("starting", total=1.0)
        yield lambda text, share: bar.update(task, completed=share, description=text)


def _print(result: Result, as_json: bool) -> None:
    if as_json:
        print(json.dumps({**result, "summary": _summary(result)}))
    elif sys.stdout.isatty():
        _print_rich(result)
    else:
        print(table.text(result))


def _summary(result: Result) -> dict[str, Any]:
    """Return geometric means, layers ahead and losses by mode, dtype and layout, and what went wrong."""
    modes = dict.fromkeys(m for e in result["layers"] for s in e["peers"].values() for m in s.get("samples", {}))
    parts: dict[str, Any] = {"faults": summary.faults(result), "absences": summary.absences(result)}
    for mode in modes:
        for block in summary.blocks(result, mode):
            parts[f"{mode} {block.dtype} {block.layout}"] = {
                "means": {mean.name: mean.value for mean in summary.means(block.lines, result["peers"])},
                "ahead": summary.ahead(block.lines),
                "losses": [line.layer for line in block.lines if line.lead is not None and line.lead < 1],
            }
    return parts


def _print_rich(result: Result) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    console.width = max(console.width, _WIDTH)  # a narrower terminal wraps the lines; no cell is cut
    for fault in summary.faults(result):
        console.print(fault, style="bold red", markup=False)
    behind = {line.layer for line in summary.lines(result, summary.headline(result)) if (line.lead or 1) < 1}
    for part in table.tables(result):
        rich_table = Table(title=part.title, title_justify="left", box=None, header_style="bold")
        for number, head in enumerate(part.heads):
            rich_table.add_column(head, justify="right" if number else "left", no_wrap=True)
        for row in part.rows:
            rich_table.add_row(*row, style="yellow" if row[0] in behind else None)
        console.print(rich_table)
        console.print()
    absent = [f"not run: {line}" for line in summary.absences(result)]
    for line in (*absent, *summary.notes(result), *table.machine(result)):
        console.print(line, markup=False)
