"""Decoders of speech and music as streams, beside decoding all at once, and beside overlapping windows.

    python benchmarks/streams.py [DECODER ...] [--rounds 5] [--threads 1 2] [--seconds 2] [-o RESULT.json]
    python benchmarks/streams.py encodec --tail 10000 --minutes 60 --sessions 256 [-o RESULT.json]

Each engine has a process of its own, as in `tconv bench`. In each round every engine takes one sample, in an order that
is shuffled anew. Before anything is timed, a stream's output is compared with its offline output, which must have the
same bits, and every output with float64. Chunks are 20 ms. Windows have exactly the context that their outputs depend
on; an LSTM's context is all that was before it, so that the windows of `encodec` are not exact: its LSTM starts anew.

`--tail` times many chunks of one stream, `--minutes` pushes chunks of random lengths and looks at the memory, and
`--sessions` compares the bytes of many sessions with the prediction. `--quick` runs thin decoders, for a test.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import statistics
import sys
import tempfile
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from photo import ask

from tconv.bench import child_process
from tconv.bench.roofline import RooflineProbe

DECODERS = ("encodec", "encodec-no-lstm", "speecht5-hifigan", "hifigan-v1")
ENGINES = ("tconv_stream", "tconv_whole", "torch_whole", "torch_windows", "tconv_windows")
ALLOWED = 1e-4
"""Largest difference from float64 that an output may have, as a share of the largest."""
TITLES = {
    "tconv_stream": "tconv, stream",
    "tconv_whole": "tconv, offline",
    "torch_whole": "PyTorch, offline",
    "torch_windows": "PyTorch, windows",
    "tconv_windows": "tconv, windows",
}


def main() -> int:
    """Run the benchmark; return 1 if an output is wrong, or the result cannot be written."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("decoders", nargs="*", default=DECODERS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="+", default=(1, 2))
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--tail", type=int, metavar="CHUNKS")
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--sessions", type=int)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    if options.quick:
        options.decoders, options.rounds = [f"thin-{name}" for name in options.decoders], 1
    result: dict[str, Any] = {"date": datetime.now(UTC).isoformat(timespec="minutes"), "machine": platform.processor()}
    result |= {"complete": False, "decoders": []}
    try:  # before minutes are spent
        file = options.output.open("x") if options.output else None
    except OSError as error:
        print(f"{options.output} cannot be written: {error.strerror}. Choose a new name", file=sys.stderr)
        return 1
    long_runs = [each for each in ("tail", "minutes", "sessions") if getattr(options, each) is not None]
    try:
        done = [
            measure(result, name, threads, options, long_runs)
            for name in options.decoders
            for threads in options.threads
        ]
        result["complete"] = all(done)
        if not options.quick:
            probe = RooflineProbe(max(options.threads), "cpu")
            probe.answer({"do": "start"})
            result["probe"] = probe.answer({"do": "probe"})
    finally:  # after an error, too, what was measured is stored
        if file is not None:
            with file:
                json.dump(result, file, indent=1)
        print("\n\n".join(table(result) for table in (speeds, tails, memories, many_sessions) if table(result)))
    return 0 if result["complete"] else 1


def measure(result: dict[str, Any], name: str, threads: int, options: argparse.Namespace, long_runs: list[str]) -> bool:
    """Add a decoder to the result. Return False, and time nothing, if an output is wrong."""
    entry: dict[str, Any] = {"decoder": name, "threads": threads, "seconds": options.seconds, "engines": {}}
    result["decoders"].append(entry)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as children:

        def start(engine: str) -> child_process.Child:
            command = [sys.executable, str(Path(__file__).with_name("stream_engines.py")), engine, folder]
            command += [str(threads), name, str(options.seconds)]
            child = child_process.Child(command, child_process.environment(threads))
            children.callback(child.close)
            return child

        facts = ask(start("reference"), {"do": "reference"})
        entry |= facts
        if "reason" in facts:
            print(f"{name} has no reference: {facts['reason']}", file=sys.stderr)
            return False
        exact = np.load(Path(folder) / "reference.npy")
        running = {}
        for engine in ENGINES if not long_runs else ENGINES[:1]:
            child = start(engine)
            answer = entry["engines"][engine] = ask(child, {"do": "load"})
            if "reason" in answer:
                continue
            made = np.load(Path(folder) / f"{engine}.npy")
            gap = np.abs(made - exact[:, :, answer["first"] :][:, :, : made.shape[2]])
            answer |= {"error": float(gap.max() / np.abs(exact).max()), "ms": []}
            # an LSTM that starts anew in every window is not exact
            wrong = not answer["error"] <= ALLOWED and not (name.endswith("encodec") and engine.endswith("windows"))
            if wrong or not answer.get("bits", True):
                print(f"{engine} is wrong: {answer['error']:.2g} of the largest output, {answer}", file=sys.stderr)
                return False
            running[engine] = child
        if long_runs:
            return measure_long_runs(entry, start, options, long_runs)
        order = random.Random(0)
        for _ in range(options.rounds):
            for engine in order.sample(list(running), len(running)):
                answer = ask(running[engine], {"do": "sample"})
                if "reason" in answer:  # the others go on
                    entry["engines"][engine]["reason"] = answer["reason"]
                    del running[engine]
                else:
                    entry["engines"][engine]["ms"].append(answer["ms"])
    return True


