"""Plans side by side: every row says what the plan's own summary says, and unlike plans are named."""

import warnings
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import dr_opt
from dr_opt.basics import InputError
from dr_opt.calendar import Calendar
from dr_opt.metrics import FigureTables, metrics, register_metric
from dr_opt.plan import Plan
from dr_opt.scenario import Constraints, Scenario, SolverChoice
from dr_opt.sweeps import compare
from dr_opt.tables import CustomerChoice, Period, example_readings

pytestmark = pytest.mark.filterwarnings("error")

FOUR_HOURS = Calendar(slot_minutes=60, day_boundaries=(0, 3))
FEW = Constraints(peak_hour_comfort=None, regional_shift_cap=None, household_minimum_usage=None, no_new_spike=None)
USAGE = {"anita": [2, 1, 0, 1] * 2, "bala": [3, 1, 1, 0] * 2, "chitra": [1, 1, 0, 1] * 2}
CITIES = {"anita": "delhi", "bala": "delhi", "chitra": "mumbai"}
WHAT = ["plan", "family", "backend", "status", "objective", "min_saving_g_per_kwh", "achieved", "bound", "gap", "household_days"]
GIVE = 'Give plans by name: {"milp": plan, "greedy": other}.'


def scenario_of(**more: Any) -> Scenario:
    """Four hours a day, and only counts, window and conservation."""
    return Scenario(calendar=FOUR_HOURS, constraints=FEW, progress=False, **more)


@cache
def plan_of(family: str = "milp", more_kwh: float = 0, name: str = "dr_opt") -> Plan:
    """A plan of three households in two cities, two days of four hours; `more_kwh` makes other readings."""
    usage = {name: [values[0] + more_kwh, *values[1:]] for name, values in USAGE.items()}
    readings = example_readings(usage, [900, 400, 500, 600] * 2, [700, 600, 650, 600] * 2, CITIES, calendar=FOUR_HOURS)
    return dr_opt.optimise(readings, scenario_of(name=name, solver=SolverChoice(family=family)))


def test_it_is_a_public_name() -> None:
    assert dr_opt.compare is compare and "compare" in dir(dr_opt)


def test_a_row_for_each_plan_in_the_order_given() -> None:
    plans = {name: plan_of() for name in ("b", "a", "c")} | {"greedy": plan_of("greedy")}
    assert compare(plans)["plan"].to_list() == ["b", "a", "c", "greedy"]


def test_columns_are_what_a_plan_is_then_its_headline_figures() -> None:
    headline = [name for name, metric in metrics.items() if metric.headline]
    assert compare({"a": plan_of()}).columns == [*WHAT, *headline, "data_hash"]


def test_every_adds_the_finer_figures() -> None:
    assert compare({"a": plan_of()}, every=True).columns == [*WHAT, *metrics, "data_hash"]


def test_rows_say_what_the_summaries_say() -> None:
    plans = {"exact": plan_of(), "greedy": plan_of("greedy")}
    for row in compare(plans, every=True).iter_rows(named=True):
        summary = plans[row["plan"]].summary
        for name, value in row.items():
            if name not in ("plan", "household_days"):
                assert value == (summary["total"][name] if name in summary["total"] else summary.get(name)), name
        assert row["household_days"] == 6


def test_columns_keep_their_kind_without_values() -> None:
    one, other = compare({"greedy": plan_of("greedy")}), compare({"exact": plan_of()})
    assert one["bound"].to_list() == [None]
    assert one.schema == other.schema
    assert len(pl.concat([one, other])) == 2
    counts = [name for name, metric in metrics.items() if not metric.unit and metric.headline]
    assert {one.schema[name] for name in [*counts, "household_days"]} == {pl.Int64()}


def test_a_plan_that_moves_nothing_is_a_row_too() -> None:
    flat = example_readings({"anita": [1] * 4}, [500] * 4, calendar=FOUR_HOURS)
    idle = dr_opt.optimise(flat, scenario_of())
    (row,) = compare({"idle": idle}).iter_rows(named=True)
    assert (row["kwh_moved"], row["moves"], row["tco2_avoided"], row["g_per_kwh_moved"]) == (0, 0, 0, None)


