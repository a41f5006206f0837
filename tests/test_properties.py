"""What must hold whatever the data: tighter is never better, the same gives the same, and where theory says so, the relaxation is exact."""

from dataclasses import replace
from itertools import pairwise

import brute_force as bf
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from test_exactness import GREEDY, best_value, calendar_of, close, frame_of, priced_problems, random_case, readings_of, scenario_of

from dr_opt.pipeline import optimise
from dr_opt.readings import Readings, read_readings
from dr_opt.solver.backends import backends
from dr_opt.solver.base import Effort, families
from dr_opt.solver.translation import tie_allowance
from dr_opt.sparse import sparse_form

SEEDS = st.integers(0, 1_000_000)


def at_one_lambda(case: bf.Case, min_saving: float) -> bf.Case:
    """The case under Convenience at a given λ; everyone is asked."""
    return replace(case, model={"name": "ConveniencePrioritised", "min_saving_g_per_kwh": min_saving})


def exact(case: bf.Case, readings: Readings | None = None) -> tuple[float, float]:
    """The exact optimum of a case over all its blocks, and how much of it the breaking of ties may cost."""
    problems = priced_problems(readings or readings_of(case), scenario_of(case))
    return sum(families["milp"].solve(p, Effort(gap=0.0)).achieved for p in problems), sum(tie_allowance(p) for p in problems)


# ---- tighter is never better -------------------------------------------------------------------------------------

LOOSER = {  # each limit loose, then tighter and tighter
    "max_moves_per_day": [None, {"limit": 3}, {"limit": 1}, {"limit": 0}],
    "max_moves_per_week": [None, {"limit": 4}, {"limit": 2}, {"limit": 1}],
    "max_shift_window": [None, *({"hours": h, "inclusive": whole} for h, whole in ((3.0, True), (2.0, True), (2.0, False), (0.5, True)))],
    "regional_shift_cap": [None, {"percent": 40.0}, {"percent": 10.0}, {"percent": 2.0}],
    "no_new_spike": [None, *({"alpha_peak_cap_percent": alpha, "baseline": "same_day"} for alpha in (60.0, 20.0, 3.0))],
    "conservation": [{"horizon": "month"}, {"horizon": "day"}],
    "only_saving_moves": [None, {}],
    "no_average_increase": [None, {}],
    "max_customer_shift": [None, {"percent": 50.0}, {"percent": 20.0}, {"percent": 4.0}],
    "min_move_size": [None, {"kwh": 0.05}, {"kwh": 0.3}, {"kwh": 1.0}],
    "min_day_potential": [None, {"percent": 2.0}, {"percent": 8.0}, {"percent": 30.0}],
}  # fmt: skip


def ladder(key: str, case: bf.Case) -> list[dict | None]:
    """One limit from loose to tight."""
    hours = sorted({t.hour for t in case.times})
    peak = {g: dict.fromkeys(bf.WEEKDAYS, hours[:4]) for g in set(case.city.values())}
    if key == "peak_hour_comfort":
        steps = [{"max_reduction_percent": z, "scope": "per_customer", "group": "hour", "peak_hours": peak} for z in (100.0, 40.0, 10.0)]
        return [None, {**steps[0], "group": "day"}, *steps, {**steps[-1], "group": "slot"}]
    if key == "household_minimum_usage":
        rule = {"baseline_period": "day", "baseline_type": "absolute_min", "time_bucket": "slot_of_day", "robust_max_percentile": 95.0}
        return [None, *({**rule, "percent_of_robust_max": q} for q in (0.0, 20.0, 70.0))]
    return LOOSER[key]


@pytest.mark.parametrize("key", [*LOOSER, "peak_hour_comfort", "household_minimum_usage"])
@given(seed=SEEDS, min_saving=st.sampled_from([0.0, 100.0]))
@settings(max_examples=6)
def test_tightening_a_limit_never_raises_the_optimum(key: str, seed: int, min_saving: float) -> None:
    case = at_one_lambda(random_case(seed), min_saving)
    readings = readings_of(case)
    values = [exact(replace(case, constraints=case.constraints | {key: rule}), readings) for rule in ladder(key, case)]
    for (loose, allowance), (tight, _) in pairwise(values):
        assert tight <= loose + allowance + 1e-6 * max(1.0, loose)


