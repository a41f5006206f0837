"""Plans: the audit finds every planted fault and nothing else, folders come back as they went, and a cut-off write loses nothing."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dr_opt.basics import InputError
from dr_opt.calendar import Calendar
from dr_opt.constraints.behavioural import MaxCustomerShift, MaxMovesPerDay, MaxMovesPerWeek, MaxShiftWindow, MinMoveSize, PeakHourComfort
from dr_opt.constraints.conservation import Conservation, MinDayPotential, NoAverageIncrease, OnlySavingMoves
from dr_opt.constraints.technical import HouseholdMinimumUsage, NoNewSpike, RegionalShiftCap
from dr_opt.metrics import figures, metrics, objectives
from dr_opt.models import ConveniencePrioritised, HighUsageFocus, ImpactPrioritised, MinimumSaving
from dr_opt.plan import Plan, Solved, Summary, assemble, audit_folder, plain_tables, read_plan
from dr_opt.problem import limits
from dr_opt.readings import Readings, handle_missing
from dr_opt.result_tables import RESULT_TABLES
from dr_opt.scenario import Constraints, Output, Scenario
from dr_opt.tables import CustomerChoice, example_readings, example_tables

Move = tuple[str, float, float, float]
FOUR_HOURS = Calendar(slot_minutes=60, day_boundaries=(0, 3))
GENEROUS: dict[str, Any] = {
    "max_moves_per_day": MaxMovesPerDay(limit=9),
    "max_moves_per_week": MaxMovesPerWeek(limit=99),
    "max_shift_window": MaxShiftWindow(hours=48),
    "peak_hour_comfort": PeakHourComfort(max_reduction_percent=100),
    "regional_shift_cap": RegionalShiftCap(percent=100),
    "household_minimum_usage": HouseholdMinimumUsage(baseline_period="day", percent_of_robust_max=0),
    "no_new_spike": NoNewSpike(alpha_peak_cap_percent=10000),
    "conservation": Conservation(),
    "only_saving_moves": OnlySavingMoves(),
    "max_customer_shift": MaxCustomerShift(percent=100),
    "min_move_size": MinMoveSize(kwh=0.001),
    "min_day_potential": MinDayPotential(percent=0),
    "no_average_increase": NoAverageIncrease(),
}
# one hour of each day is without usage, so that the floor of `household_minimum_usage` is nothing
USAGE: dict[str, list[float | None]] = {"anita": [2, 1, 0, 1] * 2, "bala": [3, 1, 1, 0] * 2, "chitra": [1, 1, 0, 1] * 2}
GOOD: list[Move] = [
    ("anita", 0, 1, 0.8), ("anita", 24, 25, 0.5), ("bala", 2, 1, 0.4),
    ("chitra", 0, 1, 0.3), ("chitra", 0, 3, 0.2), ("chitra", 27, 25, 0.6),
]  # fmt: skip


def readings_of(usage: Mapping[str, list[float | None]] = USAGE) -> Readings:
    cities = {"anita": "delhi", "bala": "delhi", "chitra": "mumbai"}
    return example_readings(usage, [900, 400, 500, 600] * 2, [700, 600, 650, 600] * 2, cities, calendar=FOUR_HOURS)


def scenario_of(changes: Mapping[str, Any] | None = None, **more: Any) -> Scenario:
    constraints = Constraints(**{**GENEROUS, **(changes or {})})
    return Scenario(calendar=FOUR_HOURS, constraints=constraints, progress=False, **more)


def plan_of(moves: list[Move], scenario: Scenario, readings: Readings | None = None, min_saving: float | None = None, **more: Any) -> Plan:
    """The plan of these moves, with everything about it worked out rightly."""
    readings = readings or readings_of()
    shifts = example_tables(readings, moves).shifts
    tables = plain_tables(shifts, readings, scenario)
    name = "grams saved" if min_saving is None else "grams saved beyond min_saving_g_per_kwh"
    achieved = objectives[name](tables, {"min_saving_g_per_kwh": min_saving})
    added = [] if min_saving is None else [MinimumSaving(min_saving_g_per_kwh=min_saving)]
    solved = Solved(
        shifts=shifts, family="greedy", backend="own", status="Feasible.", objective=name, achieved=achieved, bound=achieved + 10,
        grams_objective=min_saving is None, min_saving_g_per_kwh=min_saving,
        model_limits=(*scenario.model.limits(), *added), notes=("A note.",),
    )  # fmt: skip
    return assemble(readings, scenario, replace(solved, **more), {"date": "2025-11-17", "seconds": {"solving": 0.1}})


@cache
def good_plan(min_saving: float | None = None) -> Plan:
    """A plan that keeps every limit, in two cities, with a split move and a moved hour on both days."""
    return plan_of(GOOD, scenario_of(output=Output(optimised_usage=True)), min_saving=min_saving)


def broken(plan: Plan) -> list[str]:
    return plan.audit().filter(~pl.col("ok"))["limit"].to_list()


def with_summary(plan: Plan, path: tuple[str, ...], value: Any) -> Plan:
    values = plan.summary.to_dict()
    place = values
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return replace(plan, summary=Summary(values))


def with_frame(plan: Plan, name: str, frame: pl.DataFrame) -> Plan:
    return replace(plan, frames={**plan.frames, name: frame})


# The audit of a good plan

CLAIMS = ("achieved", "achieved_g", "bound", "bound_g", "gap", "objective", "scenario_hash", "data_hash")


@pytest.mark.parametrize("min_saving", [None, 50.0])
def test_a_good_plan_passes(min_saving: float | None) -> None:
    plan = good_plan(min_saving)
    assert broken(plan) == []
    assert plan.audit_ok


def test_the_audit_looks_at_everything() -> None:
    rows = good_plan(50.0).audit()["limit"].to_list()
    assert len(set(rows)) == len(rows)
    assert {*limits, "intra_customer", "own_energy", "availability", "model.min_saving_g_per_kwh"} <= {*rows}
    for place in ("total", "cities.delhi", "cities.mumbai"):
        assert {f"summary.{place}.{name}" for name in metrics} <= {*rows}
    assert {f"summary.{key}" for key in (*CLAIMS, "data_report", "min_saving_g_per_kwh")} <= {*rows}
    for name, table in RESULT_TABLES.items():
        frame = good_plan(50.0).frames[name]
        assert {f"{name}.{column}" for column in frame.columns if column not in table.keys} | {f"{name}.rows"} <= {*rows}


def test_the_audit_tells_how_much_room_is_left() -> None:
    row = good_plan().audit().filter(pl.col("limit") == "max_moves_per_day").row(0, named=True)
    assert (row["checked"], row["worst_slack"], row["unit"], row["ok"]) == (5, 8.0, "moves", True)


# Planted faults: figures


def faulty(value: Any) -> Any:
    """A little away from the value."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return value * 1.0001 + 1e-4
    if isinstance(value, datetime):
        return value + timedelta(hours=1)
    if isinstance(value, date):
        return value + timedelta(days=1)
    return f"{value} and more" if isinstance(value, str) else 1.0


