"""Images larger than memory, from one Zarr to another: tconv's jobs beside PyTorch, Pillow and Cubed on tiles.

    python benchmarks/scale.py [bicubic layer network ...] [--gib 4] [--store none zstd] [--rounds 3] [-o RESULT.json]
    python benchmarks/scale.py layer --gib 0.125 --peers tconv torch_tiles                     # a small one

The input has a quarter of the output's bytes. Each engine has a process of its own for each sample, and reads the input
from the disk, not from the cache of files. In each round every engine takes one sample, in an order that is shuffled
anew; the time ends when the output is on the disk. An output is compared with float64 at squares in its corners, over
the seam of two shards and at random, before anything else is run. "kernel" is tconv without files: tiles of the job's
sizes, computed in memory. "disk" is the time of writing the output's bytes and waiting until they are on the disk.

`--cubed PYTHON` is an interpreter that has cubed, torch and zarr, and NumPy, for Cubed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import signal
import statistics
import sys
import tempfile
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from photo import ask
from scale_cases import STORES, Case, case_of
from scale_engines import ENGINES, OPERATIONS, remove_output

from tconv.bench import child_process
from tconv.scale.memory_bound import bytes_of

ALLOWED = {"bicubic": 2.01, "layer": 1e-5, "network": 1e-4}
"""Largest difference from float64: levels of 8 bits (Pillow rounds twice), or parts of the largest output."""
_GIB = 1 << 30


def main() -> int:
    """Run the benchmark; return 1 if an output is wrong, or the result cannot be written."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("operations", nargs="*", default=["bicubic", "layer", "network"])
    parser.add_argument("--gib", type=float, default=4.0)
    parser.add_argument("--store", nargs="+", choices=STORES, default=["none"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--max-memory", default="512MB")
    parser.add_argument("--peers", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--cubed", metavar="PYTHON")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the children are ended, and the folder is removed
    result: dict[str, Any] = {"date": datetime.now(UTC).isoformat(timespec="minutes"), "machine": platform.processor()}
    result |= {"threads": options.threads, "max_memory": options.max_memory, "load": os.getloadavg()[0]}
    result |= {"complete": False, "cases": []}
    try:  # before minutes are spent
        file = options.output.open("x") if options.output else None
    except OSError as error:
        print(f"{options.output} cannot be written: {error.strerror}. Choose a new name", file=sys.stderr)
        return 1
    try:
        cases = [
            case_of(operation, int(options.gib * _GIB), store)
            for operation in options.operations
            for store in options.store
        ]
        done = [measure(result, case, options) for case in cases]
        result["complete"] = all(done)
    finally:  # after an error, too, what was measured is stored
        if file is not None:
            with file:
                json.dump(result, file, indent=1)
        print(table(result))
    return 0 if result["complete"] else 1


def measure(result: dict[str, Any], case: Case, options: argparse.Namespace) -> bool:
    """Add a case to the result, round by round. Return False if an output is wrong, or tconv has none."""
    entry: dict[str, Any] = {**case._asdict(), "shape": case.shape, "output": case.output, "bytes": case.bytes}
    entry |= {"engines": {}, "kernel": [], "disk": []}
    result["cases"].append(entry)
    names = [each for each in options.peers if case.operation in OPERATIONS.get(each, (case.operation,))]
    if not options.cubed:
        names = [each for each in names if each != "cubed_torch"]
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        how = {"threads": options.threads, "memory": options.max_memory}

        def asked(engine: str, *messages: dict[str, Any]) -> list[dict[str, Any]]:
            """Return answers of a new process."""
            program = options.cubed if engine == "cubed_torch" else sys.executable
            command = [program, str(Path(__file__).with_name("scale_engines.py")), engine, name, json.dumps(case)]
            child = child_process.Child(command, child_process.environment(options.threads))
            try:
                return [ask(child, message) for message in messages]
            finally:
                child.close()
                remove_output(folder)

        (made,) = asked("make", {"do": "make"})
        if "reason" in made:
            print(f"no input: {made['reason']}", file=sys.stderr)
            return False
        entry["stored"] = made["bytes"]
        order = random.Random(0)
        for number in range(options.rounds):
            for engine in order.sample(names, len(names)):
                found = entry["engines"].setdefault(engine, {"seconds": [], "returned": [], "peak": []})
                if "reason" in found:
                    continue
                # an output is as large as the case: it is checked where it lies, once, in the process that wrote it
                messages: list[dict[str, Any]] = [{"do": "run", **how}]
                messages += [{"do": "error"}] if not number else []
                run, *checks = asked(engine, *messages)
                if reason := next((each["reason"] for each in (run, *checks) if "reason" in each), None):
                    found["reason"] = reason
                    if engine == "tconv":
                        print(f"tconv: {reason}", file=sys.stderr)
                        return False
                    continue
                for each in ("seconds", "returned", "peak"):
                    found[each].append(run[each])
                found["stored"] = run["stored"]
                if checks:
                    found["error"] = checks[0]["error"]
                    if not found["error"] <= ALLOWED[case.operation]:
                        print(f"{engine} is wrong: {found['error']:.3g}", file=sys.stderr)
                        return False
            (kernel,) = asked("tconv", {"do": "kernel", **how})
            if "reason" in kernel:
                print(f"kernel: {kernel['reason']}", file=sys.stderr)
                return False
            entry["kernel"].append(kernel["seconds"])
            entry["tile_of_job"] = kernel["tile"]
            entry["disk"].append(disk_seconds(folder, entry["engines"].get("tconv", made).get("stored", case.bytes)))
        peak = max(entry["engines"].get("tconv", {}).get("peak", [0]), default=0)
        if peak > bytes_of(options.max_memory):
            print(f"tconv held {peak / 1e6:.0f} MB, and {options.max_memory} were allowed", file=sys.stderr)
            return False
    return True


def disk_seconds(folder: Path, count: int) -> float:
    """Return the seconds of writing this many random bytes in files of 32 MB, and of waiting for the disk."""
    block, path = os.urandom(32_000_000), folder / "probe"
    start = time.perf_counter()
    files = []
    for number in range(-(-count // len(block))):
        handle = os.open(f"{path}{number}", os.O_WRONLY | os.O_CREAT)
        os.write(handle, memoryview(block)[: min(len(block), count - number * len(block))])
        files.append(handle)
    for handle in files:
        os.fsync(handle)
        os.close(handle)
    seconds = time.perf_counter() - start
    for number in range(len(files)):
        with suppress(FileNotFoundError):
            os.unlink(f"{path}{number}")
    return seconds


def table(result: dict[str, Any]) -> str:
    """Return a Markdown table of medians: seconds, output per second, memory, and ratios to tconv's time."""
    head = ["operation", "store", "output", "engine", "s", "MB/s", "/ tconv", "peak MB", "error"]
    lines, reasons = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"], []
    for entry in result["cases"]:
        title = [entry["operation"], entry["store"], f"{entry['bytes'] / _GIB:.2f} GiB"]
        engines = entry["engines"]
        seconds = {name: statistics.median(each["seconds"]) for name, each in engines.items() if each["seconds"]}
        seconds |= {each: statistics.median(entry[each]) for each in ("kernel", "disk") if entry[each]}
        for name in sorted(seconds, key=seconds.__getitem__):
            found, time_ = engines.get(name, {}), seconds[name]
            cells = [*title, name, f"{time_:.3g}", f"{entry['bytes'] / time_ / 1e6:.0f}"]
            cells += [f"{time_ / seconds['tconv']:.2f}" if "tconv" in seconds else ""]
            cells += [f"{max(found['peak']) / 1e6:.0f}", f"{found['error']:.1e}"] if found else ["", ""]
            lines.append(f"| {' | '.join(cells)} |")
        reasons += [f"\nnot run: {name}: {each['reason']}" for name, each in engines.items() if "reason" in each]
    return "\n".join(lines + reasons)


if __name__ == "__main__":
    sys.exit(main())
