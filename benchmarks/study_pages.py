"""What the study's pages say, and whether it still is so: figures in sentences, filled in from stored results and found there again.

A page says a sentence by `say("In Delhi {full/headline/strict/delhi/tco2_avoided:.1f} t are saved.")`: a path into
`results/study_full.json` (`full`), `study_small.json` (`small`) or `study_real.json` (`real`), and a format. `check_pages`
reads the saved pages, takes each number out of its sentence and compares it with the results it is given.
"""

import ast
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from string import Formatter
from typing import Any

TOP = Path(__file__).resolve().parents[1]
RESULTS = TOP / "benchmarks" / "results"
PAGES = [TOP / "nbs" / "studies" / f"{name}.ipynb" for name in ("delhi", "mumbai", "methods_compared")]
SIZES = ("full", "small", "real")
NEAR = 2e-3  # two solvers within their gap, and two machines' last digits


def stored(size: str) -> dict[str, Any]:
    """The figures of one size as they are stored; nothing where there are none."""
    file = RESULTS / f"study_{size}.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def at(results: Mapping[str, Any], path: str) -> Any:
    """The figure at a path such as `full/headline/strict/delhi/moves`."""
    size, *steps = path.split("/")
    found: Any = results[size]["figures"]
    for step in steps:
        found = found[int(step)] if isinstance(found, list) else found[step]
    return found


class _Filler(Formatter):
    """Fills in figures by their path."""

    def __init__(self, results: Mapping[str, Any]) -> None:
        self.results = results

    def get_field(self, field_name: str, args: Any, kwargs: Any) -> tuple[Any, str]:
        """The figure that a placeholder names."""
        return at(self.results, field_name), field_name


def filled(sentence: str, results: Mapping[str, Any] | None = None) -> str:
    """The sentence with its figures."""
    return _Filler(results or {size: stored(size) for size in SIZES}).vformat(sentence, (), {})


def say(sentence: str) -> Any:
    """The sentence with its figures, as a page shows it."""
    from IPython.display import Markdown

    return Markdown(filled(sentence))


# ---- the check -----------------------------------------------------------------------------------------------------


def sayings(page: Path) -> Iterator[tuple[str, str]]:
    """Each sentence of a page as its cell has it, and as it is saved."""
    for cell in json.loads(page.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code" and "say(" in source:
            shown = "\n".join("".join(out["data"].get("text/markdown", "")) for out in cell["outputs"] if "data" in out)
            for node in ast.walk(ast.parse(re.sub(r"^[%!].*$", "", source, flags=re.MULTILINE))):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "say" and isinstance(node.args[0], ast.Constant):
                    yield node.args[0].value, shown


def stated(sentence: str, shown: str) -> list[tuple[str, str, str]] | None:
    """Path, format and stated number of each placeholder; None where the saved words are other words."""
    places, pattern = [], ""
    for literal, path, spec, _ in Formatter().parse(sentence):
        pattern += re.escape(literal)
        if path is not None:
            places.append((path, spec or ""))
            pattern += "(.+?)"
    found = re.fullmatch(pattern, shown.strip(), flags=re.DOTALL) if sentence == sentence.strip() else None
    return None if found is None else [(*place, number) for place, number in zip(places, found.groups())]


def differs(said: str, spec: str, value: Any) -> bool:
    """Whether a stated number is another than this figure, beyond rounding and what two machines may differ by."""
    if not isinstance(value, int | float):
        return format(value, spec) != said
    number = float(said.rstrip("%").replace(",", "")) / (100 if said.endswith("%") else 1)
    digits = len(said.rstrip("%").partition(".")[2]) + (2 if said.endswith("%") else 0)
    return abs(number - value) > 0.5001 * 10.0**-digits + NEAR * abs(value)


def check_pages(results: Mapping[str, Any], sizes: Sequence[str] = SIZES) -> list[str]:
    """A line for each figure of these sizes that a page states otherwise than the results have it."""
    faults = []
    for page in PAGES:
        for sentence, shown in sayings(page):
            numbers = stated(sentence, shown)
            if numbers is None:
                faults.append(f"{page.name}: the saved sentence is not the cell's, {shown.strip()[:60]!r}. Run the page again.")
                continue
            for path, spec, said in numbers:
                if path.split("/")[0] in sizes and results.get(path.split("/")[0]):
                    faults += _fault(page.name, path, spec, said, results)
    return faults


def _fault(page: str, path: str, spec: str, said: str, results: Mapping[str, Any]) -> list[str]:
    """The line for one stated figure, where it is wrong."""
    try:
        value = at(results, path)
    except (KeyError, IndexError, TypeError):
        return [f"{page}: {path}: stated {said}, but there is no such figure now"]
    return [f"{page}: {path}: stated {said}, now {format(value, spec)}"] if differs(said, spec, value) else []


# ---- stored figures against new ones -------------------------------------------------------------------------------


def flat(figures: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every figure with its path."""
    if isinstance(figures, Mapping | list):
        parts = figures.items() if isinstance(figures, Mapping) else enumerate(figures)
        for name, part in parts:
            yield from flat(part, f"{path}/{name}" if path else str(name))
    else:
        yield path, figures


def drift(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """A line for each figure that is stored with another value than the new one, or is there only once."""
    before, after = dict(flat(old)), dict(flat(new))
    faults = [f"{path}: stated {before[path]}, but it is no longer computed" for path in before.keys() - after.keys()]
    faults += [f"{path}: now {after[path]}, but nothing is stated" for path in after.keys() - before.keys()]
    scale = {path: max((abs(v) for p, v in before.items() if p.rpartition("/")[0] == path and isinstance(v, int | float)), default=0)
             for path in {p.rpartition("/")[0] for p in before if p[-1:].isdigit()}}  # fmt: skip
    for path in before.keys() & after.keys():
        was, now = before[path], after[path]
        if isinstance(was, int | float) and isinstance(now, int | float):
            near = NEAR * max(abs(was), scale.get(path.rpartition("/")[0], 0)) + ABSOLUTE
            if abs(was - now) <= near:
                continue
        elif was == now:
            continue
        faults.append(f"{path}: stated {was}, now {now}")
    return sorted(faults)


ABSOLUTE = 2e-3  # per cent, grams, tonnes: below this nothing is stated
