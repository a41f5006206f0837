"""What one more of each limit would save: never less than a new plan finds, for every limit, and told in words."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner
from test_proof import MODELS, PricedGreedy

import dr_opt
from dr_opt.basics import InputError, parameter
from dr_opt.cli import main
from dr_opt.pipeline import optimise
from dr_opt.plan import Plan, audit_folder, read_plan
from dr_opt.problem import CustomerSum, Limit, limits, register_limit
from dr_opt.scenario import Constraints, Scenario, annotated_yaml, schema
from dr_opt.sensitivity import SHADOW_SCHEMA, loosened, shadow_prices, steps_of
from dr_opt.solver.base import families
from dr_opt.synthesis import synthesise
from dr_opt.tables import Tables, check_at_most

EVERY = {
    "max_moves_per_day": {"limit": 1},
    "max_moves_per_week": {"limit": 2},
    "max_shift_window": {"hours": 1},
    "peak_hour_comfort": {"max_reduction_percent": 30},
    "regional_shift_cap": {"percent": 1.5},
    "household_minimum_usage": {"baseline_period": "day", "percent_of_robust_max": 40},
    "no_new_spike": {"alpha_peak_cap_percent": 10},
    "max_customer_shift": {"percent": 6},
    "min_move_size": {"kwh": 0.1},
    "min_day_potential": {"percent": 2},
}


@pytest.fixture(scope="module", autouse=True)
def priced_greedy() -> Iterator[None]:
    families["priced_greedy"] = PricedGreedy()
    yield
    del families["priced_greedy"]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sensitivity")
    synthesise("delhi", customers=12, days=3, seed=2).write_parquet(folder / "readings.parquet")
    return folder


def scenario_in(folder: Path, model: dict | None = None, family: str = "priced_greedy", **more: object) -> Scenario:
    values = {"readings": str(folder / "readings.parquet"), "constraints": EVERY, "solver": {"family": family}, "progress": False}
    return Scenario.from_mapping(values | {"model": model or {"name": "ImpactPrioritised"}} | more)


def test_every_limit_with_a_number_has_a_step(here: Path) -> None:
    """Those without one have nothing to loosen by degrees."""
    found = {step.limit for step in steps_of(scenario_in(here))}
    assert found == set(EVERY)
    without = {"conservation", "only_saving_moves", "no_average_increase", "intra_customer"}
    assert set(Constraints.model_fields) - {"move_counting"} == found | without - {"intra_customer"}
    steps = {(step.limit, step.parameter): step.then for step in steps_of(scenario_in(here))}
    assert steps["max_shift_window", "hours"] == 1.5
    assert steps["household_minimum_usage", "percent_of_robust_max"] == 39
    assert steps["min_move_size", "kwh"] == pytest.approx(0.09)


@pytest.mark.parametrize("model", MODELS)
def test_no_plan_under_a_loosened_limit_saves_more(model: str, here: Path) -> None:
    """Neither greedy nor a relaxation's plan, for any parameter."""
    scenario = scenario_in(here, MODELS[model])
    plan = optimise(None, scenario)
    assert isinstance(plan, Plan)
    table = shadow_prices(plan)
    assert table.schema == SHADOW_SCHEMA
    assert (table["at_these_prices_g"] >= 0).all() and (table["saves_at_most_g"] >= table["at_these_prices_g"] - 1e-6).all()
    assert (table["at_these_prices_g"].to_numpy()[:-1] >= table["at_these_prices_g"].to_numpy()[1:]).all()
    assert (table["at_these_prices_g"] > 1).any()
    steps = {(step.limit, step.parameter): step for step in steps_of(scenario)}
    assert set(table.select("limit", "parameter").rows()) == set(steps)
    for row in table.iter_rows(named=True):
        looser = loosened(scenario, steps[row["limit"], row["parameter"]])
        assert looser is not None
        value = plan.summary.get("min_saving_g_per_kwh")  # a convenience plan's λ stays
        fixed = {} if value is None else {"model.min_saving_g_per_kwh": value}
        better = optimise(plan.readings, looser.replace({"solver.family": "lp", **fixed}))
        gained = better.summary["achieved"] - plan.summary["achieved"]
        assert gained <= row["saves_at_most_g"] + 1e-6 * plan.summary["achieved"], row


