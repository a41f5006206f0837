# ruff: noqa: E501 (sentences are kept whole)
"""Kinds, profiles, blocks and the two sparse forms, each on a case small enough to work out by hand."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pytest
from test_exactness import best_value

from dr_opt.basics import InputError
from dr_opt.blocks import Block, City, city_arrays, linked_days, make_block, make_blocks
from dr_opt.calendar import OUTSIDE, Calendar, day_of_number, slots_of_dates
from dr_opt.models import TotalShiftCap, priced
from dr_opt.problem import (
    ArcMask,
    CitySum,
    CustomerSum,
    DayChoice,
    Kind,
    Limit,
    MoveCount,
    Problem,
    SlotLimit,
    build_problem,
    group_sums,
    register_limit,
)
from dr_opt.readings import handle_missing
from dr_opt.sparse import SparseProblem, binding_counts, sparse_form
from dr_opt.tables import example_readings

Numbers = Sequence[float | None]

MARGINAL = [900, 850, 500, 400, 450, 880]
HOMES = {"bala": [2, 1, 0, 1, 0, 3], "chitra": [1, 2, 1, 1, 1, 1]}
DAY = np.zeros(6, np.int64)
SAVING = ArcMask(lambda arcs: arcs.saving > 0, by_factor=True)
TWO_HOURS = ArcMask(lambda arcs: np.abs(arcs.minutes) <= 120)
BOTH_FORMS = (True, False)


class Given(Limit):
    """A limit that says what it is given."""

    key = "given"
    what: tuple = ()
    period: str | None = None

    @property
    def confines(self) -> Any:
        return self.period

    def kinds(self, block: Block) -> Sequence[Kind]:
        return self.what

    def check(self, tables: Any) -> Any:
        raise NotImplementedError


def hourly(hours: int) -> Calendar:
    """A counting day of the first `hours` hours."""
    return Calendar(slot_minutes=60, day_boundaries=(0, hours - 1))


def cities_of(homes: Mapping[str, Numbers], marginal: Any, hours: int = 6, missing: str = "skip_day", **more: Any) -> list[City]:
    return city_arrays(handle_missing(example_readings(homes, marginal, calendar=hourly(hours), **more), missing))  # type: ignore[arg-type]


def blocks_of(cities: list[City], *periods: str) -> list[Block]:
    return make_blocks(cities, [city.complete & city.good for city in cities], periods or ["week"])


def block_of(homes: Mapping[str, Numbers] = HOMES, marginal: Any = MARGINAL, hours: int = 6, **more: Any) -> Block:
    [block] = blocks_of(cities_of(homes, marginal, hours, **more))
    return block


def problem_of(*what: Any, block: Block | None = None, period: str | None = None, pairs: bool = False) -> Problem:
    return build_problem(block or block_of(), [Given(what=what, period=period)], pairs)


def rows_of(form: SparseProblem) -> list[tuple[dict[int, float], float, float]]:
    """The rows of a form: coefficients by column, lower end, upper end."""
    row, column, coefficient = form.matrix
    entries = [dict(zip(column[row == k].tolist(), coefficient[row == k].tolist(), strict=True)) for k in range(len(form.row_upper))]
    return list(zip(entries, form.row_lower.tolist(), form.row_upper.tolist(), strict=True))


def out_of(slots: Sequence[int], limit_kwh: float, column: Sequence[int] | None = None) -> CitySum:
    """What leaves these slots of the first city, together."""
    where = np.array(slots if column is None else column)
    out = (np.zeros(len(where), np.int64), where, np.ones(len(where)))
    return CitySum("out", np.array([limit_kwh]), np.zeros(1, np.int64), np.array([where[0]]), out=out)


# ---- each kind alone ---------------------------------------------------------------------------------------------

ROOM_AT_THREE = CitySum(
    "room", np.array([2.0]), np.zeros(1, np.int64), np.array([3]),
    out=(np.zeros(1, np.int64), np.array([3]), -np.ones(1)), inflow=(np.zeros(1, np.int64), np.array([3]), np.ones(1)),
)  # fmt: skip

# Best savings, g/kWh: 500 from 00:00, 450, 100, none from 03:00, 50, 480 from 05:00.
ALONE: dict[str, tuple[tuple[Any, ...], float]] = {
    "nothing": ((), 2 * 500 + 450 + 3 * 480 + 500 + 2 * 450 + 100 + 50 + 480),
    "mask": ((TWO_HOURS,), 2 * 400 + 450 + 3 * 480 + 400 + 2 * 450 + 100 + 50 + 480),
    "mask by factor": ((ArcMask(lambda arcs: arcs.saving >= 480, by_factor=True),), 2 * 500 + 3 * 480 + 500 + 480),
    "highest": ((SlotLimit(highest_kwh=1.0),), 500 + 450 + 480 + 500 + 450 + 100 + 50 + 480),
    "highest by home": ((SlotLimit(highest_kwh=np.array([[0.0], [np.inf]])),), 500 + 2 * 450 + 100 + 50 + 480),
    "lowest": ((SlotLimit(lowest_kwh=2.0),), 2 * 500 + 3 * 480 + 2 * 450),
    "two slot limits": ((SlotLimit(lowest_kwh=1.5), SlotLimit(lowest_kwh=0.5, highest_kwh=2.5)), 2 * 500 + 2.5 * 480 + 2 * 450),
    "count": ((MoveCount(DAY, 1),), 3 * 480 + 2 * 450),
    "count of none": ((MoveCount(DAY, 0),), 0),
    "count of some slots": ((MoveCount(np.array([0, 0, OUTSIDE, OUTSIDE, OUTSIDE, 0]), 1),), 3 * 480 + 2 * 450 + 100 + 50),
    "customer sum": (
        (CustomerSum(np.array([0, 0, *4 * [OUTSIDE]]), np.array([[1.5], [0.5]])),), 1.5 * 500 + 3 * 480 + 0.5 * 500 + 100 + 50 + 480,
    ),
    "two groups": ((CustomerSum(np.array([0, 0, 0, 1, 1, 1]), np.array([[2.5, 1], [0, 9]])),), 2 * 500 + 0.5 * 450 + 480 + 50 + 480),
    "city sum": ((out_of([0, 5], 4.0),), 3 * 500 + 480 + 3 * 450 + 100 + 50),
    "room": ((SAVING, ROOM_AT_THREE), 3 * 450 + 3 * 400 + 50 + 4 * 430 + 2 * 50),  # to 04:00, and 50 g more for each kWh to 03:00
}  # fmt: skip


@pytest.mark.parametrize("aggregated", BOTH_FORMS)
@pytest.mark.parametrize("name", ALONE)
def test_each_kind_alone(name: str, aggregated: bool) -> None:
    what, grams = ALONE[name]
    assert best_value(sparse_form(problem_of(*what), aggregated)) == pytest.approx(grams, abs=0.01)


@pytest.mark.parametrize("aggregated", BOTH_FORMS)
def test_a_choice_of_days_sees_all_the_other_limits(aggregated: bool) -> None:
    """With no more than 1.5 kWh an hour Bala has 4 kWh to give and Chitra 5.5; asked for 5, only she takes part."""
    choice = DayChoice(lambda problem: problem.highest_kwh.sum(axis=1, keepdims=True) >= 5)
    problem = problem_of(SAVING, SlotLimit(highest_kwh=1.5), choice)
    assert problem.highest_kwh.any(axis=1).tolist() == [False, True]
    assert problem.block.receive.any(axis=1).tolist() == [False, True]
    assert best_value(sparse_form(problem, aggregated)) == pytest.approx(500 + 1.5 * 450 + 100 + 50 + 480, abs=0.01)


@pytest.mark.parametrize("name", ALONE)
def test_pairs_only_tighten(name: str) -> None:
    by_pair = best_value(sparse_form(problem_of(*ALONE[name][0], pairs=True)))
    assert by_pair <= ALONE[name][1] + 0.01


def test_a_least_size_holds_for_each_pair() -> None:
    """3 kWh leave 05:00, at most 1.6 may arrive at 03:00: by slot the rest goes elsewhere, by pair 1.4 kWh are too few for 1.5."""
    full = CitySum("full", np.array([1.6]), np.zeros(1, np.int64), np.array([3]), inflow=(np.zeros(1, np.int64), np.array([3]), np.ones(1)))
    block = block_of({"bala": [0, 0, 0, 0, 0, 3]})
    what = (SAVING, SlotLimit(lowest_kwh=1.5), full)
    assert best_value(sparse_form(problem_of(*what, block=block))) == pytest.approx(1.6 * 480 + 1.4 * 430, abs=0.01)
    assert best_value(sparse_form(problem_of(*what, block=block, pairs=True))) == pytest.approx(1.5 * 480 + 1.5 * 430, abs=0.01)


def test_what_may_leave_is_the_least_of_all_that_is_said() -> None:
    problem = problem_of(SAVING, SlotLimit(highest_kwh=2.5), CustomerSum(np.array([0, 0, *4 * [OUTSIDE]]), np.array([[1.5], [0.5]])))
    assert problem.highest_kwh.tolist() == [[1.5, 1, 0, 0, 0, 2.5], [0.5, 0.5, 1, 0, 1, 1]]
    dust = problem_of(SAVING, SlotLimit(highest_kwh=1e-6))
    assert not dust.highest_kwh.any()
    assert len(sparse_form(dust).objective) == len(dust.arcs)


@pytest.mark.parametrize("odd", ["at most two", None, 3, {"limit": 1}, ArcMask, [MoveCount(DAY, 1)]])
def test_what_is_no_kind_is_refused(odd: object) -> None:
    with pytest.raises(InputError) as refused:
        problem_of(SAVING, odd)
    name = type(odd).__name__
    assert refused.value.faults == (f"given answers with a {name}, which is none of the kinds solvers know. Express it with one of them.",)


def test_sums_over_groups() -> None:
    matrix = np.arange(12.0).reshape(2, 6)
    assert group_sums(matrix, np.array([1, OUTSIDE, 0, 1, 0, OUTSIDE])).tolist() == [[2 + 4, 0 + 3], [8 + 10, 6 + 9]]
    assert group_sums(matrix, np.full(6, OUTSIDE)).shape == (2, 0)


# ---- rows that are there, and rows that are not ------------------------------------------------------------------

# Candidates under SAVING, in order: bala 00, 01, 05, then chitra 00, 01, 02, 04, 05.


def test_only_counts_that_can_bind_leave_rows() -> None:
    halves, none_of_the_day = np.array([0, 0, 0, 1, 1, 1]), np.full(6, OUTSIDE)
    problem = problem_of(SAVING, MoveCount(DAY, 5), MoveCount(halves, 1), MoveCount(none_of_the_day, 0))
    [(position, row, limit)] = binding_counts(problem, *problem.candidates)
    assert (position.tolist(), row.tolist(), limit) == ([0, 1, 3, 4, 5, 6, 7], [0, 0, 1, 1, 1, 2, 2], 1)
    form = sparse_form(problem)
    assert form.binary_column.tolist() == [8, 9, -1, 10, 11, 12, 13, 14]
    assert [upper for entries, _, upper in rows_of(form) if set(entries) <= set(range(8, 15))] == [1, 1, 1]


@pytest.mark.parametrize("aggregated", BOTH_FORMS)
def test_customer_sums_that_cannot_bind_leave_no_row(aggregated: bool) -> None:
    """Both could move 6 kWh: at most 6 says nothing, at most 5.5 does."""
    without = sparse_form(problem_of(SAVING), aggregated)
    loose = sparse_form(problem_of(SAVING, CustomerSum(DAY, np.array([[6.0], [7.0]]))), aggregated)
    tight = sparse_form(problem_of(SAVING, CustomerSum(DAY, np.array([[6.0], [5.5]]))), aggregated)
    assert rows_of(loose) == rows_of(without)
    [added] = [row for row in rows_of(tight) if row not in rows_of(without)]
    mine = range(3, 8) if aggregated else np.flatnonzero(tight.candidate >= 3)
    assert added == ({int(column): 1.0 for column in mine}, -np.inf, 5.5)


def test_binaries_only_where_something_needs_them() -> None:
    assert not sparse_form(problem_of(SAVING)).integer.any()
    assert sparse_form(problem_of(SAVING, SlotLimit(lowest_kwh=0.5))).integer.sum() == 8
    assert sparse_form(problem_of(SAVING, SlotLimit(lowest_kwh=np.array([[0.5], [0.0]])))).integer.sum() == 3
    assert sparse_form(problem_of(SAVING, MoveCount(DAY, 3))).integer.sum() == 5  # bala has no more than three


def test_the_aggregated_form_cannot_count_pairs() -> None:
    problem = problem_of(SAVING, pairs=True)
    assert not sparse_form(problem).aggregated
    with pytest.raises(ValueError, match="the aggregated form cannot count pairs"):
        sparse_form(problem, aggregated=True)


def test_nothing_to_move() -> None:
    for problem in [problem_of(ArcMask(lambda arcs: np.zeros(len(arcs), bool))), problem_of(SlotLimit(highest_kwh=0.0))]:
        assert not problem.highest_kwh.any()
        assert problem.best_by_slot(np.zeros(len(problem.arcs))).shape == (2, 6)
        assert not any(len(entries) and upper < 0 for entries, _, upper in rows_of(sparse_form(problem)))
        assert len(priced(problem, 0.0).arcs) == 0


# ---- profiles ----------------------------------------------------------------------------------------------------

TWO_DAYS = {"anita": [1.0, 1, 1, 1, 1, 1], "bala": [1.0, 1, 1, 1, None, 1]}


def arcs_of(problem: Problem, customer: int, slot: int) -> set[tuple[int, int]]:
    """Origin and destination of the arcs that the customer may use in the horizon of this slot."""
    mine = (problem.arcs.profile == problem.profile_of[customer, slot]) & (problem.highest_kwh[customer, problem.arcs.origin] > 0)
    return set(zip(problem.arcs.origin[mine].tolist(), problem.arcs.destination[mine].tolist(), strict=True))


def pairs_of(slots: Sequence[int]) -> set[tuple[int, int]]:
    return {(i, j) for i in slots for j in slots if i != j}


def test_profiles_of_one_day_each() -> None:
    """Bala's Tuesday is incomplete: Monday is shared, Tuesday is Anita's alone."""
    problem = problem_of(block=block_of(TWO_DAYS, [900, 500, 400] * 2, 3), period="day")
    assert problem.profile_of.tolist() == [[0, 0, 0, 1, 1, 1], [0, 0, 0, OUTSIDE, OUTSIDE, OUTSIDE]]
    assert problem.profiles == 2
    assert arcs_of(problem, 1, 0) == pairs_of([0, 1, 2])
    assert problem.highest_kwh[1].tolist() == [1, 1, 1, 0, 0, 0]
    starts = problem.arc_start
    assert [problem.arcs.destination[starts[k] : starts[k + 1]].tolist() for k in (0, 6 + 4)] == [[1, 2], [3, 5]]


@pytest.mark.parametrize("period", ["week", "month"])
def test_profiles_of_an_incomplete_day_under_a_longer_horizon(period: str) -> None:
    """Over a week Anita may use both days and Bala only Monday, so they are no longer alike."""
    problem = problem_of(block=block_of(TWO_DAYS, [900, 500, 400] * 2, 3), period=period)
    assert problem.profiles == 2
    assert arcs_of(problem, 0, 0) == pairs_of(range(6))
    assert arcs_of(problem, 1, 0) == pairs_of([0, 1, 2])
    assert problem.highest_kwh[1].tolist() == [1, 1, 1, 0, 0, 0]
    for aggregated in BOTH_FORMS:
        assert best_value(sparse_form(problem, aggregated)) == pytest.approx(2 * (500 + 100) + 500 + 100, abs=0.01)


def test_filled_slots_neither_give_nor_receive() -> None:
    """Anita's 01:00 is filled in, so her day is complete; 01:00 is the cleanest hour, but not for her."""
    homes = {"anita": [1.0, None, 1, 1], "bala": [1.0, 1, 1, 1]}
    cities = cities_of(homes, [900, 300, 400, 700], 4, missing="interpolate")
    [block] = blocks_of(cities)
    assert cities[0].complete.any(axis=1).tolist() == [True, True]
    assert block.give.tolist() == block.receive.tolist() == [[True, False, True, True], [True] * 4]
    assert block.load_kwh.tolist() == [[2, 2, 2, 2]]
    problem = problem_of(SAVING, block=block)
    assert problem.profiles == 2
    assert arcs_of(problem, 0, 0) == {(0, 2), (0, 3), (3, 2)}
    assert arcs_of(problem, 1, 0) == {(0, 1), (0, 2), (0, 3), (2, 1), (3, 1), (3, 2)}
    for aggregated in BOTH_FORMS:
        assert best_value(sparse_form(problem, aggregated)) == pytest.approx(500 + 300 + 600 + 100 + 400, abs=0.01)


