"""Real households: the command plans for them, and its account of what it left out is what a few lines of polars count."""

import json
import re
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from test_cli import Ran, command

MARGINAL, AVERAGE = "marginal_emissions_grams_co2_per_kWh", "average_emissions_grams_co2_per_kWh"
GRAMS_PER_TONNE = 1e6


def run(scenario: Path, folder: Path, *overrides: str) -> tuple[Ran, dict[str, Any], pl.DataFrame]:
    """What the command says, its summary and its shifts."""
    words = [word for override in overrides for word in ("--set", override)]
    ran = command("run", str(scenario), "--out", str(folder), "--no-figures", *words)
    assert ran.code == 0, ran.err
    return ran, json.loads((folder / "summary.json").read_text()), pl.read_parquet(folder / "shifts.parquet")


def audit_holds(folder: Path) -> None:
    ran = command("audit", str(folder))
    assert (ran.code, ran.errors) == (0, [])
    assert ran.out.count("\nok ") > 100 and "FAIL" not in ran.out


def entries(summary: dict[str, Any]) -> dict[str, tuple[int, float | None]]:
    """Rows and kWh of each finding of the data report."""
    return {entry["what"]: (entry["rows"], entry["kwh"]) for entry in summary["data_report"]["entries"]}


def close(value: float, right: float, relative: float = 1e-9) -> bool:
    return abs(value - right) <= relative * abs(right)


# The research data: real readings, real gaps in the factors


@pytest.fixture
def research(shared_data: Path, tmp_path: Path) -> Path:
    scenario = tmp_path / "research.yaml"
    scenario.write_text(f"name: research\nreadings: {shared_data / 'readings_research_schema.parquet'}\n")
    return scenario


def research_rows(shared_data: Path) -> pl.DataFrame:
    """The readings, with their day and whether their household has all 48 factors on it."""
    rows = pl.read_parquet(shared_data / "readings_research_schema.parquet")
    rows = rows.with_columns(
        pl.col("city").cast(pl.String), day=pl.col("date").dt.date(), good=pl.all_horizontal(pl.col("value", MARGINAL).is_not_null())
    )
    return rows.with_columns(complete=pl.col("good").sum().over("ca_id", "day") == 48)


def check_report(summary: dict[str, Any], ran: Ran, rows: pl.DataFrame) -> None:
    """The account of the data, counted once more."""
    facts, found = summary["data_report"]["facts"], entries(summary)
    days = rows.select("ca_id", "day", "complete").unique()
    assert facts["rows_read"] == facts["readings"] == len(rows) == 528_192
    assert facts["customers_by_city"] == {"delhi": 300, "mumbai": 93}
    assert (facts["customer_days"], facts["complete_days"]) == (len(days), int(days["complete"].sum())) == (11_004, 9_432)
    assert close(facts["usage_kwh"], rows["value"].sum())
    incomplete, lacking = rows.filter(~pl.col("complete")), rows.filter(pl.col(MARGINAL).is_null())
    assert sorted(incomplete["day"].unique()) == [date(2025, 11, day) for day in (6, 10, 13, 17)]
    left_out = {"reading in an incomplete day": incomplete, "marginal factor missing": lacking, "average factor missing": lacking}
    for what, left in left_out.items():
        assert found.pop(what) == (len(left), pytest.approx(left["value"].sum(), abs=1e-4))
        assert re.search(rf"^{what} +{len(left):,} +{left['value'].sum():,.3f} ", ran.err, re.MULTILINE)  # the user sees it, too
    assert not found


