"""When the exact search ends, and when it does not: `python benchmarks/tightness.py`.

Writes results/tightness.md and .json beside this file: for synthetic Delhi households of one week and ever less room under
the cap on new spikes, the share of energy that shared caps turn away (`size_of`), and how far HiGHS comes in a given time.
The share from which `auto` warns (`Milp.tight_from`) is read off this table.
"""

import argparse
import json
import time
from pathlib import Path

from dr_opt.pipeline import make_problems, optimise
from dr_opt.readings import read_readings
from dr_opt.scenario import Scenario
from dr_opt.solver.matching import size_of
from dr_opt.synthesis import synthesise

RESULTS = Path(__file__).resolve().parent / "results"


def row(customers: int, alpha: float, seconds: float) -> dict[str, float | int | str | None]:
    """What one case comes to."""
    limits = {"no_new_spike": {"alpha_peak_cap_percent": alpha}}
    scenario = Scenario.from_mapping({"constraints": limits, "solver": {"time_limit_seconds": seconds}, "progress": False})
    readings = read_readings(synthesise("delhi", customers=customers, days=7), calendar=scenario.calendar, show_progress=False)
    share = size_of(make_problems(readings, scenario)).turned_away
    began = time.perf_counter()
    summary = optimise(readings, scenario).summary
    took = time.perf_counter() - began
    ended = "time limit" if "time limit" in summary["status"] else "optimal"
    return {"households": customers, "alpha_percent": alpha, "turned_away": share, "seconds": took, "gap": summary["gap"], "ended": ended}


def page(rows: list[dict], seconds: float) -> str:
    """The table as markdown."""
    head = (
        "# Tightness and the exact search\n\n"
        f"One run of `python benchmarks/tightness.py`: family `milp` by HiGHS, one week, one thread, at most {seconds:g} s, gap 0.01 %.\n"
        "*Turned away* is the share of what households would move, each for itself, that shared caps have no room for.\n\n"
        "| households | room for new spikes | turned away | seconds in all | gap | ended |\n| ---: | ---: | ---: | ---: | ---: | --- |\n"
    )
    line = "| {households} | {alpha_percent:g} % | {turned_away:.0%} | {seconds:.1f} | {gap:.4%} | {ended} |"
    return head + "\n".join(line.format(**r) for r in rows) + "\n"


def main() -> None:
    """Measures and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--customers", type=int, nargs="+", default=[20, 100])
    parser.add_argument("--alpha", type=float, nargs="+", default=[25, 15, 10, 5, 2])
    parser.add_argument("--seconds", type=float, default=30.0)
    asked = parser.parse_args()
    row(2, 25.0, 1.0)  # compiles what is compiled once
    rows = [row(customers, alpha, asked.seconds) for customers in asked.customers for alpha in asked.alpha]
    (RESULTS / "tightness.json").write_text(json.dumps({"seconds": asked.seconds, "rows": rows}, indent=1) + "\n", encoding="utf-8")
    (RESULTS / "tightness.md").write_text(page(rows, asked.seconds), encoding="utf-8")
    print(page(rows, asked.seconds))


if __name__ == "__main__":
    main()
