"""Worker process that opens networks and runs them: `python -m tconv.models.traces.worker`.

Each line of standard input is a request in JSON: a ticket, what to do ("open", "run", "trace", "probe" or "close"), the
number of the network, and a path and runtime, or a folder of arrays. Each answer is a line with the same ticket; arrays
lie in the folder. Whatever a framework prints goes to standard error.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.errors import FileError, TconvError
from tconv.models.traces import format_of
from tconv.models.traces.trace import NetworkFile, RunError, Trace, inputs_to_json, reason, write


def main() -> None:
    """Answer requests until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    networks: dict[int, NetworkFile] = {}
    for line in sys.stdin:
        request = json.loads(line)
        try:
            facts = _answer(request, networks)
        except Exception as error:
            facts = _refusal(error, request.get("path", "the network"))
        answers.write(json.dumps({**facts, "ticket": request["ticket"]}) + "\n")
        answers.flush()


def _answer(request: dict[str, Any], networks: dict[int, NetworkFile]) -> dict[str, Any]:
    number, what = request["network"], request["do"]
    if what == "close":
        networks.pop(number, None)
        return {}
    if what == "open":
        path = Path(request["path"])
        module = importlib.import_module(f"tconv.models.traces.{format_of(path).module}")
        networks[number] = module.open_network(path, request["runtime"])
        return {"inputs": inputs_to_json(networks[number].inputs)}
    folder, network = Path(request["folder"]), networks[number]
    feeds = [np.load(folder / f"feed{at}.npy", allow_pickle=False) for at in range(request["feeds"])]
    write(_result(network, what, feeds, request), folder)
    return {}


def _result(network: NetworkFile, what: str, feeds: list[Array], request: dict[str, Any]) -> Trace:
    if what == "probe":
        if not hasattr(network, "probe"):
            raise RunError("its tensors cannot be asked for one at a time")
        found: Trace = network.probe(feeds, request["tensors"])
        return found
    return network.trace(feeds) if what == "trace" else Trace(network.run(feeds))


def _refusal(error: Exception, path: str) -> dict[str, Any]:
    """Return an error as JSON; one that no reader has foreseen is that of a damaged file."""
    if isinstance(error, TconvError):
        return {"error": str(error), "kind": "run" if isinstance(error, RunError) else "file"}
    damaged = FileError(
        f"{path} cannot be read: {type(error).__name__}: {reason(error, 200)}. Choose a file that its framework reads"
    )
    return {"error": str(damaged), "kind": "file"}


if __name__ == "__main__":
    main()
