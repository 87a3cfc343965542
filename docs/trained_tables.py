"""Writes the tables of docs/trained-networks.md from kept results of the examples: python docs/trained_tables.py"""

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = Path(__file__).parent / "trained-networks.md"
sys.path.insert(0, str(ROOT / "examples"))

from shared_parts.report import markdown  # noqa: E402

BLOCK = re.compile(r"<!-- table: (?P<file>\S+) (?P<title>[^>]*?) -->\n.*?<!-- end of the table -->\n", re.DOTALL)


def with_tables(page: str) -> str:
    """Return the page with the tables of the result files that its comments name."""

    def block(match: re.Match[str]) -> str:
        result = json.loads((ROOT / "benchmarks/results" / match["file"]).read_text(encoding="utf-8"))
        start = match[0].partition("\n")[0]
        return f"{start}\n{markdown(result['tables'][match['title']])}\n<!-- end of the table -->\n"

    return BLOCK.sub(block, page)


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