def test_factors_of_their_own_make_profiles_of_their_own() -> None:
    block = block_of({"anita": [1.0, 1], "bala": [1.0, 1]}, {"anita": [900, 400], "bala": [300, 800]}, 2)
    problem = problem_of(SAVING, block=block)
    assert not block.cities[0].factors_shared
    assert [arcs_of(problem, customer, 0) for customer in (0, 1)] == [{(0, 1)}, {(1, 0)}]
    assert problem.best_by_slot(problem.arcs.saving).tolist() == [[500, -np.inf], [-np.inf, 500]]
    assert np.isnan(problem.arcs.average_saving).all()  # no average factors were given
    for aggregated in BOTH_FORMS:
        assert best_value(sparse_form(problem, aggregated)) == pytest.approx(1000, abs=0.01)


def test_an_unknown_factor_is_no_arc() -> None:
    """Bala has no marginal factor at 01:00, for anybody: the day is nobody's."""
    assert not blocks_of(cities_of({"bala": [1.0, 1, 1]}, [900, None, 400], 3))


# ---- blocks ------------------------------------------------------------------------------------------------------


def two_cities(second: Sequence[float] = (700, 400)) -> list[City]:
    factors = {"anita": [900, 400], "dev": list(second), "esha": list(second)}
    where = {"anita": "delhi", "dev": "mumbai", "esha": "mumbai"}
    return cities_of({"anita": [2.0, 0], "dev": [1.0, 0], "esha": [1.0, 0]}, factors, 2, city=where)


