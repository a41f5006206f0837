"""Building a problem through each layer against solving it, in one run: `python benchmarks/model_building.py`.

Writes results/model_building.md and .json beside this file. Two questions are asked:

- What does the formulation cost to build with which the study of Delhi and Mumbai began, in a notebook (one Pyomo model per
  household and day, a rule for each slot that looks through all pairs of slots), and what the same problem handed to HiGHS as arrays?
- What does each layer cost for the package's own problem, a week of households under the default limits?

What counts as building is everything from arrays to what a solver can begin to work on: matrices passed, or a file
written. Every figure is the quickest of a few rounds; compare them within one run only.
"""

import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
import scipy.sparse
from stored import RESULTS, command, parsed, parser, write

from dr_opt.preparation import make_problems, readings_of
from dr_opt.readings import read_readings
from dr_opt.scenario import Scenario
from dr_opt.solver.backends import backends
from dr_opt.solver.base import Effort
from dr_opt.solver.judging import Rows, rows_of
from dr_opt.solver.layers import cvxpy_problem, write_lp
from dr_opt.sparse import SparseProblem, sparse_form
from dr_opt.synthesis import synthesise

SLOTS, REACH = 48, 4  # half-hours of a day; two hours either way


def quickest(task: Callable[[], object], rounds: int = 3) -> float:
    """Seconds of the quickest round."""
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        task()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


# ---- the first notebook's formulation: every slot's energy is assigned to slots within the window ------------------


@cache
def pairs() -> list[tuple[int, int]]:
    """(from, to) slots within reach, staying included."""
    return [(i, j) for i in range(SLOTS) for j in range(max(0, i - REACH), min(SLOTS, i + REACH + 1))]


@cache
def pair_arrays() -> tuple[np.ndarray, np.ndarray]:
    """The same as two arrays."""
    origin, destination = np.array(pairs()).T
    return origin, destination


def pyomo_by_rules(factors: np.ndarray, usage: np.ndarray, path: Path) -> None:
    """As the notebook had it: rules that look through all pairs for every slot; then the file that its solver reads."""
    import pyomo.environ as pyo

    places = dict(enumerate(pairs()))
    model = pyo.ConcreteModel()
    model.pairs = pyo.Set(initialize=list(places))
    model.y = pyo.Var(model.pairs, domain=pyo.NonNegativeReals)
    model.emissions = pyo.Objective(rule=lambda m: sum(m.y[p] * factors[places[p][1]] for p in m.pairs), sense=pyo.minimize)
    model.assigned = pyo.Constraint(range(SLOTS), rule=lambda m, t: sum(m.y[p] for p in m.pairs if places[p][0] == t) == usage[t])
    model.write(str(path / "notebook.lp"))


def cvxpy_by_terms(factors: np.ndarray, usage: np.ndarray, path: Path) -> None:
    """As the notebook had it: an expression for every pair."""
    import cvxpy

    places = pairs()
    y = cvxpy.Variable(len(places), nonneg=True)
    cost = cvxpy.sum([y[p] * factors[j] for p, (_, j) in enumerate(places)])
    rows = [cvxpy.sum([y[p] for p, (i, _) in enumerate(places) if i == t]) == usage[t] for t in range(SLOTS)]
    cvxpy.Problem(cvxpy.Minimize(cost), rows).get_problem_data("GLPK")


def notebook_form(days: Sequence[tuple[np.ndarray, np.ndarray]]) -> SparseProblem:
    """The same for any number of household-days, as the arrays of one problem."""
    origin, destination = pair_arrays()
    factors, usage = (np.concatenate([day[k] for day in days]) for k in range(2))
    first = SLOTS * np.repeat(np.arange(len(days)), len(origin))
    count, none = len(first), np.zeros(0, np.int64)
    return SparseProblem(
        objective=-factors[np.tile(destination, len(days)) + first], lower=np.zeros(count), upper=np.full(count, np.inf),
        integer=np.zeros(count, bool), matrix=(np.tile(origin, len(days)) + first, np.arange(count), np.ones(count)), row_lower=usage,
        row_upper=usage, aggregated=False, candidate=none, arc=none, binary_column=none,
    )  # fmt: skip


def highs_direct(sparse: SparseProblem) -> object:
    """A problem passed to HiGHS as arrays."""
    import highspy

    row, column, coefficient = sparse.matrix
    size = len(sparse.row_upper), len(sparse.objective)
    matrix = scipy.sparse.csc_array((coefficient, (row, column)), shape=size)
    solver = highspy.Highs()
    solver.setOptionValue("output_flag", False)
    solver.passModel(
        size[1], size[0], matrix.nnz, int(highspy.MatrixFormat.kColwise), int(highspy.ObjSense.kMinimize), 0.0, -sparse.objective,
        sparse.lower, sparse.upper, sparse.row_lower, sparse.row_upper, matrix.indptr.astype(np.int32), matrix.indices.astype(np.int32),
        matrix.data, sparse.integer.astype(np.int32),
    )  # fmt: skip
    return solver


