# ruff: noqa: E501 (sentences and tables are kept whole)
"""What every solver owes: known optima on standard problems, a plan under a time limit, clear refusals, and answers that are clean."""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import brute_force as bf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_exactness import numbered, priced_problems, random_case, readings_of, scenario_of

from dr_opt.basics import InputError, SolverError
from dr_opt.blocks import city_arrays, make_blocks
from dr_opt.calendar import Calendar
from dr_opt.constraints.behavioural import MaxCustomerShift, MaxMovesPerDay, MaxMovesPerWeek, MaxShiftWindow, MinMoveSize, PeakHourComfort
from dr_opt.constraints.conservation import Conservation, IntraCustomer, MinDayPotential, NoAverageIncrease, OnlySavingMoves
from dr_opt.constraints.technical import HouseholdMinimumUsage, NoNewSpike, RegionalShiftCap
from dr_opt.models import HighUsageCustomers, TotalShiftCap, priced
from dr_opt.pipeline import optimise
from dr_opt.problem import Limit, Problem, build_problem
from dr_opt.readings import Readings
from dr_opt.scenario import Scenario
from dr_opt.solver.backends import backends
from dr_opt.solver.base import Effort, Flows, Status, achieved, clean, families, solve_problem
from dr_opt.solver.greedy import ORDERS, greedy_flows
from dr_opt.solver.translation import first_asked_first
from dr_opt.synthesis import synthesise
from dr_opt.tables import check_availability, check_own_energy, example_readings, example_tables

# ---- standard problems with optima worked out by hand ------------------------------------------------------------

SIX_HOURS = Calendar(slot_minutes=60, day_boundaries=(0, 5))
MARGINAL, AVERAGE = [900, 850, 500, 400, 450, 880], [600, 620, 700, 720, 610, 610]
BALA, CHITRA = [2, 1, 0, 1, 0, 3], [1, 2, 1, 1, 1, 1]
ALL_HOURS = {"delhi": {day: tuple(range(6)) for day in bf.WEEKDAYS}}
BASE = (OnlySavingMoves(), Conservation())
TWO_HOURS = (*BASE, MaxShiftWindow(hours=2))


@dataclass(frozen=True)
class Standard:
    """A problem of a few households and its optimum, g, worked out by hand as `why` says."""

    name: str
    limits: Sequence[Limit]
    optimum: float
    why: str
    usage: dict[str, list[float]] | None = None
    marginal: Sequence[float] = tuple(MARGINAL)
    days: int = 1
    pairs: bool = False
    min_saving: float | None = None
    relaxed: float | None = None  # the optimum with shares of moves, where it is higher

    def readings(self) -> Readings:
        usage = {c: values * self.days for c, values in (self.usage or {"bala": BALA, "chitra": CHITRA}).items()}
        calendar = Calendar(slot_minutes=60, day_boundaries=(0, len(self.marginal) - 1))
        average = (AVERAGE if len(self.marginal) == 6 else list(self.marginal)) * self.days
        return example_readings(usage, list(self.marginal) * self.days, average, calendar=calendar)

    def problem(self) -> Problem:
        [city] = city_arrays(self.readings())
        [block] = make_blocks([city], [city.complete & city.good], ["week"])
        return priced(build_problem(block, self.limits, self.pairs), self.min_saving)

    def broken(self, problem: Problem, flows: Flows) -> list[str]:
        """The limits that flows break, by the limits' own checks on the plain tables."""
        hour = (problem.block.slots.minute - problem.block.slots.minute[0]) / 60
        columns = problem.block.customers[flows.customer], hour[flows.origin], hour[flows.destination], flows.kwh
        tables = example_tables(self.readings(), list(zip(*columns)), {limit.key: limit for limit in self.limits}, self.pairs)
        checks = [*(limit.check(tables) for limit in (*self.limits, IntraCustomer())), check_own_energy(tables), check_availability(tables)]
        return [check.limit for check in checks if not check.ok]


