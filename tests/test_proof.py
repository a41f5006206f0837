"""Prices in the results: the pipeline carries them, the table gives them back, and the audit believes nothing of what they say."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from test_certificate import best_prices

from dr_opt.calendar import OUTSIDE
from dr_opt.cli import main
from dr_opt.models import priced
from dr_opt.pipeline import optimise
from dr_opt.plan import Plan, Summary, audit_folder, read_plan
from dr_opt.preparation import make_problems, readings_of
from dr_opt.problem import Problem
from dr_opt.proof import may_be_searched, price_schema, prices_of_blocks, proved_bound, row_labels
from dr_opt.scenario import Scenario
from dr_opt.solver.base import Answer, Effort, Family, Status, achieved, families
from dr_opt.solver.certificate import price_bound
from dr_opt.solver.greedy import greedy_flows
from dr_opt.solver.milp import FINISHED
from dr_opt.synthesis import synthesise


@dataclass(frozen=True)
class PricedGreedy(Family):
    """A greedy plan with the prices of the relaxation, and a bound by them or (`found`) a lower one."""

    found: float = 1.0  # share of the way from the prices' bound to the plan that a search's bound stands at
    name: ClassVar[str] = "priced_greedy"
    proves_bound: ClassVar[bool] = True

    def solve(self, problem: Problem, effort: Effort) -> Answer:
        flows, prices = greedy_flows(problem), best_prices(problem)[0]
        reached, bound = achieved(problem, flows), price_bound(problem, prices)
        own = bound - (1.0 - self.found) * (bound - reached)
        return Answer(flows, reached, own, Status.FEASIBLE, prices, bound)


TIGHT = {
    "max_moves_per_day": {"limit": 2},
    "peak_hour_comfort": {"scope": "per_city", "group": "hour", "max_reduction_percent": 5},
    "regional_shift_cap": {"percent": 2},
    "no_new_spike": {"alpha_peak_cap_percent": 3},
}


@pytest.fixture(scope="module", autouse=True)
def priced_greedy() -> Iterator[None]:
    families["priced_greedy"], families["searching"] = PricedGreedy(), PricedGreedy(0.5)
    yield
    del families["priced_greedy"], families["searching"]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with readings, in which plans are made."""
    folder = tmp_path_factory.mktemp("proof")
    synthesise(["delhi", "mumbai"], customers=15, days=9, seed=4).write_parquet(folder / "readings.parquet")
    return folder


def scenario_in(folder: Path, family: str = "priced_greedy", model: dict | None = None, **constraints: object) -> Scenario:
    values = {"readings": str(folder / "readings.parquet"), "constraints": TIGHT | constraints, "solver": {"family": family}}
    return Scenario.from_mapping(values | {"model": model or {"name": "ImpactPrioritised"}, "progress": False})


MODELS = {
    "impact": {"name": "ImpactPrioritised"},
    "a total over all cities": {"name": "ImpactPrioritised", "max_total_shift_kwh": 20.0},
    "convenience": {"name": "ConveniencePrioritised"},
    "high usage": {"name": "HighUsageFocus", "percentile_threshold": 50.0},
}


def failed(plan: Plan) -> list[str]:
    return plan.audit().filter(~pl.col("ok"))["limit"].to_list()


@pytest.mark.parametrize("model", MODELS)
def test_prices_are_carried_through_and_audited(model: str, here: Path, tmp_path: Path) -> None:
    scenario = scenario_in(here, model=MODELS[model])
    plan = optimise(None, scenario)
    assert isinstance(plan, Plan) and plan.prices is not None
    assert plan.prices.schema == price_schema(scenario.calendar)
    assert (plan.prices["g_per_kwh"] > 0).any()
    assert plan.summary["achieved"] <= plan.summary["bound"] == pytest.approx(plan.summary["price_bound"], rel=1e-12)
    assert list(plan.summary)[list(plan.summary).index("bound") + 1] == "price_bound"
    assert plan.prices.equals(plan.prices.sort("city", "limit", "time", maintain_order=True))
    assert (plan.prices["used_kwh"] <= plan.prices["room_kwh"] + 1e-6).all()
    again = read_plan(plan.write(tmp_path / "results"), plan.readings)
    assert again.prices is not None and again.prices.equals(plan.prices)
    assert failed(again) == []
    assert "he prices alone prove that no plan exceeds" in again.audit_summary()


