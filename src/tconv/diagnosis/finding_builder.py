"""Findings from explanations: the sentence, the other names, and the line that fixes the cause.

A diagnosis with a call writes its report from them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from tconv.diagnosis.call_model import CallModel
from tconv.diagnosis.causes.crop_names import Rule
from tconv.diagnosis.explanation import Explanation
from tconv.diagnosis.fix_writer import FixWriter
from tconv.diagnosis.report import Finding, in_rms, joined
from tconv.dialects import DataLayout

_RECOMPUTED = ("crop", "grid", "fault", "places")
"""Parts of causes that no statement about an array fixes: y is computed again."""


class FirstChange(NamedTuple):
    """The call as it was given, and the explanation that it gives one of the outputs with."""

    given: CallModel
    explanation: Explanation


def finding_of(
    explanation: Explanation,
    subject: str,
    rms: float,
    call: CallModel,
    layout: DataLayout,
    writer: FixWriter,
    first: FirstChange | None = None,
) -> Finding:
    """Return the finding that `call` gives `subject`, "got" or "expected", with the causes of the explanation.

    `rms` is the root mean square of the subject, `layout` the call's data layout. `first` is the change that led from
    the given call to `call`, if they differ.
    """
    causes, rules = explanation.causes, explanation.rules
    if subject == "expected" and len(rules) > 1:  # here a framework's rule is the better name than a misreading
        rules = tuple(sorted(rules, key=_is_misreading))
        causes = tuple(
            replace(c, name=rules[0].name, text=explanation.crop_text(rules[0])) if c.part == "crop" else c
            for c in causes
        )
    own = [cause.source for cause in causes if cause.part != "fault"]
    return Finding(
        tuple(cause.name for cause in causes),
        f"{subject} is what the call gives if {joined([cause.text for cause in causes])}",
        _fix(explanation, subject == "expected", call, layout, writer, first),
        in_rms(explanation.error, rms),
        tuple(rule.name for rule in rules[1:]),
        tuple(dict.fromkeys(source for source in [*(r.source for r in rules), *own] if "#" in source)),
        all(cause.certain for cause in causes),
    )


def _fix(
    explanation: Explanation,
    fix_call: bool,
    call: CallModel,
    layout: DataLayout,
    writer: FixWriter,
    first: FirstChange | None,
) -> str:
    """Return one line: the statements of each cause, and the call if its geometry changes; "" if one has no statement.

    With `fix_call` the given call is the wrong one, otherwise the code behind the output is. A line that recomputes y
    starts from the arrays that were given; statements alone belong into the code that made the output.
    """
    recompute = any(cause.part in _RECOMPUTED for cause in explanation.causes)
    shape, bias = call.x.shape[2:], call.bias is not None
    if recompute and "N" in layout.axes and "N" not in writer.data_layout.axes and len(call.x) > 1:
        return ""  # the dialect's call takes one image, and there are several
    if fix_call and any(cause.part == "places" for cause in explanation.causes):
        return ""  # no call gives such numbers
    if first is not None and fix_call:
        return ""  # the given call is right for neither output
    if first is not None and recompute:
        return _recomputed_after(first, call, layout, writer)
    if recompute and not fix_call:  # the given call is right
        return writer.recompute(call.geometry, shape, bias, layout)
    before, after = list[str](), list[str]()
    for cause in explanation.causes if fix_call else explanation.causes[::-1]:  # the last cause is undone first
        if recompute and cause.part in _RECOMPUTED:
            continue
        statement = cause.apply if fix_call else cause.undo
        if not statement:
            return ""
        (after if statement.startswith("y =") else before).append(statement)
    if recompute:
        fixed = explanation.call.geometry
        return "; ".join([writer.recompute(fixed, shape, bias, layout, "; ".join(before)), *after])
    lines = [*before, *after]
    reads_bias = any("bias" in line for line in lines) and first is not None and first.given.bias is None
    if reads_bias and call.bias is not None:  # a line may use the names that were given, and numbers
        numbers = writer.bias_numbers(call.bias.tolist())
        return "; ".join([numbers, *(line for line in lines if not line.startswith("bias ="))]) if numbers else ""
    return "; ".join(lines)


def _recomputed_after(first: FirstChange, call: CallModel, layout: DataLayout, writer: FixWriter) -> str:
    """Return the line that computes y by `call` from the arrays that were given; "" if it has no statement."""
    before, after = list[str](), list[str]()
    for cause in first.explanation.causes:
        if cause.part in _RECOMPUTED:
            continue
        if not cause.apply:
            return ""
        (after if cause.apply.startswith("y =") else before).append(cause.apply)
    bias = first.given.bias is not None and call.bias is not None
    line = writer.recompute(call.geometry, first.given.x.shape[2:], bias, layout, "; ".join(before))
    return "; ".join([line, *after])


def with_second_explanation(findings: tuple[Finding, ...], second: Explanation, subject: str) -> tuple[Finding, ...]:
    """Return findings for a call that gives neither output, with the causes that lead to `subject` added.

    They have no fix: a line that fixes one of the outputs does not fix the call that was given.
    """
    names, text = second.names, joined([cause.text for cause in second.causes])
    return tuple(
        replace(
            each,
            causes=(*each.causes, *names),
            text=f"{each.text}; and {subject} is what it gives if {text}",
            fix="",
        )
        for each in findings
    )


def _is_misreading(rule: Rule) -> bool:
    """Return True unless the rule belongs to a framework and needs no output size."""
    return " of " not in rule.name or "output_shape" in rule.name or rule.name[0].islower()
