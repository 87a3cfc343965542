"""A check as one JSON object; `docs/check-schema.json` describes it."""

from __future__ import annotations

import json

from tconv.checking.pages.printable_text import encodable
from tconv.checking.report import Check


def to_json(check: Check) -> str:
    """Return a check as JSON, in one line of ASCII.

    >>> from tconv.checking.report import Check
    >>> to_json(Check("model.onnx", "ONNX", ()))[:42]
    '{"tconv_check": 1, "source": "model.onnx",'

    It has the names and texts of the file as they are, but for lone surrogates, which no JSON text may contain: they
    are spelled out. NaN and infinities are null.
    """
    return json.dumps(encodable(check.facts()), allow_nan=False)
