# ruff: noqa: E501 (tables are kept whole)
"""The continuous family: optima in closed form, bounds that hold, plans that keep every limit, and an objective that the audit recomputes."""

import itertools
from collections.abc import Sequence

import brute_force as bf
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_exactness import numbered, priced_problems, random_case, readings_of, scenario_of
from test_solvers import STANDARD, Standard, installed, near

from dr_opt.basics import InputError
from dr_opt.metrics import comfort_cost_g
from dr_opt.pipeline import optimise
from dr_opt.scenario import Scenario
from dr_opt.solver.base import Effort, Status, families, no_flows, solve_problem
from dr_opt.solver.continuous import comfort_value, only_moves_of, worthwhile
from dr_opt.synthesis import synthesise

RHO = 100.0
SLOW = pytest.mark.slow
INSTALLED = installed("continuous")
QUICK = [name for name in ("slsqp", "clarabel", "osqp") if name in INSTALLED]

# ---- optima by hand ----------------------------------------------------------------------------------------------

Slot = tuple[float, float]  # saving of its best arc, g/kWh; the most that may leave, kWh
# Slots, what a kWh of each takes of the room (None: of a count, 1 / most), the room.
Pool = tuple[Sequence[Slot], Sequence[float] | None, float]

WINDOW, HOUR = (400, 450, 100, 0, 50, 480), (50, 350, 100, 0, 50, 430)  # best saving of each hour, within two hours and within one
BALA, CHITRA = (2, 1, 0, 1, 0, 3), (1, 2, 1, 1, 1, 1)
NO_RISE = (0, 400, 50, 0, 0, 430)


def slots(saving: Sequence[float], usage: Sequence[float], share: float = 1.0, most: float = np.inf, less: float = 0.0) -> list[Slot]:
    """The slots that may give: share × usage, at most `most`; those that must keep `less` give what is above it."""
    highest = [min(share * u - less, most) for u in usage]
    return [(v, h) for v, h in zip(saving, highest) if v > 0 and h > 0]


def free(*homes: list[Slot]) -> list[Pool]:
    """Slots that nothing ties together."""
    return [([slot], [1.0], np.inf) for home in homes for slot in home]


def counted(n: int, *homes: list[Slot]) -> list[Pool]:
    """Each home by itself: shares of its slots add up to n at most."""
    return [(home, None, n) for home in homes]


B, C = slots(WINDOW, BALA), slots(WINDOW, CHITRA)
POOLS: dict[str, list[Pool]] = {
    "window": free(B, C),
    "one move a day": counted(1, B, C),
    "two moves a day": counted(2, B, C),
    "one hour": free(slots(HOUR, BALA), slots(HOUR, CHITRA)),
    "less than two hours": free(slots(HOUR, BALA), slots(HOUR, CHITRA)),
    "two days": 2 * counted(1, B, C),
    "one move a week": counted(1, 2 * B, 2 * C),
    "three moves a week": counted(3, 2 * B, 2 * C),  # both days are alike, so each has one and a half, less than its two
    "floor": counted(1, B, slots(WINDOW, CHITRA, less=1)),
    "least size": free([(480, 3)]),
    "least share": free([(400, 2), (480, 3)], [(450, 2)]),
    "peak by day": [(home, [1.0] * len(home), 3.5) for home in (B, C)],
    "peak by slot": free(slots(WINDOW, BALA, 0.3), slots(WINDOW, CHITRA, 0.3)),
    "peak by hour": free(slots(WINDOW, BALA, 0.3), slots(WINDOW, CHITRA, 0.3)),
    "regional cap": [(B + C, [1.0] * 8, 1.4)],
    "given load": [(B + C, [1.0] * 8, 4.5)],
    "no room at all": [],
    "share of the day": [(home, [1.0] * len(home), 2.1) for home in (slots(WINDOW, BALA, most=2.1), slots(WINDOW, CHITRA, most=2.1))],
    "a split is one move": free([(500, 1)]),  # half a kWh of room in each of two hours
    "pairs": free([(500, 1)]),
    "pairs, least size": free([(500, 1)]),
    "saving beyond 450": free([(30, 3), (30, 1)]),
    "largest users": counted(1, B),
    "no rise in average": free(slots(NO_RISE, BALA), slots(NO_RISE, CHITRA)),
    "days of promise": free(slots(HOUR, BALA)),
}
KNOWN = [standard for standard in STANDARD if standard.name in POOLS]