def measure_long_runs(entry: dict[str, Any], start: Any, options: argparse.Namespace, long_runs: list[str]) -> bool:
    """Add the long runs of a stream, each in a new process."""
    calls: dict[str, dict[str, Any]] = {
        "tail": {"do": "tail", "chunks": options.tail},
        "minutes": {"do": "endure", "minutes": options.minutes},
        "sessions": {"do": "sessions", "count": options.sessions},
    }
    for each in long_runs:
        entry[each] = ask(start("tconv_stream"), calls[each])
        if "reason" in entry[each]:
            print(f"{entry['decoder']}: {entry[each]['reason']}", file=sys.stderr)
    return not any("reason" in entry[each] for each in long_runs)


# -- tables ------------------------------------------------------------------------------------------------------


def chunk_ms(engine: dict[str, Any]) -> float:
    """Return the milliseconds of a chunk of 20 ms: the mean of a pass, the median of passes."""
    return statistics.median(statistics.fmean(times) for times in engine["ms"])


def per_chunk(entry: dict[str, Any], name: str) -> float:
    """Return an engine's milliseconds for 20 ms of audio."""
    engine = entry["engines"][name]
    if name.endswith("windows"):
        return chunk_ms(engine)
    passes = statistics.median(sum(times) for times in engine["ms"])
    return passes / (entry["seconds"] / 0.020)


def speeds(result: dict[str, Any]) -> str:
    """Return a Markdown table of the time for 20 ms of audio, and its ratio to tconv's offline time and stream."""
    lines, reasons = [], []
    for entry in result["decoders"]:
        engines = entry["engines"]
        ms = {name: per_chunk(entry, name) for name, each in engines.items() if each.get("ms")}
        for name, each in ms.items():
            ratios = [f"{each / ms[other]:.2f}" if other in ms else "" for other in ("tconv_whole", "tconv_stream")]
            work = engines[name].get("work")
            cells = [entry["decoder"], str(entry["threads"]), TITLES[name], f"{each:.3g}", *ratios]
            cells += [f"{work:.2f}" if work else "", f"{engines[name]['error']:.1e}"]
            lines.append(f"| {' | '.join(cells)} |")
        reasons += [f"\n{name}: {each['reason']}" for name, each in engines.items() if "reason" in each]
    head = ["decoder", "threads", "engine", "ms for 20 ms", "/ offline", "/ stream", "work", "error"]
    return _markdown(head, lines) + "".join(reasons) if lines else ""


def tails(result: dict[str, Any]) -> str:
    """Return a Markdown table of the medians and the slowest of many chunks."""
    lines = []
    for entry in result["decoders"]:
        times = sorted(entry.get("tail", {}).get("ms", []))
        if times:
            median, p99 = statistics.median(times), times[int(0.99 * len(times))]
            cells = [entry["decoder"], str(entry["threads"]), str(len(times)), f"{median:.3g}", f"{p99:.3g}"]
            lines.append(f"| {' | '.join([*cells, f'{p99 / median:.2f}', f'{times[-1]:.3g}'])} |")
    return _markdown(["decoder", "threads", "chunks", "median ms", "p99 ms", "p99 / median", "most ms"], lines)


def memories(result: dict[str, Any]) -> str:
    """Return a Markdown table of the memory of a stream of chunks of random lengths."""
    lines = []
    for entry in result["decoders"]:
        found = entry.get("minutes", {})
        if "early" in found:
            growth = f"{100 * (found['late'] / found['early'] - 1):.2f} %"
            cells = [entry["decoder"], str(found["chunks"]), f"{found['early'] / 1e6:.1f}", growth]
            cells += [str(found["traced_chunk"]), f"{found['traced_growth']:.1f}"]
            lines.append(f"| {' | '.join(cells)} |")
    head = ["decoder", "chunks", "MB after a tenth", "growth to the end", "bytes in a push", "bytes left by a push"]
    return _markdown(head, lines)


def many_sessions(result: dict[str, Any]) -> str:
    """Return a Markdown table of the bytes of many sessions."""
    lines = []
    for entry in result["decoders"]:
        found = entry.get("sessions", {})
        if "held" in found:
            cells = [entry["decoder"], *(str(found[each]) for each in ("predicted", "held", "grown"))]
            lines.append(f"| {' | '.join(cells)} |")
    return _markdown(["decoder", "bytes predicted", "bytes of the states", "growth of the process"], lines)


def _markdown(head: list[str], lines: list[str]) -> str:
    if not lines:
        return ""
    return "\n".join([f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}", *lines])


if __name__ == "__main__":
    sys.exit(main())