def of_the_notebook(customer_days: int, path: Path) -> list[dict]:
    """Seconds to build so many household-days' problems in each way, and to solve them by HiGHS."""
    rng = np.random.default_rng(0)
    days = [(rng.uniform(300, 1000, SLOTS), rng.lognormal(-2, 1, SLOTS)) for _ in range(customer_days)]
    ways: dict[str, Callable[[], object]] = {
        "HiGHS, arrays": lambda: highs_direct(notebook_form(days)),
        "Pyomo, as the notebook had it": lambda: [pyomo_by_rules(*day, path) for day in days],
    }
    if customer_days == 1:
        ways["cvxpy, as the notebook had it"] = lambda: cvxpy_by_terms(*days[0], path)
    rounds = 50 if customer_days == 1 else 3
    seconds = {name: quickest(way, rounds) for name, way in ways.items()}
    solver = highs_direct(notebook_form(days))
    solving = quickest(solver.run, 1)  # type: ignore[attr-defined]
    return [
        {"customer_days": customer_days, "way": name, "build_seconds": second, "times_highs": second / seconds["HiGHS, arrays"],
         "highs_solve_seconds": solving} for name, second in seconds.items()
    ]  # fmt: skip


# ---- the package's own problem through each layer ------------------------------------------------------------------


def form_of(customers: int) -> SparseProblem:
    """A week of synthetic Delhi households under the default limits."""
    scenario = Scenario(progress=False)
    readings = read_readings(synthesise("delhi", customers=customers, days=7), calendar=scenario.calendar, show_progress=False)
    [problem] = make_problems(readings_of(readings, scenario), scenario)
    return sparse_form(problem)


def pyomo_model(rows: Rows, path: Path) -> None:
    """A Pyomo model with one linear expression a row, and its file."""
    import pyomo.environ as pyo
    from pyomo.core.expr.numeric_expr import LinearExpression

    sparse, matrix = rows.sparse, rows.matrix
    model = pyo.ConcreteModel()
    model.x = pyo.Var(range(len(sparse.objective)))
    x = list(model.x.values())
    for column, (low, high, whole) in enumerate(zip(sparse.lower.tolist(), sparse.upper.tolist(), sparse.integer.tolist())):
        x[column].setlb(low)
        x[column].setub(high if high < np.inf else None)
        x[column].domain = pyo.Integers if whole else pyo.Reals
    model.rows = pyo.ConstraintList()
    for row, (low, high) in enumerate(zip(rows.lower.tolist(), rows.upper.tolist())):
        place = slice(matrix.indptr[row], matrix.indptr[row + 1])
        left = LinearExpression(linear_coefs=matrix.data[place].tolist(), linear_vars=[x[k] for k in matrix.indices[place]])
        model.rows.add((low if low > -np.inf else None, left, high if high < np.inf else None))
    model.goal = pyo.Objective(expr=LinearExpression(linear_coefs=(-sparse.objective).tolist(), linear_vars=x))
    model.write(str(path / "model.lp"))


def pyomo_matrix(rows: Rows, path: Path) -> None:
    """A Pyomo kernel model with one matrix constraint, and its file."""
    import pyomo.kernel as pmo
    from pyomo.core.expr.numeric_expr import LinearExpression

    sparse, model = rows.sparse, pmo.block()
    model.x = pmo.variable_list(
        pmo.variable(lb=low, ub=high if high < np.inf else None, domain_type=pmo.IntegerSet if whole else pmo.RealSet)
        for low, high, whole in zip(sparse.lower.tolist(), sparse.upper.tolist(), sparse.integer.tolist())
    )
    model.rows = pmo.matrix_constraint(scipy.sparse.csr_matrix(rows.matrix), lb=rows.lower, ub=rows.upper, x=list(model.x), sparse=True)
    model.goal = pmo.objective(LinearExpression(linear_coefs=(-sparse.objective).tolist(), linear_vars=list(model.x)))
    model.write(str(path / "kernel.lp"))


def cvxpy_arrays(rows: Rows, solver: str) -> None:
    """The package's way through cvxpy."""
    import cvxpy

    cvxpy_problem(cvxpy, rows)[0].get_problem_data(solver)