def filled(pool: Pool, rho: float) -> float:
    """max Σ v·x − ρ x² with 0 ≤ x ≤ h and Σ weight × x ≤ room: at a price y of the room x = (v − y × weight) / 2ρ; y by bisection."""
    v, h = (np.array(column, float) for column in zip(*pool[0]))
    weight = 1 / h if pool[1] is None else np.array(pool[1])
    at = lambda y: np.clip((v - y * weight) / (2 * rho), 0, h)
    low, high = 0.0, float((v / weight).max())
    for _ in range(200 if weight @ at(0.0) > pool[2] else 0):
        low, high = ((low + high) / 2, high) if weight @ at((low + high) / 2) > pool[2] else (low, (low + high) / 2)
    x = at(high if weight @ at(0.0) > pool[2] else 0.0)
    return float(v @ x - rho * x @ x)


def relaxed_optimum(standard: Standard, rho: float) -> float:
    return sum(filled(pool, rho) for pool in POOLS[standard.name])


def best_choice(pool: Pool, rho: float) -> float:
    """With whole moves: every choice of n of the slots, each giving what is best for it alone."""
    gains = [v * min(h, v / (2 * rho)) - rho * min(h, v / (2 * rho)) ** 2 for v, h in pool[0]]
    return max(sum(chosen) for chosen in itertools.combinations(gains, min(int(pool[2]), len(gains))))


def cases() -> list:
    """Every back-end on every problem; in the fast tier every other problem on one of the quick ones in turn, and one on all."""
    quick = {QUICK[place % len(QUICK)] + standard.name for place, standard in enumerate(KNOWN[::2])}
    every = [(name, standard) for name in INSTALLED for standard in KNOWN]
    fast = lambda name, standard: name + standard.name in quick or standard.name == "regional cap"
    return [pytest.param(name, s, id=f"{name}-{s.name}", marks=() if fast(name, s) else SLOW) for name, s in every]


@pytest.mark.parametrize(("backend", "standard"), cases())
def test_known_optima(backend: str, standard: Standard) -> None:
    """The relaxation's optimum, a bound never below it, and a plan that keeps every limit.

    SLSQP and trust-constr reach the six digits of the others, for their bounds come from a linear programme at the point they
    end at; trust-constr's point itself lies a hair inside its limits, five digits from the best.
    """
    problem, optimum = standard.problem(), relaxed_optimum(standard, RHO)
    as_it_is = solve_problem(("continuous", problem, Effort(backend=backend, rho_g_per_kwh2=RHO, repair=False)))
    plan = solve_problem(("continuous", problem, Effort(backend=backend, rho_g_per_kwh2=RHO)))
    digits = near(backend, optimum)
    assert as_it_is.achieved == pytest.approx(optimum, abs=10 * digits + 2e-3)
    for answer in (as_it_is, plan):
        assert answer.bound is not None and optimum - 1e-6 <= answer.bound <= optimum + digits + 2e-3
    assert 0 <= plan.achieved <= optimum + 1e-6
    assert plan.achieved == pytest.approx(comfort_value(problem, plan.flows, RHO), abs=1e-9)
    assert standard.broken(problem, plan.flows) == []
    assert (as_it_is.status, plan.status) in ((Status.RELAXED, Status.ROUNDED), (Status.NOTHING, Status.NOTHING))


COUNTED = [standard for standard in KNOWN if POOLS[standard.name] and all(pool[1] is None for pool in POOLS[standard.name])]
WHOLE = [standard for standard in KNOWN if standard not in COUNTED and "least size" not in standard.name and "pairs" not in standard.name]