SPLIT = {"usage": {"dev": [4, 2, 2]}, "marginal": (900, 400, 400)}
TIGHT_SLOTS = (*BASE, MaxShiftWindow(hours=3), MaxMovesPerDay(limit=1), NoNewSpike(alpha_peak_cap_percent=25))
STANDARD = [
    Standard("window", TWO_HOURS, 4620, "each slot to the cleanest within two hours: bala 800 + 450 + 1440, chitra 400 + 900 + 100 + 50 + 480"),
    Standard("one move a day", (*TWO_HOURS, MaxMovesPerDay(limit=1)), 2340, "bala 3 × 480, chitra 2 × 450"),
    Standard("two moves a day", (*TWO_HOURS, MaxMovesPerDay(limit=2)), 3620, "bala 1440 + 800, chitra 900 + 480"),
    Standard("one hour", (*BASE, MaxShiftWindow(hours=1)), 3070, "bala 100 + 350 + 1290, chitra 50 + 700 + 100 + 50 + 430"),
    Standard("less than two hours", (*BASE, MaxShiftWindow(hours=2, inclusive=False)), 3070, "as one hour"),
    Standard("two days", (*TWO_HOURS, MaxMovesPerDay(limit=1)), 4680, "2340 twice", days=2),
    Standard("one move a week", (*TWO_HOURS, MaxMovesPerDay(limit=1), MaxMovesPerWeek(limit=1)), 2340, "one of two like days", days=2),
    Standard("three moves a week", (*TWO_HOURS, MaxMovesPerDay(limit=2), MaxMovesPerWeek(limit=3)), 5960, "bala 2 × 1440 + 800, chitra 2 × 900 + 480", days=2),
    Standard(
        "floor", (*TWO_HOURS, MaxMovesPerDay(limit=1), HouseholdMinimumUsage(baseline_period="day", percent_of_robust_max=0)), 1890,
        "bala's least hour is 0: 3 × 480; chitra's is 1: 1 × 450",
    ),
    Standard("least size", (*TWO_HOURS, MinMoveSize(kwh=2.5)), 1440, "only bala's 3 kWh are enough"),
    Standard("least share", (*TWO_HOURS, MinMoveSize(percent_of_day=28)), 3140, "1.96 kWh: bala 800 + 1440, chitra 900"),
    Standard(
        "peak by day", (*TWO_HOURS, PeakHourComfort(max_reduction_percent=50, group="day", peak_hours=ALL_HOURS)), 3245,
        "3.5 kWh each: bala 3 × 480 + 0.5 × 450, chitra 480 + 2 × 450 + 0.5 × 400",
    ),
    Standard("peak by slot", (*TWO_HOURS, PeakHourComfort(max_reduction_percent=30, group="slot", peak_hours=ALL_HOURS)), 1386, "30 % of everything"),
    Standard("peak by hour", (*TWO_HOURS, PeakHourComfort(max_reduction_percent=30, group="hour", peak_hours=ALL_HOURS)), 1386, "slots are hours"),
    Standard(
        "peak of the city", (*TWO_HOURS, MaxMovesPerDay(limit=1), PeakHourComfort(max_reduction_percent=50, scope="per_city", peak_hours=ALL_HOURS)),
        2 * 480 + 1.5 * 450, "bala 2 of the 3 kWh at 05:00, as the city has 4; chitra 1.5 of the 2 at 01:00, as the city has 3",
        relaxed=2 * 480 + 2 / 3 * 400 + 1.5 * 450 + 0.25 * 400,  # a third of bala's move and a quarter of chitra's are left for 00:00
    ),
    Standard("regional cap", (*TWO_HOURS, RegionalShiftCap(percent=10)), 672, "1.4 of 14 kWh at 480"),
    Standard("given load", (*TWO_HOURS, RegionalShiftCap(percent=10, daily_average_load_kwh={"delhi": 45})), 2145, "4.5 kWh: 4 × 480 + 0.5 × 450"),
    Standard("no room at all", (*TWO_HOURS, NoNewSpike(alpha_peak_cap_percent=0)), 0, "nothing leaves the cleanest hour, so nothing may enter, and so on"),
    Standard(
        "a quarter of room", (*TWO_HOURS, NoNewSpike(alpha_peak_cap_percent=25)), 500,
        "rooms of 0.25, 0.5, 0.25 and 0.75 kWh at 500, 400, 450 and 850 g are filled from 900 g, by way of what leaves 01:00 and 02:00",
    ),
    Standard("share of the day", (*TWO_HOURS, MaxCustomerShift(percent=30)), 1983, "2.1 kWh each: 2.1 × 480; 480 + 1.1 × 450"),
    Standard("a split is one move", TIGHT_SLOTS, 500, "half a kWh to each of two slots", **SPLIT),
    Standard("pairs", TIGHT_SLOTS, 250, "a split would be two moves", pairs=True, relaxed=500, **SPLIT),
    Standard("pairs, least size", (*TIGHT_SLOTS, MinMoveSize(kwh=0.6)), 0, "no pair can carry so much", pairs=True, relaxed=500, **SPLIT),
    Standard("total", (*TWO_HOURS, MaxMovesPerDay(limit=1), TotalShiftCap(kwh=4)), 1920, "4 kWh at 480: bala 3, and chitra 1 of hers"),
    Standard("saving beyond 450", TWO_HOURS, 120, "4 kWh at 480, 30 g beyond each", min_saving=450.0),
    Standard(
        "largest users", (*TWO_HOURS, MaxMovesPerDay(limit=1), HighUsageCustomers(percentile_threshold=90)), 1440, "bala alone",
        usage={"bala": BALA, "chitra": [k / 2 for k in CHITRA]},
    ),
    Standard("no rise in average", (*BASE, NoAverageIncrease()), 2970, "to 04:00 only: bala 400 + 1290, chitra 800 + 50 + 430"),
    Standard("days of promise", (*BASE, MaxShiftWindow(hours=1), MinDayPotential(percent=28)), 1740, "bala's day promises 30.6 %, chitra's 27.5 %"),
]  # fmt: skip


