# ruff: noqa: E501 (sentences and tables are kept whole)
"""What every back-end owes, whatever route it takes: known optima, strict bounds, its options, and a clear word when there is no plan."""

import importlib.util
import logging
import os
import re
import signal
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from dr_opt.basics import InputError, SolverError
from dr_opt.preparation import make_problems, readings_of
from dr_opt.readings import read_readings
from dr_opt.scenario import Scenario
from dr_opt.solver.backends import Backend, backends
from dr_opt.solver.base import Effort, Status, families
from dr_opt.solver.judging import Found, Layer, Rows, captured, dual_bound, implied_upper, rows_of, scaled
from dr_opt.solver.layers import GlpkProgram
from dr_opt.sparse import SparseProblem, sparse_form
from dr_opt.synthesis import synthesise

ROUTES: dict[str, Backend] = {name: backend for name, backend in backends.items() if backend.available and not backend.whole}
if GlpkProgram().available:  # GLPK's second route, which only counts where the first is missing
    ROUTES["glpk by its program"] = GlpkProgram()
EXACT = [name for name, backend in ROUTES.items() if backend.integers]
LINEAR = [name for name, backend in ROUTES.items() if backend.linear]
CURVED = [name for name, backend in ROUTES.items() if backend.quadratic]
LARGE = [name for name, backend in ROUTES.items() if backend.largest_columns is None]  # the others are made for textbooks' sizes
SOLVERS_EXTRA = all(importlib.util.find_spec(name) for name in ("cvxpy", "cvxopt", "clarabel", "scs", "ecos", "osqp", "pyomo", "cbcbox", "pyscipopt"))
needs_extra = pytest.mark.skipif(not SOLVERS_EXTRA, reason="needs the other solvers: pip install .[solvers]")
INF = np.inf


def sparse(objective: list, rows: list[tuple], upper: list | float = INF, lower: list | float = 0.0, integer: bool = False) -> SparseProblem:
    """max objective·x, every column an integer where asked; rows are (coefficients, lower, upper)."""
    size, none = len(objective), np.zeros(0, np.int64)
    matrix = np.array([row[0] for row in rows], float).reshape(len(rows), size)
    row, column = np.nonzero(matrix)
    return SparseProblem(
        objective=np.array(objective, float), lower=np.full(size, lower, float) if np.isscalar(lower) else np.array(lower, float),
        upper=np.full(size, upper, float) if np.isscalar(upper) else np.array(upper, float), integer=np.full(size, integer),
        matrix=(row, column, matrix[row, column]), row_lower=np.array([row[1] for row in rows], float),
        row_upper=np.array([row[2] for row in rows], float), aggregated=False, candidate=none, arc=none, binary_column=none,
    )  # fmt: skip


@dataclass(frozen=True)
class Known:
    """A small problem with its optima, relaxed and with integers where `whole` says (None: everywhere)."""

    name: str
    relaxed: float
    exact: float
    problem: SparseProblem
    whole: tuple[int, ...] | None = None

    def form(self, integers: bool) -> SparseProblem:
        marked = np.zeros(len(self.problem.objective), bool)
        if integers:
            marked[slice(None) if self.whole is None else list(self.whole)] = True
        return replace(self.problem, integer=marked)