@pytest.mark.parametrize(("rho", "apart"), [(100.0, 4), *(pytest.param(rho, 1, marks=SLOW) for rho in (20.0, 100.0, 1000.0))])
def test_plans_are_the_best_where_that_is_known(rho: float, apart: int) -> None:
    """Where only counts tie slots together: the best choice of whole moves. Where no count does: the relaxation's own optimum."""
    assert len(COUNTED) >= 6 and len(WHOLE) >= 12
    for standard in (COUNTED + WHOLE)[::apart]:
        answer = solve_problem(("continuous", standard.problem(), Effort(backend="slsqp", rho_g_per_kwh2=rho)))
        pools = POOLS[standard.name]
        right = sum(best_choice(pool, rho) for pool in pools) if standard in COUNTED else relaxed_optimum(standard, rho)
        if standard.name == "least share":
            assert answer.achieved <= right + 1e-6  # a least size is no part of the relaxation
        elif standard.name == "three moves a week":
            assert answer.achieved <= right + 1e-6  # two on each day at most, which the choice of three does not know
        else:
            assert answer.achieved == pytest.approx(right, rel=1e-6, abs=1e-3), standard.name


def some(*places: slice) -> list:
    """A part of the standard problems, and all of them in the slow tier."""
    return [pytest.param(STANDARD[place], id=f"{place.step} apart") for place in places] + [pytest.param(STANDARD, id="all", marks=SLOW)]


@pytest.mark.parametrize("standards", some(slice(1, None, 9)))
@pytest.mark.parametrize("backend", [name for name in INSTALLED if name in ("clarabel", "slsqp")])
def test_no_comfort_cost_is_the_linear_family(backend: str, standards: Sequence[Standard]) -> None:
    """ρ = 0: the bound of lp, and a plan that is at least as good."""
    for standard in standards:
        problem = standard.problem()
        linear = solve_problem(("lp", problem, Effort(backend="highs")))
        answer = solve_problem(("continuous", problem, Effort(backend=backend, rho_g_per_kwh2=0.0)))
        assert answer.bound == pytest.approx(linear.bound, abs=10 * near(backend, linear.bound)), standard.name
        assert answer.achieved >= linear.achieved - 1e-6
        assert standard.broken(problem, answer.flows) == []


@pytest.mark.parametrize("standards", some(slice(1, None, 14)))
def test_dearer_comfort_never_raises_the_objective(standards: Sequence[Standard]) -> None:
    for standard in standards:
        problem = standard.problem()
        answers = [
            solve_problem(("continuous", problem, Effort(backend="slsqp", rho_g_per_kwh2=rho))) for rho in (0.0, 10.0, 100.0, 1000.0)
        ]
        for dearer, cheaper in itertools.pairwise(answers[::-1]):
            assert dearer.bound <= cheaper.bound + 1e-3 and dearer.achieved <= cheaper.achieved + 1e-3, standard.name


# ---- random cases ------------------------------------------------------------------------------------------------


def check_case(seed: int, rho: float, backend: str) -> int:
    """A plan within every statement and below its bound, and a bound above what other families' plans come to."""
    case = random_case(seed)
    problems = priced_problems(readings_of(case), scenario_of(case))
    for problem in problems:
        answer = families["continuous"].solve(problem, Effort(backend=backend, rho_g_per_kwh2=rho))
        assert bf.faults_of(case, numbered(case, problem, answer.flows), bf.resolved_min_saving(case)) == []
        assert 0 <= answer.achieved <= answer.bound
        for other in ("greedy", "lp"):
            theirs = families[other].solve(problem, Effort()).flows
            assert comfort_value(problem, theirs, rho) <= answer.bound + 1e-6
        smaller = only_moves_of(problem, answer.flows)
        assert not smaller.counts and len(smaller.candidates[0]) <= len(problem.candidates[0])
    return len(problems)


@given(seed=st.integers(0, 100_000), rho=st.sampled_from([0.0, 30.0, 300.0]))
@settings(max_examples=6)
def test_random_cases_keep_every_limit(seed: int, rho: float) -> None:
    check_case(seed, rho, "slsqp")


@pytest.mark.slow
@pytest.mark.parametrize("backend", INSTALLED)
@pytest.mark.parametrize("seed", range(40))
def test_more_random_cases(seed: int, backend: str) -> None:
    check_case(1000 + seed, (30.0, 100.0, 300.0)[seed % 3], backend)