@pytest.mark.parametrize("place", ["total", "delhi", "mumbai"])
@pytest.mark.parametrize("name", list(metrics))
def test_a_wrong_figure_is_found(name: str, place: str) -> None:
    path = ("total", name) if place == "total" else ("cities", place, name)
    value = good_plan().summary["total"][name] if place == "total" else good_plan().summary["cities"][place][name]
    for wrong in (faulty(value), *([None] if place == "total" else [])):
        assert broken(with_summary(good_plan(), path, wrong)) == ["summary." + ".".join(path)]


def test_a_figure_that_is_left_out_is_found() -> None:
    values = good_plan().summary.to_dict()
    del values["total"]["moves"]
    assert broken(replace(good_plan(), summary=Summary(values))) == ["summary.total.moves"]
    values = good_plan().summary.to_dict()
    values["cities"]["pune"] = values["cities"]["delhi"]
    assert broken(replace(good_plan(), summary=Summary(values))) == ["summary.cities"]


@pytest.mark.parametrize("key", CLAIMS)
def test_a_wrong_claim_is_found(key: str) -> None:
    assert broken(with_summary(good_plan(), (key,), faulty(good_plan().summary[key]))) == [f"summary.{key}"]
    if good_plan().summary[key] is not None and key != "objective":
        assert f"summary.{key}" in broken(with_summary(good_plan(), (key,), None))


def test_a_plan_above_its_bound_is_found() -> None:
    achieved = good_plan().summary["achieved"]
    assert broken(plan_of(GOOD, scenario_of(), bound=achieved - 0.1)) == ["summary.bound"]
    assert broken(plan_of(GOOD, scenario_of(), bound=None)) == []
    assert broken(plan_of(GOOD, scenario_of(), bound=achieved)) == []


def test_a_solver_that_boasts_is_found() -> None:
    achieved = good_plan().summary["achieved"]
    boast = plan_of(GOOD, scenario_of(), achieved=achieved + 1, bound=achieved + 10)
    assert {"summary.achieved", "summary.achieved_g"} <= set(broken(boast))


def test_wrong_claims_beyond_lambda_are_found() -> None:
    plan = good_plan(50.0)
    assert plan.summary["achieved_g"] is None and plan.summary["bound_g"] is None
    for key in ("achieved", "min_saving_g_per_kwh", "gap"):
        assert broken(with_summary(plan, (key,), faulty(plan.summary[key]))) == [f"summary.{key}"]
    assert broken(with_summary(plan, ("bound",), plan.summary["bound"] + 1)) == ["summary.gap"]  # nothing tells which of the two is wrong
    assert broken(with_summary(plan, ("achieved_g",), 5.0)) != []


def test_a_wrong_data_report_is_found() -> None:
    assert broken(with_summary(good_plan(), ("data_report", "facts", "readings"), 1)) == ["summary.data_report"]
    assert broken(with_summary(good_plan(), ("data_report", "entries"), [{"what": "gaps", "rows": 3}])) == ["summary.data_report"]


def derived_columns() -> list[Any]:
    """Every column that follows from the shifts and the readings, as (table, column)."""
    frames = good_plan().frames.items()
    pairs = [(name, column) for name, frame in frames for column in frame.columns if column not in RESULT_TABLES[name].keys]
    return [pytest.param(*pair, id=".".join(pair)) for pair in pairs if pair != ("shifts", "kwh")]


@pytest.mark.parametrize(("name", "column"), derived_columns())
def test_a_wrong_column_is_found(name: str, column: str) -> None:
    frame = good_plan().frames[name]
    values = frame[column].to_list()
    values[-1] = datetime(2025, 1, 1) if frame.schema[column] == pl.Datetime and values[-1] is None else faulty(values[-1])
    planted = frame.with_columns(pl.Series(column, values, dtype=frame.schema[column], strict=False))
    assert not planted[column].equals(frame[column], null_equal=True)
    assert broken(with_frame(good_plan(), name, planted)) == [f"{name}.{column}"]