@pytest.mark.parametrize("aggregated", BOTH_FORMS)
def test_two_cities_under_one_total(aggregated: bool) -> None:
    """3 kWh in all: Delhi's 2 kWh save 500 g each, so Mumbai's homes have 1 of their 2 kWh, at 300 g."""
    total = TotalShiftCap(kwh=3)
    [block] = blocks_of(two_cities(), "day", total.joins)
    assert [block.city.tolist(), block.factor_row.tolist(), block.marginal.shape] == [[0, 1, 1], [0, 1, 1], (2, 2)]
    problem = build_problem(block, [Given(what=(SAVING,)), total])
    assert problem.profiles == 2
    assert best_value(sparse_form(problem, aggregated)) == pytest.approx(2 * 500 + 300, abs=0.01)
    [row] = [entries for entries, _, upper in rows_of(sparse_form(problem, aggregated)) if upper == 3]
    assert row == {0: 1.0, 1: 1.0, 2: 1.0}


@pytest.mark.parametrize("aggregated", BOTH_FORMS)
def test_inflow_counts_in_its_own_city(aggregated: bool) -> None:
    [block] = blocks_of(two_cities(), "run")
    arrives = (np.zeros(1, np.int64), block.city_column(1, np.array([1])), np.ones(1))
    room = CitySum("room", np.array([0.5]), np.ones(1, np.int64), np.ones(1, np.int64), inflow=arrives)
    problem = problem_of(SAVING, room, block=block)
    assert best_value(sparse_form(problem, aggregated)) == pytest.approx(2 * 500 + 0.5 * 300, abs=0.01)


