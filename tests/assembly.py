"""Readers of assembly, as far as the tests need them: the innermost loops of a function."""

import re


def innermost_loops(text):
    """Return the instructions of each innermost loop, as (name, operands) in their order."""
    lines = [line.split("##")[0].split("//")[0].strip() for line in text.splitlines()]
    labels = {line[:-1]: number for number, line in enumerate(lines) if re.fullmatch(r"[.\w$]+:", line)}
    loops = []
    for number, line in enumerate(lines):
        jump = re.fullmatch(r"(?:j\w+|b\.?\w*|cbn?z\s.*?,|tbn?z\s.*?,)\s+([.\w$]+)", line)
        if jump and labels.get(jump[1], number) < number:
            loops.append((labels[jump[1]], number))
    innermost = [a for a in loops if not any(a != b and a[0] <= b[0] and b[1] <= a[1] for b in loops)]
    return [
        [tuple([*line.split(None, 1), ""][:2]) for line in lines[begin:end] if re.match(r"\w[^:]*$", line)]
        for begin, end in innermost
    ]
