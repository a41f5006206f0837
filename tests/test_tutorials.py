"""What the tutorials promise, tried by someone who has read nothing else: a limit and a back-end of one's own, each in a short class."""

import ast
import inspect
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import scipy.sparse
from scipy.optimize import linprog

import dr_opt
from dr_opt.basics import parameter
from dr_opt.blocks import Block
from dr_opt.calendar import Calendar, local
from dr_opt.problem import CustomerSum, Kind, limits
from dr_opt.solver.backends import backends
from dr_opt.solver.base import Effort
from dr_opt.solver.judging import INFEASIBLE, OPTIMAL, Found, Layer, Rows
from dr_opt.sparse import SparseProblem
from dr_opt.tables import Check, Tables, check_at_most, example_readings

TUTORIALS = Path(__file__).resolve().parents[1] / "nbs" / "tutorials"
MOST_LINES = 24
KEY = "weekend_lunch"


class WeekendLunch(dr_opt.Limit):
    """From Friday to Sunday, no household gives more than so many kWh from noon to two o'clock."""

    from_hour: int = parameter(12, "Hour of the clock at which lunch time begins.", "h", ge=0, le=22)
    kwh: float = parameter(0.1, "Most that leaves one lunch time.", "kWh", ge=0)

    def kinds(self, block: Block) -> Sequence[Kind]:
        slots = block.slots
        lunch = np.isin(slots.hour, [self.from_hour, self.from_hour + 1]) & (slots.weekday >= 4)
        dates = np.unique(slots.date[lunch])
        group = np.where(lunch, np.searchsorted(dates, slots.date), -1)
        return [CustomerSum(group, np.full((len(block.customers), len(dates)), self.kwh))]

    def check(self, tables: Tables) -> Check:
        clock = local(tables.calendar, "original_time").dt
        lunch = clock.hour().is_in([self.from_hour, self.from_hour + 1]) & (clock.weekday() >= 5)
        moved = tables.shifts.filter(lunch).group_by("city", "customer_id", date=clock.date()).agg(pl.col("kwh").sum())
        return check_at_most(self.key, moved, "kwh", self.kwh)


class Simplex(Layer):
    """SciPy's dual simplex, for problems without integers."""

    name, title, module, install, route = "simplex", "SciPy's simplex", "scipy", "pip install scipy", "arrays"
    names = {"time_limit_seconds": "time_limit"}  # noqa: RUF012 (as in the tutorial)

    def known_options(self, integers: bool) -> list[str]:
        return ["disp", "maxiter", "presolve", "time_limit"]

    def run(self, rows: Rows, options: dict, start: np.ndarray | None) -> Found:
        matrix, equal, box = rows.matrix, rows.equal, np.column_stack([rows.sparse.lower, rows.sparse.upper])
        above, below = np.isfinite(rows.upper) & ~equal, np.isfinite(rows.lower) & ~equal
        most = scipy.sparse.vstack([matrix[np.flatnonzero(above)], -matrix[np.flatnonzero(below)]])
        right = np.concatenate([rows.upper[above], -rows.lower[below]])
        exact = {"A_eq": matrix[np.flatnonzero(equal)], "b_eq": rows.upper[equal]} if equal.any() else {}
        found = linprog(-rows.sparse.objective, most, right, **exact, bounds=box, method="highs-ds", options=options)
        return Found(found.x, {0: OPTIMAL, 2: INFEASIBLE}.get(found.status, found.message))


@pytest.fixture(scope="module", autouse=True)
def registered() -> Iterator[None]:
    """Both classes known to the package, as long as these tests run."""
    dr_opt.register_limit(KEY)(WeekendLunch)
    backends["simplex"] = Simplex()
    yield
    del limits[KEY], backends["simplex"]


@pytest.fixture(scope="module")
def readings() -> dr_opt.Readings:
    """A week of a few households; a Friday and a Saturday of it are planned."""
    return dr_opt.read_readings(dr_opt.synthesise("delhi", customers=3, days=7, seed=1), show_progress=False)


def scenario(**changes: object) -> dr_opt.Scenario:
    given = {"constraints.max_moves_per_day": {"limit": 8}, "constraints.max_moves_per_week": None, "solver.gap": 1e-2}
    given |= {"constraints.no_new_spike": None, "constraints.regional_shift_cap": None}  # what is not shared is quickly solved
    given |= {"period": {"start": "2025-11-07", "end": "2025-11-08"}}
    return dr_opt.Scenario(progress=False).replace({**given, **changes})


def limited(**changes: object) -> dr_opt.Scenario:
    return scenario(**{f"constraints.{KEY}": {}, **changes})


def row(plan: dr_opt.Plan) -> dict:
    """What the audit says of the limit."""
    [found] = plan.audit().filter(limit=KEY).to_dicts()
    return found


# A limit


@pytest.mark.parametrize("written", [WeekendLunch, Simplex])
def test_what_a_newcomer_writes_is_short(written: type) -> None:
    assert len([line for line in inspect.getsource(written).splitlines() if line.strip()]) <= MOST_LINES


@pytest.mark.parametrize("family", ["greedy", "lp", "milp"])
def test_a_limit_of_ones_own_binds_every_family(family: str, readings: dr_opt.Readings) -> None:
    free, bound = (dr_opt.optimise(readings, of(**{"solver.family": family})) for of in (scenario, limited))
    audit = bound.audit()
    assert audit["ok"].all() and row(bound)["checked"] > 0
    if family != "greedy":
        assert row(bound)["worst_slack"] == pytest.approx(0, abs=1e-6)  # it binds, and forbids no more than it says
        assert bound.summary["bound"] < free.summary["bound"]
    assert not row(replace(free, scenario=bound.scenario))["ok"]  # and its check finds the plan that was made without it


