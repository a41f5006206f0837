"""Readings on disk against readings in memory: the same data, the same plan, the same folder, the same errors."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

from dr_opt.basics import InputError
from dr_opt.blocks import city_arrays
from dr_opt.calendar import Calendar
from dr_opt.comparison import agree
from dr_opt.intake import FactorColumns, ReadingRules
from dr_opt.metrics import FigureTables, metrics, register_metric
from dr_opt.models import priced
from dr_opt.pipeline import AuditError, Run, broken_in_words, optimise, solved, with_enough
from dr_opt.plan import Plan, assemble, read_plan
from dr_opt.preparation import make_problems, readings_of
from dr_opt.problem import Problem, limits
from dr_opt.readings import Readings, handle_missing, read_readings
from dr_opt.scenario import Scenario
from dr_opt.shard_problems import effort_of
from dr_opt.sharding import make_shards
from dr_opt.shards import Shards
from dr_opt.solver.base import Answer, Choice, Status, no_flows
from dr_opt.solver.crowd import Gathering
from dr_opt.solver.prices import settle
from dr_opt.streaming import disk_needed, from_disk, stream
from dr_opt.streaming_audit import audit_folder
from dr_opt.synthesis import synthesise
from dr_opt.tables import Check, Tables

MARGINAL, AVERAGE = "marginal_emissions_grams_co2_per_kWh", "average_emissions_grams_co2_per_kWh"


@cache
def three_cities(households: int = 40, days: int = 9) -> pl.DataFrame:
    """Delhi, Mumbai and a third city."""
    frame = synthesise(("delhi", "mumbai"), households, days, seed=3)
    third = pl.col("ca_id").str.contains("mumbai-000000[1-3]$")
    return frame.with_columns(pl.when(third).then(pl.lit("pune")).otherwise("city").alias("city")).sort("city", "ca_id", "date")


def draw(frame: pl.DataFrame, seed: int = 0) -> pl.Series:
    """A number between 0 and 1 for each row."""
    return pl.Series(np.random.default_rng(seed).random(len(frame)))


def gaps(frame: pl.DataFrame, share: float = 0.02) -> pl.DataFrame:
    return frame.filter(draw(frame) > share)


def spoilt(frame: pl.DataFrame) -> pl.DataFrame:
    r, value = draw(frame, 1), pl.col("value")
    wrong = pl.when(r < 0.005).then(None).when(r < 0.01).then(-value).when(r < 0.015).then(99.0).when(r < 0.017).then(float("nan"))
    return frame.with_columns(value=wrong.otherwise(value))


def doubled(frame: pl.DataFrame) -> pl.DataFrame:
    again = frame.sample(40, seed=1)
    return pl.concat([frame, again, again.head(15).with_columns(pl.col("value") + 1)])


def off_grid(frame: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([frame, frame.sample(20, seed=2).with_columns(pl.col("date") + pl.duration(minutes=7))])


def own_factors(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.when(pl.col("ca_id").str.ends_with("3")).then(pl.col(MARGINAL) + 5).otherwise(MARGINAL).alias(MARGINAL))


def own_averages(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.when(pl.col("ca_id").str.ends_with("3")).then(pl.col(AVERAGE) + 5).otherwise(AVERAGE).alias(AVERAGE))


def lacking_factors(frame: pl.DataFrame) -> pl.DataFrame:
    r = draw(frame, 2)
    marginal, average = pl.when(r < 0.01).then(None).otherwise(MARGINAL), pl.when(r > 0.99).then(None).otherwise(AVERAGE)
    return frame.with_columns(marginal.alias(MARGINAL), average.alias(AVERAGE))


def nameless(frame: pl.DataFrame) -> pl.DataFrame:
    nobody = frame.sample(5, seed=4).with_columns(ca_id=pl.lit(None, pl.String))
    never = frame.sample(5, seed=5).with_columns(date=pl.lit(None, frame.schema["date"]))
    return pl.concat([frame, nobody, never])


def latecomers(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.filter(~(pl.col("ca_id").str.ends_with("5") & (pl.col("date").dt.day() < 7)))


DATA = {
    "sorted by household": lambda f: f,
    "sorted by time": lambda f: f.sort("date"),
    "shuffled, with every fault": lambda f: lacking_factors(off_grid(doubled(spoilt(gaps(f))))).sample(fraction=1, shuffle=True, seed=3),
    "gaps": gaps,
    "null, negative and implausible readings": spoilt,
    "duplicates": doubled,
    "off the grid": off_grid,
    "own factors": own_factors,
    "lacking factors": lacking_factors,
    "own and lacking factors, gaps": lambda f: lacking_factors(own_factors(gaps(f))),
    "own averages, lacking factors": lambda f: lacking_factors(own_averages(f)),
    "nameless rows": nameless,
    "households that come later": latecomers,
    "no average factors": lambda f: f.with_columns(pl.lit(None, pl.Float64).alias(AVERAGE)),
    "factors in another unit": lambda f: f.with_columns(pl.col(MARGINAL) / 1000),
    "nothing usable": lambda f: f.with_columns(value=pl.lit(-1.0)),
    "two cities for one": lambda f: pl.concat([f, f.filter(pl.col("ca_id") == "delhi-0000001").with_columns(city=pl.lit("pune"))]),
    "hourly": lambda f: f.filter(pl.col("date").dt.minute() == 0),
}
CALENDARS = {
    "default": Calendar(),
    "wrapping": Calendar(day_boundaries=(6, 5)),
    "daytime": Calendar(day_boundaries=(8, 20), week_boundaries="sunday"),
}


def outcome(make: Any) -> Any:
    """What `make` gives, or the faults it raises."""
    try:
        return make()
    except InputError as error:
        return error.faults


def assert_same_readings(shards: Shards, readings: Readings) -> None:
    """The report, the fingerprint, and every array of every city."""
    here, there = shards.report.to_dict(), readings.report.to_dict()
    assert here["notes"] == there["notes"]
    assert agree(here["facts"], there["facts"], absolute=1e-6)
    assert [entry["what"] for entry in here["entries"]] == [entry["what"] for entry in there["entries"]]
    assert all(agree(*pair, absolute=1e-6) for pair in zip(here["entries"], there["entries"]))
    assert shards.fingerprint == readings.fingerprint
    parts = [shards.city(number) for number in range(len(shards.parts))]
    for city in city_arrays(readings):
        mine = [part for part in parts if part.name == city.name]
        begin = int(np.searchsorted(city.slots.minute, shards.slots.minute[0]))
        line = slice(begin, begin + len(shards.slots))
        assert np.concatenate([part.customers for part in mine]).tolist() == city.customers.tolist()
        for name in ("usage_kwh", "good", "complete"):
            np.testing.assert_array_equal(np.concatenate([getattr(part, name) for part in mine]), getattr(city, name)[:, line])
        for name in ("marginal", "average"):
            whole = np.broadcast_to(getattr(city, name)[:, line], (len(city.customers), len(shards.slots)))
            found = [np.broadcast_to(getattr(part, name), part.usage_kwh.shape) for part in mine]
            np.testing.assert_array_equal(np.concatenate(found), whole)
        for part in mine:
            np.testing.assert_array_equal(part.load_kwh, city.load_kwh[line])
            np.testing.assert_array_equal(part.reported, city.reported[line])
            assert part.daily_average_load_kwh == city.daily_average_load_kwh


@pytest.mark.parametrize("missing", ["skip_day", "interpolate", "error"])
@pytest.mark.parametrize("calendar", CALENDARS)
@pytest.mark.parametrize("data", DATA)
def test_readings_in_shards_are_those_in_memory(data: str, calendar: str, missing: Any, tmp_path: Path) -> None:
    frame, seen_by = DATA[data](three_cities(24)), CALENDARS[calendar]
    frame.write_parquet(tmp_path / "readings.parquet", row_group_size=3000)
    for rows in (2000, 1_000_000):
        place = tmp_path / f"{rows}"
        place.mkdir()
        rules = ReadingRules(calendar=seen_by)
        shards = outcome(lambda: make_shards(tmp_path / "readings.parquet", None, rules, missing, place, rows, show=False))  # noqa: B023
        readings = outcome(lambda: handle_missing(read_readings(frame, calendar=seen_by, show_progress=False), missing))
        if isinstance(readings, tuple):
            assert shards == readings
        else:
            assert_same_readings(shards, readings)


@pytest.mark.parametrize("by_city", [True, False])
def test_factors_from_a_table_of_their_own(by_city: bool, tmp_path: Path) -> None:
    frame = gaps(three_cities(24))
    named = frame.select("city", time="date", marginal_g_per_kwh=MARGINAL, average_g_per_kwh=AVERAGE).unique(["city", "time"])
    factors = named if by_city else named.filter(pl.col("city") == "delhi").drop("city")
    rules = ReadingRules(factor_columns=FactorColumns(city="city" if by_city else None))
    shards = make_shards(frame, factors, rules, "skip_day", tmp_path, 2000, show=False)
    assert_same_readings(shards, read_readings(frame, factors=factors, factor_columns=rules.factor_columns, show_progress=False))


def test_csv_in_several_files(tmp_path: Path) -> None:
    frame = spoilt(gaps(three_cities(24)))
    for k, part in enumerate((frame[:5000], frame[5000:])):
        part.write_csv(tmp_path / f"{k}.csv", datetime_format="%Y-%m-%dT%H:%M:%S%:z")
    (tmp_path / "work").mkdir()
    shards = make_shards(str(tmp_path / "*.csv"), None, ReadingRules(), "skip_day", tmp_path / "work", 2000, show=False)
    assert_same_readings(shards, read_readings(str(tmp_path / "*.csv"), show_progress=False))


# Plans


def scenario_of(changes: dict[str, Any], rows: int = 3000) -> Scenario:
    """A small streamed scenario."""
    streaming = {"enabled": True, "shard_rows": rows}
    return Scenario.from_mapping({"solver": {"backend": "prices"}, "progress": False, "streaming": streaming, **changes})


def answer(problem: Problem, scenario: Scenario) -> Answer:
    """What the price engine says of a whole block."""
    if not problem.candidates[0].size:
        return Answer(no_flows(), 0.0, 0.0, Status.NOTHING)
    gathering = Gathering()
    crowd = gathering.add(problem)
    found = settle(gathering.market, [crowd], effort_of(scenario))
    return Answer(found.flows[0], found.achieved, found.bound, found.status, found.prices, found.bound)


def planned_in_memory(frame: pl.DataFrame, scenario: Scenario) -> Plan:
    """The plan of the same engine, with all readings and problems in memory."""
    readings = readings_of(frame, scenario)
    problems = make_problems(readings, scenario, to_solve=False)

    def at(step: float | None) -> Run:
        at_step = [priced(problem, step) for problem in problems]
        return Run(at_step, [answer(problem, scenario) for problem in at_step], step, Choice("prices", ""))

    run = with_enough(scenario.model.min_saving(problems), scenario.model.least_total_kwh, at)
    return assemble(readings, scenario, solved(run, scenario), {})


PLANS: dict[str, tuple[Any, dict[str, Any]]] = {
    "default": (lambda f: f, {}),
    "sorted by time, gaps": (lambda f: gaps(f, 0.003).sort("date"), {}),
    "interpolated": (lambda f: gaps(f, 0.003), {"missing": "interpolate"}),
    "own factors": (own_factors, {}),
    "horizon week": (lambda f: gaps(f, 0.003), {"constraints": {"conservation": {"horizon": "week"}}}),
    "horizon month": (lambda f: f, {"constraints": {"conservation": {"horizon": "month"}}}),
    "horizon year": (lambda f: f, {"constraints": {"conservation": {"horizon": "year"}}}),
    "pairs": (lambda f: f, {"constraints": {"move_counting": "pair"}}),
    "comfort of the city": (lambda f: gaps(f, 0.003), {"constraints": {"peak_hour_comfort": {"scope": "per_city"}}}),
    "historical reference": (lambda f: gaps(f, 0.003), {"constraints": {"no_new_spike": {"baseline": "historical"}}}),
    "least sizes, customer caps": (lambda f: f, {"constraints": {"min_move_size": {"kwh": 0.05}, "max_customer_shift": {"percent": 20}}}),
    "least shares": (lambda f: gaps(f, 0.003), {"constraints": {"min_move_size": {"percent_of_day": 2}}}),
    "least potential": (lambda f: f, {"constraints": {"min_day_potential": {"percent": 0.5}}}),
    "no average increase": (lambda f: f, {"constraints": {"no_average_increase": {}}}),
    "no caps": (lambda f: f, {"constraints": {"regional_shift_cap": None, "no_new_spike": None}}),
    "floors of weeks": (
        lambda f: f,
        {"constraints": {"household_minimum_usage": {"baseline_period": "week", "time_bucket": "hour_of_day", "baseline_type": "average"}}},
    ),
    "a total over the run": (lambda f: f, {"model": {"name": "ImpactPrioritised", "max_total_shift_kwh": 5}}),
    "convenience": (lambda f: gaps(f, 0.003), {"model": {"name": "ConveniencePrioritised"}}),
    "convenience, at least so much": (lambda f: f, {"model": {"name": "ConveniencePrioritised", "min_total_shift_kwh": 40}}),
    "high usage by week": (lambda f: gaps(f, 0.003), {"model": {"name": "HighUsageFocus", "percentile_threshold": 60}}),
    "high usage by day": (
        lambda f: f,
        {"model": {"name": "HighUsageFocus", "percentile_threshold": 60, "by": "day", "objective": {"name": "ConveniencePrioritised"}}},
    ),
    "some cities, days and customers": (
        lambda f: f,
        {"period": {"start": "2025-11-05", "end": "2025-11-09"}, "cities": ["delhi", "pune"], "customers": {"exclude": ["delhi-0000002"]}},
    ),
    "two customers": (lambda f: f, {"customers": {"include": ["delhi-0000002", "mumbai-0000005"]}}),
    "days that wrap": (lambda f: gaps(f, 0.003), {"calendar": {"day_boundaries": [6, 5]}}),
    "nothing that can move": (lambda f: f, {"constraints": {"min_move_size": {"percent_of_day": 100}}}),
    "every reading after shifting": (lambda f: gaps(f, 0.003), {"output": {"optimised_usage": True, "csv": True}}),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", PLANS)
def test_a_plan_from_disk_is_the_plan_in_memory(name: str, tmp_path: Path) -> None:
    spoil, changes = PLANS[name]
    frame, scenario = spoil(three_cities()), scenario_of(changes)
    plan = planned_in_memory(frame, scenario)
    assert plan.audit().filter(~pl.col("ok") & ~pl.col("limit").str.starts_with("prices.")).is_empty()
    plan.write(tmp_path / "memory")
    summary = stream(tmp_path / "disk", scenario, frame)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["disk", "memory"]
    assert sorted(p.name for p in (tmp_path / "disk").iterdir()) == sorted(p.name for p in (tmp_path / "memory").iterdir())
    assert (tmp_path / "disk/shifts.parquet").read_bytes() == (tmp_path / "memory/shifts.parquet").read_bytes()
    stored = read_plan(tmp_path / "disk")
    for table, right in plan.frames.items():
        assert_same_table(stored.frames[table], right)
    here, there = summary.to_dict(), plan.summary.to_dict()
    assert here.pop("data_report")["notes"] == there.pop("data_report")["notes"]
    assert agree(here, there)


def assert_same_table(stored: pl.DataFrame, right: pl.DataFrame) -> None:
    """Equal but for the last digits of sums."""
    assert stored.schema == right.schema
    for column in right.columns:
        if right.schema[column].is_float():
            assert stored[column].is_null().equals(right[column].is_null())
            np.testing.assert_allclose(stored[column].drop_nulls().to_numpy(), right[column].drop_nulls().to_numpy(), rtol=1e-9, atol=1e-9)
        else:
            assert stored[column].equals(right[column])


@pytest.mark.parametrize("rows", [1, 700, 10**9])
def test_a_plan_does_not_depend_on_the_shards(rows: int, tmp_path: Path) -> None:
    frame = gaps(three_cities(20, 7), 0.002)
    for k, size in enumerate((3000, rows)):
        stream(tmp_path / str(k), scenario_of({}, size), frame)
    for name in ("shifts.parquet", "prices.parquet"):
        assert (tmp_path / "0" / name).read_bytes() == (tmp_path / "1" / name).read_bytes()


@pytest.mark.parametrize("own", [own_averages, own_factors])
def test_a_factor_that_a_household_of_its_own_lacks_stays_unknown(own: Any, tmp_path: Path) -> None:
    """Where customers differ in one kind of factors, what one lacks of the other is not taken from the rest, in memory and from disk."""
    r = draw(three_cities(12, 3), 7)
    marginal, average = pl.when(r < 0.004).then(None).otherwise(MARGINAL), pl.when(r > 0.7).then(None).otherwise(AVERAGE)
    frame = own(three_cities(12, 3)).with_columns(marginal.alias(MARGINAL), average.alias(AVERAGE))
    limits = {"no_average_increase": {}, "max_moves_per_day": {"limit": 6}, "max_moves_per_week": None}
    plan = optimise(frame, Scenario.from_mapping({"progress": False, "constraints": limits, "solver": {"family": "greedy"}}))
    lacking = {(c, day) for c, day in frame.filter(pl.col(MARGINAL).is_null()).select("ca_id", pl.col("date").dt.date()).iter_rows()}
    assert lacking and len(plan.shifts)
    assert not lacking & set(plan.shifts.select("customer_id", "day").iter_rows())
    assert plan.shifts["average_g_delta"].null_count() == 0
    assert stream(tmp_path / "out", scenario_of({"constraints": limits}), frame)["total"]["moves"]


def test_where_nobody_can_be_asked(tmp_path: Path) -> None:
    frame = three_cities(20, 7).filter(pl.col("date").dt.hour() != 3)
    summary = stream(tmp_path / "out", scenario_of({}), frame)
    assert summary["total"]["moves"] == 0
    assert "No household has a complete day" in summary["data_report"]["notes"][-1]
    assert len(read_plan(tmp_path / "out").shifts) == 0


@pytest.mark.parametrize("seed", [2, 3, 4])
def test_shards_of_one_customer_each_with_factors_of_its_own(seed: int, tmp_path: Path) -> None:
    """Such a shard cannot know that others have other factors; the order of profiles, and so of ties, is the same."""
    rng, frame = np.random.default_rng(seed), three_cities(8, 4)
    usage, marginal = (pl.Series(rng.choice(levels, len(frame))) for levels in ([0.5, 1.0], [400.0, 500.0, 600.0]))
    frame = gaps(frame.with_columns(usage.alias("value"), marginal.alias(MARGINAL)), 0.003)
    for k, rows in enumerate((192, 10**9)):
        stream(tmp_path / str(k), scenario_of({}, rows), frame)
    assert len(read_plan(tmp_path / "0").shifts) > 0
    assert (tmp_path / "0/shifts.parquet").read_bytes() == (tmp_path / "1/shifts.parquet").read_bytes()


# What goes wrong


WRONG = {
    "city": ({"cities": ["nowhere"]}, "cities names 'nowhere'"),
    "customer": ({"customers": {"include": ["nobody"]}}, "customers.include names"),
    "gaps": ({"missing": "error"}, "missing is 'error'"),
    "back-end": ({"solver": {"backend": "highs"}}, "from disk only prices can plan"),
    "family": ({"solver": {"family": "greedy"}}, "from disk only prices can plan"),
}


@pytest.mark.parametrize("name", WRONG)
def test_errors_leave_nothing_behind(name: str, tmp_path: Path) -> None:
    changes, words = WRONG[name]
    with pytest.raises(InputError, match=words):
        stream(tmp_path / "out", scenario_of(changes), gaps(three_cities()))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("whose", ["a reading more", "a household more"])
def test_a_clock_that_was_reset_is_refused(whose: str, tmp_path: Path) -> None:
    frame = three_cities()
    old = frame[:1].with_columns(date=pl.col("date").dt.replace(year=1970))
    old = old if whose == "a reading more" else old.with_columns(ca_id=pl.lit("zzz"))
    with pytest.raises(InputError, match=r"^readings run from 1970-.* to 2025-.*, more than 20 years\. Mend or leave out the times"):
        stream(tmp_path / "out", scenario_of({"streaming": {"enabled": True, "shard_rows": 200}}), pl.concat([frame, old]).sort("ca_id"))
    assert not list(tmp_path.iterdir())


def test_too_little_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from shutil import disk_usage

    frame, scenario, here = three_cities(), scenario_of({}), disk_usage(tmp_path)
    monkeypatch.setattr("dr_opt.streaming.shutil.disk_usage", lambda path: here._replace(free=disk_needed(len(frame), True, scenario) - 1))
    with pytest.raises(InputError, match=r"needs about \S+ [kM]B beside .*out', where \S+ [kM]B are free\. Make room there"):
        stream(tmp_path / "out", scenario, frame)
    assert not list(tmp_path.iterdir())
    stream(tmp_path / "enough", scenario.replace({"output.csv": False}), frame.head(len(frame) // 2))


def test_a_broken_limit_leaves_the_old_results(tmp_path: Path) -> None:
    frame, scenario = three_cities(), scenario_of({})
    stream(tmp_path / "out", scenario, frame)
    before = (tmp_path / "out/shifts.parquet").read_bytes()

    def too_much(*asked: Any, **more: Any) -> Any:
        from dataclasses import replace

        found = settle(*asked, **more)
        return replace(found, flows=tuple(replace(flows, kwh=3 * flows.kwh) for flows in found.flows))

    with pytest.raises(AuditError, match="The plan fails its audit"):
        stream(tmp_path / "out", scenario, frame, solve=too_much)
    assert (tmp_path / "out/shifts.parquet").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("slack", "unit", "by"), [(-0.8029999999999999, "kWh", " by -0.803 kWh"), (-37.0, "moves", " by -37 moves"), (None, "kWh", "")]
)
def test_a_broken_limit_is_told_in_a_few_digits(slack: float | None, unit: str, by: str) -> None:
    row = {"limit": "no_new_spike", "worst_slack": slack, "unit": unit, "worst": "city delhi"}
    assert broken_in_words(row) == f"The plan fails its audit: no_new_spike{by} at city delhi. Please report this scenario."


def test_an_interrupt_leaves_nothing_behind(tmp_path: Path) -> None:
    def interrupted(*asked: Any, **more: Any) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stream(tmp_path / "out", scenario_of({}), three_cities(), solve=interrupted)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def largest_move() -> Iterator[None]:
    @register_metric("largest_move_kwh", "kWh", "largest move")
    def largest(tables: FigureTables) -> float:
        """From whole tables."""
        return float(tables.move_sums["kwh"].max() or 0)  # type: ignore[arg-type]

    yield
    del metrics["largest_move_kwh"]


@pytest.mark.usefixtures("largest_move")
def test_a_metric_that_needs_whole_tables_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"The metric largest_move_kwh reads tables .* Make it from tables\.sums"):
        stream(tmp_path / "out", scenario_of({}), three_cities())


def test_a_cap_of_somebodys_own_must_say_that_it_is_one(tmp_path: Path) -> None:
    from dr_opt.constraints.technical import RegionalShiftCap
    from dr_opt.problem import register_limit

    try:

        @register_limit("own_cap")
        class OwnCap(RegionalShiftCap):
            """A cap whose check looks at households, for all anyone knows."""

            @property
            def of_city(self) -> bool:
                return False

            def check(self, tables: Tables) -> Check:
                return super().check(tables)

        with pytest.raises(InputError, match="The limit own_cap caps whole cities"):
            stream(tmp_path / "out", scenario_of({"constraints": {"own_cap": {}}}), three_cities())
    finally:
        limits.pop("own_cap", None)


# When


def test_what_is_planned_from_disk(tmp_path: Path) -> None:
    three_cities().write_parquet(tmp_path / "readings.parquet")
    given = {"readings": str(tmp_path / "readings.parquet"), "solver": {"backend": "prices"}}
    assert not from_disk(Scenario.from_mapping(given))
    small = {"streaming": {"memory_gib": 0.001}}
    assert from_disk(Scenario.from_mapping(given | small))
    assert not from_disk(Scenario.from_mapping(given | small | {"solver": {"backend": "highs"}}))
    assert not from_disk(Scenario.from_mapping(given | {"streaming": {"memory_gib": 0.001, "enabled": False}}))
    assert from_disk(Scenario.from_mapping({"streaming": {"enabled": True}}))
    assert not from_disk(Scenario.from_mapping(small))


def command(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    code = "from dr_opt.cli import main; main()"
    return subprocess.run([sys.executable, "-c", code, *words], cwd=folder, capture_output=True, text=True, env=os.environ)


@pytest.mark.slow
def test_the_command_plans_from_disk(tmp_path: Path) -> None:
    gaps(three_cities(), 0.002).write_parquet(tmp_path / "readings.parquet")
    content = {"readings": "readings.parquet", "solver": {"backend": "prices"}, "streaming": {"enabled": True, "shard_rows": 4000}}
    (tmp_path / "scenario.yaml").write_text(yaml.safe_dump(content))
    done = command(tmp_path, "run", "scenario.yaml", "--out", "out")
    assert done.returncode == 0, done.stderr
    assert re.search(r"planning 17,\d+ readings from disk: about \S+ [kM]B beside 'out' while it works", done.stderr)
    assert f"results in out: {len(pl.read_parquet(tmp_path / 'out/shifts.parquet')):,} shifts" in done.stderr
    assert list((tmp_path / "out/figures").iterdir())
    wrong = command(tmp_path, "run", "scenario.yaml", "--out", "other", "--set", "cities=[pune, agra]")
    assert wrong.returncode == 2
    assert wrong.stderr.splitlines()[-1].startswith("error: cities names 'agra'")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "readings.parquet", "scenario.yaml"]


def test_a_bound_below_that_of_the_prices_is_found(tmp_path: Path) -> None:
    """Nothing goes on searching from disk, however few the households are; the csv and the words of a folder are looked at as well."""
    gaps(three_cities(20, 7), 0.002).write_parquet(tmp_path / "readings.parquet")
    out = tmp_path / "out"
    stream(out, scenario_of({"readings": str(tmp_path / "readings.parquet"), "output": {"csv": True}}, 3000))
    assert audit_folder(out)["ok"].all()
    right = (out / "summary.json").read_text()
    stated = json.loads(right)
    assert stated["achieved"] < stated["bound"]
    forged: dict[str, dict[str, Any]] = {
        "prices.search": {"bound": stated["achieved"], "bound_g": stated["achieved_g"], "gap": 0.0},
        "prices.rows": {},
        "summary.backend": {"backend": "prices "},
        "summary.name": {"name": "another"},
    }
    for name, change in forged.items():
        (out / "summary.json").write_text(json.dumps(stated | change))
        prices = (out / "prices.parquet").read_bytes()
        if name == "prices.rows":
            (out / "prices.parquet").unlink()
        assert audit_folder(out).filter(~pl.col("ok"))["limit"].to_list() == [name]
        (out / "prices.parquet").write_bytes(prices)
    (out / "summary.json").write_text(json.dumps(stated | {"bound": None, "bound_g": None, "gap": None}))
    assert set(audit_folder(out).filter(~pl.col("ok"))["limit"]) == {"prices.search", "summary.status"}
    (out / "summary.json").write_text(right)
    with (out / "shifts.csv").open("a") as file:
        file.write("one more\n")
    assert audit_folder(out).filter(~pl.col("ok"))["limit"].to_list() == ["shifts.csv"]