def test_the_table_gives_every_price_back(here: Path) -> None:
    """Block by block, whatever the prices are, and a total over all cities has no city."""
    scenario = scenario_in(here, model=MODELS["a total over all cities"])
    plan = optimise(None, scenario)
    [problem] = problems = make_problems(readings_of(None, scenario), scenario)
    labels = row_labels(problem, scenario.calendar)
    assert labels.filter(pl.col("city").is_null())["limit"].to_list() == ["model.max_total_shift_kwh"]
    assert plan.prices is not None
    [vector] = prices_of_blocks(problems, plan.prices, scenario.calendar)
    assert vector == pytest.approx(best_prices(problem)[0])
    assert proved_bound(problems, [vector]) == plan.summary["price_bound"] or proved_bound(problems, [vector]) == pytest.approx(
        plan.summary["price_bound"], rel=1e-12
    )
    with pytest.raises(ValueError, match="lacks 1 of"):
        prices_of_blocks(problems, plan.prices[1:], scenario.calendar)


def test_blocks_without_moves_need_no_prices_and_others_do(here: Path) -> None:
    """A block where nothing can move has prices of nought; a solver without prices leaves the whole plan without them."""
    readings = pl.read_parquet(here / "readings.parquet")
    idle = readings.with_columns(
        pl.when(pl.col("city") == "mumbai").then(400.0).otherwise("marginal_emissions_grams_co2_per_kWh")
        .alias("marginal_emissions_grams_co2_per_kWh")
    )  # fmt: skip
    plan = optimise(idle, scenario_in(here))
    assert isinstance(plan, Plan) and plan.prices is not None
    mumbai = plan.prices.filter(pl.col("city") == "mumbai")
    assert len(mumbai) and (mumbai["g_per_kwh"] == 0).all()
    assert failed(plan) == []
    without = optimise(idle, scenario_in(here, "greedy"))
    assert isinstance(without, Plan) and without.prices is None and without.summary["price_bound"] is None
    assert [name for name in without.audit()["limit"] if name.startswith("prices")] == []


def test_a_lower_bound_is_the_searchs_own_word(here: Path, tmp_path: Path) -> None:
    plan = optimise(None, scenario_in(here, "searching"))
    assert isinstance(plan, Plan)
    assert plan.summary["achieved"] < plan.summary["bound"] < plan.summary["price_bound"]
    assert failed(plan) == []
    assert "is lower: that is the search's own word." in plan.audit_summary()
    ran = CliRunner().invoke(main, ["audit", str(plan.write(tmp_path / "results"))])
    assert ran.exit_code == 0
    said = [line for line in ran.output.splitlines() if "; " in line]
    assert [line.split()[1].rstrip(":") for line in said] == ["prices.bound", "prices.search"]
    assert said[1].endswith("is lower: that is the search's own word")


def test_the_lower_of_two_bounds_is_stated(here: Path) -> None:
    """A solver that allows for rounding of its own states a little more than its prices prove."""
    families["rough"] = PricedGreedy(1.001)
    try:
        plan = optimise(None, scenario_in(here, "rough"))
        assert isinstance(plan, Plan)
        assert plan.summary["bound"] == plan.summary["price_bound"]
        assert failed(plan) == []
    finally:
        del families["rough"]


def test_a_bound_that_nothing_supports_is_found(here: Path) -> None:
    """Where no search can have been, a bound below that of the prices is a false claim, and so is none at all."""
    scenario = scenario_in(here, "lp").replace({"solver.backend": "prices"})
    plan = optimise(None, scenario)
    assert isinstance(plan, Plan) and plan.summary["achieved"] < plan.summary["bound"] == pytest.approx(plan.summary["price_bound"])
    assert failed(plan) == []
    achieved = plan.summary["achieved"]
    forged = Summary({**plan.summary, "bound": achieved, "bound_g": achieved, "gap": 0.0})
    [row] = replace(plan, summary=forged).audit().filter(~pl.col("ok")).iter_rows(named=True)
    assert row["limit"] == "prices.search" and row["worst_slack"] < 0
    assert str(achieved) in row["worst"] and str(plan.summary["price_bound"]) in row["worst"]
    none = Summary({**plan.summary, "bound": None, "bound_g": None, "gap": None})
    assert failed(replace(plan, summary=none)) == ["prices.search"]


SEARCHED = {
    "prices and nothing else": ("lp", "prices", 10, False),
    "a block in which milp searches": ("milp", "prices", FINISHED - 1, True),
    "blocks in which it does not": ("milp", "prices", FINISHED, False),
    "a back-end that has no prices": ("milp", "highs", FINISHED, False),
    "a back-end of somebody's own": ("milp", "mine", 1000, True),
    "a family of somebody's own": ("priced_greedy", "none", 1000, True),
}


@pytest.mark.parametrize("what", SEARCHED)
def test_where_a_search_may_have_been(what: str) -> None:
    family, backend, households, searched = SEARCHED[what]
    assert may_be_searched({"family": family, "backend": backend}, [1000, households]) == searched