def check_plan(summary: dict[str, Any], shifts: pl.DataFrame, rows: pl.DataFrame) -> None:
    """Nothing moved on days that are incomplete; usage, emissions and savings from the raw rows; the counts of the default limits."""
    total = summary["total"]
    factors = rows.select("date", "day", "complete", customer_id="ca_id", m=MARGINAL, u="value")
    whence = shifts.select("customer_id", "original_time", "shifted_time", "kwh", "move_id")
    for end in ("original_time", "shifted_time"):
        whence = whence.join(factors, left_on=["customer_id", end], right_on=["customer_id", "date"], how="left", suffix=f" {end}")
    assert whence["complete"].all() and whence["complete shifted_time"].all()
    saved = (whence["kwh"] * (whence["m"] - whence["m shifted_time"])).sum()
    assert close(total["tco2_avoided"], saved / GRAMS_PER_TONNE) and close(total["kwh_moved"], whence["kwh"].sum())
    assert (whence["day"] == whence["day shifted_time"]).all() and (whence["m"] > whence["m shifted_time"]).all()
    assert (whence["shifted_time"] - whence["original_time"]).dt.total_minutes().abs().max() <= 120
    moves = whence.group_by("customer_id", "original_time").agg(pl.col("kwh").sum(), pl.col("u").first(), pl.col("day").first())
    assert len(moves) == total["moves"] == whence["move_id"].n_unique() and (moves["kwh"] <= moves["u"] + 1e-9).all()
    assert moves.group_by("customer_id", "day").len()["len"].max() == 1
    assert moves.group_by("customer_id", pl.col("day").dt.truncate("1w")).len()["len"].max() == 3


def check_totals(summary: dict[str, Any], rows: pl.DataFrame) -> None:
    """The denominators, from all rows given, planned or not; the average ones leave out what has no average factor."""
    total = summary["total"]
    assert close(total["usage_kwh"], rows["value"].sum())
    assert close(total["baseline_marginal_tco2"], (rows["value"] * rows[MARGINAL]).sum() / GRAMS_PER_TONNE)
    assert close(total["baseline_average_tco2"], (rows["value"] * rows[AVERAGE]).sum() / GRAMS_PER_TONNE)
    assert close(total["marginal_reduction_percent"], 100 * total["tco2_avoided"] / total["baseline_marginal_tco2"])


@pytest.mark.slow
def test_research_data_greedy(research: Path, shared_data: Path, tmp_path: Path) -> None:
    rows = research_rows(shared_data)
    ran, summary, shifts = run(research, tmp_path / "out", "solver.family=greedy")
    check_report(summary, ran, rows)
    check_plan(summary, shifts, rows)
    check_totals(summary, rows)
    assert summary["bound"] is None and summary["total"]["households_asked"] == 393 and summary["total"]["tco2_avoided"] > 2
    audit_holds(tmp_path / "out")


def check_bound(summary: dict[str, Any]) -> None:
    assert summary["status"] == "The plan is optimal within the gap asked for."
    assert 0 <= summary["gap"] <= 1e-4 and summary["achieved_g"] <= summary["bound_g"]
    assert close(summary["achieved_g"], summary["total"]["tco2_avoided"] * GRAMS_PER_TONNE, 1e-6)


@pytest.mark.slow
def test_research_data_milp_a_week_of_mumbai(research: Path, shared_data: Path, tmp_path: Path) -> None:
    week = ("period={start: 2025-11-03, end: 2025-11-09}", "cities=[mumbai]")
    ran, summary, shifts = run(research, tmp_path / "out", *week, "solver.gap=1e-4")
    rows = research_rows(shared_data)
    planned = rows.filter((pl.col("city") == "mumbai") & pl.col("day").is_between(date(2025, 11, 3), date(2025, 11, 9)))
    check_report(summary, ran, rows)  # the account is of all that was read
    check_plan(summary, shifts, planned)
    check_totals(summary, rows)
    check_bound(summary)
    assert date(2025, 11, 6) not in shifts["day"] and set(shifts["city"]) == {"mumbai"}
    audit_holds(tmp_path / "out")
    greedy = run(research, tmp_path / "greedy", *week, "solver.family=greedy")[1]
    assert 0.9 * summary["achieved_g"] <= greedy["achieved_g"] <= summary["bound_g"]