def test_a_limit_of_ones_own_binds_the_continuous_family() -> None:
    calendar = Calendar(slot_minutes=60, day_boundaries=(11, 15))
    thursday = date(2025, 11, 6)
    days = example_readings({"asha": [1, 2, 2, 1, 1] * 2}, [900, 880, 870, 400, 500] * 2, calendar=calendar, first_day=thursday)
    off = ["no_new_spike", "regional_shift_cap", "household_minimum_usage", "peak_hour_comfort"]
    asked = {**{f"constraints.{name}": None for name in off}, "calendar": calendar, "period": {}}
    asked |= {"solver.family": "continuous", "solver.backend": "slsqp"}
    free, bound = (dr_opt.optimise(days, of(**asked)) for of in (scenario, limited))
    lunch = bound.shifts.filter(pl.col("original_time").dt.hour().is_in([12, 13]))
    by_day = lunch.group_by("day").agg(pl.col("kwh").sum()).sort("day")["kwh"].to_list()
    assert by_day[0] > 3 and by_day[1] == pytest.approx(0.1, abs=1e-6)  # Thursday is free
    assert bound.audit()["ok"].all()
    assert not row(replace(free, scenario=bound.scenario))["ok"]


@pytest.mark.parametrize(("kwh", "ok"), [(0.1, True), (0.102, False)])
def test_the_check_catches_a_small_breach(kwh: float, ok: bool, readings: dr_opt.Readings) -> None:
    plan = dr_opt.optimise(readings, limited(**{"solver.family": "greedy"}))
    saturday = pl.datetime(2025, 11, 8, 13, 30, time_zone="Asia/Kolkata")
    planted = plan.shifts.head(1).with_columns(
        original_time=saturday, shifted_time=saturday + pl.duration(hours=1), kwh=pl.lit(kwh), customer_id=pl.lit("delhi-0000001")
    )
    assert row(replace(plan, frames={**plan.frames, "shifts": planted}))["ok"] is ok


def test_a_limit_of_ones_own_in_a_scenario_file(tmp_path: Path) -> None:
    file = tmp_path / "scenario.yaml"
    file.write_text(f"readings: demo\nconstraints:\n  {KEY}: {{kwh: 0.4}}\n", encoding="utf-8")
    loaded = dr_opt.Scenario.load(file)
    assert loaded.constraints.model_extra == {KEY: WeekendLunch(kwh=0.4)}
    assert dr_opt.Scenario.from_mapping(json.loads(loaded.model_dump_json())).constraints == loaded.constraints
    with pytest.raises(dr_opt.InputError) as wrong:
        dr_opt.Scenario.load(file, [f"constraints.{KEY}.kwh=-1", f"constraints.{KEY}.hour=12"])
    assert wrong.value.faults == (
        f"constraints.{KEY}.kwh is -1 kWh. Give a number of at least 0.",
        f"constraints.{KEY}.hour is not a known key. Did you mean constraints.{KEY}.from_hour?",
    )


# A back-end


def small(upper_row: float, least: float = -np.inf) -> SparseProblem:
    """Two moves of 2 and 3 kWh, worth 500 and 400 g/kWh, that share a room."""
    none, row = np.zeros(0, np.int64), np.zeros(2, np.int64)
    box = np.array([500.0, 400.0]), np.zeros(2), np.array([2.0, 3.0]), np.zeros(2, bool)
    return SparseProblem(*box, (row, np.arange(2), np.ones(2)), np.array([least]), np.array([upper_row]), True, none, none, none)


def test_a_back_end_of_ones_own_on_a_case_with_a_known_answer() -> None:
    values = backends["simplex"].solve(small(2.2), Effort())
    assert values.x == pytest.approx([2, 0.2]) and values.bound == pytest.approx(1080) and values.bound >= 1080 - 1e-9
    with pytest.raises(dr_opt.SolverError, match="infeasible"):
        backends["simplex"].solve(small(9, least=8), Effort())
    with pytest.raises(dr_opt.InputError, match=r"presolv is not an option of SciPy's simplex. Did you mean 'presolve'\?"):
        backends["simplex"].solve(small(2.2), Effort(options={"presolv": True}))


def test_a_back_end_of_ones_own_serves_the_families_that_it_can(readings: dr_opt.Readings) -> None:
    assert dr_opt.solvers().filter(backend="simplex")["family"].to_list() == ["lp"]
    ours, theirs = (dr_opt.optimise(readings, limited(solver={"family": "lp", "backend": name})) for name in ("simplex", "highs"))
    assert ours.summary["bound"] == pytest.approx(theirs.summary["bound"], rel=1e-6)
    assert ours.audit()["ok"].all() and ours.summary["backend"] == "simplex"
    with pytest.raises(dr_opt.InputError, match="knows no integers, which the family milp needs"):
        dr_opt.optimise(readings, scenario(solver={"family": "milp", "backend": "simplex"}))


# The tutorials themselves


def written_files(tutorial: str) -> dict[str, str]:
    """The files that a tutorial writes, by name."""
    cells = json.loads((TUTORIALS / f"{tutorial}.ipynb").read_text(encoding="utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    return {source.split()[1]: source.split("\n", 1)[1] for source in sources if source.startswith("%%writefile ")}


@pytest.mark.parametrize(("tutorial", "file"), [("add_a_limit", "school_nights.py"), ("add_a_solver", "scipy_milp.py")])
def test_the_class_of_a_tutorial_is_short(tutorial: str, file: str) -> None:
    text = written_files(tutorial)[file]
    [written] = [node for node in ast.parse(text).body if isinstance(node, ast.ClassDef)]
    first = min(node.lineno for node in [written, *written.decorator_list])
    assert len([line for line in text.splitlines()[first - 1 : written.end_lineno] if line.strip()]) <= MOST_LINES