# ---- tampering ---------------------------------------------------------------------------------------------------


def rewritten(name: str, change: Callable[[pl.DataFrame], pl.DataFrame]) -> Callable[[Path], None]:
    return lambda folder: change(pl.read_parquet(folder / name)).write_parquet(folder / name)


def summary_with(**values: float) -> Callable[[Path], None]:
    """Rewrites values of the summary, each by a factor."""

    def change(folder: Path) -> None:
        summary = json.loads((folder / "summary.json").read_text())
        (folder / "summary.json").write_text(json.dumps(summary | {key: summary[key] * factor for key, factor in values.items()}))

    return change


def at_the_dearest(column: str, value: pl.Expr) -> Callable[[pl.DataFrame], pl.DataFrame]:
    dearest = pl.int_range(pl.len()) == pl.col("g_per_kwh").arg_max()
    return lambda table: table.with_columns(pl.when(dearest).then(value).otherwise(column).alias(column))


price, first = pl.col("g_per_kwh"), pl.int_range(pl.len()) == 0
TAMPERED = {
    "a price": (rewritten("prices.parquet", at_the_dearest("g_per_kwh", price * 3)), {"prices.bound"}),
    "a price that is negative": (rewritten("prices.parquet", at_the_dearest("g_per_kwh", -price)), {"prices.g_per_kwh", "prices.bound"}),
    "a price that is no number": (
        rewritten("prices.parquet", at_the_dearest("g_per_kwh", pl.lit(float("nan")))), {"prices.g_per_kwh", "prices.bound"},
    ),
    "a room": (rewritten("prices.parquet", at_the_dearest("room_kwh", pl.col("room_kwh") * 1.01)), {"prices.room_kwh"}),
    "a use": (rewritten("prices.parquet", at_the_dearest("used_kwh", pl.col("used_kwh") - 0.1)), {"prices.used_kwh"}),
    "a row left out": (rewritten("prices.parquet", lambda table: table[1:]), {"prices.rows", "prices.bound"}),
    "no prices": (lambda folder: (folder / "prices.parquet").unlink(), {"prices.rows"}),
    "a lower bound": (summary_with(price_bound=0.999, bound=0.999, bound_g=0.999), {"prices.bound"}),
    "a higher bound": (summary_with(price_bound=1.001), {"prices.bound"}),
    "a bound above that of the prices": (summary_with(bound=1.01, bound_g=1.01), {"prices.search"}),
    "a shift": (rewritten("shifts.parquet", lambda t: t.with_columns(kwh=pl.when(first).then(pl.col("kwh") * 0.5).otherwise("kwh"))),
                {"prices.used_kwh"}),
}  # fmt: skip


@pytest.mark.parametrize("what", TAMPERED)
def test_tampering_is_found_from_scratch(what: str, here: Path, tmp_path: Path) -> None:
    """Whatever is changed after the fact makes the audit of the folder fail, with exit code 1 and a line that says where."""
    change, names = TAMPERED[what]
    folder = optimise(None, scenario_in(here)).write(tmp_path / "results")
    assert audit_folder(folder)["ok"].all()
    change(folder)
    wrong = set(audit_folder(folder).filter(~pl.col("ok"))["limit"])
    assert names <= wrong
    ran = CliRunner().invoke(main, ["audit", str(folder)])
    assert ran.exit_code == 1
    for name in names:
        [line] = [line for line in ran.output.splitlines() if line.startswith(f"FAIL {name}:")]
        assert "; " in line


def test_other_limits_are_found(here: Path, tmp_path: Path) -> None:
    """Prices that belong to another scenario prove nothing for this one."""
    plan = optimise(None, scenario_in(here))
    assert isinstance(plan, Plan)
    other = replace(plan, scenario=scenario_in(here, max_moves_per_day={"limit": 3}))
    assert {"prices.bound", "summary.scenario_hash"} <= set(failed(other))
    assert "prices.rows" in failed(replace(plan, scenario=scenario_in(here, regional_shift_cap=None)))


def test_the_bound_holds_for_every_plan(here: Path) -> None:
    """A plan by an exact solver stays below what the prices of another plan prove."""
    plan, best = (optimise(None, scenario_in(here, family)) for family in ("priced_greedy", "lp"))
    assert plan.summary["achieved"] <= best.summary["achieved"] <= plan.summary["price_bound"]
    problems = [priced(p, None) for p in make_problems(readings_of(None, scenario_in(here)), scenario_in(here))]
    assert proved_bound(problems, [np.zeros(sum(len(s.limit_kwh) for s in p.city_sums)) for p in problems]) > plan.summary["price_bound"]
    assert (problems[0].block.slots.day != OUTSIDE).all()