def test_a_column_of_nulls_or_nan_is_found() -> None:
    days = good_plan().customer_days
    for value in (None, float("nan")):
        planted = days.with_columns(usage_kwh=pl.lit(value, pl.Float64))
        assert broken(with_frame(good_plan(), "customer_days", planted)) == ["customer_days.usage_kwh"]


@pytest.mark.parametrize("name", [name for name in RESULT_TABLES if name != "shifts"])
def test_wrong_rows_are_found(name: str) -> None:
    frame = good_plan().frames[name]
    strange = frame.head(1).with_columns(pl.lit("stranger").alias(RESULT_TABLES[name].keys[0]))
    for planted, words in (
        (frame.head(-1), "missing"), (pl.concat([frame, frame.tail(1)]), "twice"), (frame.reverse(), "out of order"),
        (pl.concat([frame, strange]), "too many"),
    ):  # fmt: skip
        audit = with_frame(good_plan(), name, planted).audit().filter(~pl.col("ok"))
        assert audit["limit"].to_list() == [f"{name}.rows"]
        assert audit["worst"][0].startswith(words)


def test_a_household_in_place_of_another_is_told_as_both() -> None:
    frame, first = good_plan().customers, pl.row_index() == 0
    swapped = frame.with_columns(pl.when(first).then(pl.lit("stranger")).otherwise("customer_id").alias("customer_id"))
    audit = with_frame(good_plan(), "customers", swapped).audit().filter(pl.col("limit") == "customers.rows")
    assert audit["worst"][0] == f"too many: customer_id stranger; missing: customer_id {frame['customer_id'][0]}"


def test_shifts_out_of_order_are_found() -> None:
    assert broken(with_frame(good_plan(), "shifts", good_plan().shifts.reverse())) == ["shifts.rows"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None])
def test_energy_that_is_no_number_is_found(value: float | None) -> None:
    first = pl.col("move_id") == 1
    shifts = good_plan().shifts.with_columns(pl.when(first).then(pl.lit(value, pl.Float64)).otherwise("kwh").alias("kwh"))
    assert {"shifts.kwh", "summary.total.kwh_moved"} <= set(broken(with_frame(good_plan(), "shifts", shifts)))


# Planted faults: limits. Every other limit is on, and every figure is right.


@dataclass(frozen=True)
class Fault:
    """Moves that keep every limit until one is changed."""

    limit: str
    moves: list[Move]
    changes: dict[str, Any] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)
    min_saving: float | None = None
    keeps: list[Move] | None = None  # a little less, which the changed limit allows
    case: str = ""

    def __str__(self) -> str:
        return self.limit + self.case


