"""One household's day in the formulation of the notebook that this package began with, and its greedy heuristic.

The formulation: every slot's energy is assigned to slots within a window, so that the day emits least. Its optimum is found
here by scipy, without a line of the package. The families must reproduce it with everything but the window switched off. The
heuristic empties the dirtiest slot first, into the cleanest slot within the window; a slot that has received energy is
emptied with all it holds when its turn comes. So energy moves twice, further than the window allows, and the day's emissions
fall below the optimum of the very problem that they are meant to solve.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

import dr_opt
from dr_opt.readings import Readings
from dr_opt.solver.base import families
from dr_opt.tables import example_readings

SLOTS = 48
HAND_FACTORS, HAND_USAGE = [500.0, 600.0, 700.0, 800.0], [0.0, 0.0, 0.0, 1.0]


class Hop(NamedTuple):
    """Energy that the heuristic carries from one slot to another."""

    origin: int
    destination: int
    kwh: float


def within(slot: int, reach: int, count: int) -> range:
    """The slots within reach of one."""
    return range(max(0, slot - reach), min(count, slot + reach + 1))


def optimum(factors: np.ndarray, usage: np.ndarray, reach: int) -> float:
    """Least emissions of the day, g: every slot's energy assigned to slots within reach, by scipy."""
    count = len(usage)
    pairs = [(i, j) for i in range(count) for j in within(i, reach, count)]
    assigned = np.zeros((count, len(pairs)))
    assigned[[i for i, _ in pairs], range(len(pairs))] = 1
    solved = linprog([factors[j] for _, j in pairs], A_eq=assigned, b_eq=usage, method="highs")
    assert solved.status == 0
    return float(solved.fun)


def chained(factors: np.ndarray, usage: np.ndarray, reach: int) -> tuple[np.ndarray, list[Hop]]:
    """The day after the heuristic, and its hops: dirtiest slot first, all that it holds by then."""
    held, hops = usage.astype(float), []
    for origin in np.argsort(-factors, kind="stable"):
        destination = min(within(int(origin), reach, len(usage)), key=factors.__getitem__)
        if factors[destination] < factors[origin] and held[origin] > 0:
            hops.append(Hop(int(origin), destination, float(held[origin])))
            held[destination] += held[origin]
            held[origin] = 0
    return held, hops


def journeys(usage: np.ndarray, hops: list[Hop]) -> list[Hop]:
    """The same energy from the slot where it was first used to the one where it ends."""
    from_where = np.diag(usage.astype(float))  # (slot it is in, slot it was used in)
    for hop in hops:
        from_where[hop.destination] += from_where[hop.origin]
        from_where[hop.origin] = 0
    return [Hop(int(i), int(j), float(from_where[j, i])) for j, i in zip(*np.nonzero(from_where)) if i != j]


def day_of(factors: np.ndarray, usage: np.ndarray) -> Readings:
    """The day as readings of one household; with hourly slots where there are too few for a day of half-hours."""
    hours = len(usage) // 2 if len(usage) == SLOTS else len(usage)
    calendar = dr_opt.Calendar(slot_minutes=30 if len(usage) == SLOTS else 60, day_boundaries=(0, hours - 1))
    return example_readings({"anita": usage.tolist()}, factors.tolist(), calendar=calendar)


def plan_of(readings: Readings, reach: int, family: str) -> dr_opt.Plan:
    """A plan under the window alone: no counts, no caps, no floors, no comfort cost."""
    nothing = dict.fromkeys(dr_opt.Constraints.model_fields) | {"move_counting": "slot", "conservation": dr_opt.Conservation()}
    window = dr_opt.MaxShiftWindow(hours=reach * readings.calendar.slot_minutes / 60)
    limits = dr_opt.Constraints(**nothing | {"max_shift_window": window})
    solver = dr_opt.SolverChoice(family=family, gap=0, rho=0)
    return dr_opt.optimise(readings, dr_opt.Scenario(calendar=readings.calendar, constraints=limits, solver=solver, progress=False))


def emissions(plan: dr_opt.Plan) -> float:
    """Marginal emissions of the planned day, g."""
    return plan.customer_days["marginal_g_after"].sum()


def with_shifts(plan: dr_opt.Plan, hops: list[Hop]) -> dr_opt.Plan:
    """The plan with other shifts in it; only what moves from when to when is told, which is what limits look at."""
    assert plan.readings is not None
    times = plan.readings.frame["time"]
    rows = {
        "customer_id": ["anita"] * len(hops),
        "original_time": times.gather([hop.origin for hop in hops]),
        "shifted_time": times.gather([hop.destination for hop in hops]),
        "kwh": [hop.kwh for hop in hops],
    }
    shifts = pl.concat([plan.shifts.clear(), pl.DataFrame(rows)], how="diagonal_relaxed")
    return replace(plan, frames={**plan.frames, "shifts": shifts})


