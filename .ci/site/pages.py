"""Pages of the site as text: a notebook of `_proc`, nbdev's directives dealt with, becomes the markdown that Quarto reads."""

import base64
import html
import json
import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

SUFFIXES = (".ipynb", ".qmd", ".md")
DIALECT = "markdown"  # Quarto hands its pages to pandoc as pandoc's own markdown


@cache
def pandoc_program() -> str:
    """The pandoc of the wheel `pypandoc_binary`."""
    import pypandoc

    return pypandoc.get_pandoc_path()


@dataclass(frozen=True)
class Pandoc:
    """What pandoc gave, and what it had to say."""

    text: str
    warnings: tuple[str, ...]


def pandoc(text: str, *words: str) -> Pandoc:
    """Runs pandoc on a text. Raises `RuntimeError` where it refuses it."""
    ran = subprocess.run([pandoc_program(), *words], input=text, capture_output=True, text=True, encoding="utf-8", check=False)
    if ran.returncode:
        raise RuntimeError(ran.stderr.strip())
    warnings = re.split(r"\n(?=\[)", ran.stderr.strip()) if ran.stderr.strip() else []
    return Pandoc(ran.stdout, tuple(" ".join(one.split()) for one in warnings))


@dataclass
class Page:
    """A page: its place below `_proc`, its metadata, its markdown, and what pandoc makes of that."""

    path: str
    meta: dict[str, Any]
    text: str
    document: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        return str(self.meta.get("title") or Path(self.path).stem.replace("_", " "))

    @property
    def html_path(self) -> str:
        """Where Quarto writes the page."""
        name = self.meta.get("output-file") or f"{Path(self.path).stem}.html"
        return (Path(self.path).parent / str(name)).as_posix()

    @property
    def source(self) -> str:
        """What a person edits: the notebook, or the page's own path where it is made by a command."""
        return f"nbs/{self.path}" if self.path.endswith(".ipynb") else self.path


def read_pages(proc: Path) -> dict[str, Page]:
    """All pages below `_proc` by their paths, parsed by pandoc."""
    files = [path for path in sorted(proc.rglob("*")) if path.suffix in SUFFIXES and not _hidden(path.relative_to(proc))]
    pages = [read_page(path, path.relative_to(proc).as_posix()) for path in files]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(parse, pages))
    return {page.path: page for page in pages}


def _hidden(path: Path) -> bool:
    """Whether Quarto leaves a path out, or made it."""
    return any(part.startswith(("_", ".")) or part.endswith("_files") for part in path.parts) or path.name == "README.md"


def read_page(path: Path, name: str) -> Page:
    """One page, not yet parsed."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        text = notebook_text(json.loads(text), path)
    meta, body = front_matter(text)
    return Page(name, meta, body)


def front_matter(text: str) -> tuple[dict[str, Any], str]:
    """The YAML at the head of a page, and the rest."""
    found = re.match(r"\s*---\n(.*?)\n---\s*(?:\n|\Z)", text, re.DOTALL)
    return (yaml.safe_load(found.group(1)) or {}, text[found.end() :]) if found else ({}, text)


def parse(page: Page) -> Page:
    """The page with pandoc's document, as JSON, and with its warnings."""
    made = pandoc(page.text, "-f", DIALECT, "-t", "json", "--columns=10000")  # narrower, long rows would fix the columns' widths
    page.document, page.warnings = json.loads(made.text), made.warnings
    return page


# Notebooks


def notebook_text(book: dict[str, Any], path: Path) -> str:
    """The markdown of a notebook; pictures among its outputs are written beside it."""
    parts = []
    for number, cell in enumerate(book["cells"]):
        source = "".join(cell["source"])
        if cell["cell_type"] == "code":
            parts += code_cell(source, cell.get("outputs", []), path, number)
        else:
            parts.append(source)
    return "\n\n".join(part for part in parts if part.strip()) + "\n"