def test_a_registered_figure_is_a_column() -> None:
    without = plan_of()

    @register_metric("largest_shift_kwh", "kWh", "the largest shift")
    def largest(tables: FigureTables) -> float | None:
        return tables.shifts["kwh"].max()

    try:
        with_it = plan_of(name="with a figure more")
        table = compare({"with": with_it, "without": without})
        assert table["largest_shift_kwh"].to_list() == [with_it.shifts["kwh"].max(), None]
        assert table.columns[-1] == "data_hash"
    finally:
        del metrics["largest_shift_kwh"]


def test_a_plan_read_back_gives_the_same_row(tmp_path: Path) -> None:
    plan = plan_of()
    again = dr_opt.read_plan(plan.write(tmp_path / "results"))
    assert compare({"a": again}, every=True).equals(compare({"a": plan}, every=True))


def test_the_plans_are_left_as_they_were() -> None:
    plan = plan_of()
    before = plan.summary.to_dict()
    compare({"a": plan, "b": plan})
    assert plan.summary.to_dict() == before


# Like with like


def said(plans: dict[str, Plan]) -> list[str]:
    """The warnings that a comparison gives."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        compare(plans)
    assert {warning.category for warning in caught} <= {UserWarning}
    assert {warning.filename for warning in caught} <= {__file__}, "a warning should point at the line that compares"
    return [str(warning.message) for warning in caught]


END = "so rows differ by more than how the plans were made."


def test_other_readings_are_named() -> None:
    plans = {"a": plan_of(), "b": plan_of(more_kwh=1), "c": plan_of("greedy"), "d": plan_of(more_kwh=2)}
    assert said(plans) == [f"'b', 'd': made from other readings than 'a', {END}"]
    assert compare({"a": plans["a"], "c": plans["c"]})["data_hash"].n_unique() == 1


@pytest.mark.parametrize(
    "changes", [{"period": Period(start="2025-11-18")}, {"cities": ["delhi"]}, {"customers": CustomerChoice(exclude=["bala"])}]
)
def test_other_days_or_households_are_named(changes: dict[str, Any]) -> None:
    other = dr_opt.optimise(plan_of().readings, plan_of().scenario.model_copy(update=changes))
    assert said({"a": plan_of(), "b": other}) == [f"'b': asking other households or days than 'a', {END}"]


def test_days_written_out_are_the_same_days() -> None:
    whole = Period(start="2025-11-17", end="2025-11-18")
    other = dr_opt.optimise(plan_of().readings, plan_of().scenario.model_copy(update={"period": whole}))
    assert said({"a": plan_of(), "b": other}) == []


# Errors


@pytest.mark.parametrize(
    ("plans", "faults"),
    [
        ({}, [f"plans is empty, which leaves nothing to compare. {GIVE}"]),
        ([], [f"plans is of type list, not a mapping. {GIVE}"]),
        (None, [f"plans is of type NoneType, not a mapping. {GIVE}"]),
        ({"a": None}, ["plans['a'] is of type NoneType, which is no plan. Give what optimise or read_plan returns."]),
        (
            {1: "results", "b": {}},
            [
                f"plans names one of them 1, which is no text. {GIVE}",
                "plans[1] is of type str, which is no plan. Give what optimise or read_plan returns.",
                "plans['b'] is of type dict, which is no plan. Give what optimise or read_plan returns.",
            ],
        ),
    ],
)
def test_what_is_no_plan_is_refused(plans: Any, faults: list[str]) -> None:
    with pytest.raises(InputError) as refused:
        compare(plans)
    assert str(refused.value).splitlines() == faults


# ---- sweeps ------------------------------------------------------------------------------------------------------


def small(**changes: object) -> Scenario:
    return Scenario.from_mapping({"progress": False, "solver": {"gap": 0.0}, **changes})


@pytest.fixture(scope="module")
def homes() -> pl.DataFrame:
    return dr_opt.synthesise("delhi", customers=4, days=2, seed=3)


def test_a_sweep_has_the_rows_of_single_plans(homes: pl.DataFrame) -> None:
    """Every value with every other, and each row is that of the plan made alone."""
    swept = dr_opt.sweep(homes, small(), {"constraints.max_shift_window.hours": [1, 2], "constraints.max_moves_per_day.limit": [1, 2]})
    assert swept.select(swept.columns[:2]).rows() == [(1, 1), (1, 2), (2, 1), (2, 2)]
    for hours, limit, *_ in swept.rows():
        alone = dr_opt.optimise(homes, small(constraints={"max_shift_window": {"hours": hours}, "max_moves_per_day": {"limit": limit}}))
        row = dr_opt.compare({"alone": alone}).drop("plan").row(0)
        assert swept.filter((pl.nth(0) == hours) & (pl.nth(1) == limit)).select(swept.columns[2:]).row(0) == row


def test_the_frontier_spreads_its_points(homes: pl.DataFrame) -> None:
    """The two ends first, then the widest stretch of energy is halved: no stretch is left wider than half of all."""
    curve = dr_opt.frontier(homes, small(), points=9)
    kwh = curve["kwh_moved"]
    assert len(curve) == 9 and kwh[-1] <= kwh[0] / 10
    assert (-kwh.diff().drop_nulls()).max() <= 0.5 * kwh[0]


def test_a_limit_switched_off_and_whole_scenarios(homes: pl.DataFrame) -> None:
    off = dr_opt.sweep(homes, small(), {"constraints.no_new_spike": [None, {"alpha_peak_cap_percent": 1}]})
    assert off["constraints.no_new_spike"].to_list() == ["null", "{alpha_peak_cap_percent: 1}"]
    assert off["achieved"][0] > off["achieved"][1]
    numbers = dr_opt.sweep(homes, small(), {"solver.time_limit_seconds": [None, 60]})
    assert numbers["solver.time_limit_seconds"].to_list() == ["null", "60"]
    named = dr_opt.sweep(homes, small(), {"exact": small(), "greedy": small(solver={"family": "greedy"})})
    assert named["plan"].to_list() == ["exact", "greedy"] and named["family"].to_list() == ["milp", "greedy"]


@pytest.mark.parametrize(
    ("variations", "words"),
    [
        ({}, 'There is nothing to vary. Give {"constraints.max_shift_window.hours": [1, 2, 4]}, or scenarios by name.'),
        ({"solver.gap": []}, "variations['solver.gap'] is [], not a list of values. Give a list, such as [1, 2, 4]."),
        ({"solver.gapp": [1]}, "solver.gapp is not a known key. Did you mean solver.gap?"),
        ({"a": small(), "solver.gap": [1]}, "variations['solver.gap'] is no Scenario, as others are. Give scenarios only, or paths only."),
        (
            {"a": small(solver={"family": "lp", "repair": False})},
            "{'plan': 'a'} sets solver.repair to false, which gives no plan. Leave it true.",
        ),
    ],
)
def test_wrong_variations(variations: dict, words: str) -> None:
    """Refused before readings are even looked at."""
    with pytest.raises(InputError) as caught:
        dr_opt.sweep("nowhere.parquet", small(), variations)
    assert str(caught.value) == words


# ---- the frontier ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["milp", "lp", "greedy"])
def test_the_frontier(homes: pl.DataFrame, family: str) -> None:
    """Fewer kWh and fewer grams as λ rises, each kWh saving at least λ; no plan is above the bound; λ = 0 is the impact plan."""
    curve = dr_opt.frontier(homes, small(solver={"family": family, "gap": 0.0}), points=4)
    impact = dr_opt.optimise(homes, small(solver={"family": family, "gap": 0.0})).summary
    assert curve["min_saving_g_per_kwh"].is_sorted() and curve["min_saving_g_per_kwh"][0] == 0 and len(curve) == 4
    assert curve["tco2_avoided"][0] == pytest.approx(impact["total"]["tco2_avoided"], rel=1e-6)
    assert (curve["g_per_kwh_moved"].fill_null(1e9) >= curve["min_saving_g_per_kwh"] - 1e-6).all()
    if family == "milp":
        assert curve["kwh_moved"].is_sorted(descending=True)
        assert (curve["bound_tco2"] - curve["tco2_avoided"]).is_between(-1e-12, 1e-8).all()
        for lam, kwh in zip(curve["min_saving_g_per_kwh"], curve["kwh_moved"]):
            alone = dr_opt.optimise(homes, small(model={"name": "ConveniencePrioritised", "min_saving_g_per_kwh": lam}))
            assert alone.summary["total"]["kwh_moved"] == pytest.approx(kwh, abs=1e-4)
    assert curve["bound"].is_null().all() == (family == "greedy")


def test_a_frontier_needs_two_points() -> None:
    with pytest.raises(InputError) as caught:
        dr_opt.frontier("nowhere.parquet", small(), points=1, min_savings_g_per_kwh=[-3])
    assert caught.value.faults == (
        "points is 1, which makes no curve. Give at least 2.",
        "min_savings_g_per_kwh holds -3. Give values of 0 or more.",
    )
