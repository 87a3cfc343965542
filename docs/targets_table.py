"""Writes the table of docs/targets.md from the profiles: python docs/targets_table.py"""

from pathlib import Path

from tconv.targets import target, target_names

PAGE = Path(__file__).parent / "targets.md"
START, END = "<!-- table: python docs/targets_table.py -->\n", "<!-- end of the table -->\n"


def table() -> str:
    """Return one row per target: name, title, version, day of the check, and its limits."""
    rows = ["| name | target | version that was read | on | accepted |", "|---|---|---|---|---|"]
    for name in target_names():
        it = target(name)
        summary = it.summary.replace("|", "/").replace("*", r"\*")  # a product, no emphasis
        on = f"{it.date}, in part" if it.checked else it.date
        rows.append(f"| `{name}` | {it.title} | {it.version} | {on} | {summary} |")
    return "\n".join(rows) + "\n"


def with_table(page: str) -> str:
    """Return the page with the table of today's profiles."""
    before, _, rest = page.partition(START)
    return before + START + table() + END + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