@pytest.mark.slow
def test_research_data_milp(research: Path, shared_data: Path, tmp_path: Path) -> None:
    rows = research_rows(shared_data)
    ran, summary, shifts = run(research, tmp_path / "out", "solver.gap=1e-4")
    check_report(summary, ran, rows)
    check_plan(summary, shifts, rows)
    check_totals(summary, rows)
    check_bound(summary)
    audit_holds(tmp_path / "out")
    greedy = run(research, tmp_path / "greedy", "solver.family=greedy")[1]
    assert 0.9 * summary["achieved_g"] <= greedy["achieved_g"] <= summary["bound_g"]


# Households without a city, with negative readings and a factor table of their own, in a week whose Sunday has 50 half-hours

WEEKS = 364  # from 2018-10-29 to 2025-10-20; moved as instants, so that no half-hour is lost where the clocks change
LONG_DAY = date(2025, 10, 26)


@pytest.fixture
def households(shared_data: Path, tmp_path: Path) -> Path:
    """The scenario of the households as they were read, re-dated into the time of the Indian factors."""
    instant = pl.col("time").dt.convert_time_zone("UTC") + pl.duration(weeks=WEEKS)
    readings = pl.read_parquet(shared_data / "households_ch.parquet").with_columns(instant.dt.convert_time_zone("Europe/Zurich"))
    readings.write_parquet(tmp_path / "households.parquet")
    (tmp_path / "households.yaml").write_text(
        f"readings: households.parquet\nfactors: {shared_data / 'grid_india_halfhourly.parquet'}\ncity_name: bamberg\n"
        "columns: {customer: customer_id, time: time, usage: usage_kwh, city: null}\n"
        "calendar: {timezone: Europe/Zurich}\nsolver: {family: greedy}\n"
    )
    return tmp_path / "households.yaml"


def household_rows(folder: Path, shared_data: Path, most_kwh: float) -> pl.DataFrame:
    """Readings with their factors, whether they are good, and whether their day is complete."""
    factors = pl.read_parquet(shared_data / "grid_india_halfhourly.parquet")
    factors = factors.select(instant=pl.col("time").dt.convert_time_zone("UTC"), m="marginal_g_per_kwh")
    rows = (
        pl.read_parquet(folder / "households.parquet")
        .with_columns(
            instant=pl.col("time").dt.convert_time_zone("UTC"),
            day=pl.col("time").dt.date(),
            good=pl.col("usage_kwh").is_between(0, most_kwh),
        )
        .join(factors, on="instant", how="left")
    )
    slots = pl.when(pl.col("day") == LONG_DAY).then(50).otherwise(48)
    usable = (pl.col("good") & pl.col("m").is_not_null()).sum().over("customer_id", "day")
    return rows.with_columns(complete=usable == slots, slots=slots)


@pytest.mark.slow
@pytest.mark.parametrize("most_kwh", [20.0, pytest.param(50.0, marks=pytest.mark.slow)])
def test_households_account(households: Path, shared_data: Path, tmp_path: Path, most_kwh: float) -> None:
    ran, summary, shifts = run(households, tmp_path / "out", f"max_plausible_kwh={most_kwh}")
    rows = household_rows(tmp_path, shared_data, most_kwh)
    days = rows.group_by("customer_id", "day").agg(pl.col("complete", "slots").first(), rows=pl.len(), good=pl.col("good").sum())
    good, negative, huge = (rows.filter(mask) for mask in (pl.col("good"), pl.col("usage_kwh") < 0, pl.col("usage_kwh") > most_kwh))
    facts, found = summary["data_report"]["facts"], entries(summary)
    assert (facts["rows_read"], facts["customers_by_city"]) == (721_728, {"bamberg": 537})
    assert close(facts["usage_kwh"], good["usage_kwh"].sum())
    assert (facts["customer_days"], facts["complete_days"]) == (len(days), int(days["complete"].sum()))
    assert facts["days_lacking_usage"] == int((days["good"] < days["slots"]).sum())
    assert len(negative) == 8 and rows["usage_kwh"].max() > 35
    assert (len(huge) == 0) == (most_kwh == 50)
    lacking, skipped = good.filter(pl.col("m").is_null()), good.filter(~pl.col("complete"))
    left_out = {
        "negative usage": negative,
        "implausible usage": huge,
        "marginal factor missing": lacking,
        "average factor missing": lacking,
        "reading in an incomplete day": skipped,
    }
    wanted = {what: (len(left), pytest.approx(left["usage_kwh"].sum(), abs=1e-4)) for what, left in left_out.items() if len(left)}
    wanted["slot without a row"] = (int((days["slots"] - days["rows"]).sum()), None)
    assert found == wanted
    for what, (number, _) in found.items():
        assert re.search(rf"^{what} +{number:,} ", ran.err, re.MULTILINE)
    assert "note: Factors come from their own table; factor columns of the readings are not used." in ran.err.splitlines()
    assert "note: Peak hours of bamberg: mon " in ran.err
    check_households(summary, shifts, rows)
    audit_holds(tmp_path / "out")


