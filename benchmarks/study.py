"""The study of Delhi and Mumbai, all of it again: `python benchmarks/study.py`.

The size is `--size full`, with as many households as the published study had, or `small`, as the tests do. Every figure is worked
out anew and compared with what is stored in results/study_full.json (study_small.json), and with what the pages in nbs/studies
and README.md say in sentences (their tables and pictures are made from the stored figures). Where one has drifted, it is named
with its stated and its new value, and the exit code is 1. With `--store`, the new figures are stored instead, with the table and the
picture of README.md (results/study.md, nbs/studies/images/study.png); run the pages again then (`python .ci/notebooks
nbs/studies/delhi.ipynb` and so on). `--only` takes some of the items, `--pages` compares what is stored with what the pages say and
computes nothing.

All households are synthetic, but for the item `real`: with `--real PATH`, real readings in the research data's columns are
planned as well, and stored in results/study_real.json; otherwise this is left out, and said so.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from against_greedy import STRICT
from city_end_to_end import write_readings
from study_pages import RESULTS, SIZES, TOP, check_pages, check_readme, draw_day, drift, stored, table_page

import dr_opt
from dr_opt.calendar import OUTSIDE
from dr_opt.drawing import drawing_on
from dr_opt.pipeline import make_problems
from dr_opt.problem import Problem
from dr_opt.solver import greedy
from dr_opt.solver.base import Flows, achieved, clean, on_arcs
from dr_opt.streaming import stream
from dr_opt.synthesis import SEASONS as SEASON_OF_MONTH
from dr_opt.synthesis import split_customers

Figures = dict[str, Any]
CITIES = ("delhi", "mumbai")
START, DAYS = date(2025, 11, 3), 14
TABLE = RESULTS / "study.md"
PICTURE = TOP / "nbs" / "studies" / "images" / "study.png"


@dataclass(frozen=True)
class Size:
    """How many households each part of the study has, and how often chance is asked."""

    city: int  # households of both cities in the headline figures
    sample: int  # where a setting is varied; the full one is as many as the published study had in Mumbai
    shadow: int  # where limits are priced, and where last week's plan is used again
    notebook: int  # where nothing but a window is asked, and nearly every slot moves
    families: int  # where every solver family plans
    draws: int  # of the marginal factors, for the same plan
    replans: int  # of the marginal factors, each with a plan of its own
    orders: int  # of the customers
    gap: float  # within which a plan is good enough where settings are varied
    few: bool  # whether only some of the variations are worked out

    @property
    def policies(self) -> Sequence[str]:
        """The policies under which a setting is varied."""
        return ("strict",) if self.few else tuple(POLICIES)


SIZE = {
    "full": Size(238_479, 53_839, 20_000, 10_000, 1_000, 10_000, 10, 5, 5e-4, False),
    "small": Size(300, 100, 60, 40, 40, 1_000, 2, 2, 1e-2, True),
}

RELAXED = {
    **STRICT,
    "max_moves_per_day": {"limit": 2},
    "max_moves_per_week": {"limit": 7},
    "max_shift_window": {"hours": 3},
    "peak_hour_comfort": {"max_reduction_percent": 80, "scope": "per_city"},
}
POLICIES: dict[str, Figures] = {"default": {}, "strict": STRICT, "relaxed": RELAXED}
MODELS: dict[str, Figures] = {name: {"name": name} for name in ("ImpactPrioritised", "ConveniencePrioritised", "HighUsageFocus")}
NOTHING_BUT = dict.fromkeys(name for name in dr_opt.Constraints.model_fields if name not in ("move_counting", "conservation"))
NOTEBOOK = {  # the three policies of the notebook that this package began as: a window, and nothing else that ties slots or households
    "1 h, at most 30 % of a day": {"max_shift_window": {"hours": 1}, "max_customer_shift": {"percent": 30}},
    "2 h": {"max_shift_window": {"hours": 2}},
    "4 h, days that promise 5 %": {"max_shift_window": {"hours": 4}, "min_day_potential": {"percent": 5}},
}
SWEEPS: dict[str, tuple[str, Sequence[float]]] = {
    "X": ("max_moves_per_day.limit", (1, 2, 3, 4)),
    "Y": ("max_moves_per_week.limit", (1, 2, 3, 5, 7)),
    "H": ("max_shift_window.hours", (0.5, 1, 2, 3, 4, 6, 12)),
    "Z": ("peak_hour_comfort.max_reduction_percent", (0, 10, 30, 50, 80, 100)),
    "P": ("regional_shift_cap.percent", (0.5, 1, 2, 5, 10)),
    "R": ("household_minimum_usage.percent_of_robust_max", (0, 10, 25, 50)),
    "alpha": ("no_new_spike.alpha_peak_cap_percent", (1, 2, 5, 10, 25)),
}
SEASONS = {"February": "2025-02-03", "May": "2025-05-05", "August": "2025-08-04", "November": "2025-11-03"}


# ---- one plan and its figures --------------------------------------------------------------------------------------


@lru_cache(maxsize=2)
def table_of(cities: tuple[str, ...], households: int, start: str = START.isoformat()) -> pl.DataFrame:
    """Readings of synthetic households, the same for the same arguments."""
    return dr_opt.synthesise(cities, customers=households, days=DAYS, start=start)


@lru_cache(maxsize=1)
def readings_of(cities: tuple[str, ...], households: int) -> dr_opt.Readings:
    """The same, checked and in memory."""
    return dr_opt.read_readings(table_of(cities, households), show_progress=False)


def scenario_of(constraints: Figures, model: Figures | None = None, **solver: Any) -> dr_opt.Scenario:
    """A scenario without progress bars; prices find the plan, unless said otherwise."""
    solver = {"family": "milp", **({} if "family" in solver else {"backend": "prices"}), **solver}
    return dr_opt.Scenario.from_mapping(
        {"constraints": constraints, "model": model or {"name": "ImpactPrioritised"}, "solver": solver, "progress": False}
    )


def plan_of(readings: dr_opt.Readings, constraints: Figures, model: Figures | None = None, **solver: Any) -> dr_opt.Plan:
    """An audited plan in memory."""
    plan = dr_opt.optimise(readings, scenario_of(constraints, model, **solver))
    assert isinstance(plan, dr_opt.Plan)
    return plan


@dataclass(frozen=True)
class Result:
    """An audited plan on disk: its summary and its tables."""

    summary: Mapping[str, Any]
    folder: Path

    def __getattr__(self, name: str) -> pl.LazyFrame:
        """A table by its name."""
        return pl.scan_parquet(self.folder / f"{name}.parquet")


@contextmanager
def planned(source: pl.DataFrame | Path, scenario: dr_opt.Scenario) -> Iterator[Result]:
    """A plan by prices from readings on disk or in a table; it takes an eighth of the time that `optimise` takes with its tables."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        yield Result(stream(out, scenario.replace({"streaming.enabled": True}), source), out)