def test_a_city_keeps_its_one_line_of_factors_beside_one_that_differs() -> None:
    factors = {"anita": [900, 400], "bala": [900, 400], "dev": [700, 400], "esha": [400, 700]}
    where = {"anita": "delhi", "bala": "delhi", "dev": "mumbai", "esha": "mumbai"}
    [block] = blocks_of(cities_of({home: [1.0, 1] for home in factors}, factors, 2, city=where), "run")
    assert block.factor_row.tolist() == [0, 0, 1, 2]
    assert block.marginal[block.factor_row].tolist() == list(factors.values())
    assert problem_of(SAVING, block=block).profiles == 3


# Monday 29 December 2025 to Sunday 11 January 2026: two weeks, the first of which crosses the turn of the year.
LINKED = [
    ([], [1] * 14), (["day"], [1] * 14), (["week"], [7, 7]), (["month"], [3, 11]), (["year"], [3, 11]), (["data"], [14]), (["run"], [14]),
    (["day", "week"], [7, 7]), (["month", "year"], [3, 11]), (["week", "month"], [14]), (["week", "year"], [14]),
]  # fmt: skip


@pytest.mark.parametrize(("periods", "days"), LINKED, ids=lambda value: "-".join(map(str, value)) or "none")
@pytest.mark.parametrize("hours", [24, 13])
def test_linked_days(periods: list[str], days: list[int], hours: int) -> None:
    calendar = Calendar(slot_minutes=60, day_boundaries=(0, 23) if hours == 24 else (8, 20))
    slots = slots_of_dates(calendar, date(2025, 12, 29), date(2026, 1, 11))
    parts = linked_days(slots, periods)
    assert [len(part) / hours for part in parts] == days
    assert np.concatenate(parts).tolist() == np.flatnonzero(slots.day != OUTSIDE).tolist()
    assert day_of_number(int(slots.day[parts[0][0]])) == date(2025, 12, 29)


