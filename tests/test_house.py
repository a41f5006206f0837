"""The rules of the house, read off the files: layers, rooms, notebooks that explain, and files that agree with each other."""

import ast
import json
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[1]
API = TOP / "nbs" / "api"

# What each notebook in nbs/api exports; a module may import only modules that stand before it.
MODULE_OF_NOTEBOOK = {
    "00_basics": "basics", "01_calendar": "calendar", "02_intake": "intake", "03_validation": "validation",
    "04_readings": "readings", "05_synthesis": "synthesis",
    "06_tables": "tables", "07_blocks": "blocks", "08_problem": "problem", "09_sparse": "sparse",
    "10_behavioural": "constraints.behavioural", "11_technical": "constraints.technical",
    "12_conservation": "constraints.conservation", "13_models": "models", "14_keeping": "keeping", "14_parallel": "parallel",
    "14_beside": "beside",
    "15_solver": "solver.base", "16_backends": "solver.backends",
    "16_judging": "solver.judging", "16_layers": "solver.layers",
    "17_greedy": "solver.greedy", "17_highs": "solver.highs", "17_matching": "solver.matching",
    "17_smooth": "solver.smooth",
    "17_translation": "solver.translation", "18_certificate": "solver.certificate", "18_crowd": "solver.crowd",
    "18_rules": "solver.rules", "18_shortway": "solver.shortway", "18_tree": "solver.tree",
    "18_replies": "solver.replies", "18_market": "solver.market",
    "18_recovery": "solver.recovery", "18_polish": "solver.polish", "18_search": "solver.search",
    "18_prices": "solver.prices",
    "18_lp": "solver.lp", "19_milp": "solver.milp",
    "20_continuous": "solver.continuous",
    "21_selection": "solver.selection", "22_parameters": "parameters",
    "23_scenario": "scenario",
    "24_preparation": "preparation", "24_metrics": "metrics", "24_result_tables": "result_tables", "25_comparison": "comparison",
    "25_dealing": "dealing", "25_folders": "folders", "25_parts": "parts",
    "25_resuming": "resuming", "25_proof": "proof", "25_sensitivity": "sensitivity",
    "25_shards": "shards", "25_sharding": "sharding", "26_plan": "plan", "26_relaxation": "relaxation",
    "26_statements": "statements",
    "26_shard_problems": "shard_problems", "26_shard_results": "shard_results",
    "27_pipeline": "pipeline", "27_streaming": "streaming", "27_streaming_audit": "streaming_audit", "27_sweeps": "sweeps",
    "28_drawing": "drawing", "29_curves": "curves",
    "29_plots": "plots", "30_report": "report",
    "31_form": "form", "31_form_controls": "controls", "31_widgets": "widgets", "32_cli": "cli",
}  # fmt: skip
PLACE = {module: place for place, module in enumerate(MODULE_OF_NOTEBOOK.values())}

# Doors with one key: libraries, and the modules that may import them.
KEYS = {
    ("matplotlib", "seaborn"): r"drawing|plots|curves",
    ("clarabel", "coptpy", "cplex", "cvxopt", "cvxpy", "cylp", "ecos", "gurobipy", "highspy", "linopy", "ortools", "osqp", "pyomo",
     "pyscipopt", "scipy.optimize", "scs", "swiglpk"): r"solver\..*",
    ("ipywidgets",): r"controls",
    ("jinja2",): r"report",
    ("mpi4py", "joblib", "concurrent"): r"parallel",
    ("multiprocessing",): r"parallel|beside",
    ("numba",): r"blocks|problem|sparse|synthesis|solver\..*",
    ("nbdev", "fastcore", "execnb"): r"",
}  # fmt: skip
# The same for calls, by the name that is called.
CALLS = {
    ("print", "echo", "secho"): r"cli",
    ("write_parquet", "write_csv", "sink_csv"): r"plan|statements|streaming",
    ("sink_parquet",): r"sharding|streaming",  # sharding: a copy of csv, to be read by runs of rows
    ("scan_parquet", "read_parquet", "scan_csv", "read_csv"): r"intake|synthesis|plan|sharding|statements|streaming(_audit)?",
    ("write_ipc",): r"shard_results",  # the tables of a shard, until they are put together
    ("scan_ipc", "read_ipc"): r"streaming(_audit)?",
}

