"""The pages as plain HTML, for reading without Quarto: the same sidebar, dark and light, fit for a phone, nothing from the network."""

import json
import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from pages import Page, headings, hrefs, pandoc, sidebar, walk

HERE = Path(__file__).resolve().parent
PICTURES = (".png", ".svg", ".jpg", ".gif", ".webp")


def write(pages: dict[str, Page], settings: dict[str, Any], proc: Path, out: Path, site: str, host: str = "") -> None:
    """Writes every page of the site below `out`, which is emptied first."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    for path in proc.rglob("*"):
        if path.suffix in PICTURES and not any(part.startswith(".") for part in path.relative_to(proc).parts):
            target = out / path.relative_to(proc)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    for name in ("site.css", "site.js"):
        shutil.copyfile(HERE / name, out / name)
    rows = [(page.title, words, f"{page.html_path}#{name}") for page in pages.values() for _, name, words in headings(page)]
    rows = [(page.title, page.title, page.html_path) for page in pages.values()] + rows
    (out / "search.js").write_text(f"const INDEX = {json.dumps(rows, ensure_ascii=False)};\n", encoding="utf-8")
    entries = sidebar(settings)
    order = [pages[name] for name in hrefs(entries) if name in pages]
    looks = Environment(loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    look = looks.get_template("page.html")

    def one(page: Page) -> None:
        place = out / page.html_path
        place.parent.mkdir(parents=True, exist_ok=True)
        k = order.index(page) if page in order else -1
        parts = {
            "site": site,
            "title": page.title,
            "description": Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(page.meta.get("description") or "")))),
            "up": "../" * page.html_path.count("/"),
            "toc": [row for row in headings(page) if row[0] <= 3],
            "tree": _tree(entries, pages, page),
            "body": Markup(body(page, pages, host)),
            "before": order[k - 1] if k > 0 else None,
            "after": order[k + 1] if 0 <= k < len(order) - 1 else None,
        }
        place.write_text(look.render(**parts), encoding="utf-8")

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(one, pages.values()))


def _tree(entries: list[Any], pages: dict[str, Page], here: Page) -> list[tuple[str, list[Any], str, bool]]:
    """The sidebar as (words, entries below, address, whether the reader is here)."""
    found = []
    for name, inner in entries:
        if isinstance(inner, list):
            found.append((name, _tree(inner, pages, here), "", here.path in hrefs(inner)))
        elif name in pages:
            found.append((inner or pages[name].title, [], pages[name].html_path, pages[name] is here))
    return found


def body(page: Page, pages: dict[str, Page], host: str) -> str:
    """The page's own HTML, its links led to the HTML of other pages."""
    document = json.loads(json.dumps(page.document))
    for element in walk(document["blocks"]):
        if element["t"] == "Link":
            element["c"][2][0] = led(element["c"][2][0], page, pages, host)
    made = pandoc(json.dumps(document), "-f", "json", "-t", "html", "--mathml", "--wrap=none")
    text = re.sub(r"<table", '<div class="wide"><table', made.text).replace("</table>", "</table></div>")
    text = re.sub(r'(<math display="block".*?</math>)', r'<span class="wide">\1</span>', text, flags=re.DOTALL)
    text = re.sub(r'<img [^>]*?src="([^"]+)"[^>]*>', r'<a class="picture" href="\1">\g<0></a>', text)
    text = re.sub(r"<h3.*?</h3>", lambda given: re.sub(r"_(?=\w+</|\w+_)", "_<wbr>", given.group()), text)
    return re.sub(r"<pre.*?</pre>|<code>([^<]+)</code>", _code, text, flags=re.DOTALL)


def _code(given: re.Match[str]) -> str:
    """Code among words: a short one stays on its line, a long one is broken after a dot, an underscore or a comma, not at a hyphen."""
    words = given.group(1)
    if words is None:  # a block of code stays as it is
        return given.group()
    if len(words) <= 24:
        return f'<code class="short">{words}</code>'
    whole, broken = '<span class="short">{}</span>', re.compile(r"([._,/])(?=\w)")
    parts = (whole.format(part) if "-" in part else broken.sub(r"\1<wbr>", part) for part in words.split(" "))
    return f"<code>{' '.join(parts)}</code>"


def led(target: str, page: Page, pages: dict[str, Page], host: str) -> str:
    """Where a link leads in the preview."""
    path, sign, name = target.partition("#")
    if host and path.startswith(host):
        there = path.removeprefix(host).lstrip("/")
    elif not path or re.match(r"[a-z]+:", path):
        return target
    else:
        there = os.path.normpath((Path(page.path).parent / path).as_posix())
    html = pages[there].html_path if there in pages else there
    return os.path.relpath(html, Path(page.html_path).parent) + sign + name
