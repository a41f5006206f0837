"""Figures and result tables against sums worked out one reading at a time."""

import json
import math
from datetime import date, datetime
from typing import Any

import numpy as np
import polars as pl
import pytest

from dr_opt.calendar import Calendar
from dr_opt.constraints.behavioural import PeakHourComfort
from dr_opt.constraints.technical import NoNewSpike, RegionalShiftCap
from dr_opt.metrics import SHIFT_COLUMNS, FigureTables, expand_shifts, figures, metrics, register_metric
from dr_opt.pipeline import optimise
from dr_opt.readings import Readings, handle_missing
from dr_opt.result_tables import city_day_table, city_month_table, customer_day_table, customer_table, load_table, optimised_usage_table
from dr_opt.scenario import Scenario
from dr_opt.synthesis import synthesise
from dr_opt.tables import Period, Tables, example_readings, example_tables, labelled_readings, selection

HOURLY = Calendar(slot_minutes=60, day_boundaries=(0, 5))
CITIES = {"anita": "delhi", "bala": "delhi", "chitra": "mumbai", "dev": "mumbai"}
TABLES = (customer_day_table, customer_table, city_day_table, city_month_table)


def random_readings(seed: int, days: int = 9, own_factors: bool = False, holes: float = 0.04, average: bool = True) -> Readings:
    """Four households, six hours a day, some readings and average factors missing."""
    draw = np.random.default_rng(seed)
    slots = 6 * days

    def holed(values: np.ndarray, share: float) -> list[float | None]:
        return [None if draw.random() < share else float(v) for v in values]

    usage = {who: holed(draw.gamma(1.5, 0.6, slots).round(3), holes) for who in CITIES}
    shared = draw.integers(3, 10, slots) * 100.0
    marginal: Any = {who: list(draw.integers(3, 10, slots) * 100.0) for who in CITIES} if own_factors else list(shared)
    averages = holed(draw.integers(5, 9, slots) * 100.0, 0.1) if average else None
    return example_readings(usage, marginal, averages, CITIES, calendar=HOURLY)


def random_tables(seed: int, pairs: bool = False, limits: dict[str, Any] | None = None, **more: Any) -> FigureTables:
    """Random shifts of random readings; what limits would say does not matter to a figure."""
    draw = np.random.default_rng(seed + 100)
    readings = random_readings(seed, **more)
    moves = []
    for who in CITIES:
        for day in range(9):
            for _ in range(draw.integers(0, 3)):
                origin, first, second = draw.choice(6, 3, replace=False) + 24 * day
                moves.append((who, origin, first, round(draw.random(), 3) + 0.01))
                if draw.random() < 0.3:
                    moves.append((who, origin, second, 0.25))
    return FigureTables.of(example_tables(readings, moves, limits, pairs))