LEAST_PROSE_WORDS_PER_LINE = 1.5
MOST_CELLS = 75
MOST_BYTES_OF_AN_OUTPUT = 200_000
MOST_EXPORTED_LINES = 420
MOST_LINES_OF_MEDIAN_BODY = 12
MOST_LINES_OF_A_FUNCTION = 60
HEAVY = ("scipy", "numba", "highspy", "matplotlib", "seaborn", "pandas", "IPython")

# Words that belong to some machine or to how the work was done, not to the project.
FOREIGN = re.compile(
    r"""(?<![\w.])/(?:work|root|opt)/ | /home/\w+/ | /Users/\w+/ | /tmp/\w | pythonhosted
    | \bsub-?agents? | \bagents?\b(?![-\ ]based) | \bLLMs?\b | \bchatbot | \bworkplace\b | \bissues?\ \#?\d
    | \b(?:this|last|next|previous|earlier|later)\ session\b | \bshared/design\b | \b(?:problem|contract|house|toolchain)\.md\b""",
    re.VERBOSE | re.IGNORECASE,
)


@dataclass(frozen=True)
class Notebook:
    """A notebook, as its file holds it."""

    name: str
    cells: tuple[dict, ...]

    def sources(self, kind: str) -> list[str]:
        return ["".join(cell["source"]) for cell in self.cells if cell["cell_type"] == kind]

    @property
    def exported_lines(self) -> list[str]:
        exported = [source for source in self.sources("code") if re.search(r"^#\|\s*exporti?\b", source, re.MULTILINE)]
        return [line for source in exported for line in source.splitlines() if line.strip() and not line.startswith("#|")]


@cache
def notebook(name: str) -> Notebook:
    path = (TOP / "nbs" / name if "/" in name else API / name).with_suffix(".ipynb")
    return Notebook(name, tuple(json.loads(path.read_text(encoding="utf-8"))["cells"]))


@cache
def tree(module: str) -> ast.Module:
    path = TOP / "dr_opt" / f"{module.replace('.', '/')}.py"
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


NOTEBOOKS = sorted(path.stem for path in API.glob("*.ipynb"))
BOOKS = (TOP / "nbs").glob("*/[!_.]*.ipynb")
PAGES = sorted(path.relative_to(TOP / "nbs").with_suffix("").as_posix() for path in BOOKS if path.parent != API)  # studies and the like
MODULES = [module for name, module in MODULE_OF_NOTEBOOK.items() if name in NOTEBOOKS]
each_notebook = pytest.mark.parametrize("name", NOTEBOOKS)
each_page = pytest.mark.parametrize("name", PAGES)
each_book = pytest.mark.parametrize("name", [*NOTEBOOKS, *PAGES])
each_module = pytest.mark.parametrize("module", MODULES)


def imported(code: ast.AST, module: str = "") -> Iterator[str]:
    """Every module that `code` imports anywhere, in functions too, with relative imports of `module` made absolute."""
    package = ["dr_opt", *module.split(".")][:-1] if module else []
    for node in ast.walk(code):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                whole = f"{origin}.{alias.name}"
                yield whole if whole.removeprefix("dr_opt.") in PLACE or origin in ("concurrent", "scipy") else origin


def own(names: Iterator[str]) -> set[str]:
    """Those of `names` that are modules of the package, without its name; `` is the package itself."""
    return {name.removeprefix("dr_opt").removeprefix(".") for name in names if name == "dr_opt" or name.startswith("dr_opt.")}


def cell_trees(book: Notebook) -> Iterator[tuple[dict, ast.Module]]:
    """The code cells that are Python, parsed; lines for the shell and magics are left out."""
    for cell in book.cells:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code" and not source.lstrip().startswith("%%"):
            yield cell, ast.parse("\n".join("" if re.match(r"\s*[!%]", line) else line for line in source.splitlines()))


def functions(code: ast.AST) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(code) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function after its signature and docstring."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0  # type: ignore[operator]