TAKEN = (
    "usage_kwh", "kwh_moved", "share_moved_percent", "tco2_avoided", "marginal_reduction_percent", "average_tco2_change",
    "average_reduction_percent", "average_increase_share_percent", "g_per_kwh_moved", "moves", "splits", "households_asked",
    "moves_per_household_week", "mean_minutes",
)  # fmt: skip


def figures_of(summary: Mapping[str, Any], households: Mapping[str, int], days: int = DAYS) -> Figures:
    """The figures of a plan, in total and by city, also per household and per move."""
    found: Figures = {}
    for name, part in {"total": summary["total"], **summary["cities"]}.items():
        figures = {figure: part[figure] for figure in TAKEN}
        number, grams = sum(households.values()) if name == "total" else households[name], 1e6 * part["tco2_avoided"]
        figures["households"] = number
        figures["kg_per_household_week"] = grams / 1000 / number / (days / 7)
        figures["kg_per_household_year"] = figures["kg_per_household_week"] * 365.25 / 7
        figures["kwh_per_move"] = part["kwh_moved"] / max(part["moves"], 1)
        figures["g_per_move"] = grams / max(part["moves"], 1)
        figures["average_g_per_kwh_moved"] = -1e6 * (part["average_tco2_change"] or 0.0) / max(part["kwh_moved"], 1e-9)
        found[name] = figures
    found["gap_percent"] = None if summary["gap"] is None else 100 * summary["gap"]
    return found


