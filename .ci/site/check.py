"""What is wrong with the pages: links, anchors, maths, pictures, cross-references, outputs, and pages that the sidebar forgot."""

import ast
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from pages import Page, hrefs, ids_of, pandoc, sidebar, walk

CROSS_REFERENCE = re.compile(r"(?:fig|tbl|eq|sec|lst|thm)-")
HOSTS = ("http", "https", "mailto", "doi")
CDN = re.compile(r"""(?:src|href)=["']?(?:https?:)?//[^"'> ]+\.(?:js|css|woff2?|png|svg)\b""")


def faults(pages: dict[str, Page], settings: dict[str, Any], proc: Path, host: str = "", sources: Path | None = None) -> list[str]:
    """Every fault of a site as a sentence; `host` is where it will stand, `sources` the folder of its notebooks."""
    anchors = {path: ids_of(page) for path, page in pages.items()}
    by_html = {page.html_path: page for page in pages.values()}
    found = []
    for page in pages.values():
        found += [f"{page.source}: {text}" for check in PAGE_CHECKS for text in check(page)]
        found += [f"{page.source}: {text}" for text in link_faults(page, pages, by_html, anchors, proc, host)]
    found += math_faults(pages)
    found += sidebar_faults(pages, settings)
    for path in sorted(sources.rglob("[!_.]*.ipynb")) if sources else []:
        if ".ipynb_checkpoints" not in path.parts:
            found += [f"{path.name}: {text}" for text in output_faults(json.loads(path.read_text(encoding="utf-8")))]
    return list(dict.fromkeys(found))


# Within one page


def warnings(page: Page) -> Iterator[str]:
    """What pandoc itself complains of: fences that are not closed, notes and references that lead nowhere."""
    yield from (f"pandoc says: {text}" for text in page.warnings)


def fences(page: Page) -> Iterator[str]:
    """Fences of callouts that were read as text."""
    for element in walk(page.document["blocks"]):
        if element["t"] == "Str" and element["c"].startswith(":::"):
            yield "a fence ::: is read as text. Open and close it on lines of their own."


def dollars(page: Page) -> Iterator[str]:
    """Dollars and TeX that were read as text, so that a formula shows its source."""
    for element in walk(page.document["blocks"]):
        text = element["c"] if element["t"] == "Str" else ""
        if "$$" in text or re.search(r"\\[a-z]{2,}\{|\\\(|\\\[", text) or re.fullmatch(r"\$[^\d\s]\S*|\S*[^\d\s]\$", text):
            yield f"'{text}' is read as text, not as maths. Close the formula, with no space inside its dollars, or write \\$."


def pictures(page: Page) -> Iterator[str]:
    """Pictures that say nothing to those who cannot see them."""
    for element in walk(page.document["blocks"]):
        if element["t"] == "Image" and not element["c"][1]:
            yield f"the picture {element['c'][2][0]} has no words. Say what it shows, in its brackets or by `#| fig-alt:` in its cell."


def cross_references(page: Page) -> Iterator[str]:
    """References to figures and tables, which Quarto resolves within a page only."""
    known = set(ids_of(page))
    for element in walk(page.document["blocks"]):
        if element["t"] == "Cite":
            for citation in element["c"][0]:
                name = citation["citationId"]
                if not CROSS_REFERENCE.match(name):
                    yield f"@{name} is no reference to a figure, a table or an equation. Put it in backticks if it is code."
                elif name not in known:
                    yield f"@{name} is not on this page. Refer to what stands here, or link to the other page."


def names_twice(page: Page) -> Iterator[str]:
    """Two things of one name: a link reaches only the first."""
    found = ids_of(page)
    yield from (f"#{name} stands here twice. Rename one of them." for name in dict.fromkeys(found) if found.count(name) > 1)


def remote_parts(page: Page) -> Iterator[str]:
    """What a page would load from somebody else's server."""
    for element in walk(page.document["blocks"]):
        if element["t"] in ("RawBlock", "RawInline") and (found := CDN.search(element["c"][1])):
            yield f"{found.group()} is loaded from the network. Keep a copy beside the page."
        if element["t"] == "Image" and urlsplit(element["c"][2][0]).scheme in HOSTS:
            yield f"the picture {element['c'][2][0]} is loaded from the network. Keep a copy beside the page."


PAGE_CHECKS: tuple[Callable[[Page], Iterator[str]], ...] = (
    warnings, fences, dollars, pictures, cross_references, names_twice, remote_parts,
)  # fmt: skip


# Between pages