def check_households(summary: dict[str, Any], shifts: pl.DataFrame, rows: pl.DataFrame) -> None:
    """Only good readings of complete days give and receive; the grams are those of the factors at that instant."""
    raw = rows.select("customer_id", "instant", "day", "complete", "m", "usage_kwh")
    moved = shifts.select("customer_id", "kwh", *(pl.col(end).dt.convert_time_zone("UTC") for end in ("original_time", "shifted_time")))
    for end in ("original_time", "shifted_time"):
        moved = moved.join(raw, left_on=["customer_id", end], right_on=["customer_id", "instant"], how="left", suffix=f" {end}")
    assert moved["complete"].all() and moved["complete shifted_time"].all() and (moved["day"] == moved["day shifted_time"]).all()
    assert (moved["shifted_time"] - moved["original_time"]).dt.total_minutes().abs().max() <= 120
    saved = (moved["kwh"] * (moved["m"] - moved["m shifted_time"])).sum()
    assert saved > 0 and close(summary["total"]["tco2_avoided"], saved / GRAMS_PER_TONNE)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["greedy", pytest.param("milp", marks=pytest.mark.slow)])
def test_week_in_which_the_clocks_change(family: str, households: Path, shared_data: Path, tmp_path: Path) -> None:
    week = "period={start: 2025-10-20, end: 2025-10-26}"
    _, summary, shifts = run(
        households, tmp_path / "out", week, f"solver.family={family}", "solver.gap=1e-3", "output.optimised_usage=true"
    )
    rows = household_rows(tmp_path, shared_data, 50.0)
    planned = rows.filter(pl.col("day").is_between(date(2025, 10, 20), LONG_DAY))
    check_households(summary, shifts, planned)
    assert close(summary["total"]["usage_kwh"], rows.filter("good")["usage_kwh"].sum())  # of all that was read
    load = pl.read_parquet(tmp_path / "out" / "load.parquet")
    long_day = load.filter(pl.col("time").dt.date() == LONG_DAY)
    assert len(long_day) == 50 and long_day["time"].n_unique() == 50
    night = long_day.filter(pl.col("time").dt.hour() == 2)
    assert [f"{time:%H:%M%z}" for time in night["time"]] == ["02:00+0200", "02:30+0200", "02:00+0100", "02:30+0100"]
    assert date(2025, 10, 20) not in shifts["day"]  # its first hour is not in the data
    assert shifts.filter(pl.col("day") == LONG_DAY)["customer_id"].n_unique() > 50
    usage = pl.read_parquet(tmp_path / "out" / "optimised_usage.parquet").filter(pl.col("time").dt.date() == LONG_DAY)
    drift = (pl.col("optimised_kwh") - pl.col("usage_kwh")).sum().abs()
    days = usage.drop_nulls("usage_kwh").group_by("customer_id").agg(pl.len(), drift=drift)
    assert (days["len"] == 50).sum() > 500 and days["drift"].max() < 1e-6
    audit_holds(tmp_path / "out")
