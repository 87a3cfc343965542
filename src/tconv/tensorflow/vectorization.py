"""Rule of `tf.vectorized_map` for the operator: a batch of x is one larger batch, a batch of filters more groups."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import tensorflow as tf

from tconv.dialects.layouts import DataLayout, WeightLayout
from tconv.tensorflow.operator import add_bias, apply_operator, apply_rule, plain_operator, rule_of
from tconv.tensorflow.operator_rule import OperatorRule
from tconv.tensorflow.tracing_context import register_vectorized


def _rule(inputs: Any) -> Any:
    """Convert one operator of a loop's body; each of its tensors is stacked, with a first axis more, or the same."""
    rule = rule_of(inputs.op)
    tensors = [inputs.input(at) for at in range(inputs.num_inputs)]
    (x, x_stacked, _), (weight, weight_stacked, _), *rest = tensors
    bias, bias_stacked = rest.pop(0)[:2] if inputs.get_attr("B") else (None, False)
    sizes = inputs.unstacked_input(inputs.num_inputs - 1) if inputs.get_attr("S") else None
    count = inputs.pfor.loop_len_vector[0]
    own = None if bias_stacked else bias
    if weight_stacked:
        known = weight.shape[0]
        if known is None:  # the number of groups is an attribute: TensorFlow loops instead
            inputs.unstacked_input(1)
        y = _over_weights(rule, x, x_stacked, weight, own, sizes, known)
    elif x_stacked:
        y = _over_batches(rule, x, weight, own, sizes, count)
    else:
        y = tf.repeat(_apply(rule, x, weight, own, sizes)[None], count, 0)
    if bias_stacked:
        axes = rule.y_layout.axes
        shape = [-1 if axis == "C" else 1 for axis in axes]
        y += tf.reshape(bias, [count, *shape])
    return y


def _apply(rule: OperatorRule, x: Any, weight: Any, bias: Any, sizes: Any) -> Any:
    if sizes is not None:
        return apply_rule(rule, x, weight, bias, sizes)
    kernel = rule.weight_layout.kernel(tuple(weight.shape.as_list()))
    return apply_operator(plain_operator(rule, kernel), x, weight, bias)


def _over_batches(rule: OperatorRule, x: Any, weight: Any, bias: Any, sizes: Any, count: Any) -> Any:
    """Return y of stacked x: [count, *axes] is one batch of count*N images."""
    if "N" not in rule.x_layout.axes:
        batched = replace(rule, x_layout=_with_batch(rule.x_layout), y_layout=_with_batch(rule.y_layout))
        return _apply(batched, x, weight, bias, sizes)
    y = _apply(rule, _fold(x, rule.x_layout, "N"), weight, bias, sizes)
    return _unfold(y, rule.y_layout, "N", count)


def _over_weights(rule: OperatorRule, x: Any, x_stacked: bool, weight: Any, bias: Any, sizes: Any, count: int) -> Any:
    """Return y of stacked filters: those of all members are groups beside each other."""
    if not x_stacked:
        x = tf.repeat(x[None], count, 0)
    flat = _fold(weight, rule.weight_layout, rule.weight_layout.grouped)
    many = replace(rule, groups=rule.groups * count)
    y = _apply(many, _fold(x, rule.x_layout, "C"), flat, None, sizes)
    stacked = _unfold(y, rule.y_layout, "C", count)
    return stacked if bias is None else add_bias(stacked, bias, _with_batch(rule.y_layout, "B"))


def _with_batch(layout: DataLayout, letter: str = "N") -> DataLayout:
    return DataLayout((letter, *layout.axes))


def _fold(tensor: Any, layout: DataLayout | WeightLayout, letter: str) -> Any:
    """Return a tensor whose first axis, of the members, is merged into the axis of this letter, before its own."""
    at = layout.axes.index(letter)
    rank = len(layout.axes)
    moved = tf.transpose(tensor, [*range(1, at + 1), 0, *range(at + 1, rank + 1)])
    shape = tf.shape(moved)
    folded = tf.reshape(moved, tf.concat([shape[:at], [shape[at] * shape[at + 1]], shape[at + 2 :]], 0))
    static = tensor.shape.as_list()
    both = None if None in (static[0], static[at + 1]) else static[0] * static[at + 1]
    folded.set_shape([*static[1 : at + 1], both, *static[at + 2 :]])
    return folded


def _unfold(tensor: Any, layout: DataLayout, letter: str, count: Any) -> Any:
    """Return the tensor with the members as its first axis again."""
    at = layout.axes.index(letter)
    shape = tf.shape(tensor)
    split = tf.reshape(tensor, tf.concat([shape[:at], [count, shape[at] // count], shape[at + 1 :]], 0))
    return tf.transpose(split, [at, *range(at), *range(at + 1, len(layout.axes) + 1)])


register_vectorized(_rule)
