"""Runs of a model before and after its rewrite, on several runtimes and sizes, and behind simplifiers of graphs.

A runtime that computes one of them wrongly is told apart from a wrong rewrite by a judge: tconv's own evaluation, which
follows the specification.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.diagnosis.networks.agreement import BOUNDED_ROUNDING
from tconv.diagnosis.tolerance import spacing
from tconv.errors import FileError
from tconv.models.traces.process import RemoteNetwork, Workers
from tconv.models.traces.trace import Input, RunError
from tconv.onnx.feed_sizes import neighbouring_feeds, random_feeds
from tconv.onnx.graph_functions import output_functions
from tconv.onnx.graph_tools import TOOLS, ToolError, installed_tools, simplified

JUDGE = "tconv"
DEFAULT_RUNTIMES = ("onnxruntime", "openvino")
_WANTED_SIZES, _MOST_SECONDS = 5, 60


@dataclass(frozen=True)
class RunComparison:
    """One comparison of the model before and after: on one runtime, for one size, behind one simplifier or none."""

    runtime: str
    sizes: str
    tool: str
    difference: float | None
    """Largest difference divided by the largest value, or by 1 where the note says so; None where one of the models
    does not run."""
    verdict: str
    """"equal", "runtime" or "tool" (which are wrong on the original, too), "mended" (the original does not run there),
    "not run" (neither does), or "wrong"."""
    note: str = ""

    def facts(self) -> dict[str, Any]:
        """Return the fields for JSON, which has no infinity: outputs of other shapes have no difference."""
        known = self.difference is not None and np.isfinite(self.difference)
        return {**vars(self), "difference": self.difference if known else None}


@dataclass
class Verification:
    """All comparisons of one rewrite."""

    limit: float
    runs: list[RunComparison] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    feeds: dict[str, list[Array]] = field(default_factory=dict)
    """Inputs by the text of their sizes."""

    @property
    def right(self) -> bool:
        """True if at least one comparison was made, and none is wrong."""
        return not self.wrong and any(run.verdict in ("equal", "mended", "runtime") for run in self.runs)

    @property
    def compared(self) -> bool:
        """True if the numbers of both models were compared."""
        return any(run.difference is not None and not run.tool for run in self.runs)

    @property
    def wrong(self) -> list[RunComparison]:
        """Comparisons beyond the limit that are the fault of the rewrite, or new on a runtime."""
        return [run for run in self.runs if run.verdict == "wrong"]

    def rows(self) -> Iterator[str]:
        """Yield one line per runtime and simplifier: the largest difference over the sizes, and notes under it."""
        for key in dict.fromkeys((run.runtime, run.tool) for run in self.runs):
            runs = [run for run in self.runs if (run.runtime, run.tool) == key]
            title = key[0] + (f" after {key[1]}" if key[1] else "")
            known = [run.difference for run in runs if run.difference is not None]
            text = f"{max(known):.2g}" if known else "-"
            yield f"{title:26} {text:>8}  {_listed(run.sizes for run in runs if run.difference is not None)}"
            for note in dict.fromkeys(run.note for run in runs if run.note):
                yield f"{'':26} {_listed(run.sizes for run in runs if run.note == note)}: {note}"

    def facts(self) -> dict[str, Any]:
        """Return the fields for JSON."""
        return {"limit": self.limit, "runs": [run.facts() for run in self.runs], "notes": self.notes}


def relative_difference(expected: Sequence[Array], got: Sequence[Array], functions: Sequence[str] = ()) -> float:
    """Return the largest difference of two lists of outputs, relative to the largest value of each; inf if they differ
    in shape, or in the places of NaN.

    `functions` names those that give the outputs and are at most 1, "Sigmoid" for example; "" for none. Runtimes round
    these on that scale: a difference of a few last bits of 1 is returned as it is, however small the values are.
    """
    if len(expected) != len(got):
        return float("inf")
    largest = 0.0
    for at, (one, two) in enumerate(zip(expected, got, strict=True)):
        if one.shape != two.shape:
            return float("inf")
        wide = np.complex128 if one.dtype.kind == "c" else np.float64
        a, b = one.astype(wide), two.astype(wide)
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        if same.all():
            continue
        with np.errstate(invalid="ignore"):
            apart = np.abs(a - b)[~same]
        if not np.isfinite(apart).all():
            return float("inf")
        finite = np.abs(a[np.isfinite(a)])
        scale = max(finite.max(initial=0.0), np.finfo(np.float64).tiny)
        if any(functions[at : at + 1]) and apart.max() <= BOUNDED_ROUNDING * spacing(one.dtype):
            scale = max(scale, 1.0)
        largest = max(largest, float(apart.max() / scale))
    return largest


def _listed(sizes: Iterable[str]) -> str:
    return "; ".join(sizes)


def typical_feeds(found: Verification) -> tuple[str, list[Array]] | None:
    """Return the largest inputs that both models took, with the text of their sizes."""
    both = {run.sizes for run in found.runs if run.verdict in ("equal", "runtime") and not run.tool}
    taken = [(text, feeds) for text, feeds in found.feeds.items() if text in both]
    return max(taken, key=lambda entry: sum(feed.size for feed in entry[1]), default=None)


def installed_runtimes() -> tuple[str, ...]:
    """Return the names of the runtimes of ONNX models that are installed."""
    return tuple(name for name in DEFAULT_RUNTIMES if find_spec(name) is not None)


def verify(
    before: Path,
    after: Path,
    inputs: Sequence[Any],
    folder: Path,
    *,
    limit: float,
    runtimes: Sequence[str] | None = None,
    tools: Sequence[str] | None = None,
    size: Sequence[int] | None = None,
    seed: int = 0,
    sizes: int = _WANTED_SIZES,
) -> Verification:
    """Return the comparison of two files of one model, whose inputs are values of onnx_ir.

    `runtimes` are those that are installed, or "tconv" alone if none runs the model; `tools` the installed simplifiers.
    Where the file leaves sizes open, up to `sizes` of them are run. `folder` is for the files of the simplifiers.
    Raises FileError if the original runs nowhere.
    """
    names = list(runtimes) if runtimes is not None else list(installed_runtimes()) or [JUDGE]
    kinds = list(installed_tools() if tools is None else tools)
    with ExitStack() as stack:
        pool = stack.enter_context(Workers())
        try:
            found = _Verifier(before, after, pool, stack, limit, names).run(inputs, folder, kinds, size, seed, sizes)
        except FileError as error:
            if runtimes is not None or names == [JUDGE]:
                raise
            try:  # bfloat16, for example
                found = _Verifier(before, after, pool, stack, limit, [JUDGE]).run(inputs, folder, (), size, seed, sizes)
            except FileError:
                raise error from None
            found.notes.append(f"{' and '.join(names)} do not run the model; {JUDGE}'s own evaluation alone has judged")
    wanted = ((runtimes, DEFAULT_RUNTIMES, names), (tools, TOOLS, kinds))
    absent = [name for given, every, there in wanted if given is None for name in every if name not in there]
    if absent:
        more = f"; the judge was {JUDGE}'s own evaluation alone" if names == [JUDGE] else ""
        found.notes.append(f"not compared on {', '.join(absent)}, which this Python does not have{more}")
    return found


Files = Mapping[str, tuple[Path | None, Path] | None]
"""Files that a simplifier makes of both models, by its name; None where it fails."""


class _Verifier:
    def __init__(
        self, before: Path, after: Path, pool: Workers, stack: ExitStack, limit: float, names: list[str]
    ) -> None:
        self._before, self._after, self._pool, self._stack = before, after, pool, stack
        self._names, self._found = names, Verification(limit)
        self._networks: dict[tuple[Path, str], RemoteNetwork] = {}
        self._functions = output_functions(before)
        self._kept: dict[tuple[Path, str], list[Array] | str] = {}
        """Outputs for the present inputs."""

    def run(
        self,
        inputs: Sequence[Any],
        folder: Path,
        tools: Sequence[str],
        size: Sequence[int] | None,
        seed: int,
        wanted: int,
    ) -> Verification:
        with ThreadPoolExecutor(2) as threads:  # of processes, which leave the interpreter alone
            files = dict(zip(tools, threads.map(lambda tool: self._simplified(tool, folder), tools), strict=True))
        start, done = time.monotonic(), 0
        refusals: list[str] = []
        known = self._network(self._before, self._names[0]).inputs
        for text, feeds in random_feeds(inputs, known, size, seed):
            if not self._all_compared(text, feeds, files):
                refusals.append(text)
                continue
            done += 1
            if done == wanted:
                break
            if time.monotonic() - start > _MOST_SECONDS:
                self._found.notes.append(f"{done} of {wanted} sizes were run, in {_MOST_SECONDS} s. Write --size N")
                break
        if done and not self._found.compared:
            self._search(inputs, known, files, seed)
        if not done:
            why = self._outputs(self._before, self._names[0], feeds) if refusals else "it has no inputs"
            raise FileError(
                f"{self._before} runs on none of {', '.join(self._names)} with random input: nothing can be compared, "
                f"and nothing is written ({why}). Write --size with a spatial size that it takes"
            )
        return self._found

    def _all_compared(self, text: str, feeds: list[Array], files: Files) -> bool:
        """Compare on all runtimes and behind all simplifiers; False if neither model runs anywhere."""
        self._kept.clear()
        runs = [self._compared(name, text, feeds) for name in self._names]
        if all(run.verdict == "not run" for run in runs):
            return False
        self._found.feeds[text] = feeds
        self._found.runs += runs
        for tool, pair in files.items():
            if pair is not None:
                self._found.runs += [self._behind(tool, pair, name, text, feeds) for name in self._names]
        return True

    def _search(self, inputs: Sequence[Any], known: Sequence[Input], files: Files, seed: int) -> None:
        """Look for a size that the original takes, where its size was frozen: one of each remainder by 8."""
        for text, feeds in neighbouring_feeds(inputs, known, seed):
            self._kept.clear()
            if not isinstance(self._outputs(self._before, self._names[0], feeds), str):
                self._all_compared(text, feeds, files)
                return
        self._found.notes.append(
            "the original runs with none of the sizes that were tried, so its numbers were compared with nothing. "
            "Write --size with the size of its example"
        )

    # -- files and runs --------------------------------------------------------------------------------------------

    def _network(self, path: Path, runtime: str) -> RemoteNetwork:
        key = path, runtime
        if key not in self._networks:
            self._networks[key] = self._pool.open(path, runtime)
            self._stack.callback(self._networks[key].close)
        return self._networks[key]

    def _outputs(self, path: Path, runtime: str, feeds: list[Array]) -> list[Array] | str:
        """Return the outputs of a file for the present inputs, or the reason why there are none."""
        key = path, runtime
        if key not in self._kept:
            try:
                self._kept[key] = self._network(path, runtime).run(feeds)
            except (RunError, FileError) as error:
                self._kept[key] = str(error)
        return self._kept[key]

    def _simplified(self, tool: str, folder: Path) -> tuple[Path | None, Path] | None:
        """Return what a simplifier makes of both files, None for the original if it fails there."""
        sides: list[Path | None] = []
        for name, path in (("before", self._before), ("after", self._after)):
            try:
                sides.append(simplified(tool, path, folder / f"{name}-{tool}.onnx"))
            except ToolError as error:
                sides.append(None)
                self._found.notes.append(f"{error}, on the {'original' if name == 'before' else 'rewritten'} model")
        return None if sides[1] is None else (sides[0], sides[1])

    # -- one comparison --------------------------------------------------------------------------------------------

    def _compared(self, runtime: str, text: str, feeds: list[Array]) -> RunComparison:
        old, new = self._outputs(self._before, runtime, feeds), self._outputs(self._after, runtime, feeds)
        if isinstance(old, str):
            return self._without_original(runtime, text, feeds, old, new)
        if isinstance(new, str):
            return RunComparison(runtime, text, "", None, "wrong", f"the rewritten model does not run: {new}")
        difference = relative_difference(old, new)
        if difference <= self._found.limit:
            return RunComparison(runtime, text, "", difference, "equal")
        if note := self._rounded(old, new):
            right, rewritten = (self._outputs(path, JUDGE, feeds) for path in (self._before, self._after))
            judged = not isinstance(right, str) and not isinstance(rewritten, str)
            if judged and relative_difference(right, rewritten) <= self._found.limit:  # type: ignore[arg-type]
                difference = relative_difference(old, new, self._functions)
                return RunComparison(runtime, text, "", difference, "equal", note)
        return self._judged(runtime, text, feeds, old, new, difference)

    def _rounded(self, one: list[Array], two: list[Array]) -> str:
        """Return the note on a difference that is rounding of a Sigmoid, Softmax or Tanh; "" for any other."""
        if not any(self._functions) or relative_difference(one, two, self._functions) > self._found.limit:
            return ""
        pairs = zip(self._functions, one, strict=False)
        name, value = min((float(np.abs(each).max(initial=0)), name) for name, each in pairs if name)[::-1]
        return f"relative to 1, the most that its {name} gives; the largest value is {value:.2g} for this input"

    def _judged(
        self, runtime: str, text: str, feeds: list[Array], old: list[Array], new: list[Array], difference: float
    ) -> RunComparison:
        """Return the comparison of outputs that differ: the runtime's fault, or that of the rewrite."""
        right, rewritten = (self._outputs(path, JUDGE, feeds) for path in (self._before, self._after))
        if isinstance(right, str) or isinstance(rewritten, str):
            failed = right if isinstance(right, str) else rewritten
            return RunComparison(runtime, text, "", difference, "wrong", f"tconv's evaluation cannot judge: {failed}")
        apart, limit = relative_difference(right, rewritten), self._found.limit
        if apart > limit:
            return RunComparison(
                runtime, text, "", difference, "wrong", f"by tconv's evaluation they differ by {apart:.2g}"
            )
        errors = relative_difference(right, old), relative_difference(right, new)
        if errors[1] <= limit:
            note = f"{runtime} computes the original wrongly, by {errors[0]:.2g}, and the rewritten model rightly"
            return RunComparison(runtime, text, "", difference, "runtime", note)
        if errors[1] <= 2 * errors[0]:
            note = f"{runtime}'s own error, {errors[0]:.2g} on the original, is {errors[1]:.2g} on the rewritten model"
            return RunComparison(runtime, text, "", difference, "runtime", note)
        note = f"{runtime} computes the rewritten model wrongly, by {errors[1]:.2g}"
        return RunComparison(runtime, text, "", difference, "wrong", note)

    def _without_original(
        self, runtime: str, text: str, feeds: list[Array], old: str, new: list[Array] | str
    ) -> RunComparison:
        """Return the comparison where the runtime does not run the original."""
        if isinstance(new, str):
            return RunComparison(runtime, text, "", None, "not run", old)
        right = self._outputs(self._before, JUDGE, feeds)
        if isinstance(right, str):
            return RunComparison(
                runtime, text, "", None, "mended", "the original does not run, the rewritten model does"
            )
        difference = relative_difference(right, new)
        if difference <= self._found.limit:
            note = f"{runtime} does not run the original; compared with tconv's evaluation"
            return RunComparison(runtime, text, "", difference, "mended", note)
        return RunComparison(runtime, text, "", difference, "wrong", "compared with tconv's evaluation of the original")

    def _behind(
        self, tool: str, pair: tuple[Path | None, Path], runtime: str, text: str, feeds: list[Array]
    ) -> RunComparison:
        """Return the comparison of the simplified rewritten model with the rewritten one."""
        expected = self._outputs(self._after, runtime, feeds)
        got = self._outputs(pair[1], runtime, feeds)
        if isinstance(expected, str):
            return RunComparison(runtime, text, tool, None, "not run", expected)
        difference = float("inf") if isinstance(got, str) else relative_difference(expected, got)
        if difference <= self._found.limit:
            return RunComparison(runtime, text, tool, difference, "equal")
        if not isinstance(got, str) and (note := self._rounded(expected, got)):
            difference = relative_difference(expected, got, self._functions)
            return RunComparison(runtime, text, tool, difference, "equal", note)
        if self._spoils_original(pair[0], runtime, feeds):
            return RunComparison(runtime, text, tool, difference, "tool", f"{tool} spoils the original, too")
        note = f"it does not run: {got}" if isinstance(got, str) else f"{tool} spoils the rewritten model alone"
        return RunComparison(runtime, text, tool, None if isinstance(got, str) else difference, "wrong", note)

    def _spoils_original(self, simple: Path | None, runtime: str, feeds: list[Array]) -> bool:
        if simple is None:
            return False
        old, changed = self._outputs(self._before, runtime, feeds), self._outputs(simple, runtime, feeds)
        if isinstance(old, str):
            return False
        return isinstance(changed, str) or relative_difference(old, changed, self._functions) > self._found.limit