def households_in(readings: pl.DataFrame, customer: str = "ca_id") -> dict[str, int]:
    """Households of each city."""
    counts = readings.select("city", customer).unique().group_by("city").len().sort("city")
    return dict(counts.iter_rows())


def figures(source: pl.DataFrame, constraints: Figures, model: Figures | None = None, gap: float = 1e-4) -> Figures:
    """The figures of the plan by prices for these readings."""
    with planned(source, scenario_of(constraints, model, gap=gap)) as result:
        return figures_of(result.summary, households_in(source))


def total(found: Figures) -> Figures:
    """Only what a plan comes to in all."""
    return {**found["total"], "gap_percent": found["gap_percent"]}


def compared(found: dict[str, Figures], base: str) -> dict[str, Figures]:
    """The totals, each with what it saves in per cent of what the plan `base` saves."""
    most = found[base]["tco2_avoided"]
    share = {name: 100 * row["tco2_avoided"] / most for name, row in found.items()}
    return {name: {**row, "percent_of_base": share[name], "lost_percent": 100 - share[name]} for name, row in found.items()}


# ---- the headline --------------------------------------------------------------------------------------------------


def denominators(days: pl.LazyFrame, kinds: Sequence[str] = ("marginal", "average")) -> Figures:
    """The same saving in per cent of more or less: of everything, of what households that are asked emit, of days with a move alone."""
    found: Figures = {}
    asked, moved = (pl.col("moves").sum().over("customer_id") > 0), pl.col("moves") > 0
    for kind in kinds:
        before = pl.col(f"{kind}_g_before")
        whole = {"everything": before.sum(), "asked": before.filter(asked).sum(), "moved": before.filter(moved).sum()}
        row = days.select(**whole, saved=-pl.col(f"{kind}_g_delta").sum()).collect().row(0, named=True)
        found[kind] = {name: 100 * row["saved"] / row[name] for name in ("everything", "asked", "moved")}
    return found


def by_weekday(shifts: pl.LazyFrame) -> Figures:
    """Per cent of the moves, and grams a move, on each day of the week, Monday first."""
    moves = shifts.group_by("move_id", "city").agg(pl.col("day").first(), -pl.col("marginal_g_delta").sum().alias("g"))
    days = moves.group_by(pl.col("day").dt.weekday().alias("weekday")).agg(pl.len(), pl.col("g").mean()).sort("weekday").collect()
    rows = {row["weekday"]: row for row in days.iter_rows(named=True)}
    share = [100 * rows[day]["len"] / days["len"].sum() if day in rows else 0.0 for day in range(1, 8)]
    return {"share_percent": share, "first_three_days_percent": sum(share[:3])}


def by_hour(load: pl.LazyFrame) -> Figures:
    """The mean day of each city in half-hours: load before, after and at most (kWh), and both factors (g/kWh)."""
    names = ["load_before_kwh", "load_after_kwh", "limit_kwh", "marginal_g_per_kwh", "average_g_per_kwh"]
    clock = pl.col("time").dt.strftime("%H:%M").alias("clock")
    mean = load.group_by("city", clock).agg(pl.col(names).mean()).sort("city", "clock").collect()
    return {city: {name: part[name].round(4).to_list() for name in names} for (city,), part in mean.group_by("city", maintain_order=True)}


def peak_rise(hours: Mapping[str, Sequence[float]]) -> float:
    """By how much the highest half-hour of a city's mean day is higher after shifting than the highest before, %."""
    return 100 * (max(hours["load_after_kwh"]) / max(hours["load_before_kwh"]) - 1)


def caps(city_days: pl.LazyFrame) -> Figures:
    """How much of each city's caps is used on its tightest day, %."""
    used = [name for name in city_days.collect_schema().names() if name.endswith("used_percent")]
    most = city_days.group_by("city").agg(pl.col(used).max()).sort("city").collect()
    return {row.pop("city"): row for row in most.iter_rows(named=True)}


def headline_of(result: Result, households: Mapping[str, int]) -> Figures:
    """All that the pages tell of one plan of both cities."""
    split = {city: pl.col("city") == city for city in households}
    found = figures_of(result.summary, households)
    found["denominators"] = {city: denominators(result.customer_days.filter(mine)) for city, mine in split.items()}
    found["weekday"] = {city: by_weekday(result.shifts.filter(mine)) for city, mine in split.items()}
    found["caps"], found["by_hour"] = caps(result.city_days), by_hour(result.load)
    found["peak_rise_percent"] = {city: peak_rise(hours) for city, hours in found["by_hour"].items()}
    return found