def public_definitions(module: str) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]]:
    """Public functions and classes of a module, and the public methods of its classes, by name."""
    for node in tree(module).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node.name, node
        if isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef) and not inner.name.startswith("_"):
                    yield f"{node.name}.{inner.name}", inner


@cache
def documented_methods() -> frozenset[str]:
    """Names of methods that have a docstring somewhere: what overrides them need not say it again."""
    return frozenset(
        name.split(".")[1] for module in MODULES for name, node in public_definitions(module) if "." in name and ast.get_docstring(node)
    )


def untyped(function: ast.FunctionDef | ast.AsyncFunctionDef, method: bool) -> list[str]:
    """What lacks a type hint: arguments by name, and `return`."""
    given = function.args
    positional = [*given.posonlyargs, *given.args]
    fixed = {"staticmethod"} & {ast.unparse(decorator) for decorator in function.decorator_list}
    if method and not fixed:
        positional = positional[1:]
    arguments = [*positional, *given.kwonlyargs, *filter(None, (given.vararg, given.kwarg))]
    return [argument.arg for argument in arguments if argument.annotation is None] + (["return"] if function.returns is None else [])


# Layers and rooms


def test_every_module_has_its_notebook() -> None:
    files = {path.relative_to(TOP / "dr_opt").with_suffix("").as_posix().replace("/", ".") for path in (TOP / "dr_opt").rglob("*.py")}
    assert {name for name in files if not name.split(".")[-1].startswith("_")} == set(MODULES)
    assert set(NOTEBOOKS) <= set(MODULE_OF_NOTEBOOK)


@each_notebook
def test_exports_to_the_module_of_its_number(name: str) -> None:
    found = [re.findall(r"^#\|\s*default_exp\s+(\S+)", source, re.MULTILINE) for source in notebook(name).sources("code")]
    assert [module for modules in found for module in modules] == [MODULE_OF_NOTEBOOK[name]]


@each_module
def test_module_imports_only_lower_numbers(module: str) -> None:
    found = own(imported(tree(module), module)) - {"constraints", "solver"}
    late = {name for name in found if name and PLACE.get(name, len(PLACE)) >= PLACE[module]}
    assert not late, f"dr_opt.{module} imports {sorted(late)}, which do not stand before it"


