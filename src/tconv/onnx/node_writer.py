"""Writer of nodes into an ONNX graph, before one of its nodes, valid in the opset of the file.

Operators that take their sizes as attributes in old opsets and as inputs in new ones are written in the file's form.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.errors import RewriteError
from tconv.onnx.model_file import ModelFile, need_onnx_ir

SLICE_OPSET = 10
"""First opset whose Slice has steps, and takes its ends from other nodes."""


def old_slice(kind: str, opset: int) -> str:
    """Return the reason against a Slice that the file's opset does not have."""
    return f"{kind} need a Slice of opset {SLICE_OPSET}; the file has opset {opset}. Write the file anew with opset 17"


class OpsetError(RewriteError):
    """An operation that the file's opset does not have."""


class NodeWriter:
    """Nodes before `anchor`, in its graph, with names that begin with `prefix`.

    Constants become initializers, as the layer's weight is one; equal ones of one file are stored once.
    """

    def __init__(self, file: ModelFile, anchor: Any, prefix: str, *, external: bool = False) -> None:
        self._ir = need_onnx_ir()
        self._file, self._graph, self._prefix, self._external = file, anchor.graph, prefix, external
        self.anchor, self.opset = anchor, file.opset
        self.nodes: list[Any] = []
        self._taken = taken_names(file)
        self._constants: dict[Any, Any] = file.model.meta.setdefault("tconv_constants", {})

    # -- nodes and constants ---------------------------------------------------------------------------------------

    def node(self, op: str, inputs: Sequence[Any], name: str, outputs: int = 1, **attributes: Any) -> list[Any]:
        """Add a node of ONNX's own operators and return its outputs."""
        title = self._unique(name)
        names = [title] if outputs == 1 else [f"{title}.{number}" for number in range(outputs)]
        values = [self._ir.Value(name=each) for each in names]
        given = self._ir.convenience.convert_attributes(
            {key: value for key, value in attributes.items() if value is not None}
        )
        added = self._ir.Node("", op, list(inputs), given, outputs=values, name=title)
        self._graph.insert_before(self.anchor, added)
        self.nodes.append(added)
        return values

    def op(self, op: str, *inputs: Any, name: str, **attributes: Any) -> Any:
        """Add a node and return its only output."""
        return self.node(op, inputs, name, **attributes)[0]

    def constant(self, array: Array, name: str) -> Any:
        """Return a value with these numbers, in their own type."""
        stored = np.ascontiguousarray(array)
        digest = hashlib.blake2b(stored.tobytes(), digest_size=16).digest()
        key = (id(self._graph), stored.dtype.str, stored.dtype.name, stored.shape, digest)
        found = self._constants.get(key)
        if found is not None and found.is_initializer():  # it may have been removed again, with its last reader
            return found
        title = self._unique(name)
        tensor = self._ir.tensor(stored, name=title)
        if self._file.model.ir_version < 4 or self._graph is not self._file.model.graph:
            # there an initializer has to be an input, too; or it belongs to a graph inside of a node
            attribute = self._ir.AttrTensor("value", tensor)
            value = self._ir.Value(name=title)
            node = self._ir.Node("", "Constant", [], [attribute], outputs=[value], name=title)
            self._graph.insert_before(self.anchor, node)
            return value
        value = self._ir.Value(
            name=title, type=self._ir.TensorType(tensor.dtype), shape=tensor.shape, const_value=tensor
        )
        self._graph.register_initializer(value)
        if self._external and stored.nbytes >= 1024:
            self._file.external.add(title)
        self._constants[key] = value
        return value

    def integers(self, values: Sequence[int], name: str) -> Any:
        """Return a one-dimensional constant of whole numbers."""
        return self.constant(np.array(values, np.int64), name)

    def _unique(self, name: str) -> str:
        title = f"{self._prefix}/{name}"
        count = 1
        while title in self._taken:
            count += 1
            title = f"{self._prefix}/{name}_{count}"
        self._taken.add(title)
        return title

    def replace(self, old: Any, new: Any) -> None:
        """Put `new`, an output of the last node that was added, in place of a node's only output, name and all.

        The node is removed.
        """
        node = old.producer()
        name, shape, kind, doc = old.name, old.shape, old.type, old.doc_string
        old.name = f"{name}/replaced"
        new.name, new.doc_string = name, doc
        new.shape, new.type = shape, kind
        new.metadata_props.update(old.metadata_props)
        outputs = node.graph.outputs
        for number, each in enumerate(outputs):
            if each is old:
                outputs[number] = new
        old.replace_all_uses_with(new)
        node.graph.remove(node, safe=True)

    # -- operators whose form depends on the opset -----------------------------------------------------------------

    def slice(
        self, x: Any, starts: Any, ends: Any, axes: Sequence[int], name: str, steps: Sequence[int] | None = None
    ) -> Any:
        """Return x[..., start:end:step, ...]; starts and ends are numbers, or values of whole numbers."""
        known = isinstance(starts, (list, tuple)) and isinstance(ends, (list, tuple))
        strided = steps is not None and set(steps) != {1}
        if self.opset < SLICE_OPSET:
            if not known or strided:
                raise OpsetError(old_slice("steps" if known else "sizes that are known at run time only", self.opset))
            return self.op("Slice", x, name=name, starts=list(starts), ends=list(ends), axes=list(axes))
        begin = self.integers(starts, f"{name}/starts") if isinstance(starts, (list, tuple)) else starts
        end = self.integers(ends, f"{name}/ends") if isinstance(ends, (list, tuple)) else ends
        by = [self.integers(steps, f"{name}/steps")] if steps is not None and strided else []
        return self.op("Slice", x, begin, end, self.integers(axes, f"{name}/axes"), *by, name=name)

    def pad(self, x: Any, before: Sequence[int], after: Sequence[int], name: str, number: Array | None = None) -> Any:
        """Return x with zeros, or another number of its type, around it, by numbers for all of its axes."""
        pads = [*before, *after]
        if self.opset < 11:
            return self.op(
                "Pad", x, name=name, mode="constant", pads=pads, value=0.0 if number is None else float(number)
            )
        more = [] if number is None else [self.constant(number, f"{name}/value")]
        return self.op("Pad", x, self.integers(pads, f"{name}/pads"), *more, name=name, mode="constant")

    def split(self, x: Any, sizes: Sequence[int], axis: int, name: str) -> list[Any]:
        """Return parts of x with these sizes along an axis."""
        if self.opset < 13:
            return self.node("Split", [x], name, len(sizes), axis=axis, split=list(sizes))
        return self.node("Split", [x, self.integers(sizes, f"{name}/sizes")], name, len(sizes), axis=axis)

    def squeeze(self, x: Any, axes: Sequence[int], name: str) -> Any:
        """Return x without these axes of one element."""
        return self._axes_op("Squeeze", x, axes, name)

    def unsqueeze(self, x: Any, axes: Sequence[int], name: str) -> Any:
        """Return x with new axes of one element; `axes` are those of the result."""
        return self._axes_op("Unsqueeze", x, axes, name)

    def _axes_op(self, op: str, x: Any, axes: Sequence[int], name: str) -> Any:
        if self.opset < 13:
            return self.op(op, x, name=name, axes=list(axes))
        return self.op(op, x, self.integers(axes, f"{name}/axes"), name=name)

    # -- sizes at run time -----------------------------------------------------------------------------------------

    def sizes(self, x: Any, axes: Sequence[int], name: str) -> Any:
        """Return the sizes of some axes of x, as a one-dimensional value of whole numbers."""
        shape = self.op("Shape", x, name=f"{name}/shape")
        return self.op("Gather", shape, self.integers(axes, f"{name}/axes"), name=name, axis=0)


def taken_names(file: ModelFile) -> set[str]:
    """Return every name of a node or tensor in a model; kept, and extended by the writers of new nodes."""
    meta = file.model.meta
    if "tconv_names" not in meta:
        names: set[str] = set()
        for graph in [file.model.graph, *file.model.graph.subgraphs()]:
            names.update(value.name for value in graph.inputs if value.name)
            names.update(graph.initializers)
            for node in graph:
                names.add(node.name or "")
                names.update(value.name for value in node.outputs if value.name)
        meta["tconv_names"] = names
    found: set[str] = meta["tconv_names"]
    return found