def through_layers(customers: int, path: Path) -> list[dict]:
    """Seconds to build a week of so many households through each layer, and what its solvers take in all for the relaxation."""
    form = form_of(customers)
    relaxed = replace(form, integer=np.zeros_like(form.integer))
    rows = rows_of(form)
    ways: dict[str, tuple[Callable[[], object], str | None]] = {
        "HiGHS, arrays": (lambda: highs_direct(form), "highs"),
        "cvxpy, arrays (to Clarabel)": (lambda: cvxpy_arrays(rows_of(relaxed), "CLARABEL"), "clarabel"),
        "cvxpy, arrays (to GLPK)": (lambda: cvxpy_arrays(rows, "GLPK_MI"), "glpk" if customers <= 10 else None),
        "LP file (Pyomo's interface to CBC)": (lambda: write_lp(rows, path / "form.lp"), "cbc"),
        "LP file (SCIP's library)": (lambda: read_by_scip(rows, path), "scip"),
        "Pyomo model, a linear expression a row": (lambda: pyomo_model(rows, path), None),
        "Pyomo kernel, one matrix constraint": (lambda: pyomo_matrix(rows, path), None),
    }
    table, first = [], quickest(ways["HiGHS, arrays"][0])
    for name, (build, backend) in ways.items():
        second = first if name == "HiGHS, arrays" else quickest(build)
        usable = backend is not None and backends[backend].available
        whole = quickest(lambda: backends[backend].solve(relaxed, Effort()), 1) if usable else None  # noqa: B023
        table.append(
            {"customers": customers, "columns": len(form.objective), "rows": len(rows.upper), "way": name, "build_seconds": second,
             "times_highs": second / first, "relaxation_seconds": whole}
        )  # fmt: skip
    return table


def read_by_scip(rows: Rows, path: Path) -> None:
    """The file written and read by SCIP."""
    import pyscipopt

    write_lp(rows, path / "scip.lp")
    model = pyscipopt.Model()
    model.hideOutput()
    model.readProblem(str(path / "scip.lp"))


# ---- the report ----------------------------------------------------------------------------------------------------


def shown(seconds: float | None) -> str:
    """Milliseconds, or a dash."""
    return "–" if seconds is None else f"{1000 * seconds:,.1f}"


def report(stored: dict) -> str:
    """Both tables in markdown."""
    lines = [
        "# Building models",
        "",
        f"One run of `{stored['command']}`; compare figures within a table only. Times in ms.",
        "",
        "## One model for each household and day",
        "",
        "The study of Delhi and Mumbai began in a notebook, before there was this package. It planned each household and day by itself:"
        f" {SLOTS} half-hours, moves of up to {REACH} slots, {len(pairs())} columns, {SLOTS} rows."
        " Pyomo and cvxpy build one model each, as the notebook did; the arrays of all are one problem.",
        "",
        "| household-days | way | building | times HiGHS | solving by HiGHS |",
        "| ---: | --- | ---: | ---: | ---: |",
    ]
    for row in stored["notebook"]:
        times = f"{row['times_highs']:.1f} | {shown(row['highs_solve_seconds'])}"
        lines.append(f"| {row['customer_days']:,} | {row['way']} | {shown(row['build_seconds'])} | {times} |")
    lines += [
        "",
        "## The package's own problem",
        "",
        "A week of households under the default limits, aggregated form. The last column is the whole of one back-end's work on the"
        " relaxation: building, solving, reading back, checking. A – stands where no back-end of the package goes this way, where it is not"
        " installed, and for GLPK with more than 10 households, which would take too long.",
        "",
        "| households | columns | rows | way | building | times HiGHS | relaxation in all |",
        "| ---: | ---: | ---: | --- | ---: | ---: | ---: |",
    ]
    for row in stored["layers"]:
        lines.append(
            f"| {row['customers']:,} | {row['columns']:,} | {row['rows']:,} | {row['way']} | {shown(row['build_seconds'])} "
            f"| {row['times_highs']:.1f} | {shown(row['relaxation_seconds'])} |"
        )
    return "\n".join([*lines, ""])


def main() -> None:
    """Measures, prints and stores."""
    options = parser(__doc__)
    options.add_argument("--out", type=Path, default=RESULTS, help="folder for the two files")
    options.add_argument("--small", action="store_true", help="only one household-day and 10 households")
    chosen = parsed(options, "model_building", report)
    with tempfile.TemporaryDirectory() as name:
        notebook = [row for days in ((1,) if chosen.small else (1, 70, 700)) for row in of_the_notebook(days, Path(name))]
        layers = [row for customers in ((10,) if chosen.small else (10, 100)) for row in through_layers(customers, Path(name))]
    packages = {package: version(package) for package in ("highspy", "cvxpy", "pyomo", "pyscipopt", "cbcbox", "clarabel", "cvxopt")}
    facts = {"command": command(), "python": platform.python_version(), "machine": platform.machine(), "packages": packages}
    write("model_building", {**facts, "notebook": notebook, "layers": layers}, report, chosen.out)


if __name__ == "__main__":
    main()
