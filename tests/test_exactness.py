"""Against brute force: on random tiny cases the exact family equals an enumeration written from the statements, greedy never exceeds it.

The cases cover every limit switched on and off, tight and loose, all models, both countings, gaps, shared and own factors,
ties, two cities and customers who are not asked. `brute_force` shares no code with the package.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache

import brute_force as bf
import numpy as np
import polars as pl
import pytest
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array

from dr_opt.basics import DrOptError
from dr_opt.calendar import Calendar
from dr_opt.models import priced
from dr_opt.pipeline import make_problems, optimise
from dr_opt.plan import Plan
from dr_opt.problem import Problem
from dr_opt.readings import Readings, read_readings
from dr_opt.scenario import Scenario
from dr_opt.solver.base import Effort, Flows, families
from dr_opt.solver.greedy import ORDERS, greedy_flows
from dr_opt.solver.milp import tie_allowance
from dr_opt.sparse import SparseProblem, sparse_form
from dr_opt.tables import example_readings

WEEK_NAMES = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
EXACT = {"family": "milp", "gap": 0.0}
GREEDY = {"family": "greedy"}


# ---- random cases ------------------------------------------------------------------------------------------------


def random_case(seed: int) -> bf.Case:
    """A tiny case: 1 to 3 households, 1 or 2 days of 3 to 6 slots, and limits of all kinds."""
    r = np.random.default_rng(seed)
    chance = lambda p: bool(r.random() < p)
    pick = lambda *options: options[r.integers(len(options))]
    two_cities = chance(0.2)
    names = ["anita", "bala", "chitra"][: pick(2, 3, 3) if two_cities else pick(1, 2, 2, 3, 3)]
    city = {c: "mumbai" if two_cities and k else "delhi" for k, c in enumerate(names)}
    minutes, days = pick(60, 60, 30), pick(1, 2, 2)
    hours = int(r.integers(2, 4)) if minutes == 30 else int(r.integers(4, 7))
    first = pick(0, 0, 6, 22)
    boundaries = (first, (first + hours - 1) % 24)
    start = datetime(2025, pick(11, 12), pick(15, 16, 17, 30), first)
    times = [start + timedelta(days=d, minutes=minutes * k) for d in range(days) for k in range(hours * 60 // minutes)]
    if first == 6 and chance(0.4):  # an hour outside the counting day: no part, but it counts in averages
        times = sorted(times + [start + timedelta(days=d, hours=hours) for d in range(days)])
    size = len(times)
    coarse = chance(0.35)  # ties
    kwh = lambda: r.choice([0.0, 0.5, 1.0, 2.0], size) if coarse else r.gamma(1.2, 1.0, size).round(2)
    usage = {c: [float(v) for v in kwh()] for c in names}
    for c in names:
        for t in range(size):
            if chance(0.07):
                usage[c][t] = 0.0
    if chance(0.25):
        for _ in range(int(r.integers(1, 3))):
            usage[pick(*names)][int(r.integers(size))] = pick(None, None, -0.5)
    grams = lambda low, high: r.choice([400, 500, 600, 700, 900], size) if coarse else r.uniform(low, high, size).round(1)
    factors = lambda: ([float(v) for v in grams(350, 950)], [float(v) for v in grams(500, 800)])
    shared = not chance(0.25)
    by_city = {g: factors() for g in sorted(set(city.values()))}
    own = {c: by_city[city[c]] if shared else factors() for c in names}
    if chance(0.1):
        for c in names:
            own[c][1][0] = None  # a missing average factor
    if chance(0.05):
        for c in names:
            own[c][0][size - 1] = None  # a missing marginal factor
    return bf.Case(
        times=times, usage=usage, city=city, marginal={c: own[c][0] for c in names}, average={c: own[c][1] for c in names},
        constraints=random_limits(r, boundaries, minutes, sorted(set(city.values()))), model=random_model(r), pairs=chance(0.25),
        slot_minutes=minutes, day_boundaries=boundaries, week_begins=pick(0, 0, 0, 6, 2),
        excluded=frozenset([names[-1]] if len(names) > 1 and chance(0.12) else []),
    )


def random_limits(r: np.random.Generator, boundaries: tuple[int, int], slot_minutes: int, cities: list[str]) -> dict[str, dict | None]:
    """Every limit on or off, tight or loose."""
    pick = lambda *options: options[r.integers(len(options))]
    number = lambda *options: float(pick(*options, round(float(r.uniform(min(options), max(options))), 1)))
    hours = [(boundaries[0] + k) % 24 for k in range((boundaries[1] - boundaries[0]) % 24 + 1)]
    some_hours = lambda: sorted(int(h) for h in r.choice(hours, int(r.integers(0, len(hours) + 1)), replace=False))
    peaks = lambda: {d: some_hours() for d in bf.WEEKDAYS}
    steps = pick(1, 2, 2, 3)
    given = {g: number(4, 12) for g in cities} if boundaries[0] > boundaries[1] or r.random() < 0.2 else None
    every = {
        "max_moves_per_day": {"limit": pick(1, 1, 2, 3)},
        "max_moves_per_week": {"limit": pick(1, 2, 3)},
        "max_shift_window": {"hours": steps * slot_minutes / 60, "inclusive": steps < 2 or pick(True, True, False)},
        "peak_hour_comfort": {
            "max_reduction_percent": number(20, 30, 60, 100, pick(0, 50)), "scope": pick("per_customer", "per_customer", "per_city"),
            "group": pick("slot", "hour", "day"), "peak_hours": {g: peaks() for g in cities},
        },
        "regional_shift_cap": {"percent": number(1, 5, 10, 20, 30), "daily_average_load_kwh": given},
        "household_minimum_usage": {
            "baseline_period": pick("day", "day", "year", "month", "week"), "baseline_type": pick("average", "absolute_min"),
            "time_bucket": pick("slot_of_day", "hour_of_day", "hour_of_week"), "robust_max_percentile": number(50, 95, 100),
            "percent_of_robust_max": number(0, 10, 40),
        },
        "no_new_spike": {"alpha_peak_cap_percent": number(10, 25, 50, pick(0, 50)), "baseline": pick("same_day", "same_day", "historical")},
        "conservation": {"horizon": pick("day", "day", "week", "month")},
        "only_saving_moves": {},
        "max_customer_shift": {"percent": number(5, 30, 60)},
        "min_move_size": pick({"kwh": pick(0.02, 0.1, 0.35)}, {"percent_of_day": pick(1.0, 5.0, 12.5)}),
        "min_day_potential": {"percent": number(1, 3, 10)},
        "no_average_increase": {},
    }
    likely = {
        "max_moves_per_day": 0.85, "max_moves_per_week": 0.7, "max_shift_window": 0.8, "peak_hour_comfort": 0.45, "regional_shift_cap": 0.5,
        "household_minimum_usage": 0.25, "no_new_spike": 0.55, "conservation": 1.0, "only_saving_moves": 0.75, "max_customer_shift": 0.25,
        "min_move_size": 0.2, "min_day_potential": 0.2, "no_average_increase": 0.15,
    }
    return {key: rule if r.random() < likely[key] else None for key, rule in every.items()}


def random_model(r: np.random.Generator) -> dict:
    """One of the three models with its parameters."""
    pick = lambda *options: options[r.integers(len(options))]
    impact = {"name": "ImpactPrioritised", "max_total_shift_kwh": pick(None, None, None, 0.7, 2.0, 4.0)}
    convenience = {"name": "ConveniencePrioritised", "min_saving_g_per_kwh": pick(None, None, 0.0, 100.0, 250.0)}
    kind = pick("impact", "impact", "convenience", "focus")
    if kind != "focus":
        return impact if kind == "impact" else convenience
    return {
        "name": "HighUsageFocus", "target_high_usage_customers": pick(True, True, True, False),
        "percentile_threshold": pick(30.0, 50.0, 90.0), "by": pick("day", "week"), "objective": pick(impact, convenience),
    }


# ---- the same case for the package -------------------------------------------------------------------------------


def calendar_of(case: bf.Case) -> Calendar:
    return known_calendar(case.slot_minutes, case.day_boundaries, WEEK_NAMES[case.week_begins])


@cache
def known_calendar(slot_minutes: int, day_boundaries: tuple[int, int], week_boundaries: str) -> Calendar:
    return Calendar(slot_minutes=slot_minutes, day_boundaries=day_boundaries, week_boundaries=week_boundaries)


def frame_of(case: bf.Case) -> pl.DataFrame:
    """The readings as a table; every other missing one is a row that is not there."""
    rows, gaps = [], 0
    for c in sorted(case.usage):
        for t, kwh in enumerate(case.usage[c]):
            gaps += kwh is None
            if kwh is not None or gaps % 2:
                rows.append((c, case.city[c], case.times[t], kwh, case.marginal[c][t], case.average[c][t]))
    schema = {
        "ca_id": pl.String, "city": pl.String, "date": pl.Datetime("us"), "value": pl.Float64,
        "marginal_emissions_grams_co2_per_kWh": pl.Float64, "average_emissions_grams_co2_per_kWh": pl.Float64,
    }
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(pl.col("date").dt.replace_time_zone("Asia/Kolkata"))


def readings_of(case: bf.Case) -> Readings:
    return read_readings(frame_of(case), calendar=calendar_of(case), show_progress=False)


def scenario_of(case: bf.Case, solver: dict | None = None) -> Scenario:
    limits = {key: case.constraints.get(key) for key in LIMIT_KEYS}
    return Scenario.from_mapping({
        "calendar": calendar_of(case).model_dump(), "constraints": limits | {"move_counting": "pair" if case.pairs else "slot"},
        "model": case.model, "customers": {"exclude": sorted(case.excluded) or None}, "solver": solver or EXACT, "progress": False,
    })  # fmt: skip


LIMIT_KEYS = tuple(random_limits(np.random.default_rng(0), (0, 3), 60, ["delhi"]))


def flows_of(case: bf.Case, plan: Plan) -> dict[tuple[str, int, int], float]:
    """The flows of a plan with slots numbered as in the case."""
    number = {time: t for t, time in enumerate(case.times)}
    rows = plan.shifts.select("customer_id", *(pl.col(end).dt.replace_time_zone(None) for end in ("original_time", "shifted_time")), "kwh")
    return {(c, number[i], number[j]): kwh for c, i, j, kwh in rows.iter_rows()}


def best_value(form: SparseProblem, integer: bool = True) -> float:
    """The highest objective of a sparse form, found by scipy; its binaries may be fractions where not `integer`."""
    row, column, coefficient = form.matrix
    matrix = coo_array((coefficient, (row, column)), shape=(len(form.row_upper), len(form.objective)))
    rows = [LinearConstraint(matrix.tocsc(), form.row_lower, form.row_upper)] if len(form.row_upper) else []
    found = milp(
        -form.objective, constraints=rows, bounds=Bounds(form.lower, form.upper), integrality=form.integer if integer else None,
        options={"mip_rel_gap": 0.0},
    )
    assert found.status == 0, found.message
    return -found.fun


# ---- what every case must show -----------------------------------------------------------------------------------


def allowance_g(case: bf.Case, kwh: float) -> float:
    """How much of the objective may go to the charges that break ties, and to rounding: per kWh, a microgram for each minute."""
    minutes = (max(case.times) - min(case.times)).total_seconds() / 60
    return (1e-6 * minutes + 1e-9 * 10 * len(case.times)) * kwh


def close(value: float, to: float, more: float = 0.0) -> bool:
    return abs(value - to) <= 1e-6 * max(1.0, abs(to)) + more


def check_plan(case: bf.Case, readings: Readings, scenario: Scenario) -> Mapping:
    """The summary of a plan of the pipeline (which raises where its audit fails), judged by the statements of the enumeration too."""
    plan = optimise(readings, scenario)
    lam = plan.summary.get("min_saving_g_per_kwh")
    flows = flows_of(case, plan)
    assert bf.faults_of(case, flows, lam) == []
    assert close(plan.summary["achieved"], objective_of(case, flows, lam))
    return plan.summary


def objective_of(case: bf.Case, flows: dict, lam: float | None) -> float:
    """Grams saved, those beyond λ only."""
    return sum(kwh * (case.marginal[c][i] - case.marginal[c][j] - (lam or 0.0)) for (c, i, j), kwh in flows.items())


def check_case(case: bf.Case, whole_greedy: bool = True) -> str:
    """All that must hold for one case; says what kind of case it was. With `whole_greedy`, greedy goes through the pipeline too."""
    try:
        best = bf.optimum(case)
    except bf.TooLargeError:
        return "too large to enumerate"
    room = 1e-6 * max(1.0, best.objective)
    readings, scenario = readings_of(case), scenario_of(case)
    found = check_plan(case, readings, scenario)
    if best.min_saving is not None:
        assert close(found["min_saving_g_per_kwh"], best.min_saving)
    assert close(found["achieved"], best.objective, allowance_g(case, best.kwh)), (found["achieved"], best.objective)
    assert found["bound"] >= best.objective - room
    if whole_greedy:
        quick = check_plan(case, readings, scenario_of(case, GREEDY))
        assert quick["achieved"] <= best.objective + room
        assert quick["bound"] is None
        assert quick.get("min_saving_g_per_kwh") == found.get("min_saving_g_per_kwh")
    problems = priced_problems(readings, scenario)
    for order in ORDERS:
        flows = {key: kwh for problem in problems for key, kwh in numbered(case, problem, greedy_flows(problem, order)).items()}
        assert bf.faults_of(case, flows, best.min_saving) == [], order
        assert objective_of(case, flows, best.min_saving) <= best.objective + room, order
    for problem in problems:
        check_forms(problem)
    return "nothing to move" if best.objective == 0 else "moves"


def numbered(case: bf.Case, problem: Problem, flows: Flows) -> dict[tuple[str, int, int], float]:
    """Flows of a block with slots numbered as in the case (whose clock is five and a half hours ahead)."""
    number = {time: t for t, time in enumerate(case.times)}
    slot = [number.get(datetime(1970, 1, 1) + timedelta(minutes=int(m) + 330)) for m in problem.block.slots.minute]
    rows = zip(problem.block.customers[flows.customer], flows.origin, flows.destination, flows.kwh)
    return {(str(c), slot[i], slot[j]): float(kwh) for c, i, j, kwh in rows}


def priced_problems(readings: Readings, scenario: Scenario) -> list[Problem]:
    """The problems of a scenario at its λ, those where something can move."""
    problems = make_problems(readings, scenario)
    lam = scenario.model.min_saving(problems)
    return [problem for problem in (priced(p, lam) for p in problems) if problem.candidates[0].size]


def check_forms(problem: Problem) -> None:
    """Both sparse forms have the optimum of the exact family, and without integers they are no lower."""
    exact = families["milp"].solve(problem, Effort(gap=0.0))
    forms = [sparse_form(problem, aggregated) for aggregated in ([False] if problem.count_pairs else [True, False])]
    values = [best_value(form) for form in forms]
    assert all(close(value, values[0]) for value in values), values
    assert close(values[0], exact.achieved, tie_allowance(problem))
    for form, value in zip(forms, values):
        assert best_value(form, integer=False) >= value - 1e-6 * max(1.0, value)


# ---- the tests ---------------------------------------------------------------------------------------------------

FAST, GROUP = 100, 10


@pytest.mark.parametrize("first", range(0, FAST, GROUP))
def test_random_cases(first: int) -> None:
    check_group(range(first, first + GROUP))


@pytest.mark.slow
@pytest.mark.parametrize("first", range(1000, 1500, 50))
def test_many_random_cases(first: int) -> None:
    check_group(range(first, first + 50))


def check_group(seeds: range) -> None:
    """Every case of a group, with all that fail named at once."""
    kinds, failed = Counter(), []
    for seed in seeds:
        try:
            kinds[check_case(random_case(seed), whole_greedy=seed % 4 == 0)] += 1
        except (AssertionError, ValueError, RuntimeError, DrOptError) as error:
            failed.append(f"seed {seed}: {type(error).__name__}: {error}")
    assert not failed, "\n".join(failed)
    assert kinds["too large to enumerate"] <= len(seeds) / 4
    assert kinds["moves"] >= len(seeds) / 3


def test_the_cases_cover_every_limit() -> None:
    """Each limit is on in many of the fast cases and off in many, and so are the models and countings."""
    cases = [random_case(seed) for seed in range(FAST)]
    on = Counter(key for case in cases for key, rule in case.constraints.items() if rule is not None)
    for key in LIMIT_KEYS:
        assert on[key] >= 5, key
        assert key == "conservation" or on[key] <= FAST - 8, key
    models = Counter(case.model["name"] for case in cases)
    assert min(models[name] for name in ("ImpactPrioritised", "ConveniencePrioritised", "HighUsageFocus")) >= 10
    assert 10 <= sum(case.pairs for case in cases) <= FAST - 10
    assert sum(len(set(case.city.values())) == 2 for case in cases) >= 8
    assert sum(bool(case.excluded) for case in cases) >= 5
    assert sum(any(v is None or v < 0 for values in case.usage.values() for v in values) for case in cases) >= 5
    assert sum(len({tuple(m) for m in case.marginal.values()}) > len(set(case.city.values())) for case in cases) >= 8


def test_the_enumeration_needs_no_pruning() -> None:
    """Trying every subset of all moves, without bounds and maximal sets, gives the same."""
    tried = 0
    for seed in range(120):
        case = random_case(seed)
        if len(set(case.city.values())) > 1 or len(case.usage) > 2:
            continue
        choices = bf.Choices(bf.Facts(case))
        if len(choices.arcs if case.pairs else choices.high) > 7:
            continue
        assert close(bf.optimum(case).objective, bf.all_subsets_optimum(case)), seed
        tried += 1
    assert tried >= 10


def test_a_tie_goes_to_the_nearer_slot() -> None:
    """The objective less a microgram per kWh and minute is at its optimum too: among equals, the nearer destination."""
    tried = 0
    for seed in range(3000, 3060):
        case = random_case(seed)
        if len({v for values in case.marginal.values() for v in values}) > 6:
            continue  # ties are rare here
        try:
            best = bf.optimum(case, tie_g=bf.TIE_G_PER_KWH_MINUTE, most_programmes=60)
        except bf.TooLargeError:
            continue
        flows = flows_of(case, optimise(readings_of(case), scenario_of(case)))
        minutes = {(c, i, j): abs((case.times[j] - case.times[i]).total_seconds()) / 60 for c, i, j in flows}
        charged = objective_of(case, flows, best.min_saving) - sum(bf.TIE_G_PER_KWH_MINUTE * minutes[a] * kwh for a, kwh in flows.items())
        assert abs(charged - best.objective) <= 1e-5 + 1e-8 * best.objective, seed
        tried += 1
        if tried == 10:
            break
    assert tried == 10


# ---- λ lowered until enough is moved -----------------------------------------------------------------------------


def convenience(case: bf.Case, least_kwh: float | None = None) -> bf.Case:
    """The case under Convenience, without the limits that make energy moved fall with λ in jumps that go both ways."""
    limits = case.constraints | {"only_saving_moves": {}, "min_move_size": None, "min_day_potential": None}
    model = {"name": "ConveniencePrioritised", "min_saving_g_per_kwh": None, "min_total_shift_kwh": least_kwh}
    return replace(case, constraints=limits, model=model)


def test_lambda_is_lowered_to_the_largest_that_moves_enough() -> None:
    """λ moves enough; a hundredth of the first λ more does not; and at that λ the plan is the optimum."""
    tried = 0
    for seed in range(4000, 4060):
        case = convenience(random_case(seed))
        try:
            first, all_of_it = bf.optimum(case), bf.optimum(case, min_saving=0.0)
            least = (0.4 * first.kwh + 0.6 * all_of_it.kwh) if all_of_it.kwh > first.kwh + 0.01 else None
            if least is None:
                continue
            case = convenience(case, least)
            plan = optimise(readings_of(case), scenario_of(case))
            lam = plan.summary["min_saving_g_per_kwh"]
            assert 0 <= lam <= first.min_saving
            assert plan.summary["total"]["kwh_moved"] >= least - 1e-6
            assert bf.faults_of(case, flows_of(case, plan), lam) == []
            assert close(plan.summary["achieved"], bf.optimum(case, min_saving=lam).objective, allowance_g(case, all_of_it.kwh)), seed
            assert bf.optimum(case, min_saving=lam + 0.0101 * first.min_saving).kwh < least + 1e-6, seed
        except bf.TooLargeError:
            continue
        tried += 1
        if tried == 8:
            break
    assert tried == 8


def test_lambda_stops_at_zero_with_a_warning() -> None:
    case = convenience(random_case(4001), least_kwh=1e6)
    plan = optimise(readings_of(case), scenario_of(case))
    assert plan.summary["min_saving_g_per_kwh"] == 0
    assert close(plan.summary["achieved"], bf.optimum(case, min_saving=0.0).objective, 1e-3)
    assert any(note.startswith("min_total_shift_kwh asks for 1e+06 kWh, but at most ") for note in plan.summary["data_report"]["notes"])


def test_where_no_lambda_is_given_it_is_not_below_zero() -> None:
    """Usage in the cleanest hour alone can only be moved to worse ones, where these are allowed at all."""
    calendar = Calendar(slot_minutes=60, day_boundaries=(0, 5))
    readings = example_readings({"anita": [0, 0, 1, 0, 0, 0]}, [900, 800, 400, 500, 700, 900], calendar=calendar)
    constraints = {"only_saving_moves": None, "regional_shift_cap": None, "no_new_spike": None}
    scenario = Scenario.from_mapping({"constraints": constraints, "model": {"name": "ConveniencePrioritised"}, "progress": False})
    plan = optimise(readings, scenario.model_copy(update={"calendar": calendar}))
    assert plan.summary["min_saving_g_per_kwh"] == 0
    assert len(plan.shifts) == 0


# ---- the trap: energy is not moved on ----------------------------------------------------------------------------


def chain(**limits: dict) -> bf.Case:
    """Three hours that get cleaner, a kWh in each of the first two, a window of one hour: moved on, the first kWh would save twice."""
    times = [datetime(2025, 11, 17, h) for h in range(3)]
    rules = {"max_moves_per_day": {"limit": 3}, "max_shift_window": {"hours": 1.0, "inclusive": True}}
    rules |= {"conservation": {"horizon": "day"}, "only_saving_moves": {}}
    factors = {"anita": [900.0, 600.0, 300.0]}
    return bf.Case(times, {"anita": [1.0, 1.0, 0.5]}, {"anita": "delhi"}, factors, factors, rules | limits, day_boundaries=(0, 2))


@pytest.mark.parametrize("solver", [EXACT, *({"family": "greedy", "order": order} for order in ORDERS)], ids=str)
def test_no_energy_moves_twice(solver: dict) -> None:
    """Chained, 900 g would be saved; each kWh moved once saves 600 g, and no slot gives more than it used itself."""
    plan = optimise(readings_of(chain()), scenario_of(chain(), solver))
    assert close(plan.summary["achieved"], 600.0, 1e-3)
    given = plan.shifts.group_by("original_time").agg(pl.col("kwh").sum()).sort("original_time")["kwh"].to_list()
    assert given == pytest.approx([1.0, 1.0])


@pytest.mark.parametrize("solver", [EXACT, GREEDY], ids=str)
def test_energy_moved_in_does_not_raise_what_may_leave(solver: dict) -> None:
    """A floor of the slot's own usage and a share of a peak hour count the slot's own energy only."""
    floor = {"baseline_period": "day", "baseline_type": "absolute_min", "time_bucket": "slot_of_day"}
    floor |= {"robust_max_percentile": 95.0, "percent_of_robust_max": 10.0}
    peak = {"max_reduction_percent": 30.0, "scope": "per_customer", "group": "hour", "peak_hours": {"delhi": {"mon": [1]}}}
    for case, second in ((chain(household_minimum_usage=floor), 0.5), (chain(peak_hour_comfort=peak), 0.3)):
        plan = optimise(readings_of(case), scenario_of(case, solver))
        given = plan.shifts.group_by("original_time").agg(pl.col("kwh").sum()).sort("original_time")["kwh"].to_list()
        assert given == pytest.approx([0.5 if second == 0.5 else 1.0, second])


def test_without_conservation_only_the_window_bounds_a_move() -> None:
    """Energy may then cross into the next day, with or without a weekly count that ties the days together."""
    times = [datetime(2025, 11, 18) + timedelta(hours=h) for h in range(48)]
    factors = {"anita": [900.0 if t < datetime(2025, 11, 19) else 300.0 for t in times]}
    usage = {"anita": [1.0] * len(times)}
    rules = {"max_moves_per_day": {"limit": 1}, "max_shift_window": {"hours": 2.0, "inclusive": True}, "only_saving_moves": {}}
    for more in ({}, {"max_moves_per_week": {"limit": 3}}):
        case = bf.Case(times, usage, {"anita": "delhi"}, factors, factors, rules | more)
        assert close(bf.optimum(case).objective, 600.0)
        assert close(optimise(readings_of(case), scenario_of(case)).summary["achieved"], 600.0, 1e-3), more