def installed(family: str) -> list[str]:
    """The back-ends that serve a family on this machine."""
    return [name for name in families[family].backends if backends[name].available]


def near(backend: str, value: float) -> float:
    """How close to a known optimum a back-end must come: 1e-6 of it, 1e-4 where its method is rough."""
    return (1e-4 if backends[backend].first_order else 1e-6) * max(value, 100.0)


@pytest.mark.parametrize("backend", installed("milp"))
@pytest.mark.parametrize("standard", STANDARD, ids=lambda s: s.name)
def test_exact_back_ends_find_the_optimum(standard: Standard, backend: str) -> None:
    problem = standard.problem()
    answer = solve_problem(("milp", problem, Effort(gap=0.0, backend=backend)))
    assert answer.achieved == pytest.approx(standard.optimum, abs=near(backend, standard.optimum)), standard.why
    assert answer.bound is not None and answer.bound >= standard.optimum - 1e-6
    assert answer.bound == pytest.approx(standard.optimum, abs=5e-3)
    assert answer.status in (Status.OPTIMAL, Status.NOTHING)
    assert standard.broken(problem, answer.flows) == []


@pytest.mark.parametrize("backend", [name for name in installed("lp") if not backends[name].whole])
@pytest.mark.parametrize("standard", STANDARD, ids=lambda s: s.name)
def test_relaxations_find_theirs(standard: Standard, backend: str) -> None:
    """The relaxation's optimum as it is, a bound on every plan, and a plan of it that keeps every limit."""
    problem, relaxed = standard.problem(), standard.optimum if standard.relaxed is None else standard.relaxed
    as_it_is = solve_problem(("lp", problem, Effort(backend=backend, repair=False)))
    plan = solve_problem(("lp", problem, Effort(backend=backend)))
    assert as_it_is.achieved == pytest.approx(relaxed, abs=near(backend, relaxed))
    for answer in (as_it_is, plan):
        assert answer.bound is not None and relaxed - 1e-6 <= answer.bound <= relaxed + 10 * near(backend, relaxed) + 2e-3
    assert plan.achieved <= standard.optimum + 1e-6
    assert standard.broken(problem, plan.flows) == []
    assert (as_it_is.status, plan.status) in ((Status.RELAXED, Status.ROUNDED), (Status.NOTHING, Status.NOTHING))


