"""Answers of targets for a layer: the limits that it breaks, and the rewriting that ends them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any

from tconv.checking.layer_check import TargetAnswer
from tconv.checking.layer_reading import ReadLayer
from tconv.rewriting.layer_expression import expression_of
from tconv.rewriting.planner import plan_for
from tconv.targets import Limit, Target, target_names
from tconv.targets import target as target_named
from tconv.targets.layer_facts import LayerFacts

_Limits = tuple[Mapping[str, Any], ...]

CUSTOM_OPERATORS = {"Convolution2DTransposeBias": "MediaPipe"}
"""Operators that only one program has, and that program."""
CUSTOM_SOURCES = {
    "Convolution2DTransposeBias": "observed with ai-edge-litert 2.3.0 and the selfie segmentation of mediapipe 0.10.21"
}
"""Observation that other programs refuse these operators."""


def targets_named(target: str | Sequence[str] | None) -> tuple[Target, ...]:
    """Return the targets of these names or .toml files, each once. Raises TargetError for one that does not exist."""
    if target is None:
        return ()
    names = [target] if isinstance(target, str) or not isinstance(target, Sequence) else list(target)
    found = [target_named(name) for name in names]
    return tuple({each.name: each for each in found}.values())


def every_target() -> tuple[Target, ...]:
    """Return all targets of tconv."""
    return targets_named(target_names())


def answer_of(read: ReadLayer, facts: LayerFacts | None, target: Target) -> TargetAnswer:
    """Return the answer of one target for a layer: its limits, and the steps that end them."""
    if facts is None or read.refusal:
        return TargetAnswer(None, plan=read.refusal or "the layer is not known well enough")
    limits, open_limits = _limits(read, facts, target)
    if not limits:
        return TargetAnswer(True, open_limits=open_limits)
    if read.layer.form != "transposed convolution" or read.layer.op in CUSTOM_OPERATORS:
        return TargetAnswer(False, limits, open_limits=open_limits)
    try:
        plan = plan_for(expression_of(read.layer), target, facts=facts)
    except Exception as error:  # constants are read late, and damaged ones fail here in the words of their reader
        return TargetAnswer(False, limits, (), f"no plan: {error}", open_limits)
    return TargetAnswer(False, limits, tuple(plan.steps), str(plan), open_limits)


def _limits(read: ReadLayer, facts: LayerFacts, target: Target) -> tuple[_Limits, _Limits]:
    """Return the limits of the operations that the file really has, and those that depend on open sizes."""
    if owner := CUSTOM_OPERATORS.get(read.layer.op):
        text = f"{read.layer.op} is an operator of {owner} alone"
        return ({"key": "operator", "text": text, "source": CUSTOM_SOURCES[read.layer.op]},), ()
    if read.layer.form == "transposed convolution":
        limits = tuple(target.limits_against(facts))
        open_limits = (*target.open_limits(facts), *_limits_of_other_sizes(read, facts, target, limits))
        return _listed(limits), _listed(open_limits)
    shuffled = read.layer.form == "convolution and depth to space"
    needed = ("depth_to_space",) if "DEPTH" in read.layer.op.upper() else ("reshape", "transpose") if shuffled else ()
    missing = tuple(
        {"key": "operator", "text": f"there is no {name.replace('_', ' ')}", "source": target.sources[0]}
        for name in needed
        if not target.accepts_operation(name)
    )
    ordinary = _convolution(facts, shuffled)
    return missing + _listed(target.limits_against(ordinary, "conv")), _listed(target.open_limits(ordinary, "conv"))


def _limits_of_other_sizes(
    read: ReadLayer, facts: LayerFacts, target: Target, known: Sequence[Limit]
) -> Iterator[Limit]:
    """Yield the limits that pads break for other sizes of x: a fixed output_shape has other pads for each."""
    if not read.sized or all(size is not None for size in facts.input or ()):
        return
    keys = {limit.key for limit in known}
    for sizes, g in read.trials():
        ends = tuple(hi + op for (_, hi), op in zip(g.crop, facts.output_padding, strict=True))
        for limit in target.limits_against(replace(facts, pads_begin=tuple(lo for lo, _ in g.crop), pads_end=ends)):
            if limit.key not in keys:
                keys.add(limit.key)
                yield replace(limit, text=f"{limit.text}, for x of {' x '.join(map(str, sizes))}")


def _listed(limits: Sequence[Limit]) -> _Limits:
    return tuple({"key": limit.key, "text": limit.text, "source": limit.source} for limit in limits)


def _convolution(facts: LayerFacts, shuffled: bool) -> LayerFacts:
    """Return the numbers of the ordinary convolution of another form: on inserted zeros, or before a depth to space.

    Its pads are taken as those that keep the size.
    """
    ones = (1,) * facts.ndim
    strides = facts.stride
    kernel = tuple(-(-k // s) for k, s in zip(facts.kernel, strides, strict=True)) if shuffled else facts.kernel
    inner = tuple(None if n is None else s * (n - 1) + 1 for n, s in zip(facts.input or (), strides, strict=False))
    return replace(
        facts,
        kernel=kernel,
        stride=ones,
        pads_begin=tuple((k - 1) // 2 for k in kernel),
        pads_end=tuple(k // 2 for k in kernel),
        output_padding=(0,) * facts.ndim,
        out_channels=facts.out_channels * (prod(strides) if shuffled else 1),
        input=facts.input if shuffled or facts.input is None else inner,
        output=facts.input if shuffled or facts.input is None else inner,
        auto_pad="NOTSET",
        output_shape=False,
    )
