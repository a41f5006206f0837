"""What the study's pages say, and whether it still is so: figures in sentences, filled in from stored results and found there again.

A page says a sentence by `say("In Delhi {full/headline/strict/delhi/tco2_avoided:.1f} t are saved.")`: a path into
`results/study_full.json` (`full`), `study_small.json` (`small`) or `study_real.json` (`real`), and a format. A path that ends in
`negative` gives the figure with the other sign, for sentences that say "less" or "rises". `check_pages` reads the saved pages,
takes each number out of its sentence and compares it with the results it is given.
"""

import ast
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from string import Formatter
from typing import Any

import numpy as np
from stored import RESULTS, at_least

from dr_opt.drawing import DARK, GREY, palette

TOP = Path(__file__).resolve().parents[1]
PAGES = [TOP / "nbs" / "studies" / f"{name}.ipynb" for name in ("delhi", "mumbai", "methods_compared", "city_scale")]
SIZES = ("full", "small", "real")
NEAR = 2e-3  # two solvers within their gap, and two machines' last digits


def stored(size: str) -> dict[str, Any]:
    """The figures of one size as they are stored; nothing where there are none."""
    file = RESULTS / f"study_{size}.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


BESIDE = ("sizes", "machine", "seconds")  # what stands beside the figures


def at(results: Mapping[str, Any], path: str) -> Any:
    """The figure at a path such as `full/headline/strict/delhi/moves`."""
    size, *steps = path.split("/")
    found: Any = results[size] if steps[0] in BESIDE else results[size]["figures"]
    for step in steps:
        found = -found if step == "negative" else found[int(step)] if isinstance(found, list) else found[step]
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
            for node in ast.walk(ast.parse(source)):
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


def check_readme(results: Mapping[str, Any]) -> list[str]:
    """A line for each row of the stored table that the results give otherwise, and for what the start page says otherwise."""
    right = readme_table(results).splitlines()
    page = (RESULTS / "study.md").read_text(encoding="utf-8").splitlines()
    shown = [line for line in page if line.startswith("|")]
    faults = [f"study.md: stated {was}, now {now}" for was, now in zip_longest(shown, right) if was != now]
    cells = json.loads((TOP / "nbs" / "index.ipynb").read_text(encoding="utf-8"))["cells"]
    words = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    faults += [f"index.ipynb: its table of the study lacks the row {row}" for row in shown if row not in words]
    gap, within = largest_gap(results), re.search(r"within ([\d.]+) % of a bound", words)
    if within is None or not gap <= float(within[1]) <= 10 * gap:
        said = "nothing" if within is None else f"within {within[1]} %"
        faults.append(f"index.ipynb: says {said} of how near the bound its plans are; the furthest is {gap:.2g} % from it")
    return faults


# ---- stored figures against new ones -------------------------------------------------------------------------------