@pytest.mark.parametrize("standard", STANDARD, ids=lambda s: s.name)
def test_prices_lie_between_the_optimum_and_the_relaxation(standard: Standard) -> None:
    """What prices prove is never weaker than the relaxation, because households reply in whole moves; their mixture is no plan."""
    problem, relaxed = standard.problem(), standard.optimum if standard.relaxed is None else standard.relaxed
    mixed = solve_problem(("lp", problem, Effort(backend="prices", repair=False)))
    plan = solve_problem(("lp", problem, Effort(backend="prices")))
    slack = 2e-3 + 2e-5 * relaxed
    for answer in (mixed, plan):
        assert answer.bound is not None and standard.optimum - 1e-6 <= answer.bound <= relaxed + slack
    assert standard.optimum - slack <= mixed.achieved <= relaxed + 1e-6
    assert plan.achieved <= standard.optimum + 1e-6
    assert standard.broken(problem, plan.flows) == []
    assert mixed.status in (Status.RELAXED, Status.NOTHING)
    assert plan.status in (Status.PRICED, Status.OPTIMAL, Status.NOTHING)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("standard", STANDARD, ids=lambda s: s.name)
def test_greedy_stays_below_the_optimum(standard: Standard, order: str) -> None:
    problem = standard.problem()
    answer = solve_problem(("greedy", problem, Effort(order=order)))
    assert answer.achieved <= standard.optimum + 1e-6
    assert answer.bound is None
    assert standard.broken(problem, answer.flows) == []


# ---- ties --------------------------------------------------------------------------------------------------------

MIDST = ("clarabel", "scs")  # they end in the midst of what is equally good, not at a corner
CORNERS = [(family, name) for family in ("milp", "lp") for name in installed(family) if name not in MIDST]


def asked_of(problem: Problem, family: str, backend: str) -> Flows:
    return families[family].solve(problem, Effort(backend=backend) if family != "greedy" else Effort()).flows


@pytest.mark.parametrize(("family", "backend"), [*CORNERS, ("greedy", "auto")])
def test_of_equal_destinations_the_nearer_then_the_earlier_is_taken(family: str, backend: str) -> None:
    """From 03:00: 01:00 and 05:00 are equally near, 00:00 is further away than 05:00."""
    for clean_hours, taken in (((1, 5), 1), ((0, 1, 5), 1), ((2, 5), 2), ((0, 5), 5), ((4, 5), 4)):
        marginal = [100 if hour in clean_hours else 800 for hour in range(6)]
        readings = example_readings({"bala": [0, 0, 0, 1, 0, 0]}, marginal, calendar=SIX_HOURS)
        [city] = city_arrays(readings)
        [block] = make_blocks([city], [city.complete & city.good], ["week"])
        flows = asked_of(build_problem(block, BASE), family, backend)
        assert flows.destination.tolist() == [taken], clean_hours


@pytest.mark.parametrize(("family", "backend"), [*(corner for corner in CORNERS if corner[1] != "prices"), ("greedy", "auto")])
@pytest.mark.parametrize("cap", [1.0, 2.5])
def test_of_households_that_are_alike_the_first_is_asked_first(family: str, backend: str, cap: float) -> None:
    readings = example_readings({name: [1, 0, 0, 0, 0, 0] for name in ("dev", "anita", "chitra", "bala")}, MARGINAL, calendar=SIX_HOURS)
    [city] = city_arrays(readings)
    [block] = make_blocks([city], [city.complete & city.good], ["week"])
    limit = RegionalShiftCap(percent=100, daily_average_load_kwh={"delhi": cap})
    flows = asked_of(build_problem(block, [*BASE, limit, MaxMovesPerDay()]), family, backend)
    kwh = np.bincount(flows.customer, flows.kwh, 4)
    assert block.customers.tolist() == ["anita", "bala", "chitra", "dev"]
    np.testing.assert_allclose(kwh, np.clip(cap - np.arange(4), 0, 1), atol=1e-6)


