# ruff: noqa: E501 (sentences are kept whole)
"""Which back-end serves whom: what is declared, what is refused and with which words, what `auto` takes, and the table of all."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from test_solvers import STANDARD

import dr_opt
from dr_opt.basics import InputError
from dr_opt.cli import main
from dr_opt.pipeline import optimise
from dr_opt.scenario import Scenario
from dr_opt.solver.backends import Backend, Values, backends
from dr_opt.solver.base import Effort, Status, solve_problem
from dr_opt.solver.matching import SparseFamily, columns_of, size_of
from dr_opt.solver.selection import families
from dr_opt.synthesis import synthesise


class Example(Backend):
    """A back-end that hands HiGHS's values on, meant for very small problems."""

    name, title, module, install = "example", "Example", "numpy", "pip install example"
    integers, largest_columns = True, 5

    def solve(self, sparse: object, effort: Effort, start: np.ndarray | None = None) -> Values:
        return backends["highs"].solve(sparse, effort, start)


class Missing(Example):
    """One that is not installed."""

    name, title, module = "missing", "Missing", "a_package_that_is_not_there"


@pytest.fixture
def example() -> Iterator[None]:
    backends["example"], backends["missing"] = Example(), Missing()
    yield
    del backends["example"], backends["missing"]


SPARSE = [name for name, family in families.items() if isinstance(family, SparseFamily)]
PROBLEM = STANDARD[1].problem()


def refusal(family: str, backend: str, problems: tuple = ()) -> str:
    with pytest.raises(InputError) as caught:
        families[family].choose(backend, problems)
    return str(caught.value)


@pytest.mark.usefixtures("example")
def test_a_registered_back_end_serves_whoever_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "example" in families["milp"].backends and "example" in families["lp"].backends
    assert families["milp"].choose("example").backend == "example"
    assert families["milp"].choose("auto").backend == "highs"  # it was not asked for by anybody
    monkeypatch.setattr(Example, "largest_columns", None)
    answer = solve_problem(("milp", PROBLEM, Effort(backend="example")))
    assert answer.achieved == pytest.approx(STANDARD[1].optimum)


@pytest.mark.usefixtures("example")
def test_refusals() -> None:
    here = ", ".join(name for name in families["milp"].backends if backends[name].available)
    others = ", ".join(name for name in families["milp"].backends if backends[name].available and name != "example")
    assert (
        refusal("milp", "clarabel")
        == f"solver.backend 'clarabel' knows no integers, which the family milp needs. Use {here}, or solver.family lp."
    )
    assert refusal("milp", "higs") == f"solver.backend 'higs' is not known ({', '.join(families['milp'].backends)}). Did you mean 'highs'?"
    assert refusal("milp", "zzz").endswith("Use one of these, or auto.")
    assert refusal("lp", "missing") == "solver.backend 'missing' is not installed here. Install it (pip install example), or use auto."
    assert refusal("milp", "example", (PROBLEM,)) == (
        f"solver.backend 'example' is meant for at most 5 columns, and the largest block has {columns_of(PROBLEM)}. Use {others}, or plan fewer customers."
    )
    assert refusal("greedy", "highs") == "solver.backend is 'highs', but greedy needs no other program. Set it to auto."