def headline(size: Size) -> Figures:
    """The policies, and the personalities under the default one, at the study's own scale."""
    households = split_customers(CITIES, size.city)
    asked = {name: (policy, MODELS["ImpactPrioritised"]) for name, policy in POLICIES.items()}
    asked |= {"convenience": ({}, MODELS["ConveniencePrioritised"]), "high_usage": ({}, MODELS["HighUsageFocus"])}
    found: Figures = {}
    with tempfile.TemporaryDirectory() as folder:
        readings = Path(folder) / "readings"
        write_readings(readings, size.city, DAYS, "household")
        for name, (policy, model) in asked.items():
            with planned(readings, scenario_of(policy, model, gap=min(size.gap, 1e-4))) as result:
                found[name] = told(name, headline_of(result, households))
    return found


# ---- one setting at a time -----------------------------------------------------------------------------------------


def personalities(size: Size) -> Figures:
    """Three policies by three personalities."""
    readings = table_of(CITIES, size.sample)
    return {
        policy: {name: total(figures(readings, POLICIES[policy], model, gap=size.gap)) for name, model in MODELS.items()}
        for policy in size.policies
    }


def notebook(size: Size) -> Figures:
    """The first notebook's three policies: no counts, no caps, no floors."""
    readings = table_of(CITIES, size.notebook)
    return {name: total(figures(readings, {**NOTHING_BUT, **limits}, gap=size.gap)) for name, limits in NOTEBOOK.items()}


def sensitivity(size: Size) -> Figures:
    """One parameter at a time, the others as the default has them; a few are left at their loosest end."""
    readings, found = table_of(CITIES, size.sample), {}
    number, base = households_in(readings), scenario_of({}, gap=size.gap)
    for letter, (path, values) in SWEEPS.items():
        rows = []
        for value in values[-1:] if size.few else values:
            with planned(readings, base.replace({f"constraints.{path}": value})) as result:
                rows.append({"value": value, **total(figures_of(result.summary, number))})
        found[letter] = told(letter, rows)
    return found


def comfort(size: Size) -> Figures:
    """Whose peak is protected, and over what: a slot, an hour, the listed hours of a day; with one move a day and with three."""
    readings, found = table_of(CITIES, size.sample), {}
    for moves, week in ((1, 3),) if size.few else ((1, 3), (3, 21)):
        counts = {"max_moves_per_day": {"limit": moves}, "max_moves_per_week": {"limit": week}}
        for scope in ("per_customer", "per_city"):
            for group in ("hour", "day") if size.few else ("slot", "hour", "day"):
                limit = {"max_reduction_percent": 30, "scope": scope, "group": group}
                found[f"{moves} a day, {scope}, {group}"] = total(figures(readings, {**counts, "peak_hour_comfort": limit}, gap=size.gap))
        found[f"{moves} a day, off"] = total(figures(readings, {**counts, "peak_hour_comfort": None}, gap=size.gap))
    return found


TIGHT = {"no_new_spike": {"alpha_peak_cap_percent": 1}}  # hardly any room; a few households take an exact search there, and minutes


def guards(size: Size) -> Figures:
    """What it costs to forbid moves that emit more, and moves that raise the average; under the default limits and with little room."""
    readings, found = table_of(CITIES, size.sample), {}
    for name, limits in {"default": {}, **({} if size.few else {"alpha 1 %": TIGHT})}.items():
        more = {"as it is": {}, "harmful moves allowed": {"only_saving_moves": None}, "no average increase": {"no_average_increase": {}}}
        rows = {what: total(figures(readings, {**limits, **change}, gap=size.gap)) for what, change in more.items()}
        found[name] = compared(rows, "as it is")
    return found


def shadow(size: Size) -> Figures:
    """What one more of each limit would save, most first, by policy."""
    found, readings = {}, readings_of(CITIES, size.shadow)
    for name in size.policies:
        table = dr_opt.shadow_prices(plan_of(readings, POLICIES[name], gap=size.gap))
        rows = table.select("limit", "parameter", "now", "with_one_more", "percent").iter_rows(named=True)
        found[name] = told(name, {f"{row['limit']}.{row['parameter']}": row for row in rows})
    return found


