"""ONNX's own shape inference, one node at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tconv.models.readers.onnx_graph.facts import UNKNOWN, Fact
from tconv.models.readers.onnx_graph.nodes import OWN
from tconv.models.readers.onnx_graph.stored import dtype_name


def inferred(node: Any, facts: Sequence[Fact], opset: int) -> list[Fact]:
    """Return the facts of a node's outputs; none if an input's type is not known, or the operator is another's."""
    import onnx
    import onnx_ir

    if node.domain not in OWN:
        return []
    given = [(value.name, fact) for value, fact in zip(node.inputs, facts, strict=True) if value is not None]
    if not all(fact.dtype for _, fact in given):
        return []
    try:
        types = {name: _type(onnx, fact) for name, fact in given}
        data = {
            name: onnx.numpy_helper.from_array(np.ascontiguousarray(fact.numbers), name)
            for name, fact in given
            if fact.numbers is not None
        }
        proto = onnx_ir.serde.serialize_node(node)
        proto.domain = ""
        schema = onnx.defs.get_schema(node.op_type, opset, "")
        imports = [onnx.helper.make_opsetid("", opset)]
        found = onnx.shape_inference.infer_node_outputs(schema, proto, types, data, opset_imports=imports)
    except Exception:  # of the schema, of the inference, and of protobuf
        return []
    return [_fact(onnx_ir, found.get(value.name)) for value in node.outputs]


def _type(onnx: Any, fact: Fact) -> Any:
    names = {"float32": "FLOAT", "float64": "DOUBLE"}
    number = onnx.TensorProto.DataType.Value(names.get(fact.dtype, fact.dtype.upper().replace("_", "")))
    return onnx.helper.make_tensor_type_proto(number, fact.shape)


def _fact(onnx_ir: Any, kind: Any) -> Fact:
    if kind is None or not kind.HasField("tensor_type"):
        return UNKNOWN
    tensor = kind.tensor_type
    dtype = dtype_name(onnx_ir.DataType(tensor.elem_type))
    if not tensor.HasField("shape"):
        return Fact(None, dtype)
    shape = tuple(
        each.dim_value
        if each.HasField("dim_value") and each.dim_value >= 0
        else (each.dim_param if each.dim_param and not each.dim_param.startswith("unk__") else None)
        for each in tensor.shape.dim
    )
    return Fact(shape, dtype)
