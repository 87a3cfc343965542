"""Words for pictures: the line that made a picture, for readers who do not see it."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the transform that writes them."""
    app.add_transform(PictureWords)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


class PictureWords(SphinxTransform):
    """Alternative text of each cell's pictures: the last line of the cell. Sphinx would write the file's name."""

    default_priority = 490  # before the cells move into tabs

    def apply(self, **_: Any) -> None:
        """Change the page in place."""
        for cell in self.document.findall(nodes.container):
            if cell.children and cell[0].get("nb_element") == "cell_code_source":
                for picture in cell.findall(nodes.image):
                    picture.setdefault("alt", cell[0].astext().rstrip().rpartition("\n")[2])
