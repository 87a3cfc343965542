"""Reports of a check for other programs and for browsers: JSON, SARIF and one HTML page.

Each is a function of a `Check` that returns text. Names and texts that come from a model file are hostile until
`printable_text` has made them printable.
"""

from __future__ import annotations
