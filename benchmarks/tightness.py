"""When the exact search ends, and when it does not: `python benchmarks/tightness.py`.

Writes results/tightness.md and .json beside this file. Synthetic Delhi households of one week are given ever less room under the
cap on new spikes. The table shows the share of energy that shared caps turn away (`size_of`), and how far HiGHS comes in a given
time. The share from which `auto` warns (`Milp.tight_from`) is read off it.
"""

import time

from stored import command, parsed, parser, percent, write

from dr_opt.pipeline import make_problems, optimise
from dr_opt.readings import read_readings
from dr_opt.scenario import Scenario
from dr_opt.solver.matching import size_of
from dr_opt.synthesis import synthesise


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


def page(stored: dict) -> str:
    """The table as markdown."""
    head = (
        "# Tightness and the exact search\n\n"
        f"One run of `{stored['command']}`: family `milp` by HiGHS, one week, one thread, at most {stored['seconds']:g} s, gap 0.01 %.\n"
        "*Turned away* is the share of what households would move, each for itself, that shared caps have no room for.\n\n"
        "| households | room for new spikes | turned away | seconds in all | gap | ended |\n| ---: | ---: | ---: | ---: | ---: | --- |\n"
    )
    line = "| {households} | {alpha_percent:g} % | {turned} | {seconds:.1f} | {shown} | {ended} |"
    lines = (line.format(**r, turned=percent(r["turned_away"], 0), shown=percent(r["gap"], 4)) for r in stored["rows"])
    return head + "\n".join(lines) + "\n"


def main() -> None:
    """Measures and writes."""
    options = parser(__doc__)
    options.add_argument("--customers", type=int, nargs="+", default=[20, 100])
    options.add_argument("--alpha", type=float, nargs="+", default=[25, 15, 10, 5, 2], help="room for new spikes, %%")
    options.add_argument("--seconds", type=float, default=30.0)
    asked = parsed(options, "tightness", page)
    row(2, 25.0, 1.0)  # compiles what is compiled once
    rows = [row(customers, alpha, asked.seconds) for customers in asked.customers for alpha in asked.alpha]
    write("tightness", {"command": command(), "seconds": asked.seconds, "rows": rows}, page)


if __name__ == "__main__":
    main()
