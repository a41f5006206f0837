"""Pages that no person writes: the formulation of the limits, the earlier names, and the benchmarks, from where each fact already stands.

Statement and symbols come from the markdown above a limit's class in its notebook; parameters, units, ranges and defaults from the
class; the earlier names from the table that the errors consult; the benchmarks from their stored results.
"""

import ast
import inspect
import json
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KINDS = {
    "ArcMask": "arc mask", "SlotLimit": "slot limit", "MoveCount": "move count", "CustomerSum": "customer sum", "CitySum": "city sum",
    "DayChoice": "day choice",
}  # fmt: skip
BOOKS = {"10_behavioural": "What may be asked of a household", "11_technical": "What the grid and the home can bear",
         "12_conservation": "What must stay the same, and what must not get worse", "13_models": "What is best"}  # fmt: skip

SYMBOLS = """\
| symbol | meaning | unit |
| --- | --- | --- |
| $c$ | a customer, one household | |
| $g$ | a city | |
| $i, j$ | slots of time (half-hours as a rule), from which and to which energy moves | |
| $u_{c,i}$ | usage before shifting | kWh |
| $x_{c,i,j}$ | energy moved from $i$ to $j$ | kWh |
| $\\text{out}_{c,i} = \\sum_j x_{c,i,j}$ | energy that leaves a slot | kWh |
| $\\text{in}_{c,j} = \\sum_i x_{c,i,j}$ | energy that arrives in a slot | kWh |
| $\\text{after}_{c,i}$ | usage after shifting: $u_{c,i} - \\text{out}_{c,i} + \\text{in}_{c,i}$ | kWh |
| $m_{c,i},\\ a_{c,i}$ | marginal and average emission factor | g/kWh |
| $s_{c,i,j} = m_{c,i} - m_{c,j}$ | what a kWh saves that moves from $i$ to $j$ | g/kWh |
| $d(i),\\ w(i)$ | counting day and week of a slot | |
"""


class NoStatementError(ValueError):
    """A limit whose notebook does not say in a formula what it holds to."""


@dataclass(frozen=True)
class Statement:
    """What a notebook says of a limit above its class: the heading, the plain sentence, the formulas and the table of symbols."""

    heading: str
    sentence: str
    formulas: tuple[str, ...]
    symbols: str