def test_a_limit_of_ones_own_takes_part(here: Path) -> None:
    @register_limit("evening_rest")
    class EveningRest(Limit):
        """At most so many kWh leave a household's day after noon."""

        kwh: float = parameter(0.4, "Most that may leave.", "kWh", (0.1, "a tenth of a kWh more after noon"), ge=0)

        def kinds(self, block):  # type: ignore[no-untyped-def]
            group = (block.slots.hour >= 12).astype(int) - 1
            return [CustomerSum(group, pl.Series([self.kwh] * len(block.usage_kwh)).to_numpy()[:, None])] if (group == 0).any() else []

        def check(self, tables: Tables):  # type: ignore[no-untyped-def]
            return check_at_most(self.key, tables.shifts.head(0), "kwh", self.kwh)

    try:
        scenario = scenario_in(here, constraints={"evening_rest": {}})
        [row] = shadow_prices(optimise(None, scenario)).filter(pl.col("limit") == "evening_rest").to_dicts()
        assert (row["parameter"], row["unit"], row["now"], row["with_one_more"]) == ("kwh", "kWh", 0.4, 0.5)
        assert row["at_these_prices_g"] > 0
        assert row["sentence"].startswith("A tenth of a kWh more after noon would save about ")
    finally:
        del limits["evening_rest"]


def test_written_on_request_and_audited(here: Path, tmp_path: Path) -> None:
    plan = optimise(None, scenario_in(here, output={"shadow_prices": True}))
    assert isinstance(plan, Plan) and plan.shadow_prices is not None
    folder = plan.write(tmp_path / "results")
    again = read_plan(folder, plan.readings)
    assert again.shadow_prices is not None and again.shadow_prices.equals(plan.shadow_prices)
    assert again.shadow_prices.equals(shadow_prices(again))
    assert audit_folder(folder)["ok"].all()
    more = pl.col("saves_at_most_g") * 2
    again.shadow_prices.with_columns(more).write_parquet(folder / "shadow_prices.parquet")
    assert audit_folder(folder).filter(~pl.col("ok"))["limit"].to_list() == ["shadow_prices.saves_at_most_g"]
    again.shadow_prices.drop("unit").write_parquet(folder / "shadow_prices.parquet")
    with pytest.raises(InputError, match=r"'results/shadow_prices\.parquet' lacks the column unit"):
        read_plan(folder)


def test_without_prices_there_are_none(here: Path) -> None:
    plan = optimise(None, scenario_in(here, family="greedy", output={"shadow_prices": True}))
    assert isinstance(plan, Plan) and plan.shadow_prices is None
    assert [note for note in plan.summary["data_report"]["notes"] if note.startswith("output.shadow_prices asks for a table")]
    with pytest.raises(InputError) as caught:
        shadow_prices(plan)
    assert caught.value.faults == (
        "The plan has no prices: it was found by greedy (numba), which gives none. "
        "Solve it again with solver.backend: prices (family milp or lp).",
    )


def test_scenarios_print_as_before() -> None:
    """The step stands in the schema, and not in the scenario that people read."""
    hours = schema()["$defs"]["MaxShiftWindow"]["properties"]["hours"]
    assert hours["one_more"] == ["slot", "a window wider by one slot"] and hours["unit"] == "hours"
    text = annotated_yaml()
    assert "one_more" not in text and "shadow_prices: false" in text
    ran = CliRunner().invoke(main, ["scenario", "--schema"])
    assert json.loads(ran.output)["$defs"]["Output"]["properties"]["shadow_prices"]["default"] is False


def test_the_name_is_a_function_whatever_was_imported_before() -> None:
    assert dr_opt.shadow_prices is shadow_prices
    code = "import dr_opt.pipeline, dr_opt; print(callable(dr_opt.shadow_prices))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "True\n"