CYCLE = [([int(j in (i, (i + 1) % 5)) for j in range(5)], -INF, 1) for i in range(5)]
PERSONS = [([int(j // 3 == i) for j in range(9)], 1, 1) for i in range(3)] + [([int(j % 3 == i) for j in range(9)], 1, 1) for i in range(3)]
KNOWN = [
    Known("budget", 11.5, 11, sparse([3, 5], [([1, 2], -INF, 4)], [3, 1]), (1,)),
    Known("knapsack", 20.25, 20, sparse([10, 13, 7], [([3, 4, 2], -INF, 6)], 1)),
    Known("equality", 10.5, 10, sparse([2, 3], [([1, 1], 4, 4)], [INF, 2.5])),
    Known("no upper bounds", 2.8, 2, sparse([1, 1], [([1, 2], -INF, 4), ([3, 1], -INF, 6)])),
    Known("at least", -8.5, -10, sparse([-2, -3], [([1, 1], 3.5, INF)], [2, INF])),
    Known("ranges", 2.5, 2, sparse([0, 1], [([1, -1], 1, 2)], [3.5, INF])),
    Known("empty rows", 11.5, 11, sparse([3, 5], [([0, 0], -INF, 5), ([1, 2], -INF, 4), ([0, 0], -1, INF)], [3, 1]), (1,)),
    Known("no rows", 6, 5, sparse([2, -1, 1], [], [1.5, 4, 2], [0, -1, 0])),
    Known("no limits in rows", 6, 5, sparse([2, -1, 1], [([1, 1, 1], -INF, INF)], [1.5, 4, 2], [0, -1, 0])),
    Known("degenerate transport", 20, 20, sparse([5, 1, 1, 5], [([1, 1, 0, 0], 2, 2), ([0, 0, 1, 1], 2, 2), ([1, 0, 1, 0], 2, 2), ([0, 1, 0, 1], 2, 2)])),
    Known("assignment", 20, 20, sparse([7, 4, 3, 6, 8, 5, 9, 4, 4], PERSONS, 1)),
    Known("fixed charge", 9, 3, sparse([3, -12], [([1, -10], -INF, 0)], [5, 1]), (1,)),
    Known("least size", 19, 18, sparse([5, 4, 0, 0], [([1, 0, -3, 0], -INF, 0), ([0, 1, 0, -3], -INF, 0), ([-1, 0, 2, 0], -INF, 0), ([0, -1, 0, 2], -INF, 0), ([1, 1, 0, 0], -INF, 4)], [3, 3, 1, 1]), (2, 3)),
    Known("whole numbers", 21, 20, sparse([5, 4], [([6, 4], -INF, 24), ([1, 2], -INF, 6)])),
    Known("no objective", 0, 0, sparse([0, 0], [([1, 1], 1, 1)], 1)),
    Known("nothing possible but nought", 0, 0, sparse([1, 1], [([1, 1], -INF, 0)])),
    Known("lower bounds", -1.5, -2, sparse([-1, -1, 1], [([-1, -1, 1], -INF, -1.5)], [3, 3, 10], [1, 1, 0])),
    Known("odd cycle", 2.5, 2, sparse([1] * 5, CYCLE, 1)),
    Known("a column that nobody mentions", 11.5, 11, sparse([3, 5, 0], [([1, 2, 0], -INF, 4)], [3, 1, 7]), (1,)),
]  # fmt: skip


def closeness(name: str) -> float:
    """How near to the optimum a back-end must come, relative."""
    return 1e-4 if ROUTES[name].first_order else 1e-6


@needs_extra
def test_the_extra_brings_enough() -> None:
    assert len([name for name in backends if backends[name].available and backends[name].integers]) >= 4
    assert len([name for name in backends if backends[name].available]) >= 5


@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.parametrize("known", KNOWN, ids=lambda k: k.name)
def test_known_optima(known: Known, name: str) -> None:
    for integers in (False, True) if ROUTES[name].integers else (False,):
        form, optimum = known.form(integers), known.exact if integers else known.relaxed
        values = ROUTES[name].solve(form, Effort(gap=0.0))
        near = closeness(name) * max(1.0, abs(optimum))
        assert form.objective @ values.x == pytest.approx(optimum, abs=near)
        assert rows_of(form).breach(values.x) <= closeness(name)
        assert values.bound is not None and optimum - 1e-9 * max(1.0, abs(optimum)) <= values.bound <= optimum + 10 * near
        assert values.status == Status.OPTIMAL


def curved(quadratic: list, *problem: object, **more: object) -> SparseProblem:
    """max objective·x − Σ quadratic·x², the rest as for `sparse`."""
    return replace(sparse(*problem, **more), quadratic=np.array(quadratic, float))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Curve:
    """A problem with a quadratic cost, its optimum and the point that reaches it, worked out by hand as `why` says."""

    name: str
    optimum: float
    point: tuple[float, ...]
    problem: SparseProblem
    why: str


# The price y of a shared row makes x = (c − y) / 2q in every column that no bound stops; y is such that the row is just filled.
CURVES = [
    Curve("free top", 6.25, (2.5,), curved([1], [5], [([1], -INF, 9)], INF), "5 / 2; 5 × 2.5 − 2.5²"),
    Curve("stopped by its bound", 6, (2,), curved([1], [5], [([1], -INF, 9)], 2), "5 × 2 − 2²"),
    Curve("stopped by a row", 6, (2,), curved([1], [5], [([2], -INF, 4)], INF), "the same by a row"),
    Curve("two alike", 8, (2, 2), curved([1, 1], [4, 4], [([1, 1], -INF, 6)], INF), "each on top: 4 × 2 − 2², and 4 kWh are within 6"),
    Curve("two alike in a narrow row", 6, (1, 1), curved([1, 1], [4, 4], [([1, 1], -INF, 2)], INF), "y = 2; twice 4 − 1"),
    Curve("unlike", 10.5, (1.5, 0.5), curved([1, 1], [7, 5], [([1, 1], -INF, 2)], INF), "y = 4: (7 − 4) / 2 and (5 − 4) / 2; 10.5 + 2.5 − 2.25 − 0.25"),
    Curve("unlike in curve", 16 / 3, (4 / 3, 2 / 3), curved([1, 2], [4, 4], [([1, 1], -INF, 2)], INF), "y = 4/3: (4 − y) / 2 and (4 − y) / 4; 8 − 16/9 − 8/9"),
    Curve("one curved, one straight", 7.25, (1.5, 1), curved([1, 0], [3, 5], [([1, 2], -INF, 4)], [3, 1]), "3 / 2, and all of the other; the row has room"),
    Curve("curved against straight", 6.25, (0.5, 1.5), curved([1, 0], [4, 3], [([1, 1], -INF, 2)], INF), "y = 3 is the straight one's: (4 − 3) / 2, the rest to it; 2 + 4.5 − 0.25"),
    Curve("equation", -4, (2, 2), curved([1, 1], [1, 1], [([1, 1], 4, 4)], INF), "y = −3; 4 − 8"),
    Curve("at least", -3, (1, 1), curved([1, 1], [-0.5, -0.5], [([1, 1], 2, INF)], INF), "y = −2.5; −1 − 2"),
    Curve("not worth it", 0, (0, 0), curved([1, 3], [-1, 0], [([1, 1], -INF, 4)], INF), "both fall from nought on"),
    Curve("no rows", 7.25, (1.5, 2, -1), curved([1, 0, 1], [3, 2, -2], [], [4, 2, 2], [0, 0, -3]), "3 / 2; its bound; −2 / 2: 2.25 + 4 + 1"),
    Curve("outflow and routes", 1000, (2, 2, 2, 2), curved([100, 100, 0, 0], [0, 0, 500, 400], [([1, 1, -1, -1], 0, 0), ([0, 0, 1, 0], -INF, 2)], [2, 2, INF, INF]), "two homes, of 2 kWh each, leave a slot by a route that holds 2 kWh at 500 g, then 400: so 2 kWh each, where the next would cost 400"),
    Curve("units apart", 0.05018999, (0.1, 1e-4), curved([1e-3, 1], [0.5, 2], [([1, 1000], -INF, 0.2), ([1, 0], -INF, 0.1)], INF), "0.1 by its row, and 1e-4 by what is left of the other: 0.05 − 1e-5 + 2e-4 − 1e-8"),
]  # fmt: skip


@pytest.mark.parametrize("name", CURVED)
@pytest.mark.parametrize("curve", CURVES, ids=lambda c: c.name)
def test_quadratic_optima(curve: Curve, name: str) -> None:
    values = ROUTES[name].solve(curve.problem, Effort())
    near = closeness(name) * max(1.0, abs(curve.optimum))
    assert curve.problem.value(values.x) == pytest.approx(curve.optimum, abs=near), curve.why
    assert rows_of(curve.problem).breach(values.x) <= closeness(name)
    assert values.bound is not None and curve.optimum - 1e-9 * max(1.0, abs(curve.optimum)) <= values.bound <= curve.optimum + 10 * near
    assert values.status == Status.OPTIMAL


@pytest.mark.parametrize("curve", CURVES, ids=lambda c: c.name)
def test_the_point_worked_out_reaches_the_optimum(curve: Curve) -> None:
    assert rows_of(curve.problem).breach(np.array(curve.point)) <= 1e-12
    assert curve.problem.value(np.array(curve.point)) == pytest.approx(curve.optimum, abs=1e-12)


@pytest.fixture(scope="module")
def week() -> dict[str, SparseProblem]:
    """Ten households' week under the default limits, in both forms, and relaxed with a cost of comfort."""
    scenario = Scenario(progress=False)
    readings = read_readings(synthesise("delhi", customers=10, days=7, seed=3), calendar=scenario.calendar, show_progress=False)
    [problem] = make_problems(readings_of(readings, scenario), scenario)
    comfort = sparse_form(problem, relaxed=True, comfort_g_per_kwh2=100.0)
    return {"aggregated": sparse_form(problem), "by customer": sparse_form(problem, aggregated=False), "comfort": comfort}


@pytest.fixture(scope="module")
def week_optima(week: dict[str, SparseProblem]) -> dict[bool, float]:
    """Its optima by HiGHS, with integers and without."""
    form = week["aggregated"]
    exact, relaxed = (backends["highs"].solve(f, Effort(gap=0.0)) for f in (form, replace(form, integer=np.zeros_like(form.integer))))
    return {True: form.objective @ exact.x, False: form.objective @ relaxed.x}


@pytest.mark.parametrize("name", [name for name in LINEAR if name != "highs" and not ROUTES[name].licence])
def test_a_real_week(week: dict[str, SparseProblem], week_optima: dict[bool, float], name: str) -> None:
    form = week["aggregated"]
    for integers in (False, True) if ROUTES[name].integers else (False,):
        asked = form if integers else replace(form, integer=np.zeros_like(form.integer))
        values = ROUTES[name].solve(asked, Effort(gap=1e-7))
        assert form.objective @ values.x == pytest.approx(week_optima[integers], rel=closeness(name))
        assert values.bound is not None
        assert week_optima[integers] * (1 - 1e-9) <= values.bound <= week_optima[integers] * (1 + 10 * closeness(name))


@pytest.mark.parametrize("name", [name for name in ("clarabel", "ecos", "scip") if name in ROUTES])
def test_both_forms_agree(week: dict[str, SparseProblem], week_optima: dict[bool, float], name: str) -> None:
    form = week["by customer"]
    values = ROUTES[name].solve(replace(form, integer=np.zeros_like(form.integer)), Effort())
    assert form.objective @ values.x == pytest.approx(week_optima[False], rel=1e-6)


@pytest.mark.parametrize("name", [name for name in CURVED if name in LARGE and not ROUTES[name].licence])
def test_a_week_with_a_cost_of_comfort(week: dict[str, SparseProblem], name: str) -> None:
    """Whoever reaches a bound that is strict has the optimum, so nobody is needed to compare with."""
    form = week["comfort"]
    values = ROUTES[name].solve(form, Effort())
    assert values.bound == pytest.approx(form.value(values.x), rel=closeness(name)) and values.status == Status.OPTIMAL
    assert rows_of(form).breach(values.x) <= closeness(name)


# Bounds


def test_any_prices_prove_a_bound() -> None:
    rng = np.random.default_rng(0)
    for known in KNOWN:
        rows = rows_of(known.form(False))
        for _ in range(20):
            bound = dual_bound(rows, rng.normal(scale=3, size=len(rows.upper)))
            assert bound is None or bound >= known.relaxed - 1e-9


def test_any_prices_prove_a_bound_of_a_curve() -> None:
    rng = np.random.default_rng(0)
    for curve in CURVES:
        rows = rows_of(curve.problem)
        for _ in range(20):
            bound = dual_bound(rows, rng.normal(scale=3, size=len(rows.upper)))
            assert bound is None or bound >= curve.optimum - 1e-9


def test_like_units_change_no_answer() -> None:
    rng = np.random.default_rng(0)
    for problem in [known.form(False) for known in KNOWN if known.name not in ("no rows", "no limits in rows")] + [curve.problem for curve in CURVES]:
        rows = rows_of(problem)
        like = scaled(rows)
        assert np.abs(like.rows.matrix).max(axis=1).toarray() == pytest.approx(1)
        z = rng.uniform(0, 1, len(problem.objective))
        price = rng.normal(scale=3, size=len(rows.upper))
        back = like.back(Found(z, "optimal", prices=price * like.row / like.goal))
        assert back.x is not None and back.prices == pytest.approx(price)
        assert problem.value(back.x) == pytest.approx(like.goal * like.rows.sparse.value(z))
        assert rows.matrix @ back.x == pytest.approx(like.row * (like.rows.matrix @ z))
        bound, same = dual_bound(rows, price), dual_bound(like.rows, price * like.row / like.goal)
        assert (bound is None and same is None) or bound == pytest.approx(like.goal * same, rel=1e-6)


def test_uppers_are_implied_by_rows() -> None:
    routed = sparse([0, 0, 1, 1], [([1, 1, -1, -1], 0, 0)], [2, 3, INF, INF])
    assert implied_upper(rows_of(routed)).tolist() == [2, 3, 5, 5]
    assert implied_upper(rows_of(sparse([1, 1], [([1, -1], -INF, 3)]))).tolist() == [INF, INF]
    assert dual_bound(rows_of(routed), np.array([-0.999])) == pytest.approx(5 * 0.999 + 2 * 5 * 0.001)


# Options


OPTION_ERRORS = [
    ("highs", {"presolv": "on"}, "solver.options.presolv is not an option of HiGHS. Did you mean 'presolve'?"),
    ("glpk", {"mip_gapp": 1}, "solver.options.mip_gapp is not an option of GLPK. Did you mean 'mip_gap'?"),
    ("glpk", {"mip_gap": "a"}, "solver.options are {mip_gap: 'a'}, which GLPK refuses (it would take its default instead). Use values that it takes."),
    ("cbc", {"rattioGap": 1}, "solver.options.rattioGap is not an option of CBC. Did you mean 'ratioGap'?"),
    ("cbc", {"sec; ls": 1}, "solver.options.sec; ls is not an option of CBC. Use CBC's own names."),
    ("cbc", {"cuts": "sometimes"}, "solver.options are {cuts: 'sometimes'}, which CBC refuses (Illegal keyword: sometimes). Use values that it takes."),
    ("cbc", {"ratioGap": -4}, "solver.options are {ratioGap: -4}, which CBC refuses (-4 was provided for ratioGap - valid range is 0 to 1e+20). Use values that it takes."),
    ("scip", {"limits/gapp": 1}, "solver.options.limits/gapp is not an option of SCIP. Did you mean 'limits/gap'?"),
    ("scip", {"limits/gap": "a"}, "solver.options are {limits/gap: 'a'}, which SCIP refuses (could not convert string to float: 'a'). Use values that it takes."),
    ("clarabel", {"max_itr": 3}, "solver.options.max_itr is not an option of Clarabel. Did you mean 'max_iter'?"),
    ("clarabel", {"max_iter": "3"}, "solver.options are {max_iter: '3'}, which Clarabel refuses (Clarabel: Incorrect type for setting 'max_iter'.). Use values that it takes."),
    ("ecos", {"abst": 1}, "solver.options.abst is not an option of ECOS. Did you mean 'abstol'?"),
    ("osqp", {"maxiter": 9}, "solver.options.maxiter is not an option of OSQP. Did you mean 'max_iter'?"),
    ("osqp", {"eps_abs": -1.0}, "solver.options are {eps_abs: -1.0}, which OSQP refuses (ERROR in osqp_setup: Solver settings validation.). Use values that it takes."),
    ("scs", {"alpha": -5.0}, "solver.options are {alpha: -5.0}, which SCS refuses (alpha must be in (0, 2)). Use values that it takes."),
    ("gurobi", {"MIPGapp": 1}, "solver.options.MIPGapp is not an option of Gurobi. Did you mean 'MIPGap'?"),
    ("cplex", {"mip.tolerances.mipga": 1}, "solver.options.mip.tolerances.mipga is not an option of CPLEX. Did you mean 'mip.tolerances.mipgap'?"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options", "words"), [case for case in OPTION_ERRORS if case[0] in ROUTES])
def test_wrong_options_are_named(name: str, options: dict, words: str) -> None:
    with pytest.raises(InputError) as caught:
        ROUTES[name].solve(KNOWN[0].form(ROUTES[name].integers), Effort(options=options))
    assert str(caught.value) == words


RIGHT_OPTIONS = {
    "highs": {"presolve": "off"},
    "glpk": {"br_tech": "GLP_BR_DTH"}, "cbc": {"cuts": "off"}, "scip": {"presolving/maxrounds": 0}, "clarabel": {"max_iter": 90},
    "ecos": {"max_iters": 90}, "osqp": {"alpha": 1.4}, "scs": {"alpha": 1.2}, "gurobi": {"Presolve": 0}, "cplex": {"preprocessing.presolve": 0},
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in RIGHT_OPTIONS if name in ROUTES])
def test_right_options_are_taken(name: str) -> None:
    options = RIGHT_OPTIONS[name] if name != "glpk" or SOLVERS_EXTRA else {}
    integers = ROUTES[name].integers
    values = ROUTES[name].solve(KNOWN[0].form(integers), Effort(gap=0.0, threads=2, seed=5, time_limit_seconds=60, options=options))
    assert KNOWN[0].problem.objective @ values.x == pytest.approx(11 if integers else 11.5, abs=1e-4)


@pytest.mark.parametrize("method", ["choose", "simplex", "ipm", "pdlp"])
def test_ways_of_highs(week: dict[str, SparseProblem], week_optima: dict[bool, float], method: str) -> None:
    form, near = week["aggregated"], 1e-4 if method == "pdlp" else 1e-6
    relaxed = replace(form, integer=np.zeros_like(form.integer))
    values = backends["highs"].solve(relaxed, Effort(options={"solver": method}))
    assert relaxed.value(values.x) == pytest.approx(week_optima[False], rel=near) and values.status == Status.OPTIMAL
    assert rows_of(relaxed).breach(values.x) <= (1e-3 if method == "pdlp" else 1e-6)
    assert values.bound is not None
    assert week_optima[False] * (1 - 1e-9) <= values.bound <= week_optima[False] * (1 + 10 * near)


@pytest.mark.parametrize("known", KNOWN, ids=lambda k: k.name)
def test_the_first_order_way_of_highs(known: Known) -> None:
    values = backends["highs"].solve(known.form(False), Effort(options={"solver": "pdlp"}))
    assert known.problem.value(values.x) == pytest.approx(known.relaxed, abs=1e-4 * max(1.0, abs(known.relaxed)))
    assert values.bound is not None and values.bound >= known.relaxed - 1e-9 * max(1.0, abs(known.relaxed))


def test_highs_with_changing_threads_and_in_threads() -> None:
    """HiGHS alone refuses another number of threads than its first; and solves in several threads must not mix their logs."""
    for threads in (1, 2, 1, 0):
        assert backends["highs"].solve(KNOWN[0].form(True), Effort(gap=0.0, threads=threads)).bound == pytest.approx(11)
    found: dict[int, object] = {}

    def solve(number: int) -> None:
        try:
            found[number] = backends["highs"].solve((IMPOSSIBLE, KNOWN[0].form(True))[number % 2], Effort(gap=0.0, threads=1 + number // 4))
        except SolverError as error:
            found[number] = error

    workers = [threading.Thread(target=solve, args=(number,)) for number in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert all(isinstance(found[number], SolverError) for number in (0, 2, 4, 6))
    assert all(str(found[number]).count("Running HiGHS") <= 1 for number in (0, 2, 4, 6))
    assert all(found[number].bound == pytest.approx(11) for number in (1, 3, 5, 7))  # type: ignore[attr-defined]


def test_highs_keeps_its_last_lines() -> None:
    with pytest.raises(SolverError) as caught:
        backends["highs"].solve(IMPOSSIBLE, Effort())
    first, *said = str(caught.value).splitlines()
    assert first == "HiGHS ended with 'infeasible' and no plan. Loosen a limit. Its last lines:"
    assert 3 <= len(said) <= 12 and all(line.startswith("  ") for line in said)
    assert any(re.search("Model status +: Infeasible", line) for line in said)


def test_a_relaxation_that_runs_out_of_time_hands_back_the_start() -> None:
    form, effort = KNOWN[10].form(False), Effort(time_limit_seconds=1e-9, options={"presolve": "off"})
    start = np.array([1.0, 0, 0, 0, 1, 0, 0, 0, 1])
    values = backends["highs"].solve(form, effort, start)
    assert values.status == Status.TIME_LIMIT and values.x.tolist() == start.tolist()
    assert values.bound is None or values.bound >= 20
    with pytest.raises(SolverError, match=r"^HiGHS ended with 'time limit' and no plan\. Raise solver\.time_limit_seconds, or loosen a limit\."):
        backends["highs"].solve(form, effort)


# Choosing


def test_who_lacks_what_a_family_needs_is_refused() -> None:
    able = [name for name in backends if backends[name].integers and backends[name].available and not backends[name].whole]
    with pytest.raises(InputError) as caught:
        families["milp"].choose("scs")
    assert str(caught.value).startswith("solver.backend 'scs' knows no integers, which the family milp needs. Use highs")
    assert str(caught.value).endswith(", or solver.family lp.") and all(name in str(caught.value) for name in able[:6])
    with pytest.raises(InputError, match=r"^solver\.backend 'osqp' is no solver of linear problems, which the family lp needs\. Use highs.*, or auto\.$"):
        families["lp"].choose("osqp")
    assert families["milp"].choose("highs").backend == "highs"


def test_who_is_missing_is_refused_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", "")
    for name, command in {"glpk": "pip install cvxpy cvxopt", "cbc": "pip install pyomo cbcbox", "scip": "pip install pyscipopt"}.items():
        with pytest.raises(InputError) as caught:
            families["lp"].choose(name)
        assert str(caught.value) == f"solver.backend '{name}' is not installed here. Install it ({command}), or use auto."
        assert backends[name].version is None


@pytest.mark.parametrize("name", ROUTES)
def test_what_a_back_end_declares(name: str) -> None:
    backend = ROUTES[name]
    assert backend.title and backend.module and backend.route and backend.version
    assert backend.install.startswith(("pip install ", "apt install "))
    assert backend.linear or backend.quadratic
    assert not (backend.first_order and backend.integers)


# Ends


IMPOSSIBLE = sparse([1, 1], [([1, 1], 3, INF), ([1, 0], -INF, 1), ([0, 1], -INF, 1)], 2)
ENDLESS = sparse([1, 1], [([1, -1], -INF, 1)])


@pytest.mark.parametrize("name", LARGE)
def test_no_plan_is_an_error_with_the_solver_s_words(name: str) -> None:
    title = ROUTES[name].title
    with pytest.raises(SolverError) as caught:
        ROUTES[name].solve(IMPOSSIBLE, Effort())
    first, *said = str(caught.value).splitlines()
    assert first == f"{title} ended with 'infeasible' and no plan. Loosen a limit. Its last lines:" and said
    with pytest.raises(SolverError, match=f"^{title} ended with '(infeasible or )?(unbounded|inforunbd|other)' and no plan"):
        ROUTES[name].solve(ENDLESS, Effort())


@pytest.mark.parametrize("name", ROUTES)
def test_rows_and_bounds_that_contradict_themselves(name: str) -> None:
    words = f"{ROUTES[name].title} ended with 'infeasible' and no plan. Loosen a limit."
    for never in (replace(KNOWN[6].problem, row_lower=np.array([1, -INF, -1])), replace(KNOWN[7].problem, upper=np.array([-1.0, 4, 2]))):
        with pytest.raises(SolverError) as caught:
            ROUTES[name].solve(never, Effort())
        assert str(caught.value) == words


def hard(columns: int = 120) -> SparseProblem:
    """A knapsack with many like weights, which takes any solver long."""
    rng = np.random.default_rng(1)
    rows = [(weights, -INF, weights.sum() // 3) for weights in rng.integers(100, 1000, (20, columns)).astype(float)]
    value = sum(row[0] for row in rows) / 20 + rng.integers(0, 20, columns)
    return sparse(list(value), rows, 1, integer=True)


@pytest.mark.parametrize("name", EXACT)
def test_a_time_limit_gives_the_best_so_far(name: str) -> None:
    form = hard()
    start = np.zeros(120)
    start[0] = 1.0
    began = time.monotonic()
    values = ROUTES[name].solve(form, Effort(gap=0.0, time_limit_seconds=1), start)
    assert time.monotonic() - began < 20
    assert values.status == Status.TIME_LIMIT
    assert rows_of(form).breach(values.x) < 1e-6 and form.objective @ values.x >= form.objective @ start - 1e-6
    assert values.bound is None or values.bound >= form.objective @ values.x - 1e-6


def children(program: str) -> list[int]:
    """Processes of ours that run `program`."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "stat").read_text().rsplit(")", 1)
        except OSError:
            continue
        if words[0].endswith(f"({program}") and int(words[1].split()[1]) == os.getpid():
            found.append(int(folder.name))
    return found


@pytest.mark.skipif("cbc" not in ROUTES or not Path("/proc/self/stat").exists(), reason="needs CBC and Linux's list of processes")
def test_a_killed_process_is_told() -> None:
    def kill() -> None:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            for process in children("cbc"):
                if b"-import" in Path(f"/proc/{process}/cmdline").read_bytes():
                    time.sleep(0.3)
                    os.kill(process, signal.SIGKILL)
                    return
            time.sleep(0.02)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(SolverError) as caught:
        backends["cbc"].solve(hard(), Effort(gap=0.0))
    killer.join()
    assert str(caught.value).splitlines()[0].startswith("CBC ended with 'did not exit normally' and no plan. It crashed or was killed, often for want of memory. Run it again, or use another back-end.")  # fmt: skip


class Made(Layer):
    """A layer that answers what it is told to."""

    name, title = "made", "Made"

    def __init__(self, found: Found):
        self.found = found

    def run(self, rows: Rows, options: dict, start: np.ndarray | None) -> Found:
        return self.found


def test_a_point_is_checked_and_not_believed() -> None:
    form = KNOWN[0].form(True)
    with pytest.raises(SolverError) as caught:
        Made(Found(np.array([3.0, 1.0]), "optimal", 14.0, lines=("first", "last"))).solve(form, Effort())
    assert str(caught.value) == (
        "Made ended with 'optimal' and values that break the limits by 2e-01. Use stricter solver.options, or another back-end. Its last lines:\n  first\n  last"
    )
    with pytest.raises(SolverError, match="by 5e-01"):
        Made(Found(np.array([3.0, 0.5]), "optimal")).solve(form, Effort())
    with pytest.raises(SolverError, match="no plan"):
        Made(Found(np.array([np.nan, 0.5]), "optimal")).solve(form, Effort())


def test_what_an_end_is_worth() -> None:
    form, start = KNOWN[0].form(True), np.array([1.0, 1.0])
    done = Made(Found(np.array([2.0, 1.0]), "optimal")).solve(form, Effort(gap=0.1))
    assert done.bound == pytest.approx(11 / 0.9) and done.status == Status.OPTIMAL
    early = Made(Found(np.array([2.0, 1.0]), "node limit", np.inf)).solve(form, Effort(gap=0.1))
    assert early.bound is None and early.status == Status.STOPPED
    late = Made(Found(None, "time limit", 12.5)).solve(form, Effort(), start)
    assert late.x.tolist() == [1, 1] and late.bound == 12.5 and late.status == Status.TIME_LIMIT
    poor = Made(Found(np.array([0.0, 0.0]), "time limit")).solve(form, Effort(), start)
    assert poor.x.tolist() == [1, 1]
    with pytest.raises(SolverError, match="no plan"):
        Made(Found(None, "node limit")).solve(form, Effort(), start)


class Licensed(Made):
    """One whose package comes with a licence for little."""

    licence = "without a licence of your own at most 1 column"


def test_a_licence_that_does_not_reach(week: dict[str, SparseProblem]) -> None:
    with pytest.raises(SolverError) as caught:
        Licensed(Found(None, "solver error")).solve(KNOWN[0].problem, Effort())
    assert str(caught.value) == (
        "Made ended with 'solver error' and no plan. Its licence may not reach (without a licence of your own at most 1 column; "
        "this problem has 2 columns and 1 rows). Use another back-end."
    )
    for name in {"gurobi", "cplex"} & set(ROUTES):
        try:
            values = ROUTES[name].solve(week["aggregated"], Effort())
        except SolverError as error:
            assert "Its licence may not reach (without a licence of your own at most " in str(error)
        else:  # somebody has a licence
            assert values.status == Status.OPTIMAL


# What solvers say


@pytest.mark.parametrize("name", ROUTES)
def test_nothing_is_printed_and_everything_is_logged(name: str, capfd: pytest.CaptureFixture, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="dr_opt.solver"):
        ROUTES[name].solve(KNOWN[13].form(ROUTES[name].integers), Effort())
    assert capfd.readouterr() == ("", "")
    assert caplog.messages and not [message for message in caplog.messages if "\n" in message or not message]


def test_the_first_order_way_of_highs_prints_nothing(capfd: pytest.CaptureFixture, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="dr_opt.solver"):
        backends["highs"].solve(KNOWN[13].form(False), Effort(options={"solver": "pdlp", "presolve": "off"}))
    assert capfd.readouterr() == ("", "") and any("PDLP" in message for message in caplog.messages)


def test_capturing_restores_what_it_took(capfd: pytest.CaptureFixture) -> None:
    with pytest.raises(ZeroDivisionError), captured() as lines:
        os.write(1, b"inside\n")
        raise ZeroDivisionError
    print("outside")
    assert lines == ["inside"] and capfd.readouterr().out == "outside\n"