def seasons(size: Size) -> Figures:
    """Two weeks of four months: the default limits, by city."""
    months = ["August"] if size.few else list(SEASONS)
    return {name: figures(table_of(CITIES, size.sample, SEASONS[name]), {}, gap=size.gap) for name in months}


# ---- in what order -------------------------------------------------------------------------------------------------


def household_by_household(problem: Problem, turn: np.ndarray) -> Flows:
    """Flows as the published study found them: day after day, and on each day one household after another, in the order `turn`."""
    return greedy.greedy_flows(problem, "chronological", turn=turn)


def figures_by_flows(problems: Sequence[Problem], answers: Sequence[Flows]) -> Figures:
    """What flows come to, worked out from the arrays they were found in."""
    saved = sum(achieved(problem, flows) for problem, flows in zip(problems, answers, strict=True))
    weekday, kwh = np.zeros(7), 0.0
    for problem, flows in zip(problems, answers, strict=True):
        moves = np.unique(flows.customer * len(problem.block.slots) + flows.origin) % len(problem.block.slots)
        weekday += np.bincount(problem.block.slots.weekday[moves], minlength=7)
        kwh += float(flows.kwh.sum())
    moves, share = int(weekday.sum()), (100 * weekday / weekday.sum()).tolist()
    per = {"g_per_kwh_moved": saved / kwh, "g_per_move": saved / moves, "gap_percent": None}
    return {
        "moves": moves,
        "kwh_moved": kwh,
        "tco2_avoided": saved / 1e6,
        **per,
        "share_percent": share,
        "first_three_days_percent": sum(share[:3]),
    }


def grams_by_turn(problems: Sequence[Problem], seed: int) -> float:
    """What household by household saves in one order of customers, t."""
    chance = np.random.default_rng(seed)
    return sum(achieved(p, household_by_household(p, chance.permutation(len(p.block.customers)))) for p in problems) / 1e6


def orders_of(readings: dr_opt.Readings, limits: Figures, orders: int, gap: float) -> Figures:
    """The best plan, greedy's, and greedy's with the customers shuffled."""
    with planned(as_table(readings), scenario_of(limits, gap=gap)) as result:
        rows: Figures = {
            "best": {**total(figures_of(result.summary, households_in(readings.frame, "customer_id"))), **by_weekday(result.shifts)}
        }
    problems = make_problems(readings, scenario_of(limits))
    for order in ("saving", "chronological"):
        rows[order] = figures_by_flows(problems, [greedy.greedy_flows(problem, order) for problem in problems])
    rows, most = compared(rows, "best"), rows["best"]["tco2_avoided"]
    saved = [grams_by_turn(problems, seed) for seed in range(orders)]
    mean, spread = float(np.mean(saved)), max(saved) - min(saved)
    rows["household by household"] = {
        "least_tco2": min(saved), "most_tco2": max(saved), "mean_percent_of_best": 100 * mean / most,
        "spread_percent": 100 * spread / mean, "orders": orders,
    }  # fmt: skip
    return rows


def quota(size: Size) -> Figures:
    """Where the week's quota goes, and what the order of days and of customers costs, by policy."""
    policies = {name: POLICIES[name] for name in size.policies} | ({} if size.few else {"alpha 1 %": TIGHT})
    return {
        name: told(name, orders_of(readings_of(CITIES, size.sample), limits, size.orders, size.gap)) for name, limits in policies.items()
    }


def families(size: Size) -> Figures:
    """Families whose answer does not hang on the clock, and that need no extra: one city, two weeks, the default limits."""
    table, readings, rows = table_of(("delhi",), size.families), readings_of(("delhi",), size.families), {}
    rows["milp, prices"] = total(figures(table, {}, gap=size.gap))
    others = {"lp, highs": {"family": "lp", "backend": "highs"}}
    others |= {f"greedy, {order}": {"family": "greedy", "order": order} for order in greedy.ORDERS}
    for name, solver in others.items():
        plan = plan_of(readings, {}, **solver)
        rows[name] = told(name, total(figures_of(plan.summary, {"delhi": size.families})))
    return compared(rows, "milp, prices")