def code_cell(source: str, outputs: list[dict[str, Any]], path: Path, number: int) -> Iterator[str]:
    """Code and outputs, as the cell's directives ask."""
    lines = (line[2:].partition(":") for line in source.splitlines() if line.startswith("#|"))
    says = {key.strip(): value.strip() for key, _, value in lines}
    code = "\n".join(line for line in source.splitlines() if not line.startswith("#|")).strip("\n")
    if says.get("include") == "false":
        return
    if code and says.get("echo") != "false":
        yield f"``` {{.python}}\n{code}\n```"
    if says.get("output") == "false":
        return
    asis, printed = says.get("output") == "asis", []
    for k, output in enumerate(outputs):
        if output["output_type"] == "stream" and not asis:
            printed.append("".join(output["text"]) if output["name"] == "stdout" else "")
            continue
        yield from _fence("".join(printed))
        printed = []
        yield from shown_output(output, asis, path, f"{number}-{k}", says.get("fig-alt", ""))
    yield from _fence("".join(printed))


def shown_output(output: dict[str, Any], asis: bool, path: Path, name: str, alt: str) -> Iterator[str]:
    """One output in the richest form that a page can show; `alt` says what a picture shows."""
    if output["output_type"] == "stream":
        yield "".join(output["text"])
        return
    data = {kind: "".join(text) if isinstance(text, list) else text for kind, text in output.get("data", {}).items()}
    if "image/png" in data:
        place = path.with_name(f"{path.stem}_files") / f"output-{name}.png"
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(base64.b64decode(data["image/png"]))
        yield f"![{alt}]({place.parent.name}/{place.name}){{.output}}\\"
    elif "text/markdown" in data:
        yield data["text/markdown"]
    elif "text/html" in data and not asis:
        yield f'```{{=html}}\n<div class="output">{data["text/html"]}</div>\n```'
    elif "text/plain" in data:
        yield from _fence(data["text/plain"])


def _fence(text: str) -> Iterator[str]:
    """Plain text as it was printed."""
    if text.strip():
        ticks = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`{3,}", text)), default=0))
        yield f"{ticks} {{.output}}\n{text.strip(chr(10))}\n{ticks}"


# Documents


def walk(node: Any) -> Iterator[dict[str, Any]]:
    """Every element of a document."""
    if isinstance(node, dict):
        if "t" in node:
            yield node
        for value in node.values():
            yield from walk(value)
    elif isinstance(node, list):
        for value in node:
            yield from walk(value)


ATTRIBUTES = {"Header": 1, "Div": 0, "Span": 0, "Code": 0, "CodeBlock": 0, "Link": 0, "Image": 0, "Table": 0, "Figure": 0}


def ids_of(page: Page) -> list[str]:
    """What a link may lead to within a page."""
    found = []
    for element in walk(page.document.get("blocks", [])):
        kind, content = element["t"], element.get("c")
        if kind in ATTRIBUTES:
            found.append(content[ATTRIBUTES[kind]][0])
        elif kind in ("RawBlock", "RawInline") and content[0] == "html":
            found += re.findall(r"\bid=[\"']([^\"']+)", content[1])
    return [html.unescape(one) for one in found if one]


def words_of(inlines: Any) -> str:
    """The plain words of a heading or a link."""
    text = {"Space": " ", "SoftBreak": " ", "LineBreak": " "}
    parts = []
    for element in walk(inlines):
        kind = element["t"]
        parts.append(element["c"] if kind == "Str" else element["c"][1] if kind in ("Code", "Math") else text.get(kind, ""))
    return "".join(parts)


def headings(page: Page) -> list[tuple[int, str, str]]:
    """Level, id and words of every heading."""
    found = (element["c"] for element in walk(page.document.get("blocks", [])) if element["t"] == "Header")
    return [(level, attributes[0], words_of(inlines)) for level, attributes, inlines in found]


# The sidebar


def sidebar(settings: dict[str, Any]) -> list[Any]:
    """The sidebar of `_quarto.yml`: sections, as (text, entries), and entries, as (href, text or None)."""
    return [_entry(one) for one in settings["website"]["sidebar"]["contents"]]


def _entry(given: Any) -> tuple[str, Any]:
    """An entry or a section."""
    if isinstance(given, str):
        return given, None
    if "contents" in given:
        return str(given["section"]), [_entry(one) for one in given["contents"]]
    return str(given["href"]), given.get("text")


def hrefs(entries: list[Any]) -> list[str]:
    """All pages of a sidebar, in order."""
    found = []
    for name, inner in entries:
        found += hrefs(inner) if isinstance(inner, list) else [name]
    return found
