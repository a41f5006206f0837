"""Prices against HiGHS with the aggregated form: `python benchmarks/against_highs.py`.

Writes results/against_highs.md and .json beside this file: for synthetic Delhi households of one week, loose and tight, what each
reaches in a given time, and what each proves. It fails where one's bound lies below the other's plan. From its table comes the
number of households from which `auto` takes prices (`Milp.whole_from`).
"""

import argparse
import json
import time
from pathlib import Path

from dr_opt.pipeline import make_problems
from dr_opt.readings import read_readings
from dr_opt.scenario import Scenario
from dr_opt.solver.base import Answer, Effort
from dr_opt.solver.selection import families
from dr_opt.synthesis import synthesise

RESULTS = Path(__file__).resolve().parent / "results"


def solved(backend: str, problem: object, seconds: float) -> tuple[Answer, float]:
    """A back-end's answer, and how long it took."""
    began = time.perf_counter()
    answer = families["milp"].solve(problem, Effort(backend=backend, time_limit_seconds=seconds))  # type: ignore[arg-type]
    return answer, time.perf_counter() - began


def row(households: int, alpha: float, readings: object, seconds: float) -> dict:
    """Both on one case. Raises `SystemExit` where a bound lies below a plan."""
    scenario = Scenario.from_mapping({"constraints": {"no_new_spike": {"alpha_peak_cap_percent": alpha}}, "progress": False})
    [problem] = make_problems(readings, scenario)  # type: ignore[arg-type]
    found: dict = {"households": households, "alpha_percent": alpha}
    for backend in ("prices", "highs"):
        answer, took = solved(backend, problem, seconds)
        found |= {f"{backend}_seconds": took, f"{backend}_g": answer.achieved, f"{backend}_bound_g": answer.bound}
        found[f"{backend}_gap"] = (answer.bound - answer.achieved) / answer.bound if answer.bound else None
    for one, other in (("prices", "highs"), ("highs", "prices")):
        if found[f"{one}_bound_g"] is not None and found[f"{one}_bound_g"] < found[f"{other}_g"] - 1e-6:
            raise SystemExit(f"the bound of {one} lies below the plan of {other}: {found}")
    return found


def proved(gap: float | None) -> str:
    """A gap in words."""
    return "no bound yet" if gap is None else f"{gap:.4%}"


def page(rows: list[dict], seconds: float) -> str:
    """The table as markdown."""
    line = (
        "| {households:,} | {alpha_percent:g} % | {prices_seconds:.1f} | {prices_gap:.4%} | {highs_seconds:.1f} | {proved} | {more:+.4%} |"
    )
    text = [
        "# Prices against HiGHS",
        "",
        "One run of `python benchmarks/against_highs.py`: family `milp`, gap 0.01 % asked for, default limits but for the room for new",
        f"spikes, one week, at most {seconds:g} s each; HiGHS has one thread, prices two. Blocks below 100 households that prices leave",
        "with a larger gap go on to HiGHS. No bound lies below the other's plan, or the command would have failed.",
        "",
        "| households | room | prices, seconds | gap | HiGHS, seconds | gap | the plan by prices saves more by |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        *(line.format(**r, more=r["prices_g"] / r["highs_g"] - 1, proved=proved(r["highs_gap"])) for r in rows),
    ]
    return "\n".join([*text, ""])


def main() -> None:
    """Measures and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--households", type=int, nargs="+", default=[50, 100, 300, 1000, 2000])
    parser.add_argument("--alpha", type=float, nargs="+", default=[25, 5, 1])
    parser.add_argument("--seconds", type=float, default=30.0)
    asked = parser.parse_args()
    calendar, rows = Scenario().calendar, []
    warm = read_readings(synthesise("delhi", customers=3, days=7), calendar=calendar, show_progress=False)
    row(3, 25.0, warm, 60.0)  # compiles what is compiled once
    for households in asked.households:
        readings = read_readings(synthesise("delhi", customers=households, days=7), calendar=calendar, show_progress=False)
        for alpha in asked.alpha:
            rows.append(row(households, alpha, readings, asked.seconds))
            print(rows[-1], flush=True)
    (RESULTS / "against_highs.json").write_text(json.dumps({"seconds": asked.seconds, "rows": rows}, indent=1) + "\n", encoding="utf-8")
    (RESULTS / "against_highs.md").write_text(page(rows, asked.seconds), encoding="utf-8")
    print(page(rows, asked.seconds))


if __name__ == "__main__":
    main()