def test_blocks_drop_days_nobody_can_use_as_whole_days() -> None:
    """Three days of four hours. Tuesday lacks a reading of each home; of Wednesday one slot is enough to keep all four."""
    homes = {"anita": [1.0] * 5 + [None] + [1.0] * 6, "bala": [1.0] * 6 + [None] + [1.0] * 5}
    [city] = cities_of(homes, [900, 500, 400, 800] * 3, 4)
    [block] = blocks_of([city])
    monday = int(block.slots.day[0])
    assert block.slots.day.tolist() == [monday] * 4 + [monday + 2] * 4
    may = np.zeros_like(city.good)
    may[1, np.flatnonzero(city.slots.day == monday + 2)[2]] = True
    [narrow] = make_blocks([city], [may], ["week"])
    assert narrow.slots.day.tolist() == [monday + 2] * 4
    assert (list(narrow.customers), narrow.give.tolist()) == (["bala"], [[False, False, True, False]])
    assert make_block([city], np.arange(len(city.slots)), [np.zeros_like(may)]) is None


# ---- size --------------------------------------------------------------------------------------------------------


def crowd(number: int, own_factors: bool = False) -> Block:
    """Homes of 24 hours, all of them with something to give in every hour."""
    usage = {f"home {k:03}": [1.0 + k / 100] * 24 for k in range(number)}
    marginal = [400.0 + 20 * hour for hour in range(24)]
    own = {home: [grams + k for grams in marginal] for k, home in enumerate(usage)}
    return block_of(usage, own if own_factors else marginal, 24)


