"""A finding: what a fit is called, and the line that mends it."""

from __future__ import annotations

from dataclasses import replace

from tconv.diagnosis.canonical_call import Setting
from tconv.diagnosis.causes.crops import Rule
from tconv.diagnosis.explanation import Fit
from tconv.diagnosis.fix_writer import Hand
from tconv.diagnosis.report import Finding, joined, of_rms
from tconv.dialects import DataLayout


def finding(fit: Fit, subject: str, rms: float, setting: Setting, layout: DataLayout, hand: Hand) -> Finding:
    """What makes the call `setting` give `subject`, "got" or "expected", whose root mean square is `rms`."""
    causes, rules = fit.causes, fit.rules
    if subject == "expected" and len(rules) > 1:  # whose rule it is says more here than how it could be misread
        rules = tuple(sorted(rules, key=_whose))
        causes = tuple(
            replace(c, name=rules[0].name, words=fit.words(rules[0])) if c.part == "crop" else c for c in causes
        )
    own = [cause.source for cause in causes if cause.part != "fault"]
    return Finding(
        tuple(cause.name for cause in causes),
        f"{subject} is what the call gives if {joined([cause.words for cause in causes])}",
        _fix(fit, subject == "expected", setting, layout, hand),
        of_rms(fit.error, rms),
        tuple(rule.name for rule in rules[1:]),
        tuple(dict.fromkeys(source for source in [*(r.source for r in rules), *own] if "#" in source)),
        all(cause.certain for cause in causes),
    )


def _fix(fit: Fit, mend: bool, setting: Setting, layout: DataLayout, hand: Hand) -> str:
    """One line: the statements of each cause, and the call where its geometry is another one; `mend`: of this call.

    A line that computes y anew is about the arrays that were given; statements alone are about the code that made
    the output. What mends a part of it only is no fix.
    """
    anew = any(cause.part in ("crop", "grid", "fault") for cause in fit.causes)
    shape, bias = setting.x.shape[2:], setting.bias is not None
    if anew and "N" in layout.axes and "N" not in hand.data.axes and len(setting.x) > 1:
        return ""  # one call there, and several images here
    if anew and not mend:  # the call that was given is right
        return hand.anew(setting.geometry, shape, bias, layout)
    before, after = list[str](), list[str]()
    for cause in fit.causes if mend else fit.causes[::-1]:  # the last one is undone first
        if anew and cause.part in ("crop", "grid", "fault"):
            continue
        statement = cause.apply if mend else cause.undo
        if not statement:
            return ""
        (after if statement.startswith("y =") else before).append(statement)
    if anew:
        return "; ".join([hand.anew(fit.setting.geometry, shape, bias, layout, "; ".join(before)), *after])
    return "; ".join([*before, *after])


def beside(findings: tuple[Finding, ...], fit: Fit, subject: str) -> tuple[Finding, ...]:
    """Findings about a call that describes neither output, with what leads from it to the other one.

    The line that mends one of the two does not mend the call that was given: there is none.
    """
    names, words = fit.names, joined([cause.words for cause in fit.causes])
    return tuple(
        replace(
            each,
            causes=(*each.causes, *names),
            words=f"{each.words}; and {subject} is what it gives if {words}",
            fix="",
        )
        for each in findings
    )


def _whose(rule: Rule) -> bool:
    """False, which sorts first, for a rule that belongs to a framework and needs no size to be told."""
    return " of " not in rule.name or "output_shape" in rule.name or rule.name[0].islower()