# ---- what is not known ---------------------------------------------------------------------------------------------


def errors_of_factors(month: int = 11) -> tuple[np.ndarray, np.ndarray]:
    """Marginal factor of each hour in the month's season and the standard error of its regression, (24,), g/kWh.

    A slope b with a fit of R² over n points has the standard error |b| √((1/R² − 1)/(n − 2)).
    """
    table = pl.read_csv((files("dr_opt") / "data" / "grid_india_mef_by_season_hour.csv").read_bytes())
    season = SEASON_OF_MONTH[month - 1]
    mine = table.filter(season=season).sort("hour")
    slope, r2, n = (mine[name].to_numpy() for name in ("mef_g_per_kwh", "r2", "n"))
    return slope, np.abs(slope) * np.sqrt((1 / r2 - 1) / (n - 2))


def as_table(readings: dr_opt.Readings) -> pl.DataFrame:
    """Readings in the research data's columns."""
    names = {"customer_id": "ca_id", "time": "date", "city": "city", "usage_kwh": "value"}
    names |= {f"{kind}_g_per_kwh": f"{kind}_emissions_grams_co2_per_kWh" for kind in ("marginal", "average")}
    return readings.frame.select(*names).rename(names)


def with_factors(table: pl.DataFrame, by_hour: np.ndarray) -> pl.DataFrame:
    """The same readings with other marginal factors."""
    marginal = pl.Series("marginal_emissions_grams_co2_per_kWh", by_hour).gather(table["date"].dt.hour().cast(pl.UInt32))
    return table.with_columns(marginal)


def net_by_hour(table: pl.DataFrame, gap: float) -> np.ndarray:
    """Energy that the plan under the default limits takes from each hour of the day less what it puts there, (24,), kWh."""
    with planned(table, scenario_of({}, gap=gap)) as result:
        shifts = result.shifts.collect()
    leaves, arrives = (
        np.bincount(shifts[end].dt.hour().to_numpy(), shifts["kwh"].to_numpy(), minlength=24) for end in ("original_time", "shifted_time")
    )
    return leaves - arrives


def factors(size: Size) -> Figures:
    """How far the savings move when the marginal factors are drawn again within their regression's error."""
    slope, error = errors_of_factors()
    chance = np.random.default_rng(0)
    net = net_by_hour(table_of(CITIES, size.sample), size.gap)
    percent = 100 * error / slope
    found: Figures = {"least_error_percent": float(percent.min()), "most_error_percent": float(percent.max())}
    for times in (1, 3):
        saved = (slope + times * error * chance.standard_normal((size.draws, 24))) @ net / (slope @ net)
        low, high = np.percentile(saved, [5, 95])
        found[f"same plan, error times {times}"] = {"low_percent": 100 * (low - 1), "high_percent": 100 * (high - 1), "draws": size.draws}
    few, rows = table_of(CITIES, size.notebook), []
    unchanged = net_by_hour(few, size.gap)
    for _ in range(size.replans):
        drawn = slope + error * chance.standard_normal(24)
        net = net_by_hour(with_factors(few, drawn), size.gap)
        rows.append((drawn @ net, slope @ net, drawn @ unchanged))
    more = 100 * (np.array(rows) / (slope @ unchanged) - 1)
    names = ("claims_percent", "is_worth_percent", "unchanged_claims_percent")
    spread = {"least_claim_percent": more[:, 0].min(), "most_claim_percent": more[:, 0].max()}
    found["plan by drawn factors"] = {**dict(zip(names, more.mean(axis=0), strict=True)), **spread, "draws": size.replans}
    return found