def flows_and_entries(problem: Problem, aggregated: bool) -> tuple[int, int]:
    form = sparse_form(problem, aggregated)
    assert not form.integer.any()
    return len(form.objective), len(form.matrix[0])


def test_the_size_of_both_forms() -> None:
    """Within two hours 24 hours have 2 × (23 + 22) = 90 arcs; by customer everybody has them, else each 24 outflows and all 90 routes."""
    for number in (1, 20, 100):
        problem = problem_of(TWO_HOURS, block=crowd(number))
        assert len(problem.arcs) == 90  # however many homes there are
        assert flows_and_entries(problem, aggregated=True) == (24 * number + 90, 24 * number + 90)
        assert flows_and_entries(problem, aggregated=False) == (90 * number, 90 * number)


def test_the_aggregated_form_saves_nothing_where_factors_differ() -> None:
    problem = problem_of(TWO_HOURS, block=crowd(20, own_factors=True))
    assert (problem.profiles, len(problem.arcs)) == (20, 90 * 20)
    assert flows_and_entries(problem, aggregated=True)[0] == 24 * 20 + 90 * 20 > flows_and_entries(problem, aggregated=False)[0]


def test_binaries_are_the_same_in_both_forms() -> None:
    problem = problem_of(TWO_HOURS, MoveCount(np.zeros(24, np.int64), 1), block=crowd(20))
    assert [int(sparse_form(problem, aggregated).integer.sum()) for aggregated in BOTH_FORMS] == [24 * 20, 24 * 20]