@pytest.mark.parametrize("family", SPARSE)
def test_auto_takes_the_first_that_is_there(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of the preferred in turn, as those before it are taken away; at the end an error with the remedy."""
    preferred = [name for name in families[family].backends if name in families[family].preferred]
    assert len(preferred) >= 4
    for name in preferred:
        monkeypatch.setattr(type(backends[name]), "available", property(lambda _: True))
    for place, name in enumerate(preferred):
        chosen = families[family].choose("auto", (PROBLEM,))
        assert chosen.backend == name
        assert backends[name].title in chosen.reason and "2 households" in chosen.reason
        assert ("the first choice" in chosen.reason) == (place == 0)
        assert (f"as {', '.join(preferred[:place])} cannot be had here" in chosen.reason) == (place > 0)
        monkeypatch.setattr(type(backends[name]), "available", property(lambda _: False))
    assert "has no back-end here" in refusal(family, "auto") and "pip install 'dr_opt[solvers]'" in refusal(family, "auto")


def test_size_says_how_tight() -> None:
    """Without shared caps nothing is turned away; with no room at all everything is; and a tight search is warned of."""
    by_name = {standard.name: standard for standard in STANDARD}
    free, none = (size_of([by_name[name].problem()]) for name in ("one move a day", "no room at all"))
    assert (free.caps, free.turned_away, free.households) == (0, 0.0, 2)
    assert none.caps == 6 and none.turned_away > 0.9
    assert size_of([]).blocks == 0
    told = {name: families["milp"].choose("auto", [by_name[name].problem()]).reason for name in ("one move a day", "no room at all")}
    assert told["one move a day"].endswith("and no shared caps")
    assert told["no room at all"].endswith(
        "; so tight a search may take hours to prove its gap, and solver.time_limit_seconds ends it with its best plan until then"
    )
    assert "hours" not in families["lp"].choose("auto", [by_name["no room at all"].problem()]).reason


def test_the_table() -> None:
    table = dr_opt.solvers()
    assert table.columns == ["family", "backend", "installed", "version", "solves", "auto", "auto_from_households", "route", "limits", "install"]
    assert table.select("family", "backend").is_unique().all()
    assert set(table["family"]) == set(families)
    milp = table.filter(pl.col("family") == "milp")
    assert {"highs", "glpk", "cbc", "scip", "gurobi", "cplex"} <= set(milp["backend"])
    assert {"highs", "glpk", "cbc", "clarabel", "scs", "ecos"} <= set(table.filter(pl.col("family") == "lp")["backend"])
    assert milp["solves"].str.contains("MILP").all()
    whole = table.filter(pl.col("auto_from_households").is_not_null()).select("family", "backend", "auto", "auto_from_households")
    assert whole.rows() == [("milp", "prices", None, families["milp"].whole_from)]
    assert table.filter(pl.col("installed") & (pl.col("family") != "greedy"))["version"].null_count() == 0
    assert table.filter(pl.col("family") != "greedy").select("install", "route").null_count().row(0) == (0, 0)
    assert table.filter(pl.col("backend").is_in(["gurobi", "cplex"]))["limits"].str.contains("licence|of your own").all()


def test_the_command_prints_it() -> None:
    ran = CliRunner().invoke(main, ["solvers"], prog_name="dr-opt")
    lines = ran.stdout.splitlines()
    assert ran.exit_code == 0 and lines[0].split()[:3] == ["family", "backend", "installed"]
    assert len(lines) == len(dr_opt.solvers()) + 1
    assert any(line.split()[:3] == ["milp", "highs", "yes"] for line in lines)


# ---- relaxations -------------------------------------------------------------------------------------------------


def scenario(**changes: object) -> Scenario:
    return Scenario.from_mapping({"progress": False, **changes})


def test_a_relaxation_is_no_plan() -> None:
    """Tight enough to split moves: shares of a household's day stay within its moves, the bound is the plan's, and nothing is written."""
    tight = {"constraints": {"no_new_spike": {"alpha_peak_cap_percent": 1}, "max_moves_per_week": {"limit": 2}}}
    readings = synthesise("delhi", customers=12, days=3, seed=2)
    relaxed = optimise(readings, scenario(**tight, solver={"family": "lp", "repair": False}))
    plan = optimise(readings, scenario(**tight, solver={"family": "lp"}))
    assert isinstance(relaxed, dr_opt.Relaxation) and isinstance(plan, dr_opt.Plan)
    assert relaxed.summary["status"] == str(Status.RELAXED)
    assert relaxed.summary["bound"] == plan.summary["bound"] >= relaxed.summary["achieved"] - 1e-6
    assert plan.summary["achieved"] <= relaxed.summary["achieved"] + 1e-6
    shares = relaxed.flows.group_by("customer_id", "day").agg(pl.col("share_of_move").sum())["share_of_move"]
    weekly = relaxed.flows.group_by("customer_id").agg(pl.col("share_of_move").sum())["share_of_move"]
    assert shares.max() <= 1 + 1e-6 and weekly.max() <= 2 + 1e-6
    assert relaxed.summary["parts_of_moves"] > 0 and "not a plan" in repr(relaxed)
    assert relaxed.summary["kwh_moved"] == pytest.approx(relaxed.flows["kwh"].sum())
    assert relaxed.flows.columns == ["customer_id", "city", "day", "original_time", "shifted_time", "kwh", "share_of_move"]


def test_the_command_writes_no_relaxation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("scenario.yaml").write_text("readings: demo\nsolver: {family: lp, repair: false}\n")
    ran = CliRunner().invoke(main, ["run", "scenario.yaml"], prog_name="dr-opt")
    assert ran.exit_code == 2 and ran.stdout == ""
    assert (
        ran.stderr
        == "error: solver.repair is false, and a relaxation is no plan to write. Leave it true, or use dr_opt.optimise in Python.\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["scenario.yaml"]


def test_what_has_no_effect_is_said() -> None:
    idle = scenario(solver={"family": "greedy", "gap": 0.01, "time_limit_seconds": 5, "options": {"threads": 2}}).warnings()
    assert [warning.split(" has no effect ")[0] for warning in idle] == ["solver.gap", "solver.time_limit_seconds", "solver.options"]
    assert scenario(solver={"family": "lp", "gap": 0.01}).warnings() == ["solver.gap has no effect with lp. Leave it out."]
    assert scenario(solver={"family": "milp", "gap": 0.01, "time_limit_seconds": 5, "options": {"threads": 2}}).warnings() == []


def test_the_choice_is_told_in_run_json() -> None:
    readings = synthesise("delhi", customers=3, days=1, seed=2)
    chosen = {backend: optimise(readings, scenario(solver={"backend": backend})).run["choice"] for backend in ("auto", "highs")}
    assert chosen["highs"] == "HiGHS was asked for"
    assert chosen["auto"].startswith("auto took HiGHS, the first choice of the family milp; the only block has 3 households, ")