HOUR_0 = {"delhi": {"mon": (0,)}}
OFF: dict[str, Any] = {"household_minimum_usage": None, "peak_hour_comfort": None, "max_customer_shift": None, "min_day_potential": None}
FAULTS = [
    Fault("max_moves_per_day", [("anita", 0, 1, 0.5), ("anita", 3, 1, 0.5)], {"max_moves_per_day": MaxMovesPerDay()},
          keeps=[("anita", 0, 1, 0.5)]),
    Fault("max_moves_per_day", [("anita", 0, 1, 0.5), ("anita", 0, 2, 0.5)],
          {"max_moves_per_day": MaxMovesPerDay(), "move_counting": "pair", "no_average_increase": None},
          keeps=[("anita", 0, 1, 0.5)], case=" by pair"),
    Fault("max_moves_per_week", [("anita", 0, 1, 0.5), ("anita", 24, 25, 0.5)], {"max_moves_per_week": MaxMovesPerWeek(limit=1)},
          keeps=[("anita", 0, 1, 0.5)]),
    Fault("max_shift_window", [("anita", 3, 1, 0.5)], {"max_shift_window": MaxShiftWindow(hours=1.99)}, keeps=[("anita", 0, 1, 0.5)]),
    Fault("max_shift_window", [("anita", 3, 1, 0.5)], {"max_shift_window": MaxShiftWindow(hours=2, inclusive=False)},
          keeps=[("anita", 0, 1, 0.5)], case=" exclusive"),
    Fault("peak_hour_comfort", [("anita", 0, 1, 0.61)], {"peak_hour_comfort": PeakHourComfort(peak_hours=HOUR_0)},
          keeps=[("anita", 0, 1, 0.6)]),
    Fault("peak_hour_comfort", [("bala", 0, 1, 1.51)], {"peak_hour_comfort": PeakHourComfort(peak_hours=HOUR_0, scope="per_city")},
          keeps=[("bala", 0, 1, 1.5)], case=" of the city"),
    Fault("regional_shift_cap", [("anita", 0, 1, 0.9), ("bala", 0, 1, 0.01)], {"regional_shift_cap": RegionalShiftCap()},
          keeps=[("anita", 0, 1, 0.9), ("anita", 24, 25, 0.9)]),
    Fault("household_minimum_usage", [("anita", 0, 1, 1.1)],
          {"household_minimum_usage": HouseholdMinimumUsage(baseline_period="day", percent_of_robust_max=50, robust_max_percentile=100)},
          keeps=[("anita", 0, 1, 1.0)]),
    Fault("no_new_spike", [("anita", 0, 1, 0.51)], {"no_new_spike": NoNewSpike()}, keeps=[("anita", 0, 1, 0.5)]),
    Fault("conservation", [("anita", 3, 25, 0.5)], keeps=[("anita", 3, 1, 0.5)]),
    Fault("only_saving_moves", [("anita", 1, 3, 0.5)], keeps=[("anita", 3, 1, 0.5)]),
    Fault("no_average_increase", [("anita", 3, 2, 0.5)], keeps=[("anita", 3, 1, 0.5)]),
    Fault("max_customer_shift", [("anita", 0, 1, 1.21)], {"max_customer_shift": MaxCustomerShift()}, keeps=[("anita", 0, 1, 1.2)]),
    Fault("min_move_size", [("anita", 0, 1, 0.049)], {"min_move_size": MinMoveSize(kwh=0.05)}, keeps=[("anita", 0, 1, 0.05)]),
    Fault("min_move_size", [("anita", 0, 1, 0.19)], {"min_move_size": MinMoveSize(percent_of_day=5)},
          keeps=[("anita", 0, 1, 0.2)], case=" of the day"),
    Fault("min_day_potential", [("anita", 0, 1, 0.5)], {"min_day_potential": MinDayPotential(percent=43)}, keeps=[("bala", 0, 1, 0.5)]),
    Fault("model.max_total_shift_kwh", [("anita", 0, 1, 1.01)], more={"model": ImpactPrioritised(max_total_shift_kwh=1)},
          keeps=[("anita", 0, 1, 1.0)]),
    Fault("model.min_saving_g_per_kwh", [("anita", 3, 1, 0.5)], more={"model": ConveniencePrioritised()}, min_saving=200.1,
          keeps=[("anita", 0, 1, 0.5)]),
    Fault("model.percentile_threshold", [("anita", 0, 1, 0.5)], more={"model": HighUsageFocus()},
          keeps=[("bala", 0, 1, 0.5), ("chitra", 0, 1, 0.5)]),
    Fault("own_energy", [("anita", 0, 1, 2.1)], OFF, keeps=[("anita", 0, 1, 2.0)]),
    Fault("own_energy", [("anita", 0, 1, 1.0), ("anita", 3, 1, 0.5), ("anita", 1, 3, 1.2)], OFF | {"only_saving_moves": None},
          keeps=[("anita", 0, 1, 1.0), ("anita", 3, 1, 0.5), ("anita", 1, 3, 1.0)], case=" moved on"),
    Fault("availability", [("anita", 0, 1, 0.5)], more={"cities": ["mumbai"]}, keeps=[("chitra", 0, 1, 0.5)], case=" of a city"),
    Fault("availability", [("anita", 0, 1, 0.5)], more={"customers": CustomerChoice(exclude=["anita"])},
          keeps=[("bala", 0, 1, 0.5)], case=" of a household"),
    Fault("availability", [("anita", 0, 1, 0.5)], more={"period": {"start": date(2025, 11, 18)}},
          keeps=[("anita", 24, 25, 0.5)], case=" of a day"),
]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_broken_limit_is_found(fault: Fault) -> None:
    scenario = scenario_of(fault.changes, **fault.more)
    assert broken(plan_of(fault.moves, scenario, min_saving=fault.min_saving)) == [fault.limit]
    assert broken(plan_of(fault.keeps or [], scenario, min_saving=fault.min_saving)) == []


def test_every_limit_has_a_planted_fault() -> None:
    assert {*limits} <= {fault.limit for fault in FAULTS}


def test_a_move_on_an_incomplete_day_is_found() -> None:
    readings = readings_of({**USAGE, "anita": [2, 1, 0, None, 2, 1, 0, 1]})
    assert broken(plan_of([("anita", 0, 1, 0.5)], scenario_of(), readings)) == ["availability"]
    filled = handle_missing(readings_of({**USAGE, "anita": [2, None, 0, 1, 2, 1, 0, 1]}), "interpolate")
    assert broken(plan_of([("anita", 0, 1, 0.5)], scenario_of({"min_day_potential": None}), filled)) == ["availability"]
    assert broken(plan_of([("anita", 0, 3, 0.5)], scenario_of({"min_day_potential": None}), filled)) == []


def test_a_stranger_is_found() -> None:
    plan = good_plan()
    shifts = plan.shifts.with_columns(customer_id=pl.lit("stranger"))
    assert {"intra_customer", "availability", "own_energy"} <= set(broken(with_frame(plan, "shifts", shifts)))


def test_energy_from_nowhere_is_found() -> None:
    plan = plan_of([("anita", 0, 1, -0.5)], scenario_of(OFF | {"min_move_size": None}))
    assert broken(plan) == ["own_energy"]


def test_a_repeated_shift_is_found() -> None:
    shifts = pl.concat([good_plan().shifts, good_plan().shifts.head(1)])
    assert "shifts.rows" in broken(with_frame(good_plan(), "shifts", shifts))


# Plans of any size


def test_an_empty_plan_works(tmp_path: Path) -> None:
    plan = plan_of([], scenario_of(), bound=0.0, achieved=0.0)
    assert broken(plan) == []
    assert plan.summary["gap"] == 0 and plan.summary["total"]["kwh_moved"] == 0
    again = read_plan(plan.write(tmp_path / "empty"), plan.readings)
    assert len(again.shifts) == 0 and again.shifts.schema == plan.shifts.schema
    assert broken(again) == []
    assert "kwh_moved" in repr(again)


