"""Weights that the file computes from constants (weight norm, Cast, Transpose ...), stored as what they are."""

from __future__ import annotations

from dataclasses import replace

from tconv.models.inventory.model_layer import StoredArray
from tconv.onnx.graph_steps.graph_step import GraphStep, PlacedLayer, StepError, remove_unused_value
from tconv.onnx.model_file import ModelFile
from tconv.onnx.node_writer import NodeWriter


class FoldConstants(GraphStep):
    """Weight and bias as initializers."""

    name = "fold-constants"
    summary = "the weight that the graph computes from constants is stored as a constant"
    exact = "equal up to the rounding of the weight's computation"

    def apply(self, file: ModelFile, placed: PlacedLayer) -> tuple[PlacedLayer, str]:
        node, layer = placed.node, placed.layer
        refuse_quantized(layer.weight)
        changed, words = layer, []
        for number, role in ((1, "weight"), (2, "bias")):
            value = node.inputs[number] if number < len(node.inputs) else None
            stored = layer.weight if role == "weight" else layer.bias
            if value is None or value.is_initializer() or (stored is not None and stored.origin == "constant"):
                continue
            if stored is None:
                raise StepError(f"its {role} is computed from the model's inputs, so it is no constant")
            writer = NodeWriter(file, node, placed.name, external=bool(file.external))
            node.replace_input_with(number, writer.constant(stored.read(), role))
            remove_unused_value(value)
            words.append(f"{role} ({stored.origin})")
            array = stored.read()
            plain = StoredArray(array.shape, stored.dtype, stored.read, nbytes=array.nbytes)
            changed = replace(changed, weight=plain) if role == "weight" else replace(changed, bias=plain)
        if not words:
            raise StepError("its weight and bias are stored constants already")
        return PlacedLayer(changed, node), f"{' and '.join(words)} computed once"


def refuse_quantized(weight: StoredArray | None) -> None:
    """Raise StepError for a weight of integers with scales."""
    if weight is not None and (weight.quantization is not None or "DequantizeLinear" in weight.origin):
        raise StepError(
            "it is quantised (QDQ): as other operations its integers would become floats, and a runtime of integers "
            "would lose the layer. Rewrite the float model, then quantise it"
        )