def flat(figures: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every figure with its path."""
    if isinstance(figures, Mapping | list):
        parts = figures.items() if isinstance(figures, Mapping) else enumerate(figures)
        for name, part in parts:
            yield from flat(part, f"{path}/{name}" if path else str(name))
    else:
        yield path, figures


ABSOLUTE = {"gap_percent": 0.05, "spread_percent": 0.05}  # differences of nearly equal numbers
SMALLEST = 1e-4  # tonnes, per cent: below this nothing is stated


def drift(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """A line for each figure that is stored with another value than the new one, or is there only once."""
    before, after = dict(flat(old)), dict(flat(new))
    faults = [f"{path}: stated {before[path]}, but it is no longer computed" for path in before.keys() - after.keys()]
    faults += [f"{path}: now {after[path]}, but nothing is stated" for path in after.keys() - before.keys()]
    for path in before.keys() & after.keys():
        was, now = before[path], after[path]
        if not _alike(path, was, now):
            faults.append(f"{path}: stated {was}, now {now}")
    return sorted(faults)


def _alike(path: str, was: Any, now: Any) -> bool:
    """Whether a figure is what it was, but for what two machines may differ by."""
    if not isinstance(was, int | float) or not isinstance(now, int | float):
        return was == now
    return abs(was - now) <= NEAR * abs(was) + ABSOLUTE.get(path.rpartition("/")[2], SMALLEST)


# ---- tables and pictures -------------------------------------------------------------------------------------------

COLUMNS = {  # title: figure, decimals
    "moves": ("moves", 0),
    "kWh moved": ("kwh_moved", 0),
    "tCO2 saved": ("tco2_avoided", 2),
    "marginal emissions less, %": ("marginal_reduction_percent", 2),
    "average emissions less, %": ("average_reduction_percent", 2),
    "kg a household and week": ("kg_per_household_week", 3),
    "g per kWh": ("g_per_kwh_moved", 0),
    "% of moves raise the average": ("average_increase_share_percent", 0),
    "g per move": ("g_per_move", 0),
    "gap, %": ("gap_percent", 4),
    "moves a household and week": ("moves_per_household_week", 2),
    "% of the best": ("percent_of_base", 1),
    "minutes": ("mean_minutes", 0),
    "% of energy moved": ("share_moved_percent", 2),
    "kWh per move": ("kwh_per_move", 2),
}
SHORT = (
    "moves", "kWh moved", "tCO2 saved", "marginal emissions less, %", "average emissions less, %", "kg a household and week", "g per kWh",
)  # fmt: skip


def laid_out(rows: Sequence[Mapping[str, Any]], digits: Mapping[str, int] | None = None) -> Any:
    """Rows as a table in Markdown: numbers to the right, with as many decimals as `digits` has for their title, or as they need."""
    from IPython.display import Markdown

    digits = digits or {}

    def cell(title: str, value: Any) -> str:
        if isinstance(value, bool):
            return "yes" if value else "no"
        if value is None or isinstance(value, str):
            return value or "–"
        if "gap" in title and title in digits:
            return at_least(value, digits[title])
        return format(value, f"z,.{digits[title]}f" if title in digits else ",.6g" if isinstance(value, float) else ",")

    titles = list(rows[0])
    words = [all(isinstance(row[title], str | bool) for row in rows) for title in titles]
    lines = [titles, ["---" if word else "---:" for word in words], *([cell(title, row[title]) for title in titles] for row in rows)]
    return Markdown("\n".join("| " + " | ".join(line) + " |" for line in lines))


def table(
    rows: Mapping[str, Mapping[str, Any]], columns: Sequence[str] = SHORT, first: str = "plan", called: Mapping[str, str] | None = None
) -> Any:
    """Figures of several plans below each other; `called` renames a column's title."""
    names = {title: (called or {}).get(title, title) for title in columns}
    found = [{first: name, **{names[title]: row[COLUMNS[title][0]] for title in columns}} for name, row in rows.items()]
    return laid_out(found, {names[title]: COLUMNS[title][1] for title in columns})


IN_README = ("strict", "default", "relaxed")  # policies


def largest_gap(results: Mapping[str, Any]) -> float:
    """How far the furthest of README's plans is from its bound, %."""
    return max(at(results, f"full/headline/{policy}/gap_percent") for policy in IN_README)


def readme_table(results: Mapping[str, Any]) -> str:
    """The table of README.md: the policies by city."""
    less = "marginal emissions less, % | average emissions less, %"
    lines = [f"| city | policy | moves | GWh moved | tCO2 saved | {less} | g per kWh moved |"]
    lines += ["| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |"]
    for city in ("delhi", "mumbai"):
        for policy in IN_README:
            row = at(results, f"full/headline/{policy}/{city}")
            numbers = [f"{row['moves']:,}", f"{row['kwh_moved'] / 1e6:.2f}", f"{row['tco2_avoided']:.1f}"]
            numbers += [
                f"{row['marginal_reduction_percent']:.2f}",
                f"{row['average_reduction_percent']:z.2f}",
                f"{row['g_per_kwh_moved']:.0f}",
            ]
            lines.append(" | ".join([f"| {city.capitalize()}", policy, *numbers]) + " |")
    return "\n".join(lines) + "\n"


def table_page(results: Mapping[str, Any]) -> str:
    """The same table as a page of its own, with what was planned and how good it is."""
    households = {city: at(results, f"full/headline/default/{city}/households") for city in ("delhi", "mumbai")}
    said = (
        f"One run of `python benchmarks/study.py --size full --store`: {households['delhi']:,} synthetic households of Delhi and "
        f"{households['mumbai']:,} of Mumbai, two weeks of November 2025. Savings are those of perfect foresight. A minus is a rise: the "
        f"plans follow the marginal factor, and the average one tells another story. The loosest of these plans is within "
        f"{largest_gap(results):.2g} % of a bound that no plan can exceed; the studies of Delhi and Mumbai tell the rest."
    )
    return f"# The study of Delhi and Mumbai\n\n{said}\n\n{readme_table(results)}"


def draw_day(axes: Sequence[Any], hours: Mapping[str, Sequence[float]], households: int, title: str) -> None:
    """The mean day of a city: load before, after and at most on the left axes, both factors on the right."""
    clock = np.arange(49) / 2
    colours = palette()
    before, after, most = (2000 * np.array(hours[f"{name}_kwh"]) / households for name in ("load_before", "load_after", "limit"))
    load, factor = axes
    load.stairs(before, clock, baseline=None, color=DARK, linewidth=1.6, label="before")
    load.stairs(after, clock, baseline=None, color=colours[0], linewidth=2.4, label="after")
    load.stairs(most, clock, baseline=None, color=GREY, linewidth=1.2, linestyle="--", label="at most")
    load.set(ylim=(0, 1.05 * most.max()), ylabel="W per household", title=title)
    for name, colour in (("marginal", colours[3]), ("average", colours[2])):
        factor.stairs(hours[f"{name}_g_per_kwh"], clock, baseline=None, color=colour, linewidth=2.2, label=name)
    factor.set(ylim=(0, 1100), ylabel="g per kWh", title="Emission factors")
    for ax in axes:
        ax.set(xlim=(0, 24), xlabel="hour of the day")
        ax.set_xticks(range(0, 25, 3))
        ax.legend(loc="lower right", ncols=3)