def by_hand(tables: FigureTables, city: str | None) -> dict[str, float | int | None]:
    """All figures, one reading and one shift at a time."""
    readings = [r for r in tables.readings.iter_rows(named=True) if city in (None, r["city"])]
    known = {(r["customer_id"], r["time"]): r for r in readings}
    used = [r for r in readings if r["usage_kwh"] is not None]
    marginal = sum(r["usage_kwh"] * r["marginal_g_per_kwh"] for r in used if r["marginal_g_per_kwh"] is not None)
    with_average = [r for r in used if r["average_g_per_kwh"] is not None]
    average = sum(r["usage_kwh"] * r["average_g_per_kwh"] for r in with_average) if with_average else None
    parts: dict[Any, list[dict[str, Any]]] = {}
    for shift in tables.shifts.filter(pl.lit(True) if city is None else pl.col("city") == city).iter_rows(named=True):
        who = shift["customer_id"]
        start, end = known.get((who, shift["original_time"]), {}), known.get((who, shift["shifted_time"]), {})
        part = {"who": who, "kwh": shift["kwh"], "minutes": (shift["shifted_time"] - shift["original_time"]).total_seconds() / 60}
        for kind in ("marginal", "average"):
            a, b = start.get(f"{kind}_g_per_kwh"), end.get(f"{kind}_g_per_kwh")
            part[kind] = None if a is None or b is None else shift["kwh"] * (a - b)
        parts.setdefault((who, shift["original_time"], *([shift["shifted_time"]] if tables.count_pairs else [])), []).append(part)
    shifts = [part for move in parts.values() for part in move]
    kwh = sum(s["kwh"] for s in shifts)
    saved = sum(s["marginal"] for s in shifts if s["marginal"] is not None)
    average_saved = sum(s["average"] for s in shifts if s["average"] is not None)
    told = [[s["average"] for s in move if s["average"] is not None] for move in parts.values()]
    tells = [sum(values) for values in told if values]
    weeks = {(r["customer_id"], (r["day"].toordinal() - 1) // 7) for r in readings if r["complete"] and r["planned"]}
    minutes = [sum(s["kwh"] * abs(s["minutes"]) for s in move) / sum(s["kwh"] for s in move) for move in parts.values()]
    usage = sum(r["usage_kwh"] for r in used)
    return {
        "usage_kwh": usage, "kwh_moved": kwh, "share_moved_percent": 100 * kwh / usage,
        "forward_kwh": sum(s["kwh"] for s in shifts if s["minutes"] > 0), "backward_kwh": sum(s["kwh"] for s in shifts if s["minutes"] < 0),
        "tco2_avoided": saved / 1e6, "baseline_marginal_tco2": marginal / 1e6, "marginal_reduction_percent": 100 * saved / marginal,
        "g_per_kwh_moved": saved / kwh if kwh else None,
        "average_tco2_change": None if average is None else -average_saved / 1e6,
        "baseline_average_tco2": None if average is None else average / 1e6,
        "average_reduction_percent": None if average is None else 100 * average_saved / average,
        "average_increase_share_percent": 100 * sum(t < -1e-9 for t in tells) / len(tells) if tells else None,
        "kwh_moved_without_average_factor": sum(s["kwh"] for s in shifts if s["average"] is None),
        "moves": len(parts), "splits": sum(len(move) > 1 for move in parts.values()), "households_asked": len({s["who"] for s in shifts}),
        "moves_per_household_week": len(parts) / len(weeks) if weeks else None,
        "mean_minutes": sum(minutes) / len(minutes) if minutes else None,
        "energy_weighted_minutes": sum(s["kwh"] * abs(s["minutes"]) for s in shifts) / kwh if kwh else None,
    }  # fmt: skip


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("more", [{}, {"pairs": True}, {"own_factors": True}, {"average": False}], ids=str)
def test_every_figure_equals_the_sum_by_hand(seed: int, more: dict[str, Any]) -> None:
    tables = random_tables(seed, **more)
    found = figures(tables)
    assert set(found["cities"]) == {"delhi", "mumbai"}
    for city, part in [(None, found["total"]), *found["cities"].items()]:
        expected = by_hand(tables, city)
        assert set(part) == set(expected) == set(metrics)
        for name, value in expected.items():
            assert part[name] == (None if value is None else pytest.approx(value, rel=1e-12, abs=1e-12)), name
    json.dumps(found, allow_nan=False)


def test_which_readings_count() -> None:
    """A good day, an incomplete day with and without its factor, a filled gap, and missing readings: the table of the definition."""
    usage = {"anita": [1, 2, 4, 8, 1, None, 4, 8, 1, 2, 4, 8], "bala": [-1, 500, 4, 8, 1, 2, 4, 8, 1, 2, 4, 8]}
    marginal = [100, 100, 100, 100, 100, 100, 100, 100, 100, None, 100, 100]
    average = [10, None, 10, 10] * 3
    readings = example_readings(usage, marginal, average, calendar=Calendar(slot_minutes=60, day_boundaries=(0, 3)))
    found = figures(FigureTables.of(example_tables(readings, [])))["total"]
    assert found["usage_kwh"] == 15 + 13 + 15 + 12 + 15 + 15
    assert found["baseline_marginal_tco2"] * 1e4 == pytest.approx(15 + 13 + 13 + 12 + 15 + 13)  # two readings lack the factor
    assert found["baseline_average_tco2"] * 1e5 == pytest.approx(13 + 13 + 13 + 12 + 13 + 13)
    filled = figures(FigureTables.of(example_tables(handle_missing(readings, "interpolate"), [])))["total"]
    assert filled["usage_kwh"] == 15 + 15.5 + 15 + 12 + 15 + 15  # between 1 and 4 lies 2.5; a gap at the edge of a day stays
    assert filled["baseline_marginal_tco2"] * 1e4 == pytest.approx(15 + 15.5 + 15 + 12 + 15 + 15)


def test_figures_count_what_is_not_planned() -> None:
    readings = random_readings(1, holes=0)
    chosen = selection(readings, Period(start=date(2025, 11, 18), end=date(2025, 11, 18)), cities=["delhi"])
    plain = example_tables(readings, [])
    tables = FigureTables.of(Tables(plain.shifts, labelled_readings(readings, chosen), HOURLY, {}))
    found = figures(tables)["total"]
    assert found["usage_kwh"] == pytest.approx(readings.frame["usage_kwh"].sum())
    assert tables.household_weeks == 2
    assert customer_day_table(tables)["customer_id"].to_list() == ["anita", "bala"]
    assert city_day_table(tables).select("city", "day", "households").rows() == [("delhi", date(2025, 11, 18), 2)]
    assert load_table(tables)["city"].n_unique() == 2


@pytest.mark.parametrize("seed", range(4))
def test_shifts_in_full(seed: int) -> None:
    tables = random_tables(seed)
    full, whole = tables.shifts, optimised_usage_table(tables)
    assert tuple(full.columns) == SHIFT_COLUMNS
    assert full.equals(full.sort("city", "customer_id", "original_time", "shifted_time"))
    assert full["move_id"].to_list() == sorted(full["move_id"]) and full["move_id"].max() == full["move_id"].n_unique()
    moves = full.group_by("move_id").agg(pl.struct("customer_id", "original_time").n_unique().alias("n"))
    assert moves["n"].max() == 1
    known = {(r["customer_id"], r["time"]): r for r in whole.iter_rows(named=True)}
    for row in full.iter_rows(named=True):
        for end, time in (("source", "original_time"), ("destination", "shifted_time")):
            reading = known.get((row["customer_id"], row[time]), {"usage_kwh": None, "optimised_kwh": None})
            assert row[f"{end}_kwh_before"] == reading["usage_kwh"]
            assert row[f"{end}_kwh_after"] == (None if reading["optimised_kwh"] is None else pytest.approx(reading["optimised_kwh"]))
        assert (row["direction"] == "forward") == (row["minutes_moved"] > 0)
        assert row["day"] == row["original_time"].date()


@pytest.mark.parametrize("seed", range(4))
def test_tables_add_up_to_the_summary(seed: int) -> None:
    tables = random_tables(seed, holes=0)  # with holes, moves on days without a reading stand in no table
    total = figures(tables)["total"]
    for make in TABLES:
        table = make(tables)
        assert table["kwh_moved"].sum() == pytest.approx(total["kwh_moved"])
        assert table["moves"].sum() == total["moves"]
        assert table["usage_kwh"].sum() == pytest.approx(total["usage_kwh"])
        assert table["forward_kwh"].sum() + table["backward_kwh"].sum() == pytest.approx(total["kwh_moved"])
        assert -table["marginal_g_delta"].sum() == pytest.approx(total["tco2_avoided"] * 1e6)
        assert table["marginal_g_before"].sum() == pytest.approx(total["baseline_marginal_tco2"] * 1e6)
        assert table["average_g_delta"].sum() == pytest.approx(total["average_tco2_change"] * 1e6)
        assert (table["marginal_g_after"] - table["marginal_g_before"] - table["marginal_g_delta"]).abs().max() < 1e-6
    load = load_table(tables)
    assert load["load_after_kwh"].sum() == pytest.approx(load["load_before_kwh"].sum()) == pytest.approx(total["usage_kwh"])


def test_nothing_moved() -> None:
    tables = FigureTables.of(example_tables(random_readings(0), []))
    found = figures(tables)
    for part in (found["total"], *found["cities"].values()):
        for name in ("kwh_moved", "moves", "splits", "households_asked", "tco2_avoided", "average_tco2_change"):
            assert part[name] == 0
        for name in ("g_per_kwh_moved", "mean_minutes", "energy_weighted_minutes", "average_increase_share_percent"):
            assert part[name] is None
        assert all(math.copysign(1, value) == 1 for value in part.values() if value == 0)
    assert len(expand_shifts(tables.shifts, tables.readings, HOURLY)) == 0
    assert customer_day_table(tables)["mean_shift_minutes"].null_count() == len(customer_day_table(tables))
    assert all(len(make(tables)) for make in TABLES)


def test_no_readings_at_all_gives_empty_tables() -> None:
    tables = random_tables(0)
    empty = FigureTables.of(Tables(tables.shifts.clear(), tables.readings.clear(), HOURLY, {}))
    for make in (*TABLES, load_table, optimised_usage_table):
        assert make(empty).schema == make(tables).schema
    assert figures(empty)["cities"] == {}
    assert figures(empty)["total"]["marginal_reduction_percent"] is None


def test_caps_of_a_city_day() -> None:
    readings = random_readings(3, holes=0)
    limits = {
        "regional_shift_cap": RegionalShiftCap(percent=20, daily_average_load_kwh={"mumbai": 50.0}),
        "no_new_spike": NoNewSpike(),
        "peak_hour_comfort": PeakHourComfort(scope="per_city", group="day", peak_hours={c: {"mon": (0, 1)} for c in ("delhi", "mumbai")}),
    }  # fmt: skip
    tables = FigureTables.of(example_tables(readings, [("anita", 0, 2, 0.3), ("bala", 1, 2, 0.2), ("anita", 24, 27, 0.4)], limits))
    days = city_day_table(tables)
    delhi = days.filter(pl.col("city") == "delhi")
    usage = readings.frame.filter(pl.col("city") == "delhi").with_columns(hour=pl.col("time").dt.hour(), date=pl.col("time").dt.date())
    assert delhi["shift_cap_kwh"][0] == pytest.approx(0.2 * usage["usage_kwh"].sum() / 9)
    assert days.filter(pl.col("city") == "mumbai")["shift_cap_kwh"].to_list() == [10.0] * 9
    assert delhi["shift_cap_used_percent"][0] == pytest.approx(100 * 0.5 / delhi["shift_cap_kwh"][0])
    peak = usage.filter(pl.col("hour").is_in([0, 1]) & (pl.col("date") == date(2025, 11, 17)))["usage_kwh"].sum()
    assert delhi["peak_cap_kwh"][0] == pytest.approx(0.3 * peak)
    assert delhi["peak_used_kwh"][0] == pytest.approx(0.5)
    assert delhi["peak_time"].null_count() == 7  # two Mondays
    before = usage.filter((pl.col("hour") == 2) & (pl.col("date") == date(2025, 11, 17)))["usage_kwh"].sum()
    assert delhi["spike_room_kwh"][0] == pytest.approx(0.25 * before)
    assert delhi["spike_used_percent"][0] == pytest.approx(100 * 0.5 / (0.25 * before))
    assert (delhi["spike_time"][0].hour, delhi["spike_time"][1].hour) == (2, 3)
    off = city_day_table(FigureTables.of(example_tables(readings, [])))
    assert off.schema == days.schema
    for column in days.columns:
        if column.startswith(("shift_cap", "spike", "peak")):
            assert off[column].null_count() == len(off)


def test_months_and_wrapping_days() -> None:
    night = Calendar(slot_minutes=60, day_boundaries=(22, 3))
    readings = example_readings({"anita": [1, 2, 3, 4, 5, 6] * 2}, [9, 8, 7, 6, 5, 4] * 2, first_day=date(2025, 11, 30), calendar=night)
    tables = FigureTables.of(example_tables(readings, [("anita", 0, 5, 0.5), ("anita", 24, 28, 0.5)]))
    assert tables.shifts["day"].to_list() == [date(2025, 11, 30), date(2025, 12, 1)]
    assert city_month_table(tables).select("month", "days", "moves").rows() == [(date(2025, 11, 1), 1, 1), (date(2025, 12, 1), 1, 1)]
    assert tables.shifts["shifted_time"][0].replace(tzinfo=None) == datetime(2025, 12, 1, 3)
    assert customer_table(tables).select("days", "complete_days", "days_asked", "usage_kwh").rows() == [(2, 2, 2, 42.0)]


def test_load_shows_the_mean_of_own_factors() -> None:
    readings = example_readings({"anita": [1, 1], "bala": [1, 1]}, {"anita": [100, 0.1], "bala": [300, 0.1]}, [5, 5], calendar=HOURLY)
    load = load_table(FigureTables.of(example_tables(readings, [])))
    assert load["marginal_g_per_kwh"].to_list()[:2] == [200, 0.1]


def test_a_metric_of_ones_own_is_worked_out_everywhere() -> None:
    @register_metric("largest_kwh", "kWh", "the largest move")
    def largest(tables: FigureTables) -> float | None:
        return tables.move_sums["kwh"].max()  # type: ignore[return-value]

    try:
        found = figures(random_tables(2))
        assert found["total"]["largest_kwh"] == max(part["largest_kwh"] for part in found["cities"].values())
    finally:
        del metrics["largest_kwh"]


def test_a_figure_is_never_nan() -> None:
    @register_metric("odd", "kWh", "not a number")
    def odd(tables: FigureTables) -> float:
        return math.nan

    try:
        assert figures(random_tables(2))["total"]["odd"] is None
    finally:
        del metrics["odd"]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, ""),
        ({"cities": ["delhi"]}, "(cities)"),
        ({"period": {"start": "2025-11-04"}, "customers": {"exclude": ["delhi-0000002"]}}, "(period, customers)"),
    ],
)
def test_a_plan_of_a_part_says_what_its_shares_are_of(changes: dict[str, Any], told: str) -> None:
    scenario = Scenario.from_mapping({"solver": {"family": "greedy"}, "progress": False, **changes})
    summary = optimise(synthesise(("delhi", "mumbai"), 6, 3), scenario).summary
    notes = [note for note in summary["data_report"]["notes"] if note.startswith("Only a part of the readings is planned")]
    assert len(notes) == bool(told)
    assert all(told in note for note in notes)