@given(seed=SEEDS)
@settings(max_examples=12)
def test_counting_pairs_never_raises_the_optimum(seed: int) -> None:
    case = at_one_lambda(random_case(seed), 0.0)
    by_slot, allowance = exact(replace(case, pairs=False))
    assert exact(replace(case, pairs=True))[0] <= by_slot + allowance + 1e-6 * max(1.0, by_slot)


@given(seed=SEEDS)
@settings(max_examples=12)
def test_a_higher_lambda_moves_less(seed: int) -> None:
    """Fewer kWh and fewer grams, each kWh saving more: one frontier (where no move has a least size)."""
    case = random_case(seed)
    case = replace(case, constraints=case.constraints | {"min_move_size": None, "min_day_potential": None, "only_saving_moves": {}})
    points = []
    for lam in (0.0, 60.0, 180.0, 320.0):
        asked = at_one_lambda(case, lam)
        answers = [families["milp"].solve(p, Effort(gap=0.0)) for p in priced_problems(readings_of(asked), scenario_of(asked))]
        kwh = sum(a.flows.kwh.sum() for a in answers)
        points.append((kwh, sum(a.achieved for a in answers) + lam * kwh))
    for (more, grams), (fewer, less) in pairwise(points):
        assert fewer <= more + 1e-5
        assert less <= grams + 1e-6 * max(1.0, grams) + 1e-3


# ---- the same gives the same -------------------------------------------------------------------------------------


@pytest.mark.slow
@given(seed=SEEDS, order=st.integers(0, 1000), greedy=st.booleans())
@settings(max_examples=10)
def test_the_same_plan_from_rows_in_any_order(seed: int, order: int, greedy: bool) -> None:
    """Two runs agree to the last bit, and the order of rows and customers in the input means nothing."""
    case = random_case(seed)
    scenario = scenario_of(case, GREEDY if greedy else {"family": "milp"})
    frame = frame_of(case)
    shuffled = frame[np.random.default_rng(order).permutation(len(frame))]
    plans = [
        optimise(read_readings(rows, calendar=calendar_of(case), show_progress=False), scenario) for rows in (frame, frame, shuffled)
    ]
    for other in plans[1:]:
        assert_frame_equal(other.shifts, plans[0].shifts, check_exact=True)
        assert other.summary["achieved"] == plans[0].summary["achieved"]


QUICK = [name for name in families if name != "continuous" or backends["clarabel"].available]  # else it takes SciPy's time


@given(seed=SEEDS, family=st.sampled_from(QUICK))
@settings(max_examples=25)
def test_every_plan_passes_its_audit(seed: int, family: str) -> None:
    """With default gap and every registered family; tests/test_continuous.py has more of the continuous one."""
    case = random_case(seed)
    plan = optimise(readings_of(case), scenario_of(case, {"family": family}))
    assert plan.audit()["ok"].all()


# ---- where the relaxation is exact -------------------------------------------------------------------------------


@given(seed=SEEDS)
@settings(max_examples=30)
def test_the_relaxation_is_exact_where_counts_are_laminar(seed: int) -> None:
    """Days lie within weeks, so with slot limits and counts alone the relaxed counts lose nothing."""
    case = at_one_lambda(random_case(seed), 0.0)
    keep = ("max_moves_per_day", "max_moves_per_week", "max_shift_window", "household_minimum_usage", "conservation", "only_saving_moves")
    case = replace(case, pairs=False, constraints={key: case.constraints[key] for key in keep})
    problems = priced_problems(readings_of(case), scenario_of(case))
    assume(problems)
    for problem in problems:
        form = sparse_form(problem)
        assert close(best_value(form, integer=False), best_value(form))