MISFITS = {
    "a count by hour": (MoveCount(np.zeros(24, int), 1), "a MoveCount that has a group of shape (24,), not one number for each of the {slots} slots"),
    "a day's own number": (MoveCount(None, 1), "a MoveCount that has groups numbered up to 20409, with {slots} slots to number; dense_labels counts them from 0"),
    "a sum without households": (CustomerSum(None, np.ones(1)), "a CustomerSum that has limit_kwh of shape (1,), not one for each of {customers} customers and 1 groups"),
    "a floor of another length": (SlotLimit(highest_kwh=np.ones(5)), "a SlotLimit that has highest_kwh of shape (5,), which does not fit {customers} customers and {slots} slots"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISFITS)
def test_arrays_that_do_not_fit_are_named(name: str) -> None:
    kind, words = MISFITS[name]
    block = problem_of().block
    customers, slots = block.shape
    if getattr(kind, "group", 0) is None:
        kind = replace(kind, group=np.full(slots, 20409 if isinstance(kind, MoveCount) else 0))
    with pytest.raises(InputError) as refused:
        build_problem(block, [Given(what=(kind,))])
    assert refused.value.faults == (f"given answers with {words.format(customers=customers, slots=slots)}. Mend its kinds.",)


def test_a_mask_that_looks_too_early_is_told_so() -> None:
    """Savings are not known yet: NaN would forbid every arc, and nobody would see why nothing moves."""
    with pytest.raises(InputError, match=r"^An ArcMask looks at arcs\.saving, which it may only with by_factor\."):
        problem_of(ArcMask(lambda arcs: arcs.saving > 100))
    assert len(problem_of(ArcMask(lambda arcs: arcs.saving > 100, by_factor=True)).arcs)


def test_a_limit_without_a_check_is_not_registered() -> None:
    class Half(Limit):
        def kinds(self, block):
            return []

    with pytest.raises(InputError) as refused:
        register_limit("half")(Half)
    assert refused.value.faults == ("The limit half has no check. Define it: kinds is for solvers, check for the audit.",)
