"""What prices prove, against what is true: no plan beats the bound, replies are best, good prices prove as much as a relaxation."""

from collections import Counter
from dataclasses import replace

import brute_force as bf
import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.sparse import coo_array
from test_exactness import best_value, priced_problems, random_case, readings_of, scenario_of

from dr_opt.calendar import OUTSIDE
from dr_opt.preparation import make_problems
from dr_opt.preparation import readings_of as prepared
from dr_opt.problem import CustomerSum, MoveCount, Problem
from dr_opt.scenario import Scenario
from dr_opt.solver.certificate import arc_charges, best_replies, price_bound
from dr_opt.solver.translation import tie_allowance
from dr_opt.sparse import sparse_form
from dr_opt.synthesis import synthesise


def rows_of(problem: Problem) -> int:
    return sum(len(s.limit_kwh) for s in problem.city_sums)


def random_prices(problem: Problem, random: np.random.Generator) -> np.ndarray:
    """Prices of all sizes, many of them nothing."""
    size = rows_of(problem)
    return random.uniform(0, random.choice([1.0, 100.0, 600.0]), size) * (random.random(size) < random.choice([0.2, 0.6, 1.0]))


def best_prices(problem: Problem) -> tuple[np.ndarray, float]:
    """The prices of all city rows at the optimum of the relaxation, and its value."""
    form = sparse_form(problem, relaxed=True)
    row, column, coefficient = form.matrix
    matrix = coo_array((coefficient, (row, column)), shape=(len(form.row_upper), len(form.objective))).tocsr()
    equal = form.row_lower == form.row_upper
    limits = {"A_ub": matrix[~equal], "b_ub": form.row_upper[~equal], "A_eq": matrix[equal], "b_eq": form.row_upper[equal]}
    found = linprog(-form.objective, **limits, bounds=np.stack([form.lower, form.upper], axis=1), method="highs")
    assert found.status == 0, found.message
    prices = np.zeros(len(equal))
    prices[~equal] = np.maximum(-found.ineqlin.marginals, 0.0)
    return prices[len(equal) - rows_of(problem) :], -found.fun


def alone(problem: Problem, prices: np.ndarray) -> Problem:
    """The problem without city sums, in which arcs are worth what is left of their value after paying."""
    arcs = replace(problem.arcs, value=problem.arcs.value - arc_charges(problem, prices))
    return replace(problem, arcs=arcs, city_sums=())


def replies_found(problem: Problem, prices: np.ndarray) -> float:
    """What all customers can gain at these prices by an exact solver, less at most `tie_allowance`."""
    return best_value(sparse_form(alone(problem, prices), not problem.count_pairs))


def check_replies(problem: Problem, prices: np.ndarray, exact: bool = True) -> None:
    found, right = best_replies(problem, prices).sum(), replies_found(problem, prices)
    room = 1e-6 * max(1.0, right)
    assert found >= right - room, (found, right)
    if exact:
        assert found <= right + tie_allowance(alone(problem, prices)) + room, (found, right)


# ---- random cases ------------------------------------------------------------------------------------------------

FAST, GROUP = 100, 20


def check_case(seed: int) -> str:
    """All that must hold for one case; says what kind of case it was."""
    case, random = random_case(seed), np.random.default_rng(seed)
    problems = priced_problems(readings_of(case), scenario_of(case))
    try:
        best = bf.optimum(case).objective
    except bf.TooLargeError:
        return "too large to enumerate"
    for _ in range(4):
        prices = [random_prices(problem, random) for problem in problems]
        bounds = [price_bound(problem, price) for problem, price in zip(problems, prices, strict=True)]
        assert sum(bounds) >= best - 1e-6 * max(1.0, best)
        loose = sum(price_bound(problem, price, most_sets=0) for problem, price in zip(problems, prices, strict=True))
        assert loose >= sum(bounds) * (1 - 1e-12)
    for problem, price in zip(problems, prices, strict=True):
        check_replies(problem, price)
    good = [best_prices(problem) for problem in problems]
    proved = [price_bound(problem, price) for problem, (price, _) in zip(problems, good, strict=True)]
    for problem, bound, (_, relaxed) in zip(problems, proved, good, strict=True):
        assert bound <= (relaxed + tie_allowance(problem)) * (1 + 1e-9) + 1e-9
    assert sum(proved) >= best - 1e-6 * max(1.0, best)
    return "priced" if any(price.any() for price, _ in good) else "nothing is scarce"