def test_a_plan_of_one_city_works(tmp_path: Path) -> None:
    readings = readings_of({"chitra": USAGE["chitra"]})
    plan = plan_of([("chitra", 0, 1, 0.5)], scenario_of(), readings)
    assert broken(plan) == []
    assert list(plan.summary["cities"]) == ["mumbai"]
    assert plan.summary["cities"]["mumbai"] == plan.summary["total"]
    assert broken(read_plan(plan.write(tmp_path / "one"), readings)) == []


def test_a_plan_without_average_factors_works(tmp_path: Path) -> None:
    readings = example_readings({"anita": [2, 1, 1, 1]}, [900, 400, 500, 600], calendar=FOUR_HOURS)
    plan = plan_of([("anita", 0, 1, 0.5)], scenario_of({"no_average_increase": None}), readings)
    assert broken(plan) == []
    assert plan.summary["total"]["average_reduction_percent"] is None
    assert plan.shifts["average_g_delta"].to_list() == [None]
    assert broken(read_plan(plan.write(tmp_path / "no average"), readings)) == []


def test_the_summary_shows_itself_and_is_plain() -> None:
    summary = good_plan().summary
    assert json.loads(json.dumps(summary.to_dict(), allow_nan=False)) == summary.to_dict()
    assert summary["cities"]["delhi"]["moves"] == 3
    assert "kwh_moved" in repr(summary) and "perfect foresight" in " ".join(repr(summary).split())
    assert "<td>kwh_moved</td>" in summary._repr_html_() and "<td>kwh_moved</td>" in good_plan()._repr_html_()
    assert "A note." in summary["data_report"]["notes"]
    values = summary.to_dict()
    values["total"]["moves"] = 0
    assert summary["total"]["moves"] == 5
    assert ("min_saving_g_per_kwh" in summary, "min_saving_g_per_kwh" in good_plan(50.0).summary) == (False, True)


def test_the_summary_is_short_and_says_what_the_plan_is() -> None:
    summary = good_plan(50.0).summary
    lines = repr(summary).splitlines()
    assert lines[0] == "greedy (own): Feasible."
    assert lines[2] == "λ          50 g/kWh, the least that a moved kWh saves"
    assert [line[:11].strip() for line in lines[1:5]] == ["objective", "λ", "bound", ""]
    assert lines[3].endswith(f", a gap of {100 * summary['gap']:.4f} %")
    assert len(lines) < 24 and max(map(len, lines)) <= 80
    rows = {line.split()[0]: line.split()[1:] for line in lines[5:-5]}
    assert rows["figure"] == ["unit", "total", "delhi", "mumbai"]
    assert rows["kwh_moved"] == ["kWh", "2.80", "1.70", "1.10"] and rows["moves"] == ["5", "3", "2"]
    assert "splits" not in rows and "splits" in summary.text(every=True)
    assert len(summary.lines(every=True)) == len(metrics) + 1


def test_a_gap_of_next_to_nothing_is_told_in_grams() -> None:
    """Where limits let nobody move, a strict bound ends a hair above nought, and a share of a hair says nothing."""
    idle = plan_of([], scenario_of(), bound=0.0083)
    assert (idle.summary["achieved"], idle.summary["gap"]) == (0.0, 1.0)
    assert idle.summary.head()[-1] == "bound      0.008 g, a gap of 0.008 g"
    assert good_plan().summary.head()[-1].endswith(" %")


def test_the_summary_of_one_city_and_of_many() -> None:
    values = good_plan().summary.to_dict()
    one = Summary({**values, "cities": {"delhi": values["cities"]["delhi"]}})
    assert one.lines()[0] == ["figure", "unit", "delhi"]
    named = Summary({**values, "cities": {"agra": values["cities"]["delhi"], "total": values["cities"]["mumbai"]}})
    assert named.lines()[0][2:] == ["total", "agra", "total"]
    assert all(row[2:] == plain[2:] for row, plain in zip(named.lines(True)[1:], Summary(values).lines(True)[1:], strict=True))
    many = Summary({**values, "cities": {f"city {k}": values["total"] for k in range(9)}})
    assert many.lines()[0] == ["figure", "unit", "total"]


def test_a_summary_without_bound_or_with_a_figure_of_ones_own() -> None:
    values = good_plan().summary.to_dict()
    values |= {"bound": None, "bound_g": None, "gap": None, "backend": "<b>"}
    for part in (values["total"], *values["cities"].values()):
        part["mine"] = None
    summary = Summary(values)
    assert summary.head()[-1] == "bound      none proved"
    assert summary.lines()[-1] == ["mine", "", "–", "–", "–"]
    assert "&lt;b&gt;" in summary._repr_html_() and "<td>mine</td>" in summary._repr_html_()


def test_the_audit_in_a_few_lines() -> None:
    plan = good_plan()
    frame, text = plan.audit(), plan.audit_summary().splitlines()
    count = len(limits) + 3  # and own energy, availability, and that no energy changes household
    count -= "intra_customer" in limits
    assert [line.split()[:2] for line in text[1 : count + 1]] == [["ok", name] for name in frame["limit"][:count]]
    number = len(frame) - count
    assert text[-2] == f"{number} of {number} figures and columns agree with what the readings and the shifts come to."
    word = "is the solver's own word (own): nobody can work it out again without solving."
    assert text[-1].startswith("The bound, ") and text[-1].endswith(word)
    assert all(name.split(".")[0] in ("summary", *RESULT_TABLES) for name in frame["limit"][count:])
    wrong = with_summary(plan, ("total", "moves"), 6).audit_summary(plan.readings).splitlines()
    assert wrong[-3].startswith(f"{number - 1} of {number} ") and wrong[-1] == "FAIL summary.total.moves: says 6, comes to 5"
    many = plan_of([*GOOD, ("bala", 0, 3, 0.1)], scenario_of({"max_moves_per_day": MaxMovesPerDay(limit=1)})).audit_summary()
    (line,) = [line for line in many.splitlines() if line.startswith("FAIL")]
    assert line.split()[1:5] == ["max_moves_per_day", "5", "-1", "moves"] and "customer_id bala" in line