LIMITS = {"max_shift_window", "conservation", "intra_customer", "own_energy", "availability"}


def broken(plan: dr_opt.Plan) -> set[str]:
    """The limits that the audit finds broken."""
    audit = plan.audit()
    assert set(audit["limit"]) >= LIMITS
    return LIMITS & set(audit.filter(~pl.col("ok"))["limit"])


def example_day(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Factors and usage of a synthetic household's day."""
    frame = dr_opt.read_readings(dr_opt.synthesise("delhi", customers=1, days=1, seed=seed), show_progress=False).frame
    return frame["marginal_g_per_kwh"].to_numpy(), frame["usage_kwh"].to_numpy()


def exact_families() -> list[str]:
    """All families that can be had here; on this problem, which has no counts and no shared caps, each must be exact."""
    served = set(dr_opt.solvers().filter("installed")["family"])
    return [name for name in ("milp", "lp", "greedy", "continuous") if name in families and name in served]


# The formulation


@pytest.mark.parametrize(("seed", "reach"), [(0, 2), (0, 4), (1, 3)])
def test_every_family_reproduces_the_optimum(seed: int, reach: int) -> None:
    factors, usage = example_day(seed)
    best = optimum(factors, usage, reach)
    assert best < factors @ usage
    for family in exact_families():
        plan = plan_of(day_of(factors, usage), reach, family)
        assert emissions(plan) == pytest.approx(best, rel=1e-6), family
        assert plan.summary["achieved"] == pytest.approx(factors @ usage - best, rel=1e-6), family


def test_the_optimum_needs_no_solver() -> None:
    """Nothing ties the slots together: each slot's energy goes to the cleanest slot within reach."""
    factors, usage = example_day()
    cleanest = [min(factors[j] for j in within(i, 4, SLOTS)) for i in range(SLOTS)]
    assert optimum(factors, usage, 4) == pytest.approx(usage @ cleanest, rel=1e-9)


# Its heuristic


def test_by_hand_energy_walks_through_the_window() -> None:
    """A kWh at the end of a slope: one step is allowed, and the heuristic takes it three times."""
    factors, usage = np.array(HAND_FACTORS), np.array(HAND_USAGE)
    held, hops = chained(factors, usage, 1)
    assert hops == [(3, 2, 1.0), (2, 1, 1.0), (1, 0, 1.0)]
    assert (optimum(factors, usage, 1), held @ factors) == (700, 500)
    assert journeys(usage, hops) == [(3, 0, 1.0)]
    plan = plan_of(day_of(factors, usage), 1, "milp")
    assert emissions(plan) == pytest.approx(700)
    assert broken(plan) == set()
    assert broken(with_shifts(plan, hops)) == {"own_energy"}
    assert broken(with_shifts(plan, journeys(usage, hops))) == {"max_shift_window"}


@pytest.mark.parametrize("reach", [2, 4])
def test_its_value_is_below_the_optimum_and_so_infeasible(reach: int) -> None:
    factors, usage = example_day()
    held, hops = chained(factors, usage, reach)
    assert held.sum() == pytest.approx(usage.sum()), "no energy is lost on the way"
    assert held @ factors < optimum(factors, usage, reach) - 1
    twice = sum(hop.kwh for hop in hops) - sum(hop.kwh for hop in journeys(usage, hops))
    assert twice > 0.1, "some energy moves more than once"
    plan = plan_of(day_of(factors, usage), reach, "milp")
    assert "own_energy" in broken(with_shifts(plan, hops))
    assert broken(with_shifts(plan, journeys(usage, hops))) == {"max_shift_window"}


def test_our_greedy_moves_nothing_twice() -> None:
    factors, usage = example_day()
    plan = plan_of(day_of(factors, usage), 4, "greedy")
    sent = plan.shifts.group_by("original_time").agg(pl.col("kwh").sum(), pl.col("source_kwh_before").first())
    assert (sent["kwh"] <= sent["source_kwh_before"] + 1e-9).all()
    assert broken(plan) == set()


@settings(max_examples=20)
@given(st.lists(st.tuples(st.integers(300, 1000), st.integers(0, 5)), min_size=3, max_size=8), st.integers(1, 3))
def test_it_is_infeasible_whenever_it_beats_the_optimum(day: list[tuple[int, int]], reach: int) -> None:
    """On random days: what lies below the optimum has left the window; what keeps the window is no better than the optimum."""
    factors, usage = np.array(day, float).T
    held, hops = chained(factors, usage, reach)
    far = any(abs(hop.origin - hop.destination) > reach for hop in journeys(usage, hops))
    assert far or held @ factors >= optimum(factors, usage, reach) - 1e-6
