"""Questions about the lines that `tconv.diagnose` writes, for the tests that run them."""

from __future__ import annotations

import ast


def recomputes(code: str) -> bool:
    """Return True if the code sets y before it reads the y that is there."""
    for statement in ast.parse(code).body:
        names = [node for node in ast.walk(statement) if isinstance(node, ast.Name) and node.id == "y"]
        if any(isinstance(node.ctx, ast.Load) for node in names):
            return False
        if names:
            return True
    return False
