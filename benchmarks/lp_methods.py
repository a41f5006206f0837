"""HiGHS's ways to solve a relaxation, on whole weeks of households: `python benchmarks/lp_methods.py`.

Writes results/lp_methods.md and .json beside this file. HiGHS has several ways to solve a relaxation. Simplex ends on a corner,
where all but a few moves are whole; an interior point without crossover ends amid a face, where many slots give a little, which may
cost the rounding more than it saves. So each way is judged by its time and by the gap of the plan that the family lp rounds from its point.

`--readings PATH` measures blocks of 300 households of your own readings as well (the first week of the first city), and needs
`--out`, because the stored table is of synthetic households only.
"""

import platform
import time
from collections.abc import Iterator
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path

import polars as pl
from stored import RESULTS, command, parsed, parser, write

import dr_opt
from dr_opt.basics import SolverError
from dr_opt.preparation import make_problems, readings_of
from dr_opt.problem import Problem
from dr_opt.solver.backends import backends
from dr_opt.solver.base import Effort, achieved
from dr_opt.solver.greedy import greedy_flows
from dr_opt.solver.lp import rounded_and_filled
from dr_opt.solver.translation import to_flows
from dr_opt.sparse import sparse_form

DAYS, BLOCK, TIME_LIMIT, ROUNDS = 7, 300, 40, 2
LIMITS = {"default": {}, "tight": {"no_new_spike": {"alpha_peak_cap_percent": 2}}}
WAYS = {
    "simplex": {"solver": "simplex"},
    "simplex, primal": {"solver": "simplex", "simplex_strategy": 4},
    "interior point": {"solver": "ipm"},
    "interior point, no crossover": {"solver": "ipm", "run_crossover": "off"},
    "PDLP": {"solver": "pdlp"},
}


def problem_of(readings: object, limits: str) -> Problem:
    """The only block of a week."""
    scenario = dr_opt.Scenario.from_mapping({"constraints": LIMITS[limits], "progress": False})
    usable = dr_opt.read_readings(readings, calendar=scenario.calendar, show_progress=False)
    [problem] = make_problems(readings_of(usable, scenario), scenario)
    return problem


def synthetic(sizes: list[int]) -> Iterator[tuple[str, str, Problem]]:
    """Weeks of synthetic households of Delhi under both sets of limits."""
    for size in sizes:
        frame = dr_opt.synthesise("delhi", customers=size, days=DAYS)
        for limits in LIMITS:
            yield "synthetic Delhi", limits, problem_of(frame, limits)


def own(path: Path, blocks: int) -> Iterator[tuple[str, str, Problem]]:
    """The first blocks of households of a file of readings, their first whole week, under both sets of limits."""
    frame = dr_opt.read_readings(path, show_progress=False).frame
    city = frame["city"][0]
    frame = frame.filter(pl.col("city") == city)
    first = frame["time"].min().date()  # type: ignore[union-attr]
    monday = first + timedelta(days=-first.weekday() % 7)
    week = frame.filter(pl.col("time").dt.date().is_between(monday, monday + timedelta(days=DAYS - 1)))
    customers = week["customer_id"].unique().sort().to_list()
    for block in range(blocks):
        chosen = customers[block * BLOCK : (block + 1) * BLOCK]
        for limits in LIMITS if chosen else ():
            yield f"own readings, block {block + 1}", limits, problem_of(week.filter(pl.col("customer_id").is_in(chosen)), limits)


