"""The site: the check finds every planted fault, the pages that are made hold what they should, and the whole site has no fault."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TOP = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TOP / ".ci" / "site"))

import check  # noqa: E402
import generated  # noqa: E402
import names  # noqa: E402
import pages  # noqa: E402
import preview  # noqa: E402
import shown  # noqa: E402

needs_pandoc = pytest.mark.skipif(
    importlib.util.find_spec("pypandoc") is None, reason="pypandoc_binary, of the extra dev, is not installed"
)


def notebook(*cells: tuple[str, str] | tuple[str, str, list[dict[str, Any]]]) -> str:
    """A notebook as nbdev leaves it in `_proc`: kind and source of each cell, and the outputs of code."""
    made = []
    for kind, source, *outputs in cells:
        made.append(
            {"cell_type": kind, "source": source, "metadata": {}} | ({"outputs": outputs[0] if outputs else []} if kind == "code" else {})
        )
    return json.dumps({"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


def stdout(text: str) -> list[dict[str, Any]]:
    return [{"output_type": "stream", "name": "stdout", "text": text}]


HEAD = ("raw", "---\ntitle: first\noutput-file: first.html\n---")
SOUND = {
    "api/01_first.ipynb": notebook(
        HEAD,
        (
            "markdown",
            "## One thing\n\nEnergy $x_{c,i}$ moves, [see there](../guide/second.qmd#another-thing).\n\n![Load of a day](images/day.png)\n",
        ),
        ("markdown", "$$ \\sum_i x_{c,i} \\le \\tfrac{P}{100}\\, \\bar L $$"),
        ("code", "#| echo: true\nprint('three', 1 + 2)", stdout("three 3\n")),
    ),
    "guide/second.qmd": "---\ntitle: second\n---\n\n## Another thing\n\n"
    "::: {.callout-note}\nMind it, @fig-day.\n:::\n\n![A day](../api/images/day.png){#fig-day}\n\n"
    "[back](../api/first.html#one-thing), [home](https://site.example/base/api/first.html#one-thing), [far](https://example.org), "
    "\\$5 a day.\n",
}
SIDEBAR = ["api/01_first.ipynb", {"section": "Guides", "contents": [{"href": "guide/second.qmd", "text": "The second"}]}]
HOST = "https://site.example/base"


def site(
    tmp_path: Path, change: dict[str, str | None], sidebar: list[Any] | None = None
) -> tuple[dict[str, pages.Page], dict[str, Any], Path]:
    """A small site with some pages changed, added or (None) left out."""
    proc = tmp_path / "_proc"
    (proc / "api/images").mkdir(parents=True)
    (proc / "api/images/day.png").write_bytes(b"\x89PNG")
    for name, text in (SOUND | change).items():
        if text is not None:
            (proc / name).parent.mkdir(parents=True, exist_ok=True)
            (proc / name).write_text(text, encoding="utf-8")
    return pages.read_pages(proc), {"website": {"sidebar": {"contents": sidebar or SIDEBAR}}}, proc


def more(text: str) -> dict[str, str | None]:
    """The second page with a paragraph more."""
    return {"guide/second.qmd": SOUND["guide/second.qmd"] + "\n" + text + "\n"}


@needs_pandoc
def test_a_sound_site_has_no_faults(tmp_path: Path) -> None:
    assert check.faults(*site(tmp_path, {}), host=HOST) == []


PLANTED = {
    "a link to nowhere": (more("[there](third.qmd)"), "the link third.qmd leads nowhere"),
    "a link out of the site": (more("[there](../../README.md)"), "the link ../../README.md leads nowhere"),
    "an anchor that is not there": (more("[there](../api/01_first.ipynb#one-thin)"), "has no #one-thin (one-thing are there)"),
    "an anchor of this page": (more("[up](#another-thin)"), "has no #another-thin"),
    "the site's own address": (more(f"[there]({HOST}/api/second.html)"), "leads nowhere"),
    "a picture that is missing": (more("![A week](images/week.png)"), "the picture images/week.png leads nowhere"),
    "a picture without words": (more("Here: ![](../api/images/day.png)."), "has no words"),
    "a picture from the network": (more("![A day](https://example.org/day.png)"), "is loaded from the network"),
    "a script from the network": (more('```{=html}\n<script src="https://a.example/math.js"></script>\n```'), "is loaded from the network"),
    "a formula that is no TeX": (more("$$ \\frac{1}{ $$"), "is no TeX that a browser can show"),
    "a command that is none": (more("$\\nosuchcommand{x}$"), "is no TeX that a browser can show"),
    "a formula that is not closed": (more("It holds that $$ x \\le 1 and so on."), "is read as text, not as maths"),
    "a formula with a space": (more("Energy $x_{c,i} $ moves."), "is read as text, not as maths"),
    "a callout that is not closed": (more("::: {.callout-note}\nMind it."), "pandoc says"),
    "a callout on one line": (more("Text\n::: {.callout-note} Mind it. :::"), "a fence ::: is read as text"),
    "a figure of another page": (
        {"api/01_first.ipynb": notebook(HEAD, ("markdown", "## One thing\n\nSee @fig-day."))}, "@fig-day is not on this page",
    ),
    "a name that is no reference": (more("As @somebody says."), "@somebody is no reference"),
    "two of one name": (more("# Here {#another-thing}"), "#another-thing stands here twice"),
    "a page that the sidebar forgot": ({"guide/third.qmd": "# third\n"}, "Add `- guide/third.qmd` to website.sidebar in _quarto.yml"),
    "a page that is gone": ({"guide/second.qmd": None}, "website.sidebar names guide/second.qmd, which is no page"),
}  # fmt: skip


@needs_pandoc
@pytest.mark.parametrize("fault", PLANTED)
def test_planted_faults_are_found(fault: str, tmp_path: Path) -> None:
    change, sentence = PLANTED[fault]
    found = check.faults(*site(tmp_path, change), host=HOST)
    assert [text for text in found if sentence in text], found


STALE = {
    "prints, and nothing is saved": (("code", "print('three')"), "nothing is saved under"),
    "other words than it prints": (("code", "print('three', 1 + 2)", stdout("four 3\n")), "lacks 'three', which the cell prints"),
    "other words around a number": (("code", "x = 3\nprint(f'{x} households move')", stdout("3 homes move\n")), "lacks 'households move'"),
    "an error": (("code", "1 / 0", [{"output_type": "error", "ename": "ZeroDivisionError"}]), "is an error"),
    "progress": (("code", "f()", [{"output_type": "stream", "name": "stderr", "text": "50 %"}]), "progress or warnings are saved"),
    "no code": (("code", "# nothing", stdout("three\n")), "a cell that does nothing"),
}


@pytest.mark.parametrize("fault", STALE)
def test_stale_outputs_are_found(fault: str) -> None:
    cell, sentence = STALE[fault]
    found = list(check.output_faults(json.loads(notebook(("markdown", "# first"), cell))))
    assert [text for text in found if sentence in text], found
    assert not list(check.output_faults(json.loads(SOUND["api/01_first.ipynb"])))


def test_notebooks_of_this_checkout_hold_fresh_words() -> None:
    for path in sorted((TOP / "nbs").rglob("[!_.]*.ipynb")):
        if ".ipynb_checkpoints" not in path.parts:
            assert not list(check.output_faults(json.loads(path.read_text(encoding="utf-8")))), path.name


@needs_pandoc
def test_the_preview_leads_from_page_to_page(tmp_path: Path) -> None:
    found, settings, proc = site(tmp_path, {})
    preview.write(found, settings, proc, tmp_path / "out", "a site", HOST)
    first, second = ((tmp_path / "out" / name).read_text(encoding="utf-8") for name in ("api/first.html", "guide/second.html"))
    assert 'href="../guide/second.html#another-thing"' in first and 'src="images/day.png"' in first
    assert "<math" in first and "three 3" in first and "#| echo" not in first
    assert second.count('href="../api/first.html#one-thing"') == 2
    assert (tmp_path / "out/api/images/day.png").is_file() and "The second" in first
    assert not check.CDN.findall(first + second)


@needs_pandoc
@pytest.mark.parametrize(("directive", "fault"), [("#| fig-alt: Load of a day\n", False), ("", True)])
def test_a_cell_says_what_its_picture_shows(directive: str, fault: bool, tmp_path: Path) -> None:
    picture = [{"output_type": "display_data", "data": {"image/png": "iVBORw0KGgo="}, "metadata": {}}]
    found, settings, proc = site(tmp_path, {"api/01_first.ipynb": notebook(HEAD, ("code", f"{directive}draw()", picture))})
    assert any("has no words" in text for text in check.faults(found, settings, proc, HOST)) == fault


def with_links(tmp_path: Path, text: str) -> tuple[str, list[str]]:
    """A page's markdown after its links were mended, and the site's faults."""
    found, settings, proc = site(tmp_path, {"api/01_first.ipynb": notebook(HEAD, ("markdown", text))})
    names.mend(found, proc, HOST)
    return json.loads((proc / "api/01_first.ipynb").read_text())["cells"][1]["source"], check.faults(found, settings, proc, HOST)


@needs_pandoc
def test_links_that_nbdev_sets_lead_somewhere_or_are_words(tmp_path: Path) -> None:
    at = f"{HOST}/api/first.html"
    text = f"## One thing\n\n### Thing\n\n[`thing`]({at}#thing), [`Thing.part`]({at}#thing.part), [`run`]({at}#run), [go on]({at}#run)."
    mended, faults = with_links(tmp_path, text)
    assert mended.endswith(f"[`thing`]({at}#thing), [`Thing.part`]({at}#thing), `run`, [go on]({at}#run).")
    assert [fault for fault in faults if "#run" in fault]  # what a person wrote is a person's to mend


@needs_pandoc
def test_a_word_that_is_also_an_argument_is_no_link_unless_users_import_it(tmp_path: Path) -> None:
    at = f"{HOST}/api/first.html"
    linked = {name: f"[`{name}`]({at}#{name})" for name in ("percent", "settle", "compare")}
    mended, _ = with_links(tmp_path, "## One thing\n\n### percent\n\n### settle\n\n### compare\n\n" + ", ".join(linked.values()))
    assert mended.endswith(f"`percent`, {linked['settle']}, {linked['compare']}")


@needs_pandoc
def test_short_code_is_not_broken_and_long_code_is_after_its_dots(tmp_path: Path) -> None:
    text = "## One thing\n\n`dr-opt run` and `constraints.max_moves_per_day.limit`\n\n```\na_b.c\n```"
    found, settings, proc = site(tmp_path, {"api/01_first.ipynb": notebook(HEAD, ("markdown", text))})
    preview.write(found, settings, proc, tmp_path / "out", "a site", HOST)
    page = (tmp_path / "out/api/first.html").read_text(encoding="utf-8")
    assert '<code class="short">dr-opt run</code>' in page and "a_b.c" in page
    assert "<code>constraints.<wbr>max_<wbr>moves_<wbr>per_<wbr>day.<wbr>limit</code>" in page


# Code as it is shown


def test_heads_are_shown_as_they_are_written() -> None:
    from dr_opt.constraints.behavioural import MaxMovesPerDay
    from dr_opt.plan import Plan
    from dr_opt.scenario import SolverChoice
    from dr_opt.solver.base import Effort, Status
    from dr_opt.solver.layers import Gurobi
    from dr_opt.solver.prices import settle

    head, members = shown.head_and_members(settle)
    assert head.startswith("def settle(\n    market: Market,\n") and "keep: Keep = FORGET" in head and not members
    head, members = shown.head_and_members(SolverChoice)
    assert head == "class SolverChoice(Parameters)" and "| `gap` | `0.0001` |" in members
    assert 'NOTHING = "Nothing can be moved within the limits."' in shown.head_and_members(Status)[0]
    assert "gap: float = 1e-4" in shown.head_and_members(Effort)[0]
    assert "- `.audit(readings, problems)`: Checks every limit" in shown.head_and_members(Plan)[1]
    assert 'seed_name = "B1"' in shown.head_and_members(MaxMovesPerDay)[0]
    head, _ = shown.head_and_members(Gurobi)
    assert "name, title, module" in head and "fmt: skip" not in head
    assert shown.head_and_members(Path) is None


def test_long_heads_have_a_line_for_each_argument() -> None:
    import ast

    source = "def f(a, /, b: int=1, *, c: str | None=None, **more: Any) -> int: ..."
    (node,) = ast.parse(source).body
    assert shown.head_of(node) == "def f(a, /, b: int = 1, *, c: str | None = None, **more: Any) -> int"
    (node,) = ast.parse(source.replace("f(", f"f{'f' * 90}(")).body
    assert shown.head_of(node).splitlines()[1:4] == ["    a,", "    /,", "    b: int = 1,"]


# Pages that are made


def test_every_limit_has_its_statement() -> None:
    page = generated.formulation(TOP / "nbs")
    for key, part in generated.limit_classes().items():
        assert f"`{key}`" in page and f"`{part.__name__}`" in page
        assert all(f"| `{name}` |" in page for name in part.model_fields)
    assert "| `kwh` | set by the model | kWh |" in page and "| `kwh` | `null` | kWh |" in page
    assert not re.search(r"(?m)^Off by default", page)


def test_a_limit_without_a_statement_is_refused(tmp_path: Path) -> None:
    (tmp_path / "api").mkdir()
    for name in generated.BOOKS:
        text = (TOP / f"nbs/api/{name}.ipynb").read_text(encoding="utf-8")
        if name == "11_technical":
            book = json.loads(text)
            cell = next(cell for cell in book["cells"] if "".join(cell["source"]).startswith("## Regional cap"))
            cell["source"] = "".join(cell["source"]).replace("$$", "$")
            text = json.dumps(book)
        (tmp_path / f"api/{name}.ipynb").write_text(text, encoding="utf-8")
    with pytest.raises(generated.NoStatementError, match="The limit RegionalShiftCap has no statement"):
        generated.formulation(tmp_path)


def test_a_heading_in_the_middle_of_a_cell_counts() -> None:
    text = "Two lines.\n\n## New\n\nA sentence.\n\n$$ x \\le 1 $$\n\n| symbol | unit |\n| --- | --- |\n| $x$ | kWh |\n\nMore."
    book = json.loads(notebook(("markdown", "## Old\n\n$$ y $$"), ("markdown", text), ("code", "#| export\nclass Mine(Limit):\n    pass")))
    said = generated.statements(book)["Mine"]
    assert (said.heading, said.sentence, said.formulas) == ("New", "A sentence.", ("$$ x \\le 1 $$",))
    assert said.symbols.endswith("| $x$ | kWh |")


def test_every_earlier_name_has_its_meaning() -> None:
    from dr_opt.scenario import SEED_NAMES

    page = generated.earlier_names()
    for name, target in SEED_NAMES.items():
        assert f"| `{name}` | `{target.split(' and ')[0]}`" in page
        assert all(map(generated.meaning_of, target.split(" and "))), name
        assert f"| {generated.cell(generated.meaning(name, target))} |" in page


def test_benchmarks_come_with_their_command(tmp_path: Path) -> None:
    made = generated.benchmarks(TOP / "benchmarks")
    assert len(made) > 5 and all(f"python benchmarks/{name}.py" in text for name, text in made.items() if name != "index")
    whole = json.loads((TOP / "benchmarks/results/study_full.json").read_text(encoding="utf-8"))["command"]
    assert f"```bash\n{whole}\n```" in made["study"] and f"`{whole}`" in made["index"]
    listed = re.findall(r"\((\w+)\.qmd\)", made["index"])
    assert listed == re.findall(r"- benchmarks/(\w+)\.qmd", (TOP / "_quarto.yml").read_text(encoding="utf-8"))
    (tmp_path / "results").mkdir()
    (tmp_path / "results/mine.md").write_text("# Mine\n\nFast.\n")
    with pytest.raises(ValueError, match=r"results/mine.md has no mine.py to go with it"):
        generated.benchmarks(tmp_path)
    (tmp_path / "mine.py").write_text('"""Mine."""\n')
    (tmp_path / "results/mine.json").write_text("{}")
    with pytest.raises(ValueError, match=r"does not say that python benchmarks/mine.py has made it"):
        generated.benchmarks(tmp_path)


def test_the_page_of_a_benchmark_is_for_readers(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results/mine.json").write_text("{}")
    commands = ["python benchmarks/mine.py", "python benchmarks/mine.py --size 9"]
    (tmp_path / "results/mine.md").write_text(f"# Mine\n\nBy `{commands[0]}`, then `{commands[1]}`: 3 s.\n")
    about = "Mine, again: `python benchmarks/mine.py`.\n\nWrites results/mine.md and .json beside this file. All of it\nis timed."
    (tmp_path / "mine.py").write_text(f'"""{about}\n"""\n')
    title, page = generated.benchmark_page(tmp_path, "mine")
    assert title == "Mine" and "```bash\n" + "\n".join(commands) + "\n```" in page
    assert "By these commands, one after the other: 3 s." in page and "## How it was measured\n\nAll of it\nis timed." in page
    assert "beside this file" not in page and "again" not in page


@pytest.mark.slow
@needs_pandoc
def test_the_whole_site_has_no_faults() -> None:
    ran = subprocess.run(
        [sys.executable, TOP / ".ci/site", "--no-preview"], cwd=TOP, capture_output=True, text=True, timeout=600, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert (TOP / "_proc/reference/formulation.qmd").is_file()