def test_usage_after_shifting_is_there_whether_asked_for_or_not(tmp_path: Path) -> None:
    plan = plan_of(GOOD, scenario_of())
    assert "optimised_usage" not in plan.frames
    assert plan.optimised_usage.equals(good_plan().optimised_usage)
    assert plan.optimised_usage["optimised_kwh"].sum() == pytest.approx(plan.optimised_usage["usage_kwh"].sum())
    again = read_plan(plan.write(tmp_path / "plan"))
    with pytest.raises(InputError, match="was read without its readings"):
        again.optimised_usage  # noqa: B018
    assert read_plan(tmp_path / "plan", plan.readings).optimised_usage.equals(plan.optimised_usage)


# Folders


PRICES = pl.DataFrame(
    [["delhi", "no_new_spike", date(2025, 11, 17), None, 3.0, 1.0, 1.0]], orient="row",
    schema={"city": pl.String, "limit": pl.String, "day": pl.Date, "time": pl.Datetime("us", "Asia/Kolkata"), "g_per_kwh": pl.Float64,
            "room_kwh": pl.Float64, "used_kwh": pl.Float64},
)  # fmt: skip


@pytest.mark.parametrize("min_saving", [None, 50.0])
def test_a_folder_comes_back_as_it_went(tmp_path: Path, min_saving: float | None) -> None:
    model: Any = ImpactPrioritised() if min_saving is None else ConveniencePrioritised()
    scenario = scenario_of(output=Output(optimised_usage=True, csv=True), model=model)
    plan = plan_of(GOOD, scenario, min_saving=min_saving, prices=PRICES)
    folder = plan.write(tmp_path / "new" / "results")
    names = {*(f"{name}.parquet" for name in RESULT_TABLES), "prices.parquet", "shifts.csv", "summary.json", "run.json", "scenario.yaml"}
    assert {path.name for path in folder.iterdir()} == names
    again = read_plan(folder, plan.readings)
    assert {*again.frames} == {*plan.frames}
    for name, frame in plan.frames.items():
        assert again.frames[name].schema == frame.schema
        assert again.frames[name].equals(frame)
    assert again.summary.to_dict() == plan.summary.to_dict()
    assert again.scenario.hash == plan.scenario.hash
    assert {**again.run, **plan.run} == again.run
    assert again.prices is not None and again.prices.equals(PRICES)
    assert {name.split(".")[0] for name in broken(again)} == {"prices"}  # these are made up; test_proof.py has real ones
    csv = pl.read_csv(folder / "shifts.csv")
    assert csv.columns == plan.shifts.columns and csv["original_time"][0] == "2025-11-17T00:00:00+05:30"
    assert json.loads((folder / "run.json").read_text())["seconds"] == {"solving": 0.1}


def test_equal_plans_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        plan_of(GOOD, scenario_of(output=Output(optimised_usage=True, csv=True)), prices=PRICES).write(tmp_path / name)
    for path in (tmp_path / "one").iterdir():
        assert path.name == "run.json" or path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name


def test_extra_files_and_other_peoples_files(tmp_path: Path) -> None:
    def draw(folder: Path) -> None:
        (folder / "figures").mkdir()
        (folder / "figures" / "load.png").write_bytes(b"picture")

    folder = good_plan().write(tmp_path / "results", extra=draw)
    (folder / "figures" / "mine.png").write_bytes(b"my own")
    (folder / "notes").mkdir()
    (folder / "notes" / "bala.txt").write_text("Ask again in spring.")
    good_plan().write(folder)
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {"figures/mine.png", "notes/bala.txt"} <= found
    assert "figures/load.png" not in found
    assert "notes/bala.txt" not in json.loads((folder / "run.json").read_text())["files"]