def measured(data: str, limits: str, problem: Problem, way: str) -> dict:
    """Seconds of one way, the quickest of a few rounds where they are short, and the gap of the plan rounded from its point."""
    sparse, quickest = sparse_form(problem, relaxed=True), float("inf")
    facts = {"data": data, "households": problem.block.shape[0], "limits": limits, "columns": len(sparse.objective), "way": way}
    for _ in range(ROUNDS):
        began = time.perf_counter()
        try:
            values = backends["highs"].solve(sparse, Effort(time_limit_seconds=TIME_LIMIT, options=WAYS[way]))
        except SolverError as error:
            return {**facts, "seconds": None, "relaxation_gap": None, "plan_gap": None, "ended": str(error).split("'")[1]}
        quickest = min(quickest, time.perf_counter() - began)
        if quickest > TIME_LIMIT / 10:
            break
    flows = to_flows(problem, sparse, values.x)
    plan, bound = (
        achieved(problem, rounded_and_filled(problem, flows, greedy_flows(problem))),
        values.bound,
    )  # the bound leaves out what breaks ties: 1e-7 of it
    gaps = {"relaxation_gap": None, "plan_gap": None} if bound is None else {
        "relaxation_gap": (bound - sparse.value(values.x)) / abs(bound), "plan_gap": (bound - plan) / abs(bound),
    }  # fmt: skip
    return {**facts, "seconds": quickest, **gaps, "ended": values.status.name.lower().replace("_", " ")}


def report(stored: dict) -> str:
    """The table in markdown, with times relative to simplex on the same problem; data of one kind are named above it."""
    rows, data = stored["rows"], list(dict.fromkeys(row["data"] for row in stored["rows"]))
    whose, head, rule = ("", "| data ", "| --- ") if len(data) > 1 else (f" a week of {data[0]},", "", "")
    lines = [
        "# Ways to solve a relaxation", "",
        f"One run of `{stored['command']}`:{whose} HiGHS on one thread, at most {TIME_LIMIT} s. Compare within the table only.",
        "Tight limits leave 2 % of room for new spikes. The gap is that of the plan which the family `lp` rounds from the point.", "",
        f"{head}| households | limits | columns | way | seconds | times simplex | gap of the plan | ended |",
        f"{rule}| ---: | --- | ---: | --- | ---: | ---: | ---: | --- |",
    ]  # fmt: skip
    base = {(row["data"], row["households"], row["limits"]): row["seconds"] for row in rows if row["way"] == "simplex"}
    for row in rows:
        simplex, seconds = base.get((row["data"], row["households"], row["limits"])), row["seconds"]
        times = "–" if simplex is None or seconds is None else f"{seconds / simplex:.1f}"
        shown = "–" if seconds is None else f"{seconds:.2f}"
        gap = "–" if row["plan_gap"] is None else f"{100 * max(row['plan_gap'], 0.0):.3f} %"
        of = f"| {row['data']} " if head else ""
        place = f"{of}| {row['households']:,} | {row['limits']} | {row['columns']:,} | {row['way']}"
        lines.append(f"{place} | {shown} | {times} | {gap} | {row['ended']} |")
    return "\n".join([*lines, ""])


def main() -> None:
    """Measures, prints and stores."""
    options = parser(__doc__)
    options.add_argument("--out", type=Path, default=RESULTS, help="folder for the two files")
    options.add_argument("--customers", type=int, nargs="*", default=[100, 300, 1000], help="sizes of the synthetic weeks")
    options.add_argument("--readings", type=Path, help="a file of your own readings")
    options.add_argument("--blocks", type=int, default=2, help="how many blocks of them")
    chosen = parsed(options, "lp_methods", report)
    if chosen.readings and chosen.out == RESULTS:
        options.error("--readings needs --out: the stored table is of synthetic households only")
    rows = []
    for cases in (synthetic(chosen.customers), own(chosen.readings, chosen.blocks) if chosen.readings else ()):
        for data, limits, problem in cases:
            for way in WAYS:
                rows.append(measured(data, limits, problem, way))
                print(rows[-1], flush=True)
    facts = {"python": platform.python_version(), "machine": platform.machine(), "packages": {"highspy": version("highspy")}}
    write("lp_methods", {"command": command(), **facts, "rows": rows}, report, chosen.out)


if __name__ == "__main__":
    main()
