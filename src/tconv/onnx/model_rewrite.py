"""Rewrite of an ONNX file: a plan that can be printed, then a file that is compared with the old one before it appears.

`rewrite` does both; `plan_rewrite` stops at the plan.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tconv._arguments import shown
from tconv.checking.facts import facts_of
from tconv.errors import ArgumentError, FileError, RewriteError
from tconv.models.inventory import inventory_of
from tconv.models.inventory.model_layer import ModelLayer
from tconv.models.readers.onnx_graph import open_graph
from tconv.models.traces import FORMATS
from tconv.onnx.graph_steps import GRAPH_STEPS, PlacedLayer
from tconv.onnx.graph_tools import TOOLS
from tconv.onnx.model_file import ModelFile, Publication
from tconv.onnx.rewritten_layer import LayerPlan, LayerRewrite
from tconv.onnx.run_cost import Cost, measure_cost
from tconv.onnx.verification import Verification, typical_feeds, verify
from tconv.rewriting.plan import LIMITS
from tconv.rewriting.steps import STEPS
from tconv.targets import Target
from tconv.targets import target as find_target

RUNTIMES = FORMATS[".onnx"].runtimes
"""Names of the runtimes on which models can be compared."""


def step_names() -> tuple[str, ...]:
    """Return the names of all steps: those on the graph around a layer, then those on a layer.

    >>> "conv+depth_to_space" in step_names()
    True
    """
    return (*GRAPH_STEPS, *STEPS)


def plan_rewrite(
    model: str | Path,
    *,
    target: str | Path | Target | None = None,
    steps: Sequence[str] = (),
    layers: Sequence[str] = (),
) -> ModelPlan:
    """Return the plan of a rewrite, which changes no file; `print` shows it, `write` carries it out.

    >>> import onnx
    >>> layer = "y = ConvTranspose <strides = [2, 2]> (x, w)"
    >>> graph = "g (float[1, 1, 5, 5] x) => (float[1, 1, 10, 10] y) <float[1, 1, 2, 2] w = {1, 2, 3, 4}>"
    >>> model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 17]> {graph} {{ {layer} }}')
    >>> onnx.save(model, "planned.onnx")
    >>> plan = plan_rewrite("planned.onnx", steps=["conv+depth_to_space"])  # or target="ethos-u"
    >>> plan.layers[0].steps
    ['conv+depth_to_space']

    `model` is a .onnx file, `target` the name of a target or a profile of your own (.toml). `steps` are names of
    `step_names()`, taken in their order instead of, or before, those that the target needs. `layers` are names of
    layers; without them all are looked at. Raises FileError, ArgumentError, MissingExtraError.
    """
    if not isinstance(model, (str, Path)):
        raise ArgumentError(
            f"the model is of type {type(model).__name__}; the path of a .onnx file is needed. Write it to a file: "
            'onnx.save(model, "model.onnx")'
        )
    path = Path(model)
    if path.suffix.lower() != ".onnx":
        raise FileError(
            f"{path} is not a .onnx file, and no other is rewritten. Export the model to ONNX; a PyTorch module is "
            "rewritten before its export by tconv.torch.rewrite"
        )
    if target is None and not steps:
        raise ArgumentError(
            'neither target nor steps was given, so there is nothing to do. Write target=, as in target="ethos-u", or '
            f"steps=, some of {', '.join(step_names())}"
        )
    for name in steps:
        if name not in step_names():
            raise ArgumentError(f"{shown(name)} is no step; there are {', '.join(step_names())}. Use one of them")
    found_target = target if isinstance(target, Target) or target is None else find_target(target)
    inventory = inventory_of(path)
    file = ModelFile.read(path)
    chosen = _chosen(inventory.layers, layers, path)
    graph = open_graph(path)
    nodes = _nodes(file)
    rewrites: list[LayerRewrite] = []
    plans: list[LayerPlan] = []
    for layer in chosen:
        node = nodes.get(_output(graph, layer))
        if node is None or node.op_type != "ConvTranspose":
            plans.append(LayerPlan(layer.name, layer.place, reasons=[_outside()]))
            continue
        rewrite_of = LayerRewrite(file, PlacedLayer(layer, node))
        rewrite_of.with_steps(steps)
        if found_target is not None:
            rewrite_of.with_target(found_target)
        rewrite_of.note_overridable()
        rewrite_of.note_frozen(inventory)
        rewrites.append(rewrite_of)
        plans.append(rewrite_of.plan)
    return ModelPlan(path, found_target, plans, file, rewrites, _coarsest(chosen), bool(layers))


def rewrite(
    model: str | Path,
    output: str | Path,
    *,
    target: str | Path | Target | None = None,
    steps: Sequence[str] = (),
    layers: Sequence[str] = (),
    size: Sequence[int] | None = None,
    runtimes: Sequence[str] | None = None,
    tools: Sequence[str] | None = None,
    limit: float | None = None,
    seed: int = 0,
) -> RewriteReport:
    """Write a model whose transposed convolutions are other operations, exactly, for a target; return the report.

    >>> import onnx
    >>> layer = "y = ConvTranspose <strides = [2, 2]> (x, w)"
    >>> graph = "g (float[1, 1, 5, 5] x) => (float[1, 1, 10, 10] y) <float[1, 1, 2, 2] w = {1, 2, 3, 4}>"
    >>> model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 17]> {graph} {{ {layer} }}')
    >>> onnx.save(model, "given.onnx")
    >>> report = rewrite("given.onnx", "rewritten.onnx", steps=["conv+depth_to_space"], tools=[])  # or target="ethos-u"
    >>> report.output.name
    'rewritten.onnx'

    The plan is that of `plan_rewrite`, with the same arguments. Both models then run on `runtimes` ("onnxruntime",
    "openvino", "tconv"; those that are installed by default) on random input of several sizes, or of the spatial
    `size`, also behind the simplifiers `tools` ("onnxslim", "onnxsim"). Beyond `limit`, the largest difference relative
    to the largest value (1e-5 in float32, `LIMITS`), nothing is written. `output` must not exist.

    Raises RewriteError for a layer that cannot be rewritten exactly, and for a difference; FileError for files that
    cannot be read, run or written; ArgumentError, MissingExtraError.
    """
    return plan_rewrite(model, target=target, steps=steps, layers=layers).write(
        output, size=size, runtimes=runtimes, tools=tools, limit=limit, seed=seed
    )


@dataclass
class ModelPlan:
    """Plan of one file: what is done to each layer, and why.

    >>> import onnx
    >>> layer = "y = ConvTranspose <strides = [2, 2]> (x, w)"
    >>> graph = "g (float[1, 1, 5, 5] x) => (float[1, 1, 10, 10] y) <float[1, 1, 2, 2] w = {1, 2, 3, 4}>"
    >>> model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 17]> {graph} {{ {layer} }}')
    >>> onnx.save(model, "model.onnx")
    >>> plan = plan_rewrite("model.onnx", steps=["conv+depth_to_space"])
    >>> len(plan.layers), plan.dtype
    (1, 'float32')
    """

    path: Path
    target: Target | None
    layers: list[LayerPlan]
    file: ModelFile
    rewrites: list[LayerRewrite]
    dtype: str
    """Coarsest type in which the layers compute."""
    named: bool = False
    """True if the caller has named the layers."""
    _written: bool = False

    @property
    def changes(self) -> bool:
        """True if a layer is rewritten."""
        return any(plan.changes for plan in self.layers)

    @property
    def reasons(self) -> list[str]:
        """Reasons why layers cannot be rewritten."""
        return [f"{plan.name}: {reason}" for plan in self.layers for reason in plan.reasons]

    @property
    def lasting(self) -> list[str]:
        """Limits of the whole model that no step ends, each once."""
        return list(dict.fromkeys(limit for plan in self.layers for limit in plan.lasting))

    @property
    def nothing_to_do(self) -> str:
        """Sentence for a model that needs no rewrite; "" if a layer changes, or cannot be rewritten."""
        if self.changes or self.reasons:
            return ""
        if not self.layers:
            return "it has no transposed convolution: nothing to rewrite"
        if self.lasting:
            return f"no step is needed by a layer: nothing to rewrite. {_lasting_words(self.target, self.lasting)}"
        return f"{'the target' if self.target is None else self.target.name} takes every layer: nothing to rewrite"

    def __str__(self) -> str:
        goal = f" for {self.target.name}, {self.target.title}" if self.target is not None else ""
        lines = [f"plan of {self.path}{goal}"]
        lines += ["  " + line for plan in self.layers for line in str(plan).splitlines()]
        if not self.layers:
            lines.append("  it has no transposed convolution")
        elif not self.changes and not self.reasons:
            lines.append(f"  {self.nothing_to_do}")
        return "\n".join(lines)

    def facts(self) -> dict[str, Any]:
        """Return the plan for JSON."""
        return {
            "source": str(self.path),
            "target": None if self.target is None else self.target.name,
            "layers": [plan.facts() for plan in self.layers],
        }

    def write(
        self,
        output: str | Path,
        *,
        size: Sequence[int] | None = None,
        runtimes: Sequence[str] | None = None,
        tools: Sequence[str] | None = None,
        limit: float | None = None,
        seed: int = 0,
        sizes: int = 5,
        cost: bool = True,
    ) -> RewriteReport:
        """Write the rewritten model, if it equals the old one; return the report. Once only.

        Arguments and errors as `rewrite`. `sizes` is the number of sizes that are run, `cost` measures the time.
        """
        _check_words(runtimes, tools, limit)
        if self._written:
            raise ArgumentError("this plan was written before, and is spent. Make a new one by plan_rewrite")
        place = Path(output)
        if place.suffix.lower() != ".onnx":
            raise ArgumentError(f"the output {place} does not end in .onnx. Write {place.with_suffix('.onnx')}")
        # a step that does not apply to one of all layers leaves that layer; a target needs each of them
        if (reasons := self.reasons) and (self.target is not None or self.named or not self.changes):
            raise RewriteError(
                f"{self.path} is not rewritten, and nothing is written: {'; '.join(reasons)}. Name the layers that can "
                "be rewritten (--layer), or another step (--step)"
            )
        if not self.changes:
            raise RewriteError(f"{self.path} needs no rewrite: {self.nothing_to_do}. Use the file itself")
        allowed = LIMITS.get(self.dtype, LIMITS["float32"]) if limit is None else limit
        with ExitStack() as stack:
            places = stack.enter_context(Publication(place, self.file.has_external_data))
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tconv-rewrite-")))
            self._written = True
            for each in self.rewrites:
                each.emit()
            written = folder / place.name
            data = self.file.write(written)
            inputs = [each for each in self.file.model.graph.inputs if not each.is_initializer()]
            found = verify(
                self.path,
                written,
                inputs,
                folder,
                limit=allowed,
                runtimes=runtimes,
                tools=tools,
                size=size,
                seed=seed,
                sizes=sizes,
            )
            if not found.right:
                rows = "; ".join(f"{run.runtime} {run.tool} {run.sizes}: {run.note}" for run in found.wrong[:3])
                raise RewriteError(
                    f"the rewritten model differs from {self.path} by more than {allowed:g} of the largest value, and "
                    f"nothing is written: {rows}. Write fewer steps, or --layer, to find the one that does it"
                )
            spent = None
            if cost and (feeds := typical_feeds(found)) is not None:
                spent = measure_cost(self.path, written, feeds[1], feeds[0])
            remaining = _refused_now(written, self.target, {text for plan in self.layers for text in plan.lasting})
            places.fill(written, data)
        return RewriteReport(self, place, found, spent, remaining)


@dataclass
class RewriteReport:
    """Result of a rewrite: the differences on each runtime and size, the time, and whether the target accepts it.

    >>> import onnx
    >>> layer = "y = ConvTranspose <strides = [2, 2]> (x, w)"
    >>> graph = "g (float[1, 1, 5, 5] x) => (float[1, 1, 10, 10] y) <float[1, 1, 2, 2] w = {1, 2, 3, 4}>"
    >>> model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 17]> {graph} {{ {layer} }}')
    >>> onnx.save(model, "old.onnx")
    >>> report = rewrite("old.onnx", "new.onnx", steps=["conv+depth_to_space"], tools=[])
    >>> report.refused, report.output.name
    ([], 'new.onnx')
    """

    plan: ModelPlan
    output: Path
    verification: Verification
    cost: Cost | None
    refused: list[str] = field(default_factory=list)
    """Limits of the target that the new file still breaks."""

    def __str__(self) -> str:
        lines = [f"largest difference / largest value (limit {self.verification.limit:g})"]
        lines += ["  " + row for row in self.verification.rows()]
        lines += ["  note: " + note for note in self.verification.notes]
        if self.cost is not None:
            lines.append(str(self.cost))
        if self.plan.target is not None:
            name, lasting = self.plan.target.name, self.plan.lasting
            if self.refused:
                lines.append(f"{name} still refuses: {'; '.join(self.refused)}")
            if lasting:
                lines.append(_lasting_words(self.plan.target, lasting))
            elif not self.refused:
                lines.append(f"{name} takes every layer now")
        lines.append(f"written: {self.output}")
        return "\n".join(lines)

    def facts(self) -> dict[str, Any]:
        """Return the report for JSON."""
        return {
            **self.plan.facts(),
            "output": str(self.output),
            "verification": self.verification.facts(),
            "cost": None if self.cost is None else dict(vars(self.cost)),
            "refused": self.refused,
            "lasting": self.plan.lasting,
        }


def _lasting_words(target: Target | None, lasting: Sequence[str]) -> str:
    name = "the target" if target is None else target.name
    return f"{name} still refuses the model, for limits of the whole model, which no step ends: {'; '.join(lasting)}"


def _chosen(found: Sequence[ModelLayer], names: Sequence[str], path: Path) -> list[ModelLayer]:
    """Return the layers with these names, or all that are ConvTranspose nodes. Raises ArgumentError."""
    plain = [layer for layer in found if layer.form == "transposed convolution"]
    for name in names:
        if all(layer.name != name for layer in plain):
            known = ", ".join(repr(layer.name) for layer in plain[:20]) or "none"
            raise ArgumentError(f"{path} has no transposed convolution {name!r}; it has {known}. Use one of them")
    return [layer for layer in plain if not names or layer.name in names]


def _check_words(runtimes: Sequence[str] | None, tools: Sequence[str] | None, limit: float | None) -> None:
    """Raise ArgumentError for runtimes or simplifiers that there are not, and for a limit that no number exceeds."""
    for words, known, name in ((runtimes, RUNTIMES, "runtimes"), (tools, TOOLS, "tools")):
        unknown = [word for word in words or () if word not in known]
        if unknown or (words is not None and not words and name == "runtimes"):
            given = shown(unknown[0]) if unknown else "empty"
            raise ArgumentError(f"{name} is or has {given}; there are {', '.join(known)}. Write some of them, or None")
    if limit is not None and not 0 <= limit < float("inf"):
        raise ArgumentError(f"limit is {limit}; a number of at least 0 is needed. Write limit=1e-5")


def _nodes(file: ModelFile) -> dict[str, Any]:
    """Return the nodes by the name of their first output; those of a name that several graphs have are left out."""
    graphs = [file.model.graph, *file.model.graph.subgraphs()]
    every = [node for graph in graphs for node in graph if node.outputs]
    uses = Counter(node.outputs[0].name for node in every)
    return {node.outputs[0].name: node for node in every if uses[node.outputs[0].name] == 1}


def _output(graph: Any, layer: ModelLayer) -> str:
    """Return the name of the output of a layer's node, which is unique in a file."""
    for placed in graph.nodes:
        if placed.number == layer.location.get("node") and placed.graph == layer.location.get("graph"):
            return str(placed.node.outputs[0].name)
    return ""


def _outside() -> str:
    return (
        "it lies in a function of the file, which several calls share, or its output's name is used in several graphs. "
        "Write the file without functions (onnx.inliner.inline_local_functions), each name once"
    )


def _coarsest(layers: Sequence[ModelLayer]) -> str:
    """Return the type with the largest limit among those of the layers."""
    return max(
        (layer.dtype for layer in layers if layer.dtype in LIMITS), key=lambda name: LIMITS[name], default="float32"
    )


def _refused_now(path: Path, target: Target | None, lasting: set[str]) -> list[str]:
    """Return the limits of the target that transposed convolutions of the file at this place break.

    `lasting` are limits of the whole model, which the plan has named.
    """
    if target is None:
        return []
    return [
        f"{layer.name}: {limit.text}"
        for layer in inventory_of(path).layers
        if layer.op == "ConvTranspose"
        for limit in target.limits_against(facts_of(layer))
        if str(limit) not in lasting
    ]