@each_module
def test_module_takes_nothing_but_the_version_from_the_package(module: str) -> None:
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            assert "dr_opt" not in {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is None and node.level == module.count(".") + 1:
            assert {alias.name for alias in node.names} <= {"__version__", *(name.split(".")[0] for name in PLACE)}


@each_notebook
def test_cells_import_no_higher_numbers(name: str) -> None:
    module = MODULE_OF_NOTEBOOK[name]
    found = {module for _, code in cell_trees(notebook(name)) for module in own(imported(code))} - {"", "constraints", "solver"}
    late = {used for used in found if PLACE.get(used, len(PLACE)) > PLACE[module]}
    assert not late, f"{name} uses {sorted(late)}, which come later"


@each_module
def test_libraries_stay_in_their_rooms(module: str) -> None:
    for name in imported(tree(module), module):
        for libraries, room in KEYS.items():
            if any(name == library or name.startswith(library + ".") for library in libraries):
                assert re.fullmatch(room, module), f"dr_opt.{module} imports {name}; only {room or 'no module'} may"


@each_module
def test_printing_reading_and_writing_stay_in_their_rooms(module: str) -> None:
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            for names, room in CALLS.items():
                assert called not in names or re.fullmatch(room, module), f"dr_opt.{module}:{node.lineno} calls {called}; only {room} may"


@each_module
def test_plain_python(module: str) -> None:
    for node in ast.walk(tree(module)):
        assert not (isinstance(node, ast.ExceptHandler) and node.type is None), f"dr_opt.{module}:{node.lineno}: bare except"
        assert not (isinstance(node, ast.ImportFrom) and node.names[0].name == "*"), f"dr_opt.{module}:{node.lineno}: import *"


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = f"import sys, dr_opt; print([name for name in {HEAVY} if name in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], cwd=TOP, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


# Definitions


@each_module
def test_public_names_have_docstrings(module: str) -> None:
    bare = [name for name, node in public_definitions(module) if not ast.get_docstring(node)]
    assert not [name for name in bare if "." not in name or name.split(".")[1] not in documented_methods()]


@each_module
def test_public_names_have_type_hints(module: str) -> None:
    hints = {name: untyped(node, "." in name) for name, node in public_definitions(module) if not isinstance(node, ast.ClassDef)}
    assert not {name: missing for name, missing in hints.items() if missing}


@each_module
def test_functions_are_short(module: str) -> None:
    lines = {function.name: body_lines(function) for function in functions(tree(module))}
    assert not {name: count for name, count in lines.items() if count > MOST_LINES_OF_A_FUNCTION}
    assert not lines or statistics.median(lines.values()) <= MOST_LINES_OF_MEDIAN_BODY


# Notebooks


@each_notebook
def test_notebook_is_of_readable_size(name: str) -> None:
    assert len(notebook(name).cells) <= MOST_CELLS
    assert len(notebook(name).exported_lines) <= MOST_EXPORTED_LINES


@each_notebook
def test_prose_outweighs_code(name: str) -> None:
    book = notebook(name)
    words = sum(bool(re.search(r"\w", word)) for source in book.sources("markdown") for word in source.split())
    assert words / max(1, len(book.exported_lines)) >= LEAST_PROSE_WORDS_PER_LINE


@each_book
def test_what_is_printed_is_saved(name: str) -> None:
    for cell, code in cell_trees(notebook(name)):
        source = "".join(cell["source"])
        outside_functions = [node for node in code.body if not isinstance(node, ast.FunctionDef | ast.ClassDef)]
        prints = any(isinstance(node, ast.Name) and node.id == "print" for part in outside_functions for node in ast.walk(part))
        if prints and not re.search(r"^#\|\s*eval:\s*false", source, re.MULTILINE):
            assert cell["outputs"], f"{name} prints nothing under:\n{source}"


@each_notebook
def test_imports_of_examples_have_cells_of_their_own(name: str) -> None:
    """nbdev runs cells that import when it makes the site, and nothing else that is not exported."""
    for cell, code in cell_trees(notebook(name)):
        source = "".join(cell["source"])
        if not re.search(r"^#\|\s*(export|eval:\s*false)", source, re.MULTILINE):
            imports = [isinstance(node, ast.Import | ast.ImportFrom) for node in code.body]
            inside = any(isinstance(node, ast.Import | ast.ImportFrom) for node in ast.walk(code))
            assert not inside or all(imports), f"{name}: put the imports into a cell before this one:\n{source}"


@each_page
def test_pages_export_nothing(name: str) -> None:
    assert not [source for source in notebook(name).sources("code") if re.search(r"^#\|\s*(default_exp|export)", source, re.MULTILINE)]


@pytest.mark.parametrize("name", [name for name in PAGES if name.startswith("studies/")])
def test_studies_use_what_users_use(name: str) -> None:
    """The package as a whole, and the style of its pictures."""
    found = {used for _, code in cell_trees(notebook(name)) for used in own(imported(code))}
    assert found <= {"", "drawing"}


@each_page
def test_pages_tell_more_than_they_run(name: str) -> None:
    book = notebook(name)
    lines = [line for source in book.sources("code") for line in source.splitlines() if line.strip() and not line.startswith("#|")]
    assert sum(bool(re.search(r"\w", word)) for source in book.sources("markdown") for word in source.split()) >= 3 * len(lines)


@each_page
def test_no_errors_or_widgets_in_pages_and_pictures_of_modest_size(name: str) -> None:
    for cell in notebook(name).cells:
        for output in cell.get("outputs", []):
            assert output["output_type"] != "error"
            assert not [kind for kind in output.get("data", {}) if "widget" in kind]
            assert len(json.dumps(output)) < MOST_BYTES_OF_AN_OUTPUT


@pytest.mark.parametrize("name", [*NOTEBOOKS, *PAGES, "./index"])
def test_no_picture_is_hidden_from_its_page(name: str) -> None:
    """`hide` takes a cell's output off the page as well; `echo: false` takes only its code."""
    for cell in notebook(name).cells:
        if re.search(r"^#\|\s*hide\s*$", "".join(cell["source"]), re.MULTILINE):
            shown = [kind for output in cell.get("outputs", []) for kind in output.get("data", {})]
            assert not [kind for kind in shown if kind.startswith("image/") or kind == "text/markdown"]


@each_notebook
def test_no_pictures_errors_or_widgets_in_the_file(name: str) -> None:
    for cell in notebook(name).cells:
        assert not cell.get("attachments")
        for output in cell.get("outputs", []):
            assert output["output_type"] != "error"
            assert not [kind for kind in output.get("data", {}) if kind.startswith("image/") or "widget" in kind]
            assert "data:image" not in json.dumps(output)


# Files that agree with each other


@cache
def settings() -> dict[str, str]:
    parser = ConfigParser(delimiters=["="])
    parser.read(TOP / "settings.ini", encoding="utf-8")
    return dict(parser["DEFAULT"])


def test_one_version_everywhere() -> None:
    version = settings()["version"]
    assert f'__version__ = "{version}"' in (TOP / "dr_opt/__init__.py").read_text(encoding="utf-8")
    assert f"version: {version}" in (TOP / "CITATION.cff").read_text(encoding="utf-8").splitlines()
    assert f"## {version}" in (TOP / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"version = {{{version}}}" in (TOP / "README.md").read_text(encoding="utf-8")


def test_the_citation_file_is_whole() -> None:
    import yaml

    citation = yaml.safe_load((TOP / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "type", "title", "abstract", "authors", "version", "license"} <= set(citation)
    assert citation["repository-code"] == settings()["git_url"] and citation["url"] == settings()["doc_host"] + settings()["doc_baseurl"]


def test_readme_has_two_commands() -> None:
    lines = (TOP / "README.md").read_text(encoding="utf-8").splitlines()
    commands = [line for line in lines if line.startswith("python3.11 -m venv ")]
    assert [line.split(" && ")[-1] for line in commands] == [".venv/bin/dr-opt demo", ".venv/bin/python -m pytest"]
    assert f"git clone {settings()['git_url']} && cd {settings()['repo']}" in lines


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_lead_somewhere(page: str) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#\s]+)", (TOP / page).read_text(encoding="utf-8"))
    assert not [link for link in links if not (TOP / link).exists()]


def test_workflows_run_what_is_there() -> None:
    import yaml

    flows = sorted((TOP / ".github/workflows").glob("*.yml"))
    assert [flow.stem for flow in flows] == ["release", "site", "test"]
    for flow in flows:
        text = flow.read_text(encoding="utf-8")
        jobs = yaml.safe_load(text)["jobs"]
        assert all(job["steps"] and job["runs-on"] for job in jobs.values())
        assert not [name for name in re.findall(r"\.ci/\w+", text) if not (TOP / name).exists()]
        assert not re.search(r"password|secrets\.", text.replace("without any password", ""))


def test_the_example_limit_of_the_guide_works() -> None:
    from dr_opt.problem import limits

    guide = (TOP / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    names: dict[str, object] = {"__name__": "example"}
    exec(compile(example, "CONTRIBUTING.md", "exec"), names)
    try:
        assert limits["max_evening_shift"]().model_dump() == {"kwh": 1.0}
    finally:
        del limits["max_evening_shift"]


def tracked_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=TOP, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("this is not a git checkout, so there is no list of tracked files")
    return [TOP / name for name in listed.stdout.split("\0") if name]


def test_files_speak_only_of_the_project() -> None:
    found = []
    for path in tracked_files():
        if path == Path(__file__) or not path.is_file() or b"\0" in path.read_bytes()[:8000]:
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            found += [f"{path.relative_to(TOP)}:{number}: {match.group()}" for match in FOREIGN.finditer(line)]
    assert not found, "\n".join(found)


@pytest.mark.slow
def test_wheel_holds_the_package_and_nothing_else(tmp_path: Path) -> None:
    import zipfile

    source = tmp_path / "source"
    for path in tracked_files():
        if path.is_file():
            copy = source / path.relative_to(TOP)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    subprocess.run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", tmp_path, source], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert not [name for name in names if not name.startswith(("dr_opt/", "dr_opt-"))]
    shipped = {path.relative_to(TOP).as_posix() for path in tracked_files() if path.is_relative_to(TOP / "dr_opt")}
    assert shipped <= names
