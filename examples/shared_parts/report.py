"""The folder of an example's results: figures as JSON, tables, pictures, and a page that shows them.

A folder belongs to one recipe, the options that determine the numbers. The same command goes on where it was stopped;
another one is refused, and nothing that is there is changed.
"""

from __future__ import annotations

import base64
import html
import io
import json
import math
import os
import platform
import re
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from PIL import Image

STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
img { max-width: 100%; height: auto; background: #fff }
div > img { max-width: none; image-rendering: pixelated }
figure { margin: 1.5rem 0 } figcaption { opacity: .8 }
div { overflow-x: auto } table { border-collapse: collapse; font-variant-numeric: tabular-nums }
caption { text-align: left; font-weight: 600; padding: .5rem 0 }
th, td { border-bottom: 1px solid #8886; padding: .3rem .8rem; text-align: right }
td { white-space: nowrap } th:first-child, td:first-child { text-align: left; white-space: normal }
""".strip()


_PART = re.compile(r".+\.(html|json|md|npz|png|pt|safetensors)\.\d+")
"""Names of what `replacing` writes, which stays if its process is killed."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path beside `path`, which is renamed to it at the end: the file appears whole or not at all.

    Raises SystemExit, with what to do, if it cannot be written (a full disk, no permission); an older file stays.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        yield part
        os.replace(part, path)
    except OSError as error:
        kept = "; the older one is as it was" if path.exists() else ""
        raise SystemExit(
            f"{path} could not be written: {error.strerror or error}{kept}. "
            "Make room for it, then write the same command"
        ) from None
    finally:
        with suppress(OSError):
            part.unlink()


def same_recipe(where: str, before: dict[str, Any], recipe: dict[str, Any]) -> None:
    """Raise SystemExit unless two recipes are the same; `where` are the words before what is there."""
    for name in {**recipe, **before}:
        there, here = before.get(name), recipe.get(name)
        if there != here:
            raise SystemExit(
                f"{where} {name}={there!r}, and this run has {name}={here!r}. "
                "Write the same options, or another -o FOLDER"
            )


def checksum(parts: Iterable[Any]) -> str:
    """Return the CRC-32 of bytes or arrays, one after another: what tells data from others in a recipe."""
    found = 0
    for part in parts:
        found = zlib.crc32(part, found)
    return f"{found:08x}"


def damaged(path: Path, error: BaseException) -> SystemExit:
    """Return what to raise for a file that is no checkpoint."""
    reason = str(error).strip().split("\n")[0][:120]
    return SystemExit(
        f"{path} is no checkpoint of this example, or damaged ({reason}). "
        "Delete it to begin this run anew, or write another folder"
    )


def finite(value: Any) -> Any:
    """Return figures with None for each that is not finite: JSON has no NaN."""
    if isinstance(value, dict):
        return {name: finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def markdown(rows: list[dict[str, str]]) -> str:
    """Return rows, all with the same columns, as a Markdown table."""
    names = list(rows[0])
    lines = [names, ["---", *["---:"] * (len(names) - 1)], *([row[name] for name in names] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


class Result:
    """The results of one recipe in a folder, which no other process uses meanwhile.

    Raises SystemExit if the folder holds other files or another recipe's results, or another process uses it.

    folder: Where everything is written; made if it is missing.
    title: Heading of the page.
    recipe: The options that determine the numbers, as JSON has them.
    """

    def __init__(self, folder: Path, title: str, recipe: dict[str, Any]) -> None:
        self.folder, self.title, self.recipe = folder, title, json.loads(json.dumps(recipe))
        self._parts: list[str] = []
        self._tables: dict[str, list[dict[str, str]]] = {}
        self._figures: dict[str, Any] = {}
        known = folder / "recipe.json"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            begun = re.compile(r"\.lock|recipe\.json\.\d+")  # by a process that was killed before its first file
            others = sorted(path.name for path in folder.iterdir() if not begun.fullmatch(path.name))
            if others and not known.exists():
                raise SystemExit(f"{folder} holds other files ({others[0]}, ...). Write -o with a new folder")
            self._lock = FileLock(folder / ".lock")
            self._lock.acquire(timeout=0)
        except Timeout:
            raise SystemExit(f"another process works in {folder}. Wait for it, or write another -o FOLDER") from None
        except OSError as error:
            raise SystemExit(f"{folder} cannot be used: {error.strerror}. Write another -o FOLDER") from None
        if known.exists():
            self._compare(known)
        for path in folder.iterdir():
            if _PART.fullmatch(path.name):
                path.unlink(missing_ok=True)
        if not known.exists():
            self._write("recipe.json", json.dumps(self.recipe, indent=1))

    def _compare(self, known: Path) -> None:
        try:
            before = dict(json.loads(known.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            raise SystemExit(f"{known} is damaged. Write another -o FOLDER") from None
        same_recipe(f"{self.folder} holds results of", before, self.recipe)

    def text(self, *paragraphs: str) -> None:
        """Add paragraphs to the page."""
        self._parts += [f"<p>{html.escape(each)}</p>" for each in paragraphs]

    def heading(self, text: str) -> None:
        """Add a heading to the page."""
        self._parts.append(f"<h2>{html.escape(text)}</h2>")

    def figures(self, **values: Any) -> None:
        """Add figures to metrics.json: numbers, lists and dictionaries of them."""
        self._figures.update(values)

    def table(self, title: str, rows: list[dict[str, str]]) -> None:
        """Add a table to the page, to tables.md, and to metrics.json."""
        self._tables[title] = rows
        head = "".join(f"<th scope=col>{html.escape(name)}</th>" for name in rows[0])
        body = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row.values())}</tr>" for row in rows)
        table = f"<table><caption>{html.escape(title)}</caption><tr>{head}</tr>{body}</table>"
        self._parts.append(f"<div tabindex=0>{table}</div>")

    def picture(self, name: str, picture: Any, caption: str) -> None:
        """Add a picture to the page, and write it as NAME.png; the caption is its alternative text, too.

        picture: uint8 [H, W] or [H, W, 3], which the page shows pixel by pixel, or a figure of matplotlib.
        """
        stream, pixels = io.BytesIO(), isinstance(picture, np.ndarray)
        if pixels:
            Image.fromarray(picture).save(stream, "PNG")
        else:
            picture.savefig(stream, format="png", dpi=110, bbox_inches="tight")
        self._write(f"{name}.png", stream.getvalue())
        source = f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"
        words = html.escape(caption)
        image = f'<img src="{source}" alt="{words}">'
        if pixels:  # made smaller, they would show patterns of the browser's own
            image = f"<div tabindex=0>{image}</div>"
        self._parts.append(f"<figure>{image}<figcaption>{words}</figcaption></figure>")

    def write(self) -> Path:
        """Write metrics.json, tables.md and page.html, and return the page's path."""
        about = {"title": self.title, "recipe": self.recipe, "machine": machine()}
        metrics = finite({**about, "tables": self._tables, **self._figures})
        self._write("metrics.json", json.dumps(metrics, indent=1, allow_nan=False))
        parts = [f"### {title}\n\n{markdown(rows)}\n" for title, rows in self._tables.items()]
        self._write("tables.md", "\n".join(parts))
        title = html.escape(self.title)
        head = (
            '<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content="width=device-width">'
            f"<title>{title}</title><style>{STYLE}</style>"
        )
        recipe = f"<pre>{html.escape(json.dumps(self.recipe))}</pre>"
        links = "All figures: <a href=metrics.json>metrics.json</a>. The tables: <a href=tables.md>tables.md</a>."
        end = ["<h2>Recipe</h2>", f"<div tabindex=0>{recipe}</div>", f"<p>{links}</p>"]
        body = "\n".join([f"<h1>{title}</h1>", *self._parts, *end])
        self._write("page.html", f"{head}\n<main>{body}</main>\n")
        return self.folder / "page.html"

    def finish(self, shortfalls: Iterable[str] = ()) -> int | None:
        """Write everything, print where the page is and what falls short of a bound, and return the exit code."""
        shortfalls = list(shortfalls)
        print(f"see {self.write()}", *shortfalls, sep="\n")
        return 1 if shortfalls else None

    def _write(self, name: str, content: str | bytes) -> None:
        with replacing(self.folder / name) as part:
            part.write_bytes(content.encode() if isinstance(content, str) else content)


def machine() -> dict[str, str]:
    """Return the processor, and the versions that the numbers were made with."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        processor = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        processor = platform.processor()
    versions = {}
    for name in ("tconv", "numpy", "torch", "keras"):
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return {"processor": processor, "cores": str(os.cpu_count()), "python": platform.python_version(), **versions}