@given(seed=st.integers(0, 10**6))
@settings(deadline=None, max_examples=60)
def test_an_exchange_among_the_alike_changes_no_sum_and_no_limit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    kinds = [rng.integers(0, 3, 6).tolist() for _ in range(2)]
    usage = {f"home {k}": kinds[rng.integers(2)] for k in range(6)}
    readings = example_readings(usage, MARGINAL, calendar=SIX_HOURS)
    [city] = city_arrays(readings)
    [block] = make_blocks([city], [city.complete & city.good], ["week"])
    problem = build_problem(block, [*BASE, NoNewSpike(), MaxMovesPerDay(limit=2), MaxCustomerShift(percent=60)])
    flows = greedy_flows(problem)
    if not len(flows):
        return
    customers = rng.permutation(6)  # whose plan another like household gets
    alike = [min(k for k in range(6) if usage[f"home {k}"] == usage[f"home {c}"]) for c in range(6)]
    taker = np.arange(6)
    for group in set(alike):
        members = [c for c in range(6) if alike[c] == group]
        taker[members] = [c for c in customers if alike[c] == group]
    mixed = Flows(taker[flows.customer], flows.origin, flows.destination, flows.kwh)
    ordered = first_asked_first(problem, mixed)
    assert [alike[c] for c in ordered.customer] == [alike[c] for c in mixed.customer]
    for same in ("origin", "destination", "kwh"):
        np.testing.assert_array_equal(getattr(ordered, same), getattr(mixed, same))
    kwh = np.bincount(ordered.customer, ordered.kwh, 6)
    assert all(kwh[a] >= kwh[b] - 1e-6 for a in range(6) for b in range(a, 6) if alike[a] == alike[b])
    held = clean(problem, ordered)
    assert achieved(problem, held) == pytest.approx(achieved(problem, flows), abs=1e-9) and len(held) == len(flows)


def test_every_kind_of_limit_is_touched() -> None:
    problems = [standard.problem() for standard in STANDARD]
    assert any(p.counts for p in problems) and any(p.sums for p in problems) and any(p.city_sums for p in problems)
    assert any((p.lowest_kwh > 0).any() for p in problems) and any(p.count_pairs for p in problems)


def test_the_pipeline_alone_knows_the_families() -> None:
    """Whoever imports the pipeline and nothing else can solve (in a process of its own: here everything is imported)."""
    code = "import dr_opt.pipeline as p; print(*sorted(p.families))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {"continuous", "greedy", "lp", "milp"} <= set(found)


# ---- stopping early ----------------------------------------------------------------------------------------------


def test_a_time_limit_still_gives_a_plan() -> None:
    """A hard case, a hundredth of a second: a plan that passes its audit (or `optimise` would raise), a sentence, a bound or none."""
    hard = {"max_moves_per_day": {"limit": 1}, "max_moves_per_week": {"limit": 2}, "no_new_spike": {"alpha_peak_cap_percent": 0.5}}
    scenario = Scenario.from_mapping({"constraints": hard, "solver": {"time_limit_seconds": 0.01, "gap": 0.0}, "progress": False})
    plan = optimise(synthesise("delhi", customers=40, days=7, seed=1), scenario)
    summary = plan.summary
    assert summary["status"] == "The time limit was reached; this is the best plan found until then."
    assert summary["achieved"] > 0
    assert summary["bound"] is None or summary["bound"] >= summary["achieved"]
    assert (summary["gap"] is None) == (summary["bound"] is None)
    assert plan.audit()["ok"].all()


@pytest.mark.parametrize("family", ["lp", "milp"])
def test_no_time_at_all_gives_the_greedy_plan(family: str) -> None:
    """Before any solver has found anything there is greedy's plan, and the status says that the time is over."""
    [problem] = priced_problems(readings_of(random_case(11)), scenario_of(random_case(11)))[:1]
    answer = solve_problem((family, problem, Effort(gap=0.0, time_limit_seconds=1e-9)))
    greedy = solve_problem(("greedy", problem, Effort()))
    assert answer.status is Status.TIME_LIMIT
    assert answer.achieved >= greedy.achieved - 1e-9
    assert answer.bound is None or answer.bound >= answer.achieved


