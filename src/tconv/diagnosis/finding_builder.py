"""Findings from explanations: the sentence, the other names, and the line that fixes the cause.

A diagnosis with a call writes its report from them.
"""

from __future__ import annotations

import ast
from dataclasses import replace
from typing import NamedTuple

from tconv.diagnosis.call_model import CallModel
from tconv.diagnosis.causes.cause import Cause
from tconv.diagnosis.causes.crop_rule import Rule
from tconv.diagnosis.explanation import Explanation
from tconv.diagnosis.fix_writer import FixWriter
from tconv.diagnosis.report import Finding, in_rms, joined
from tconv.dialects import DataLayout


class ExplainedCall(NamedTuple):
    """Call that an explanation starts from."""

    given: CallModel
    """The call as it was given."""
    assumed: tuple[Cause, ...]
    """Causes that make it the call that is explained, where the given one describes neither output."""
    call: CallModel
    """The call with them."""
    layout: DataLayout
    """Layout of x."""


def finding_of(
    explanation: Explanation,
    subject: str,
    rms: float,
    explained: ExplainedCall,
    writer: FixWriter,
    relayout: str | None = "",
) -> Finding:
    """Return the finding that a call gives `subject`, "got" or "expected", with the causes of the explanation.

    `rms` is the root mean square of the subject. `relayout` is the statement that brings y from the layout of got to
    that of expected, None if there is none in the dialect of the fix, "" if they have the same layout.
    """
    causes, rules = explanation.causes, explanation.rules
    if subject == "expected" and len(rules) > 1:
        rules = tuple(sorted(rules, key=_for_expected))
        causes = tuple(
            replace(c, name=rules[0].name, text=explanation.crop_text(rules[0])) if c.part == "crop" else c
            for c in causes
        )
    gives = f"{subject} is what the call gives"
    if (activation := explained.call.activation) is not None:
        gives = f"both outputs end in a {activation.name}; {gives} with it"
    own = [cause.source for cause in causes if cause.part != "fault"]
    return Finding(
        tuple(cause.name for cause in causes),
        f"{gives} if {joined([cause.text for cause in causes])}",
        _fix(explanation, subject == "expected", explained, writer, relayout),
        in_rms(explanation.error, rms),
        tuple(rule.name for rule in rules[1:]),
        tuple(dict.fromkeys(source for source in [*(r.source for r in rules), *own] if "#" in source)),
        all(cause.certain for cause in causes),
    )


def _fix(
    explanation: Explanation, fix_call: bool, explained: ExplainedCall, writer: FixWriter, relayout: str | None
) -> str:
    """Return one line: the statements of each cause, and the call if its geometry changes; "" if one has no statement.

    With `fix_call` the given call is the wrong one, otherwise the code behind the output is. A line that recomputes y
    starts from the arrays that were given; statements alone belong into the code that made the output.
    """
    given, assumed, call, layout = explained
    causes = (*assumed, *explanation.causes) if fix_call else explanation.causes
    recompute = any(cause.part in (*_GEOMETRY, "border") for cause in causes)
    if call.activation is not None and any(cause.part in ("bias", "scale") for cause in causes):
        if fix_call and any(cause.apply.startswith("y =") for cause in causes):
            return ""
        recompute = recompute or not fix_call  # y shows no bias where it is cut off
    if fix_call and any(cause.part == "places" for cause in causes):
        return ""  # no call gives such numbers
    if recompute and "N" in layout.axes and "N" not in writer.data_layout.axes and len(given.x) > 1:
        return ""  # the dialect's call takes one image, and there are several
    right = explanation.call if fix_call else call
    steps = [(cause, cause.apply) for cause in causes]
    if not fix_call:  # the given call is right, or becomes it; otherwise the last cause is undone first
        steps = [(c, c.apply) for c in assumed] if recompute else [(c, c.undo) for c in causes[::-1]]
    before, after = list[str](), list[str]()
    for cause, statement in steps:
        if recompute and (cause.part in _GEOMETRY or cause.name == "bias missing"):
            continue
        if not statement:
            return ""
        (after if statement.startswith("y =") else before).append(statement)
    if relayout != "" and after and not fix_call and not recompute:
        if not relayout:
            return ""
        # statements about y are written for the layout of the call; a port keeps its own, so a call needs no such line
        after = [relayout, *after]
    line = "; ".join([*before, *after])
    if recompute and call.activation is not None:
        after.append(call.activation.statement)
    if recompute:
        faulty = any(cause.part == "fault" for cause in causes)
        shape = (given if faulty else right).x.shape[2:]  # of x after the statements
        bias = given.bias is not None and right.bias is not None
        line = "; ".join([writer.recompute(right.geometry, shape, bias, layout, "; ".join(before)), *after])
    if given.bias is not None or not _reads_bias(line):
        return line
    if recompute or fix_call or call.bias is None:
        return ""
    numbers = writer.bias_numbers(call.bias.tolist())  # a line may use the names that were given, and numbers
    return "; ".join([numbers, *(each for each in before + after if not each.startswith("bias ="))]) if numbers else ""


def _reads_bias(line: str) -> bool:
    """Return True if a line of statements reads the name `bias` before it sets it."""
    for statement in ast.parse(line).body:
        names = [node for node in ast.walk(statement) if isinstance(node, ast.Name) and node.id == "bias"]
        if names:
            return any(isinstance(node.ctx, ast.Load) for node in names)
    return False


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


_GEOMETRY = ("crop", "grid", "fault", "places")
"""Parts that no statement about an array corrects: y is computed again, with the right arguments."""


def _for_expected(rule: Rule) -> int:
    """Return a sort key of the names of the right output's crop, where the call's is the wrong one.

    An argument that is dropped comes first, as exporters do, then the rules of frameworks that need no output size, as
    where a network is ported, then misreadings.
    """
    if rule.argument:
        return 0
    return 1 if " of " in rule.name and "output_shape" not in rule.name and rule.name[0].isupper() else 2