def check_group(seeds: range) -> None:
    kinds, failed = Counter(), []
    for seed in seeds:
        try:
            kinds[check_case(seed)] += 1
        except AssertionError as error:
            failed.append(f"seed {seed}: {error}")
    assert not failed, "\n".join(failed)
    assert kinds["priced"] >= len(seeds) / 5


@pytest.mark.parametrize("first", range(0, FAST, GROUP))
def test_random_cases(first: int) -> None:
    check_group(range(first, first + GROUP))


@pytest.mark.slow
@pytest.mark.parametrize("first", range(2000, 2400, 100))
def test_many_random_cases(first: int) -> None:
    check_group(range(first, first + 100))


# ---- best replies under any groups -------------------------------------------------------------------------------


def labels(random: np.random.Generator, slots: int, most: int) -> np.ndarray:
    """Random neighbouring slots in groups, some in none."""
    label = np.sort(random.integers(0, most, slots))
    label = np.unique(label, return_inverse=True)[1]
    outside = random.random() < 0.5
    return np.where(label == label[0], OUTSIDE, label - 1) if outside else label


def nested(random: np.random.Generator, slots: int) -> list[np.ndarray]:
    """Labels whose groups lie within each other: halves, quarters, …"""
    first = labels(random, slots, 3)
    halves = np.where(first == OUTSIDE, OUTSIDE, 2 * first + (np.arange(slots) % 2 if random.random() < 0.5 else 0))
    return [first, np.unique(halves, return_inverse=True)[1] + (OUTSIDE if (halves == OUTSIDE).any() else 0)]


def with_own_limits(problem: Problem, random: np.random.Generator, crossing: bool) -> Problem:
    """The problem with random counts and sums instead of its own, within each other or not."""
    customers, slots = problem.block.shape
    counts = nested(random, slots) + ([labels(random, slots, 4)] if crossing else [])
    sums = nested(random, slots)[: random.integers(0, 3)] + ([labels(random, slots, 4)] if crossing else [])
    highest, kinds = problem.highest_kwh.copy(), []
    for group in sums:
        inside = group != OUTSIDE
        limit = np.full((customers, int(group.max(initial=-1)) + 1), 0.0)
        for g in range(limit.shape[1]):
            limit[:, g] = highest[:, group == g].sum(axis=1) * random.uniform(0.2, 0.9)
        kinds.append(CustomerSum(group, limit))
        highest[:, inside] = np.minimum(highest[:, inside], limit[:, group[inside]])
    lowest = highest * (random.random(highest.shape) < 0.3) * random.uniform(0, 1)
    chosen = tuple(MoveCount(group, int(random.integers(1, 4))) for group in counts)
    return replace(problem, highest_kwh=highest, lowest_kwh=lowest, counts=chosen, sums=tuple(kinds))


@pytest.mark.parametrize("crossing", [False, True], ids=["within each other", "crossing"])
@pytest.mark.parametrize("seed", range(15))
def test_replies_under_any_counts_and_sums(seed: int, crossing: bool) -> None:
    """Exact where groups lie within each other, and never too low where they cross."""
    random, case = np.random.default_rng(seed), random_case(500 + seed)
    for problem in priced_problems(readings_of(case), scenario_of(case)):
        changed = with_own_limits(problem, random, crossing)
        check_replies(changed, random_prices(problem, random), exact=not crossing)


def test_a_month_of_weeks_of_days() -> None:
    """Counts by day, week and month over four weeks, sums by day: as an exact solver finds, for every household."""
    limits = {"max_moves_per_day": {"limit": 2}, "max_moves_per_week": {"limit": 3}, "conservation": {"horizon": "month"}}
    limits |= {"max_customer_shift": {"percent": 4}, "no_new_spike": None, "regional_shift_cap": None}
    scenario = Scenario.from_mapping({"constraints": limits, "progress": False})
    readings = synthesise("delhi", customers=2, days=28, seed=3)
    [problem] = make_problems(prepared(readings, scenario), scenario)
    month = MoveCount(np.zeros(problem.block.shape[1], np.int64), 8)
    check_replies(replace(problem, counts=(*problem.counts, month)), np.zeros(0))