# ---- choosing moves ----------------------------------------------------------------------------------------------


def test_what_is_worth_its_comfort() -> None:
    """A slot gives v / 2ρ at most; one whose least move gains nothing is out (bala's 3 kWh at 480 g, at least 2.5 kWh)."""
    problem = next(standard for standard in STANDARD if standard.name == "least size").problem()
    assert [worthwhile(problem, rho).highest_kwh.max() for rho in (0.0, 90.0, 190.0, 200.0)] == pytest.approx(
        [3, 480 / 180, 2.5, 0], abs=1e-6
    )
    assert comfort_value(problem, no_flows(), 50.0) == 0


def test_nothing_is_better_than_a_loss() -> None:
    problem = next(standard for standard in STANDARD if standard.name == "least size").problem()
    answer = solve_problem(("continuous", problem, Effort(backend="slsqp", rho_g_per_kwh2=200.0)))
    assert len(answer.flows) == 0 and answer.achieved == 0 and answer.bound > 0


def test_a_time_limit_leaves_a_plan() -> None:
    standard = next(standard for standard in STANDARD if standard.name == "three moves a week")
    answer = solve_problem(("continuous", standard.problem(), Effort(backend="slsqp", time_limit_seconds=0.0)))
    assert answer.status is Status.TIME_LIMIT and answer.achieved > 0 and standard.broken(standard.problem(), answer.flows) == []
    assert answer.bound >= relaxed_optimum(standard, RHO) - 1e-6


# ---- from readings to an audited plan ----------------------------------------------------------------------------


SIX_HOURS = {"slot_minutes": 60, "day_boundaries": [0, 5]}
ROOMY = {
    "household_minimum_usage": None, "peak_hour_comfort": None, "regional_shift_cap": {"percent": 40}, "no_new_spike": {"alpha_peak_cap_percent": 80},
}  # fmt: skip


def small(rho: float = RHO, **changes: object) -> Scenario:
    solver = {"family": "continuous", "backend": "slsqp", "rho": rho}
    return Scenario.from_mapping({"calendar": SIX_HOURS, "constraints": ROOMY, "solver": solver, "progress": False, **changes})


@pytest.mark.parametrize("model", [{"name": "ImpactPrioritised"}, {"name": "ConveniencePrioritised", "min_saving_g_per_kwh": 60}], ids=str)
def test_the_audit_recomputes_the_objective(model: dict) -> None:
    """`optimise` raises where the audit fails; here the figure once more by hand, and a plan that claims another ρ is found out."""
    plan = optimise(STANDARD[0].readings(), small(model=model))
    beyond = " beyond min_saving_g_per_kwh" if model["name"] == "ConveniencePrioritised" else ""
    assert plan.summary["objective"] == f"grams saved{beyond} less the comfort cost"
    assert plan.summary["achieved_g"] is None and plan.summary["bound"] >= plan.summary["achieved"] > 0
    out = plan.shifts.group_by("customer_id", "original_time").agg(pl.col("kwh").sum())["kwh"]
    grams = -plan.shifts["marginal_g_delta"].sum() - model.get("min_saving_g_per_kwh", 0) * plan.shifts["kwh"].sum()
    assert plan.summary["achieved"] == pytest.approx(grams - RHO * (out**2).sum())
    assert comfort_cost_g(plan.tables, RHO) == pytest.approx(RHO * (out**2).sum())
    claimed = type(plan)(small(rho=50, model=model), plan.summary, plan.run, plan.frames, plan.model_limits, plan.readings)
    assert "summary.achieved" in claimed.audit().filter(~pl.col("ok"))["limit"].to_list()


def test_too_large_for_scipy() -> None:
    """A week of one household is more than SLSQP is meant for."""
    scenario = Scenario.from_mapping({"solver": {"family": "continuous", "backend": "slsqp"}, "progress": False})
    with pytest.raises(InputError, match=r"^solver\.backend 'slsqp' is meant for at most 150 columns, and the largest block has "):
        optimise(synthesise("delhi", customers=1, days=7, seed=1), scenario)