def link_faults(
    page: Page, pages: dict[str, Page], by_html: dict[str, Page], anchors: dict[str, list[str]], proc: Path, host: str
) -> Iterator[str]:
    """Links and pictures that lead nowhere; links to the site's own address are followed as well."""
    for element in walk(page.document["blocks"]):
        if element["t"] not in ("Link", "Image"):
            continue
        target = element["c"][2][0]
        ours = host and target.startswith(host)
        if ours:
            target = target.removeprefix(host).lstrip("/")
        parts = urlsplit(target)
        if parts.scheme in HOSTS:
            continue
        place = page.path if not parts.path else _joined("" if ours else page.path, unquote(parts.path))
        other = pages.get(place) or by_html.get(place)
        if other is None and (element["t"] == "Link" or not (proc / place).is_file()) and not (proc / place).is_file():
            yield f"{'the picture' if element['t'] == 'Image' else 'the link'} {element['c'][2][0]} leads nowhere. Correct it."
        elif parts.fragment and other and unquote(parts.fragment) not in anchors[other.path]:
            near = [name for name in anchors[other.path] if parts.fragment.split("-")[0] in name][:3]
            hint = f" ({', '.join(near)} are there)" if near else ""
            yield f"the link {element['c'][2][0]} leads to {other.path}, which has no #{parts.fragment}{hint}. Correct it."


def _joined(here: str, there: str) -> str:
    """A relative path, as seen from a page, from the top of the site."""
    parts: list[str] = [] if there.startswith("/") else list(Path(here).parent.parts)
    for part in there.split("/"):
        if part == "..":
            parts = parts[:-1] if parts else [".."]
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def math_faults(pages: dict[str, Page]) -> list[str]:
    """Formulas that do not become MathML; all are converted at once."""
    found = [(page, e) for page in pages.values() for e in walk(page.document["blocks"]) if e["t"] == "Math"]
    if not found:
        return []
    version = next(iter(pages.values())).document["pandoc-api-version"]
    blocks = [{"t": "Para", "c": [element]} for _, element in found]
    made = pandoc(json.dumps({"pandoc-api-version": version, "meta": {}, "blocks": blocks}), "-f", "json", "-t", "html", "--mathml")
    bad = "\n".join(made.warnings)
    wrong = [(page, element["c"][1]) for page, element in found if " ".join(element["c"][1].split()) in bad]
    return [f"{page.source}: the formula {' '.join(tex.split())} is no TeX that a browser can show. Correct it." for page, tex in wrong]


def sidebar_faults(pages: dict[str, Page], settings: dict[str, Any]) -> Iterator[str]:
    """Pages that no reader finds, and entries without a page."""
    listed = hrefs(sidebar(settings))
    for path, page in pages.items():
        if path not in listed:
            folder = Path(path).parent.as_posix()
            remedy = f"Add `- {path}` to website.sidebar in _quarto.yml, beside the other pages of {folder}/."
            yield f"{page.source}: is not in the sidebar. {remedy}"
    for name in listed:
        if name not in pages:
            yield f"_quarto.yml: website.sidebar names {name}, which is no page. Remove it, or add the page."
    yield from (f"_quarto.yml: website.sidebar names {name} twice. Remove one." for name in set(listed) if listed.count(name) > 1)


# Outputs


def output_faults(book: dict[str, Any]) -> Iterator[str]:
    """Saved outputs that no run of the cells above them would give: none where something is printed, some where nothing can be."""
    for cell in book["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] != "code":
            continue
        first = next((line for line in source.splitlines() if line.strip() and not line.startswith("#|")), "")
        outputs, skipped = cell.get("outputs", []), re.search(r"^#\|\s*eval:\s*false", source, re.MULTILINE)
        if any(output["output_type"] == "error" for output in outputs):
            yield f"the output under '{first}' is an error. Mend the cell and run python .ci/notebooks."
        if re.search(r"^print\(", source, re.MULTILINE) and not outputs and not skipped:
            yield f"nothing is saved under '{first}', which prints. Run python .ci/notebooks."
        prints = [output for output in outputs if output["output_type"] == "stream" and output["name"] == "stdout"]
        if outputs and not re.search(r"\w", "".join(line for line in source.splitlines() if not line.startswith("#"))):
            yield "something is saved under a cell that does nothing. Run python .ci/notebooks."
        said = "".join("".join(output.get("text", "")) for output in prints)
        for words in printed_words(source) if outputs and not skipped else []:
            if words not in said:
                yield f"the saved output under '{first}' lacks '{words}', which the cell prints. Run python .ci/notebooks."
        if any(output["output_type"] == "stream" and output["name"] == "stderr" for output in outputs):
            yield f"progress or warnings are saved under '{first}'. Run python .ci/notebooks, which leaves them out."


def printed_words(source: str) -> Iterator[str]:
    """Words that a cell prints whenever it runs: the fixed parts of what stands in its own `print(…)` lines."""
    try:
        body = ast.parse(source).body
    except SyntaxError:  # magics
        return
    for statement in body:
        call = statement.value if isinstance(statement, ast.Expr) else None
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "print":
            for argument in call.args:
                parts = argument.values if isinstance(argument, ast.JoinedStr) else [argument]
                fixed = (part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str))
                yield from (words.strip() for text in fixed for words in text.splitlines() if len(words.strip()) > 2)
