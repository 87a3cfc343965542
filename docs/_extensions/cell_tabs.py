"""Tabs of cells: neighbouring cells with a `tab` become one set of tabs. A chosen tab is chosen on the whole page."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx_design.shared import create_component


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the transform that makes the tabs."""
    app.add_transform(CellTabs)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


class CellTabs(SphinxTransform):
    """Replacement of neighbouring cells by sphinx-design's tabs. A tab's label that comes again begins a new set."""

    default_priority = 500

    def apply(self, **_: Any) -> None:
        """Change the page in place."""
        cells = [cell for cell in self.document.findall(nodes.container) if _tab(cell)]
        for parent, members in groupby(cells, lambda cell: cell.parent):
            for run in _runs(parent, list(members)):
                at = parent.index(run[0])
                parent[at : at + len(run)] = [_tab_set(run)]


def _tab(cell: nodes.Element) -> str:
    return str(cell.get("cell_metadata", {}).get("tab", ""))


def _runs(parent: nodes.Element, cells: list[nodes.container]) -> list[list[nodes.container]]:
    """Return the cells in groups that stand next to each other and have different labels."""
    runs: list[list[nodes.container]] = []
    for cell in cells:
        last = runs[-1] if runs else []
        if last and parent.index(cell) == parent.index(last[-1]) + 1 and _tab(cell) not in map(_tab, last):
            last.append(cell)
        else:
            runs.append([cell])
    return runs


def _tab_set(cells: list[nodes.container]) -> nodes.container:
    return create_component("tab-set", ["sd-tab-set"], children=[_tab_item(cell) for cell in cells])


def _tab_item(cell: nodes.container) -> nodes.container:
    label = nodes.rubric("", nodes.Text(_tab(cell)), classes=["sd-tab-label"])
    label["sync_group"], label["sync_id"] = "framework", _tab(cell)
    content = create_component("tab-content", ["sd-tab-content"], children=[cell.deepcopy()])
    return create_component("tab-item", ["sd-tab-item"], children=[label, content], selected=False)
