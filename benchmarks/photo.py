"""Networks that enlarge pictures: tconv's, or those of files, against the same network in other engines.

    python benchmarks/photo.py [NETWORK[@WIDTHxHEIGHT] ...] [--rounds 15] [--threads 2] [--memory] [-o RESULT.json]

NETWORK is photo or photo-large, those of `tconv upsample`, or a file that `tconv.models.load` reads. Each engine has a
process of its own, as in `tconv bench`. In each round every engine takes one sample, in an order that is shuffled anew.
Before anything is timed, each output is compared with float64. The network alone is timed, from a padded picture to
output, in the layout that suits each engine. `--memory` runs each engine once, and reports the most bytes that it needs
beside input and output.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import re
import statistics
import sys
import tempfile
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from photo_engines import ENGINES, model_of

from tconv.bench import child_process
from tconv.bench.roofline import RooflineProbe
from tconv.errors import TconvError

PEERS = tuple(ENGINES)
ALLOWED = 1e-4
"""Largest difference from float64 that an engine's output may have, as a share of the largest output."""
_LIMIT = 1800.0  # seconds that an engine may take to answer


def main() -> int:
    """Run the benchmark; return 1 if an output is wrong, or the result cannot be written."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("networks", nargs="*", default=["photo"])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=PEERS)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    result: dict[str, Any] = {"date": datetime.now(UTC).isoformat(timespec="minutes"), "machine": platform.processor()}
    result |= {"threads": options.threads, "complete": False, "networks": []}
    try:  # before minutes are spent
        file = options.output.open("x") if options.output else None
    except OSError as error:
        print(f"{options.output} cannot be written: {error.strerror}. Choose a new name", file=sys.stderr)
        return 1
    probe = RooflineProbe(options.threads, "cpu")
    probe.answer({"do": "start"})
    try:
        done = [measure(result, text, options) for text in options.networks]
        result["complete"] = all(done)
        result["probe"] = probe.answer({"do": "probe"})
    finally:  # after an error, too, what was measured is stored
        if file is not None:
            with file:
                json.dump(result, file, indent=1)
        print(table(result))
    return 0 if result["complete"] else 1


def measure(result: dict[str, Any], text: str, options: argparse.Namespace) -> bool:
    """Add a network to the result, round by round. Return False, and time nothing, if an output is wrong."""
    match = re.fullmatch(r"(.*)@(\d+)x(\d+)", text)
    name, width, height = (match[1], int(match[2]), int(match[3])) if match else (text, 960, 540)
    try:
        model = model_of(name)
    except TconvError as error:
        print(error, file=sys.stderr)
        return False
    shape = 1, model.network.channels[0], *(side + 2 * model.border for side in (height, width))
    flops = sum(2 * problem.macs.exact for problem in model.network.problems(shape[2:]))
    entry: dict[str, Any] = {"network": Path(name).stem, "size": [width, height], "flops": flops, "peers": {}}
    result["networks"].append(entry)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as children:
        np.save(Path(folder) / "x.npy", np.random.default_rng(0).random(shape, np.float32))

        def start(peer: str) -> child_process.Child:
            command = [sys.executable, str(Path(__file__).with_name("photo_engines.py")), peer, folder]
            command += [str(options.threads), name]
            child = child_process.Child(command, child_process.environment(options.threads))
            children.callback(child.close)
            return child

        # the memory of engines that read the file itself needs no other form of the network
        needed = not options.memory or bool({*options.peers} - {"tconv", "ncnn"})
        if needed and (answer := ask(start("reference"), {"do": "reference", "exact": not options.memory})):
            print(f"{name} has no reference: {answer['reason']}", file=sys.stderr)
            return False
        if options.memory:
            for peer in options.peers:
                entry["peers"][peer] = ask(start(peer), {"do": "memory"})
            return True
        exact = np.load(Path(folder) / "reference.npy")
        running = {}
        for peer in options.peers:
            child = start(peer)
            if answer := ask(child, {"do": "load"}):
                entry["peers"][peer] = answer
                continue
            error = float(np.abs(np.load(Path(folder) / f"{peer}.npy") - exact).max() / np.abs(exact).max())
            entry["peers"][peer] = {"error": error, "ms": []}
            if not error <= ALLOWED:
                print(f"{peer} is wrong: {error:.2g} of the largest output", file=sys.stderr)
                return False
            running[peer] = child
        order = random.Random(0)
        for _ in range(options.rounds):
            for peer in order.sample(list(running), len(running)):
                answer = ask(running[peer], {"do": "sample"})
                if "reason" in answer:  # the others go on
                    entry["peers"][peer]["reason"] = answer["reason"]
                    del running[peer]
                else:
                    entry["peers"][peer]["ms"].append(answer["ms"])
    return True


def ask(child: child_process.Child, message: dict[str, Any]) -> dict[str, Any]:
    """Return the answer of an engine, or the reason why there is none."""
    try:
        return child.ask(message, _LIMIT)
    except child_process.GoneError as error:
        return {"reason": str(error)}


def table(result: dict[str, Any]) -> str:
    """Return a Markdown table of medians, of their ratios to tconv's, and of the bytes of memory."""
    lines = ["| network | engine | ms | / tconv | error | MB |", "| --- | --- | ---: | ---: | ---: | ---: |"]
    reasons = []
    for entry in result["networks"]:
        peers, title = entry["peers"], f"{entry['network']} {'x'.join(map(str, entry['size']))}"
        ms = {name: statistics.median(each["ms"]) for name, each in peers.items() if each.get("ms")}
        for name in sorted(ms, key=ms.__getitem__):
            ratio = f"{ms[name] / ms['tconv']:.2f}" if "tconv" in ms else ""
            lines.append(f"| {title} | {name} | {ms[name]:.3g} | {ratio} | {peers[name]['error']:.1e} | |")
        for name, each in peers.items():
            if "bytes" in each:
                lines.append(f"| {title} | {name} | | | | {each['bytes'] / 1e6:.0f} |")
            if "reason" in each:
                reasons.append(f"\n{'ended early' if name in ms else 'not run'}: {name}: {each['reason']}")
    return "\n".join(lines + reasons)


if __name__ == "__main__":
    sys.exit(main())