def repeated(plan: dr_opt.Plan, readings: dr_opt.Readings) -> Figures:
    """What a plan made from last week's readings saves when it is carried out this week, of what this week's best plan saves, %.

    A household moves what it was asked for, as far as the slot holds it: `asked`; as far as this week's limits allow: `kept`;
    or the same share of the slot: `share`.
    """
    facts = plan.tables.readings.select("city", "customer_id", "time", "usage_kwh", "marginal_g_per_kwh")
    shifts = plan.shifts.with_columns(time=pl.col("original_time") + pl.duration(days=7), to=pl.col("shifted_time") + pl.duration(days=7))
    keys = ["city", "customer_id"]
    later = shifts.join(facts, on=[*keys, "time"]).join(facts.drop("usage_kwh").rename({"time": "to"}), on=[*keys, "to"], suffix="_to")
    later = later.drop_nulls(["usage_kwh", "marginal_g_per_kwh", "marginal_g_per_kwh_to"])
    saving = pl.col("marginal_g_per_kwh") - pl.col("marginal_g_per_kwh_to")
    split = pl.col("kwh").sum().over("customer_id", "original_time")
    asked = pl.col("kwh") / split * pl.min_horizontal(split, "usage_kwh")
    share = pl.col("kwh") / pl.col("source_kwh_before") * pl.col("usage_kwh")
    grams = {name: later.select((kwh * saving).sum()).item() for name, kwh in {"asked": asked, "share": share}.items()}
    problems = make_problems(readings, plan.scenario)
    grams["kept"] = sum(grams_within_limits(problem, later.with_columns(kwh=asked)) for problem in problems)
    first = plan.tables.readings["time"].min() + timedelta(days=7)
    best = -plan.shifts.filter(pl.col("original_time") >= first)["marginal_g_delta"].sum()
    return {name: 100 * saved / best for name, saved in grams.items()}


