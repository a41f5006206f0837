"""Links that nbdev sets by itself, from a word in backticks to the page of a function of that name: kept where they lead somewhere.

nbdev links every exported name, but has a heading on the page only for those it shows: none for a method, a private function or a
command. A method's link leads to its class instead. Where nothing is left, the word was seldom meant as that function (`run` in a
sentence about running), so it stays a word. So does a word that is also the name of an argument, a field, a method or a table
(`percent`, `usage_kwh`): a sentence means that far more often than the function of the same name, unless users import that function.
"""

import ast
import json
import re
from functools import cache
from pathlib import Path

from pages import Page, ids_of, parse, read_page
from shown import TOP


@cache
def meant_otherwise() -> frozenset[str]:
    """Names in the package that are arguments, fields or methods somewhere, and the tables of its results; not what users import."""
    import dr_opt
    from dr_opt.result_tables import RESULT_TABLES

    found = {*RESULT_TABLES}
    for path in sorted((TOP / "dr_opt").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.arg | ast.keyword):
                found.add(node.arg or "")
            elif isinstance(node, ast.ClassDef):
                found |= {part.name for part in node.body if isinstance(part, ast.FunctionDef)}
                found |= {part.target.id for part in node.body if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name)}
    return frozenset(name for name in found - {*dr_opt.__all__} if name == name.lower())


def mend(found: dict[str, Page], proc: Path, host: str) -> None:
    """Mends these links in the pages of `_proc`, and in `found`."""
    known = {page.html_path: set(ids_of(page)) for page in found.values()}
    link = re.compile(r"\[(`+[^`\]]+`+)\]\((" + re.escape(host) + r"/([^)#\s]+)#([^)\s]+))\)")

    def mended(given: re.Match[str]) -> str:
        words, _, page, name = given.groups()
        if words.strip("`") in meant_otherwise():
            return words
        if page not in known or name in known[page]:
            return given.group()
        above = name.rpartition(".")[0]
        return f"[{words}]({host}/{page}#{above})" if above in known[page] else words

    for path, page in found.items():
        if not path.endswith(".ipynb"):
            continue
        book = json.loads((proc / path).read_text(encoding="utf-8"))
        before = json.dumps(book)
        for cell in book["cells"]:
            if cell["cell_type"] == "markdown":
                cell["source"] = link.sub(mended, "".join(cell["source"]))
            for output in cell.get("outputs", []):  # of docstrings
                if "text/markdown" in output.get("data", {}):
                    output["data"]["text/markdown"] = link.sub(mended, "".join(output["data"]["text/markdown"]))
        if json.dumps(book) != before:
            (proc / path).write_text(json.dumps(book, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            found[path] = parse(read_page(proc / path, page.path))