@pytest.mark.parametrize("family", ["lp", "milp"])
def test_a_failing_solver_is_an_error_with_its_last_lines(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No plan is made up, and the baseline is not one."""
    import highspy

    monkeypatch.setattr(highspy.Highs, "run", lambda self: self.clearSolver())
    with pytest.raises(SolverError) as caught:
        solve_problem((family, STANDARD[1].problem(), Effort(gap=0.0)))
    first, *lines = str(caught.value).splitlines()
    assert first == "HiGHS ended with 'not set' and no plan. Use another back-end, or other solver.options. Its last lines:"
    assert lines and all(line.startswith("  ") for line in lines)


# ---- refusals ----------------------------------------------------------------------------------------------------

REFUSED = {
    "back-end of another family": (Effort(backend="clarabel"), f"solver.backend 'clarabel' knows no integers, which the family milp needs. Use {', '.join(installed('milp'))}, or solver.family lp."),
    "a slip in an option": (Effort(options={"mip_rel_gab": 0.1}), "solver.options.mip_rel_gab is not an option of HiGHS. Did you mean 'mip_rel_gap'?"),
    "no such option": (Effort(options={"zzz": 1}), "solver.options.zzz is not an option of HiGHS. Use HiGHS's own names."),
    "a value of the wrong kind": (Effort(options={"mip_rel_gap": "tight"}), "solver.options.mip_rel_gap is 'tight', which HiGHS refuses. Give a value like its default, 0.0001."),
    "a value out of range": (Effort(options={"mip_rel_gap": -1.0}), "solver.options.mip_rel_gap is -1.0, which HiGHS refuses. Give a value like its default, 0.0001."),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_of_the_exact_family(name: str) -> None:
    effort, words = REFUSED[name]
    with pytest.raises(InputError) as caught:
        families["milp"].solve(STANDARD[1].problem(), effort if "rel_gap" not in str(effort.options) else Effort(gap=0.0, options=effort.options))
    assert str(caught.value) == words


def test_refusals_by_name() -> None:
    with pytest.raises(InputError, match=r"^'milq' is not a known solver family \(.*\)\. Did you mean 'milp'\?$"):
        families["milq"]
    with pytest.raises(InputError, match=r"^solver\.order is 'random', which greedy does not know\. Use saving, saving_per_kwh, chronological\.$"):
        greedy_flows(STANDARD[0].problem(), "random")


# ---- clean answers -----------------------------------------------------------------------------------------------


@given(seed=st.integers(0, 100_000), dirt=st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_dirty_flows_are_cleaned_within_every_limit(seed: int, dirt: int) -> None:
    """Whatever flows a solver answers with, cleaned they keep every statement, and no flow carries more than before."""
    case = random_case(seed)
    r = np.random.default_rng(dirt)
    for problem in priced_problems(readings_of(case), scenario_of(case)):
        customer, slot = problem.candidates
        key = problem.profile_of[customer, slot] * len(problem.block.slots) + slot
        which = np.repeat(np.arange(len(customer)), problem.arc_start[key + 1] - problem.arc_start[key])
        arc = np.concatenate([np.arange(problem.arc_start[k], problem.arc_start[k + 1]) for k in key])
        kwh = r.choice([0.0, -0.1, 3e-8, 1e-6, 0.3, 1.0, 1.0000001, 5.0], len(arc)) * problem.highest_kwh[customer, slot][which]
        order = r.permutation(len(arc))
        dirty = Flows(customer[which][order], slot[which][order], problem.arcs.destination[arc][order], kwh[order])
        cleaned = clean(problem, dirty)
        flows, before = numbered(case, problem, cleaned), numbered(case, problem, dirty)
        assert bf.faults_of(case, flows, bf.resolved_min_saving(case)) == []
        assert all(0 < moved <= before[a] + 1e-12 for a, moved in flows.items())
        again = clean(problem, cleaned)
        assert numbered(case, problem, again) == flows