def grams_within_limits(problem: Problem, requests: pl.DataFrame) -> float:
    """What is left of the saving of requests (`customer_id`, `city`, `time`, `to`, `kwh`) in a block once every limit is kept, g.

    They are cut as the flows of a solver are: what breaks a limit gives way, least valuable first.
    """
    block = problem.block
    known = pl.DataFrame({"city": [block.cities[g].name for g in block.city], "customer_id": block.customers.tolist()})
    mine = requests.join(known.with_row_index("customer"), on=["city", "customer_id"])
    origin, destination = (block.slots.starting_at(mine[name].dt.epoch("s").to_numpy() // 60) for name in ("time", "to"))
    inside = (origin != OUTSIDE) & (destination != OUTSIDE)
    flows = Flows(mine["customer"].to_numpy().astype(np.int64), origin, destination, mine["kwh"].to_numpy()).keep(inside)
    return achieved(problem, clean(problem, on_arcs(problem, flows)))


def foresight(size: Size) -> Figures:
    """How much of the saving is left without knowing the week beforehand."""
    readings = readings_of(CITIES, size.shadow)
    return {name: told(name, repeated(plan_of(readings, POLICIES[name], gap=size.gap), readings)) for name in size.policies}


# ---- real households -----------------------------------------------------------------------------------------------


def real(path: Path) -> Figures:
    """The same questions of real readings."""
    readings = dr_opt.read_readings(path, show_progress=False)
    number, days = households_in(readings.frame, "customer_id"), readings.frame["time"].dt.date().n_unique()
    found: Figures = {"households": number, "days": days, "policies": {}, "orders": {}, "foresight": {}}
    for name, limits in POLICIES.items():
        plan = plan_of(readings, limits)
        found["policies"][name] = told(name, figures_of(plan.summary, number, days))
        found["policies"][name]["denominators"] = {c: denominators(plan.customer_days.lazy().filter(city=c)) for c in number}
        found["foresight"][name] = repeated(plan, readings)
        found["orders"][name] = orders_of(readings, limits, 3, 1e-4)
    more: Figures = {"models": [({}, model) for model in MODELS.values()], "guards": [({"no_average_increase": {}}, None)]}
    for what, runs in more.items():
        found[what] = []
        for limits, model in runs:
            with planned(as_table(readings), scenario_of(limits, model)) as result:
                found[what].append(figures_of(result.summary, number, days))
    return found


# ---- the command ---------------------------------------------------------------------------------------------------

ITEMS: dict[str, Callable[[Size], Figures]] = {
    item.__name__: item
    for item in (
        headline, personalities, notebook, sensitivity, comfort, guards, shadow, quota, families, factors, foresight, seasons,
    )
}  # fmt: skip


def told(what: str, found: Any) -> Any:
    """The same, after a word on the way."""
    print(f"  {what}", flush=True)
    return found


def machine() -> Figures:
    """The machine, without names."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    where = {"cores": os.cpu_count(), "memory_gib": round(memory, 1), "system": platform.system(), "processor": platform.machine()}
    return {**where, "python": platform.python_version()}


def plain(found: Any) -> Any:
    """Plain numbers of at most nine digits, so that files are short and the same everywhere."""
    if isinstance(found, Mapping):
        return {str(name): plain(part) for name, part in found.items()}
    if isinstance(found, list | tuple):
        return [plain(part) for part in found]
    if isinstance(found, float | np.floating):
        return float(f"{found:.9g}")
    return int(found) if isinstance(found, np.integer) else found


def store(size: str, new: Figures, seconds: Mapping[str, float]) -> None:
    """Puts new figures beside those that are stored already."""
    old = stored(size)
    spent = {**old.get("seconds", {}), **{name: round(s, 1) for name, s in seconds.items()}}
    spent["all"] = round(sum(s for name, s in spent.items() if name != "all"), 1)
    command = f"python benchmarks/study.py {f'--size {size}' if size in SIZE else '--only real --real PATH'} --store"
    content = {
        "command": command, "machine": machine(), "sizes": vars(SIZE[size]) if size in SIZE else {},
        "seconds": spent,
        "figures": {**old.get("figures", {}), **new},
    }  # fmt: skip
    (RESULTS / f"study_{size}.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def for_readme(results: Mapping[str, Any]) -> None:
    """Writes the table and the picture of README.md, from what is stored of the full size."""
    if "headline" in results["full"].get("figures", {}):
        TABLE.write_text(table_page(results), encoding="utf-8")
        PICTURE.parent.mkdir(exist_ok=True)
        with drawing_on(None, (11.0, 3.9), 2) as axes:
            plan = results["full"]["figures"]["headline"]["relaxed"]
            draw_day(axes, plan["by_hour"]["delhi"], plan["delhi"]["households"], "Delhi, mean day, relaxed policy")
        axes[0].figure.savefig(PICTURE, dpi=90)


def arguments() -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZE, default="small")
    parser.add_argument("--only", nargs="+", choices=[*ITEMS, "real"], help="only these items")
    parser.add_argument("--store", action="store_true", help="store the new figures instead of comparing them")
    parser.add_argument("--pages", action="store_true", help="only compare the pages with what is stored")
    parser.add_argument("--real", type=Path, help="real readings, in the research data's columns")
    return parser.parse_args()


def computed(asked: argparse.Namespace) -> Iterator[tuple[str, str, Figures, float]]:
    """Size, item, its figures and seconds, one after the other."""
    for name in asked.only or [*ITEMS, "real"]:
        for kept in (table_of, readings_of):
            kept.cache_clear()  # the next item has other sizes, and those of the largest fill much of the memory
        began = time.perf_counter()
        print(name, flush=True)
        if name != "real":
            yield asked.size, name, plain({name: ITEMS[name](SIZE[asked.size])}), time.perf_counter() - began
        elif asked.real is None:
            print("  left out: --real names no readings")
        elif not asked.real.exists():
            print(f"  left out: {asked.real} is not there")
        else:
            yield "real", name, plain(real(asked.real)), time.perf_counter() - began


def main() -> int:
    """Computes, and stores or compares; 1 where something stated is no longer so."""
    asked = arguments()
    results, faults, seconds = {size: stored(size) for size in SIZES}, [], 0.0
    for size, name, new, took in [] if asked.pages else computed(asked):
        seconds += took
        print(f"  {took:.1f} s", flush=True)
        if asked.store:
            store(size, new, {name: took})
            results[size] = stored(size)
        else:
            old = {key: results[size].get("figures", {}).get(key, {}) for key in new}
            faults += [f"study_{size}.json: {fault}" for fault in drift(old, new)]
            results[size] = {**results[size], "figures": {**results[size].get("figures", {}), **new}}
    if asked.store:
        for_readme(results)
        print("stored; now run the pages in nbs/studies again")
        return 0
    faults += check_pages(results)
    if results["full"]:
        faults += check_readme(results)
    for fault in faults:
        print(f"drifted: {fault}")
    print(f"{len(faults)} figures have drifted" if faults else "every stated figure still holds", f"({seconds:.0f} s)")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