def statements(book: dict[str, Any]) -> dict[str, Statement]:
    """For each class that a notebook exports, what the markdown between the last heading and the class says."""
    found, above = {}, ""
    for cell in book["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts = re.split(r"(?m)^(?=## )", source)
            above = parts[-1] if len(parts) > 1 or source.startswith("## ") else f"{above}\n\n{source}"
        elif re.search(r"^#\|\s*export", source, re.MULTILINE):
            for name in re.findall(r"^class (\w+)", source, re.MULTILINE):
                found[name] = _statement(above)
    return found


def _statement(text: str) -> Statement:
    """The parts of a section's markdown."""
    heading = re.match(r"\s*## (.*)", text)
    body = text[heading.end() :] if heading else text
    first = next((block.strip() for block in body.split("\n\n") if block.strip()), "")
    tables = re.findall(r"(?m)^\| symbol \|.*\n\|[ -|]+\n(?:\|.*(?:\n|\Z))+", body)
    formulas = re.findall(r"\$\$.*?\$\$", body, re.DOTALL)
    title, symbols = heading.group(1).strip() if heading else "", tables[0].strip() if tables else ""
    return Statement(title, " ".join(first.split()), tuple(formulas), symbols)


def anchor(heading: str) -> str:
    """The id that pandoc and Quarto give a heading."""
    kept = re.sub(r"[^\w\s.-]", "", heading.lower()).strip()
    return re.sub(r"^[^a-z]+", "", re.sub(r"\s+", "-", kept))


def head(title: str, description: str = "") -> str:
    """The front matter of a page."""
    return "\n".join(["---", f'title: "{title}"', *([f'description: "{description}"'] if description else []), "---"])


def whole(*blocks: str) -> str:
    """Blocks of markdown as a page."""
    return "\n\n".join(block for block in blocks if block) + "\n"


# The formulation


def limit_classes() -> dict[str, type]:
    """Every limit of the package by its key: those that are registered, and those that come with models or always hold."""
    from dr_opt import models
    from dr_opt.constraints.conservation import IntraCustomer
    from dr_opt.problem import Limit, limits
    from dr_opt.scenario import Constraints

    named = [*Constraints.model_fields]
    ours = [part for key, part in limits.items() if part.__module__.startswith("dr_opt.")]
    ours.sort(key=lambda part: named.index(part.key))
    classes = [part for part in vars(models).values() if isinstance(part, type) and part.__module__ == models.__name__]
    of_models = [part for part in classes if issubclass(part, Limit)]
    return {part.key: part for part in (*ours, IntraCustomer, *of_models)}


def books(nbs: Path) -> dict[str, dict[str, Statement]]:
    """What the notebooks of limits and models say, by notebook and class."""
    return {name: statements(json.loads((nbs / "api" / f"{name}.ipynb").read_text(encoding="utf-8"))) for name in BOOKS}


def kinds_of(part: type) -> list[str]:
    """The kinds that a limit turns into, as its own code names them."""
    source = textwrap.dedent(inspect.getsource(part))
    names = {node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)}
    found = [words for name, words in KINDS.items() if name in names]
    if not found and re.search(r"^\s+return (?:\[\]|\(\))$", source, re.MULTILINE):
        return ["true by construction"]
    if not found:
        raise NoStatementError(f"The limit {part.__name__} names no kind in its class ({', '.join(KINDS)}). Let its kinds return one.")
    return found


def told(part: type, said: dict[str, dict[str, Statement]]) -> tuple[str, Statement]:
    """The notebook of a limit, and its statement. Raises `NoStatementError` where there is none."""
    for book, classes in said.items():
        if part.__name__ in classes:
            statement = classes[part.__name__]
            if statement.formulas and statement.sentence and statement.heading:
                return book, statement
            break
    raise NoStatementError(
        f"The limit {part.__name__} has no statement: no formula between $$ and $$ under the heading above its class in {', '.join(said)}. "
        "Write one there, with a plain sentence before it and a table of symbols after it."
    )


def cell(text: object) -> str:
    """Text as it may stand in a table."""
    return " ".join(str(text).split()).replace("|", "\\|")


def parameter_rows(part: Any) -> Iterator[str]:
    """The parameters of a class as rows of a table: name, default, unit, range, meaning."""
    from typing import Literal, get_args, get_origin

    from dr_opt.basics import Parameters
    from dr_opt.parameters import either, plain, range_of, shown, unit_of

    by_model = getattr(part, "key", "").startswith("model.")
    for name, field in part.model_fields.items():
        if name == "name" and get_origin(field.annotation) is Literal:  # a model's own
            continue
        default = field.get_default(call_default_factory=True)
        literal = next((get_args(one) for one in (field.annotation, *get_args(field.annotation)) if get_origin(one) is Literal), ())
        allowed = either(literal) if len(literal) > 1 else range_of(field)
        value = type(default).__name__ if isinstance(default, Parameters) else shown(plain(default)).strip("'")
        value = "required" if field.is_required() else value
        value = "set by the model" if by_model else f"`{cell(value)}`"
        yield f"| `{name}` | {value} | {unit_of(field) or ''} | {cell(allowed)} | {cell(field.description or '')} |"


PARAMETER_HEAD = "| parameter | default | unit | allowed | meaning |\n| --- | --- | --- | --- | --- |"


def parameter_table(part: Any, without: str = "It has no parameters.") -> str:
    """The parameters of a class as a table, or what is said `without` any."""
    rows = list(parameter_rows(part))
    return "\n".join([PARAMETER_HEAD, *rows]) if rows else without


def limit_section(part: Any, book: str, said: Statement) -> str:
    """All that a reader should know of one limit."""
    from dr_opt.scenario import Constraints

    title = re.sub(r"\s*\([A-Z]\d\)$", "", said.heading)
    field = Constraints.model_fields.get(part.key)
    switch = "comes with a model" if part.key.startswith("model.") else "always holds"
    if field:
        switch = "on by default" if field.default is not None else "off by default"
    note = f" In the study's list it is {part.seed_name}." if part.seed_name else ""
    kinds = " or ".join(kinds_of(part))
    facts = f"`{part.key}` · `{part.__name__}` · {kinds} · {switch} · [worked example](../api/{book}.ipynb#{anchor(said.heading)})"
    sentence = re.sub(r"^Off by default[.;:] ", "", said.sentence) if switch == "off by default" else said.sentence
    blocks = [f"### {title}", facts, f"{sentence[0].upper()}{sentence[1:]}{note}", *said.formulas, said.symbols, parameter_table(part)]
    return "\n\n".join(block for block in blocks if block)


def formulation(nbs: Path) -> str:
    """The page of all limits and models. Raises `NoStatementError` for a limit without one."""
    from dr_opt import models

    said, by_book = books(nbs), {name: [] for name in BOOKS}
    rows = []
    for key, part in limit_classes().items():
        book, statement = told(part, said)
        by_book[book].append(limit_section(part, book, statement))
        title = re.sub(r"\s*\([A-Z]\d\)$", "", statement.heading)
        rows.append(f"| [{title}](#{anchor(title)}) | `{key}` | {', '.join(kinds_of(part))} |")
    chosen = [models.ImpactPrioritised, models.ConveniencePrioritised, models.HighUsageFocus]
    of_models = [f"### {part.__name__}\n\n{part.__doc__.splitlines()[0]}\n\n{parameter_table(part)}" for part in chosen]
    by_book["13_models"] += of_models
    sections = [f"## {BOOKS[book]}\n\n" + "\n\n".join(parts) for book, parts in by_book.items()]
    return whole(
        head("The formulation", "Every limit and every model: the statement, its symbols, its parameters with units and defaults."),
        "A plan says how much energy $x_{c,i,j}$ each household moves from which slot to which other. It may be any that keeps the "
        "limits below that are switched on; it is the one whose objective is greatest. Statements and symbols stand in the notebooks "
        "of the limits, parameters in their classes: this page is made from both by `python .ci/site`. A name in square brackets is "
        "the [earlier name](earlier_names.qmd) of a parameter, and B1 to H2 are the numbers of limits in the list with which the study "
        "began.",
        SYMBOLS.strip(),
        "Solvers do not know the limits by name. Each turns into one of a few [kinds of array](../api/08_problem.ipynb).",
        "| limit | key in a scenario | kind |\n| --- | --- | --- |\n" + "\n".join(rows),
        *sections,
    )


# The earlier names

COLUMNS = {
    "customer_days.marginal_g_before": "Marginal emissions of a household's day before shifting, g.",
    "customer_days.marginal_g_after": "Marginal emissions of a household's day after shifting, g.",
    "customer_days.marginal_g_delta": "Marginal emissions of a household's day, after less before, g.",
    "customer_days.kwh_moved": "Energy that a household moves on a day, kWh.",
    "customer_days.share_moved": "Energy that a household moves on a day, of its usage, from 0 to 1.",
    "customer_days.forward_kwh": "Energy moved to a later time, kWh.",
    "customer_days.backward_kwh": "Energy moved to an earlier time, kWh.",
    "customer_days.mean_shift_minutes": "How far the energy of a day moves on average, later or earlier, minutes.",
    "shifts.original_time": "Start of the slot that the energy leaves.",
    "shifts.shifted_time": "Start of the slot that the energy reaches.",
    "shifts.minutes_moved": "From the old time to the new one, minutes; below zero is earlier.",
}
REMARKS = {"city": "The first list named the city beside its load.", "abs_steps": "The first study counted slots, without sign."}


def earlier_names() -> str:
    """The page of the names that the study used at first, and where each stands now."""
    from dr_opt.scenario import SEED_NAMES

    rows = []
    for name, target in SEED_NAMES.items():
        now = " and ".join(f"`{part}`" for part in target.split(" and "))
        rows.append(f"| `{name}` | {now} | {cell(meaning(name, target))} |")
    return whole(
        head("Earlier names", "Where the letters and words of the first study are found now."),
        "The study behind this package first named its parameters by letters and in other words. A scenario that uses one of these is "
        "refused with a sentence that names ours; that sentence and this page are made from one table, `SEED_NAMES` in "
        "[scenario](../api/23_scenario.ipynb#the-earlier-names). Figures of the results are named by their table and column. "
        "Differences are after less before here, so a saving is negative; the first study's `delta_E` had it the other way round.",
        "| earlier name | name here | meaning |\n| --- | --- | --- |\n" + "\n".join(rows),
    )


def meaning(name: str, target: str) -> str:
    """What the paths that stand for an earlier name mean."""
    return " ".join([*(meaning_of(path) for path in target.split(" and ")), *([REMARKS[name]] if name in REMARKS else [])])


def meaning_of(path: str) -> str:
    """What a path of a scenario means, in its field's own words; of a column of the results, what `COLUMNS` says of it."""
    from dr_opt.parameters import classes_in, fields_of
    from dr_opt.result_tables import RESULT_TABLES
    from dr_opt.scenario import Scenario

    if path.partition(".")[0] in RESULT_TABLES:
        return COLUMNS.get(path, "")
    parts: list[Any] = [Scenario]
    field = None
    for key in path.split("."):
        field = next((fields_of(part)[key] for part in parts if key in fields_of(part)), None)
        parts = classes_in(field.annotation) if field else []
    return re.sub(r"\s*\[[^\]]*\]", "", field.description or "") if field else ""


# The benchmarks


def benchmark_names(folder: Path) -> list[str]:
    """The benchmarks with stored results. Raises `ValueError` where a result, its figures and its command do not come together."""
    names = sorted(path.stem for path in (folder / "results").glob("*.md"))
    for name in names:
        lacking = [] if (folder / f"{name}.py").is_file() else [f"{name}.py"]
        lacking += [] if figures_of(folder, name) else [f"{name}.json"]
        if lacking:
            what = f"benchmarks/results/{name}.md has no {lacking[0]} to go with it"
            raise ValueError(f"{what}. Run python benchmarks/{name}.py, or remove it.")
        if not commands_of(folder, name):
            raise ValueError(f"benchmarks/results/{name}.md does not say that python benchmarks/{name}.py has made it. Run that again.")
    return names


def commands_of(folder: Path, name: str) -> list[str]:
    """The commands that made the stored results of a benchmark, as these say."""
    text = (folder / "results" / f"{name}.md").read_text(encoding="utf-8")
    return list(dict.fromkeys(re.findall(rf"`(python benchmarks/{name}\.py[^`]*)`", text)))


def in_order(names: list[str], quarto: Path) -> list[str]:
    """Names as the sidebar has them; others after these."""
    told = re.findall(r"benchmarks/(\w+)\.qmd", quarto.read_text(encoding="utf-8")) if quarto.is_file() else []
    return sorted(names, key=lambda name: told.index(name) if name in told else len(told))


def figures_of(folder: Path, name: str) -> list[Path]:
    """The figures of one benchmark: a file of its name, or one for each size."""
    results = folder / "results"
    whole_name = results / f"{name}.json"
    return [whole_name] if whole_name.is_file() else sorted(results.glob(f"{name}_*.json"))


def benchmark_page(folder: Path, name: str) -> tuple[str, str]:
    """Title and page of one benchmark: its stored results, and what its command does."""
    text = (folder / "results" / f"{name}.md").read_text(encoding="utf-8")
    title, _, body = text.removeprefix("# ").partition("\n")
    commands = commands_of(folder, name)
    said = "this command" if len(commands) == 1 else "these commands, one after the other"
    body = re.sub(rf"`python benchmarks/{name}\.py[^`]*`(, then `[^`]*`)*", said, body, count=1)
    about = ast.get_docstring(ast.parse((folder / f"{name}.py").read_text(encoding="utf-8"))) or ""
    about = re.sub(r"Writes results/\S+ and \S+ beside this file\.\s*", "", about.partition("\n\n")[2])
    files = ", ".join(f"`benchmarks/results/{path.name}`" for path in figures_of(folder, name))
    told_how = f"The figures are in {files}, too."
    box = "\n".join(["```bash", *commands, "```"])
    return title.strip(), whole(head(title.strip()), box, body.strip(), "## How it was measured", about.strip(), told_how)


def benchmarks(folder: Path) -> dict[str, str]:
    """The pages of the benchmarks by their names, `index` among them."""
    pages, rows = {}, []
    for name in in_order(benchmark_names(folder), folder.parent / "_quarto.yml"):
        title, pages[name] = benchmark_page(folder, name)
        rows.append(f"| [{title}]({name}.qmd) | {'<br>'.join(f'`{command}`' for command in commands_of(folder, name))} |")
    pages["index"] = whole(
        head("Benchmarks", "What costs how much: stored results, each with the command that made it."),
        "Every figure on these pages comes from a command in the repository, whose results are stored beside it. Seconds depend on the "
        "machine and on what else it does: compare them within a table only. Gaps and grams do not, unless a time limit ended the search.",
        "| benchmark | command |\n| --- | --- |\n" + "\n".join(rows),
    )
    return pages


def write(top: Path, proc: Path) -> None:
    """All these pages, into `_proc`."""
    pages = {"reference/formulation.qmd": formulation(top / "nbs"), "reference/earlier_names.qmd": earlier_names()}
    pages |= {f"benchmarks/{name}.qmd": text for name, text in benchmarks(top / "benchmarks").items()}
    for name, text in pages.items():
        place = proc / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