def test_a_fault_while_drawing_leaves_the_old_results(tmp_path: Path) -> None:
    folder = good_plan().write(tmp_path / "results")
    before = content(folder)

    def fails(new: Path) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        good_plan(50.0).write(folder, extra=fails)
    assert content(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


def content(folder: Path) -> dict[str, bytes]:
    """Every file but `run.json`."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "run.json"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def folder_with(name: str, text: str) -> Callable[[Path], None]:
    """Makes a folder with one file."""

    def make(place: Path) -> None:
        place.mkdir()
        (place / name).write_text(text)

    return make


NOT_OURS = "'{}' is not empty ({}) and holds no run.json of dr_opt. Choose a new or empty folder."


@pytest.mark.parametrize(("make", "words"), [
    (folder_with("beach.jpg", ""), NOT_OURS.format("{}", "beach.jpg")),
    (folder_with("run.json", "{}"), NOT_OURS.format("{}", "run.json")),
    (folder_with("run.json", '{"made_by"'), NOT_OURS.format("{}", "run.json")),
    (Path.touch, "'{}' is a file. Give a folder for the results."),
], ids=["pictures", "another run.json", "broken run.json", "file"])  # fmt: skip
def test_what_is_not_ours_is_refused(tmp_path: Path, make: Callable[[Path], None], words: str) -> None:
    place = tmp_path / "place"
    make(place)
    before = content(tmp_path)
    with pytest.raises(InputError) as caught:
        good_plan().write(place)
    assert str(caught.value) == words.format(place)
    assert content(tmp_path) == before and [path.name for path in tmp_path.iterdir()] == ["place"]


def test_a_place_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="Results cannot be written to"):
        good_plan().write(tmp_path / "file" / "results")


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir(mode=0o750)
    folder = good_plan().write(tmp_path / "results")
    assert read_plan(folder).shifts.equals(good_plan().shifts)
    assert folder.stat().st_mode & 0o777 == 0o750
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


def test_a_link_to_a_folder_stays_a_link(tmp_path: Path) -> None:
    good_plan().write(tmp_path / "results")
    (tmp_path / "latest").symlink_to(tmp_path / "results")
    good_plan(50.0).write(tmp_path / "latest")
    assert (tmp_path / "latest").is_symlink()
    assert "min_saving_g_per_kwh" in read_plan(tmp_path / "results").summary


# A write that is cut off


class Cut:
    """Stands for `os.replace`, and fails at its n-th call, or from there on: a fault of the disk, or the plug pulled."""

    def __init__(self, at: int, error: type[BaseException], on: bool):
        self.calls, self.at, self.error, self.on, self.really = 0, at, error, on, os.replace

    def __call__(self, source: Any, target: Any) -> None:
        self.calls += 1
        if self.calls == self.at or (self.on and self.calls > self.at):
            raise self.error("cut off")
        self.really(source, target)


@pytest.mark.parametrize(("existing", "at"), [(True, 1), (True, 2), (True, 3), (False, 1), (False, 2)])  # a first write has two steps
@pytest.mark.parametrize("on", [False, True], ids=["once", "for good"])
@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_swap_that_is_cut_off_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, existing: bool, at: int, on: bool, error: type[BaseException]
) -> None:
    folder, old, new = tmp_path / "results", good_plan(), good_plan(50.0)
    if existing:
        old.write(folder)
    before = content(folder)
    new.write(tmp_path / "to compare")
    after = content(tmp_path / "to compare")
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", Cut(at, error, on))
        with pytest.raises(InputError if error is OSError else error):
            new.write(folder)
        if not on:  # an ordinary fault is undone at once
            assert content(folder) == before
    if existing or folder.exists():
        assert read_plan(folder).summary["data_hash"] == old.summary["data_hash"]
        assert content(folder) in (before, after)
    new.write(folder)
    assert content(folder) == after
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results", "to compare"]


def test_a_complete_new_folder_is_put_in_place_by_a_reader(tmp_path: Path) -> None:
    folder = good_plan().write(tmp_path / "results")
    good_plan(50.0).write(tmp_path / "other")
    os.replace(folder, tmp_path / ".results.dr_opt-old")
    os.replace(tmp_path / "other", tmp_path / ".results.dr_opt-new")
    assert "min_saving_g_per_kwh" in read_plan(folder).summary
    good_plan().write(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


def test_an_old_folder_comes_back_where_the_new_one_is_lost(tmp_path: Path) -> None:
    folder = good_plan().write(tmp_path / "results")
    os.replace(folder, tmp_path / ".results.dr_opt-old")
    assert read_plan(folder).shifts.equals(good_plan().shifts)


def test_leftovers_of_dead_processes_are_cleared_away(tmp_path: Path) -> None:
    import socket

    for process in (os.getpid(), 2**22 + 1):
        (tmp_path / f".results.dr_opt-building-{socket.gethostname()}-{process}-abc").mkdir()
    good_plan().write(tmp_path / "results")
    assert len(list(tmp_path.iterdir())) == 2
    assert any(str(os.getpid()) in path.name for path in tmp_path.iterdir())


# Folders that are not as they were


def changed(name: str, change: Callable[[pl.DataFrame], pl.DataFrame]) -> Callable[[Path], None]:
    """Rewrites a table of a folder."""
    return lambda folder: change(pl.read_parquet(folder / name)).write_parquet(folder / name)


DAMAGE: list[tuple[str, Callable[[Path], object], str]] = [
    ("shifts is missing", lambda f: (f / "shifts.parquet").unlink(), "'results/shifts.parquet' is missing."),
    ("load is damaged", lambda f: (f / "load.parquet").write_bytes(b"PAR1"), "'results/load.parquet' is damaged."),
    ("customers is empty", lambda f: (f / "customers.parquet").write_bytes(b""), "'results/customers.parquet' is damaged."),
    ("prices is damaged", lambda f: (f / "prices.parquet").write_text("?"), "'results/prices.parquet' is damaged."),
    ("summary is missing", lambda f: (f / "summary.json").unlink(), "'results/summary.json' is missing."),
    ("summary is cut", lambda f: (f / "summary.json").write_text('{"total"'), "'results/summary.json' is damaged."),
    ("summary is a list", lambda f: (f / "summary.json").write_text("[1]"),
     "'results/summary.json' lacks total, cities, status and 12 more."),
    ("a column is gone", changed("shifts.parquet", lambda t: t.drop("kwh")), "'results/shifts.parquet' lacks the column kwh."),
    ("a price is text", lambda f: PRICES.cast({"g_per_kwh": pl.String}).write_parquet(f / "prices.parquet"),
     "'results/prices.parquet' holds g_per_kwh as String, not Float64."),
    ("a column is text", changed("shifts.parquet", lambda t: t.cast({"kwh": pl.String})),
     "'results/shifts.parquet' holds kwh as String, not Float64."),
    ("times lost their zone", changed("load.parquet", lambda t: t.with_columns(pl.col("time").dt.replace_time_zone(None))),
     "'results/load.parquet' holds time as Datetime(time_unit='us', time_zone=None), "
     "not Datetime(time_unit='us', time_zone='Asia/Kolkata')."),
]  # fmt: skip


@pytest.mark.parametrize(("damage", "words"), [pytest.param(damage, words, id=name) for name, damage, words in DAMAGE])
def test_a_damaged_folder_is_refused(tmp_path: Path, damage: Callable[[Path], object], words: str) -> None:
    folder = good_plan().write(tmp_path / "results")
    damage(folder)
    with pytest.raises(InputError) as caught:
        read_plan(folder)
    assert caught.value.faults == (f"{words} Run it again: dr-opt run '{folder / 'scenario.yaml'}' --out '{folder}'.",)


def test_a_folder_without_its_scenario_is_refused(tmp_path: Path) -> None:
    folder = good_plan().write(tmp_path / "results")
    (folder / "scenario.yaml").write_text("name: [")
    with pytest.raises(InputError, match=r"'results/scenario\.yaml' cannot be used .* Run it again from its scenario\."):
        read_plan(folder)


def test_all_damage_is_told_at_once(tmp_path: Path) -> None:
    folder = good_plan().write(tmp_path / "results")
    for _, damage, _ in DAMAGE[:3]:
        damage(folder)
    (folder / "summary.json").unlink()
    with pytest.raises(InputError) as caught:
        read_plan(folder)
    assert len(caught.value.faults) == 4


@pytest.mark.parametrize(("make", "words"), [
    (lambda p: None, "is not there."), (lambda p: p.touch(), "is a file."), (lambda p: p.mkdir(), "holds no run.json of dr_opt."),
])  # fmt: skip
def test_what_is_no_result_folder_is_not_read(tmp_path: Path, make: Callable[[Path], object], words: str) -> None:
    make(tmp_path / "results")
    with pytest.raises(InputError) as caught:
        read_plan(tmp_path / "results")
    assert str(caught.value) == f"'{tmp_path / 'results'}' {words} Give a folder that dr-opt run has written."


def test_an_audit_takes_readings_only() -> None:
    with pytest.raises(InputError, match=r"readings is of the type DataFrame\. Give what dr_opt\.read_readings makes of it"):
        good_plan().audit(pl.DataFrame())  # type: ignore[arg-type]


def test_an_audit_needs_readings(tmp_path: Path) -> None:
    plan = read_plan(good_plan().write(tmp_path / "results"))
    with pytest.raises(InputError, match="was read without its readings"):
        plan.audit()
    assert plan.audit(good_plan().readings)["ok"].all()


# The audit from scratch


@pytest.fixture
def on_disk(tmp_path: Path) -> Path:
    """A result folder whose scenario leads to readings on the disk."""
    names = {"customer_id": "ca_id", "time": "date", "usage_kwh": "value", "marginal_g_per_kwh": "marginal_emissions_grams_co2_per_kWh",
             "average_g_per_kwh": "average_emissions_grams_co2_per_kWh"}  # fmt: skip
    readings_of().frame.drop("quality").rename(names).write_parquet(tmp_path / "readings.parquet")
    scenario = scenario_of(readings=str(tmp_path / "readings.parquet"))
    return plan_of(GOOD, scenario, scenario.read()).write(tmp_path / "results")


def test_audit_from_scratch(on_disk: Path) -> None:
    assert audit_folder(on_disk)["ok"].all()
    moved = on_disk.parent / "elsewhere.parquet"
    os.replace(on_disk.parent / "readings.parquet", moved)
    with pytest.raises(InputError, match="does not exist"):
        audit_folder(on_disk)
    assert audit_folder(on_disk, moved)["ok"].all()


def test_other_readings_are_told_from_scratch(on_disk: Path) -> None:
    path = on_disk.parent / "readings.parquet"
    pl.read_parquet(path).with_columns(pl.col("value") * 1.5).write_parquet(path)
    audit = audit_folder(on_disk).filter(~pl.col("ok"))
    row = audit.filter(pl.col("limit") == "summary.data_hash").row(0, named=True)
    assert row["worst"] == "these are not the readings that the plan was made from"


def test_a_tampered_folder_is_found_from_scratch(on_disk: Path) -> None:
    summary = json.loads((on_disk / "summary.json").read_text())
    summary["total"]["tco2_avoided"] *= 1.001
    (on_disk / "summary.json").write_text(json.dumps(summary))
    assert audit_folder(on_disk).filter(~pl.col("ok"))["limit"].to_list() == ["summary.total.tco2_avoided"]


def test_a_tampered_scenario_is_found_from_scratch(on_disk: Path) -> None:
    text = (on_disk / "scenario.yaml").read_text()
    (on_disk / "scenario.yaml").write_text(text.replace("limit: 9", "limit: 8"))
    assert audit_folder(on_disk).filter(~pl.col("ok"))["limit"].to_list() == ["summary.scenario_hash"]


def test_figures_of_a_plan_are_those_of_its_tables() -> None:
    assert figures(good_plan().tables)["total"] == good_plan().summary["total"]
