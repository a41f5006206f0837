"""Prices against greedy on the published study's own scale and strict policy: `python benchmarks/against_greedy.py`.

Writes results/against_greedy.md and .json beside this file. Delhi with 184,640 households and Mumbai with 53,839, two weeks, one move
a day, three a week, two hours, a quarter of a city's peak hours, and floors from each household's mean by hour of the week. The
households are synthetic: 20,000 of each city and week, repeated, each scaled by a factor of its own. Each week is planned from its
own readings, so a floor is the mean of two half-hours, and less may move than in the study, which knows both weeks. Every method has
a process of its own and is handed the same arrays; counted are the core seconds of solving alone (all threads added up, so that other
work on the machine does not matter), memory is the process's peak. `chronological` is the order of the published study: days one after
another, the weekly quota first come, first served.
"""

import json
import resource
import subprocess
import sys
import time
from argparse import SUPPRESS
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
from stored import command, parsed, parser, percent, write

from dr_opt.pipeline import make_problems
from dr_opt.problem import Problem
from dr_opt.readings import read_readings
from dr_opt.scenario import Scenario
from dr_opt.solver.base import Effort, achieved
from dr_opt.solver.crowd import Gathering
from dr_opt.solver.greedy import greedy_flows
from dr_opt.solver.prices import settle
from dr_opt.synthesis import synthesise

STUDY = {"delhi": 184_640, "mumbai": 53_839}
BASE = 20_000
START = date(2025, 11, 3)
STRICT = {
    "max_moves_per_day": {"limit": 1},
    "max_moves_per_week": {"limit": 3},
    "max_shift_window": {"hours": 2},
    "peak_hour_comfort": {"max_reduction_percent": 25, "scope": "per_city"},
    "regional_shift_cap": {"percent": 10},
    "no_new_spike": {"alpha_peak_cap_percent": 25},
    "household_minimum_usage": {"baseline_type": "average", "time_bucket": "hour_of_week"},
}
METHODS = ("prices", "saving", "chronological")


def repeated(problem: Problem, factor: np.ndarray) -> Problem:
    """The problem of so many households as there are factors, those of `problem` repeated and scaled; its caps scaled with them."""
    row = np.arange(len(factor)) % len(problem.highest_kwh)
    highest = problem.highest_kwh[row]
    highest *= factor[:, None]
    share = highest.sum() / problem.highest_kwh.sum()
    zero, none = np.zeros(len(factor), np.int64), np.broadcast_to(False, highest.shape)
    block = replace(problem.block, city=zero, row=row, usage_kwh=highest, give=none, receive=none, factor_row=zero)
    return replace(
        problem,
        block=block,
        highest_kwh=highest,
        lowest_kwh=np.broadcast_to(0.0, highest.shape),
        profile_of=problem.profile_of[row],
        city_sums=tuple(replace(city_sum, limit_kwh=city_sum.limit_kwh * share) for city_sum in problem.city_sums),
    )


def week_of(city: str, week: int, households: int, base: int) -> Problem:
    """One week of a city."""
    scenario = Scenario.from_mapping({"constraints": STRICT, "progress": False})
    frame = synthesise(city, customers=min(base, households), days=7, start=START + timedelta(days=7 * week), seed=week)
    [problem] = make_problems(read_readings(frame, calendar=scenario.calendar, show_progress=False), scenario)
    return repeated(problem, np.random.default_rng(week).lognormal(0, 0.5, households))


def solved(problem: Problem, method: str) -> dict[str, float]:
    """Grams saved, the bound where there is one, seconds and kWh."""
    began = time.process_time()
    if method == "prices":
        gathering = Gathering()
        crowd = gathering.add(problem)
        began = time.process_time()
        found = settle(gathering.market, [crowd], Effort(threads=2))
        return {"g": found.achieved, "bound_g": found.bound, "seconds": time.process_time() - began, "kwh": float(found.flows[0].kwh.sum())}
    flows = greedy_flows(problem, method)
    return {"g": achieved(problem, flows), "seconds": time.process_time() - began, "kwh": float(flows.kwh.sum())}


def run_one(method: str, share: float, base: int, weeks: int) -> dict[str, float | str]:
    """All cities and weeks by one method, in this process."""
    solved(week_of("delhi", 0, 30, 30), method)  # compiles what is compiled once
    total: dict[str, float] = {"g": 0.0, "bound_g": 0.0, "seconds": 0.0, "kwh": 0.0}
    for city, households in STUDY.items():
        for week in range(weeks):
            for name, value in solved(week_of(city, week, int(households * share), base), method).items():
                total[name] += value
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"method": method, "peak_gib": peak, **total}


def page(stored: dict) -> str:
    """The table as markdown."""
    rows, weeks = stored["rows"], stored["weeks"]
    households, bound = int(sum(STUDY.values()) * stored["share"]), max(row["bound_g"] for row in rows)
    line = "| {method} | {t:.2f} | {below} | {per_kwh:.0f} | {gwh:.2f} | {seconds:.1f} | {peak_gib:.1f} |"
    text = [
        "# Prices against greedy",
        "",
        f"One run of `{stored['command']}`: {households:,} synthetic households of Delhi and Mumbai, {weeks} weeks, the",
        f"published study's strict policy, each week by itself. No plan can save more than {bound / 1e6:,.2f} t: the prices' bound.",
        "Seconds are those of all cores at work on solving, added up; memory is that of a process that also holds the problem in double",
        "precision.",
        "",
        "| method | tCO2 saved | below the bound | g/kWh moved | GWh moved | core seconds | memory, GiB |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        below = percent(1 - row["g"] / bound, 4)
        figures = {"t": row["g"] / 1e6, "below": below, "per_kwh": row["g"] / row["kwh"], "gwh": row["kwh"] / 1e6}
        name = row["method"] if row["method"] == "prices" else f"greedy, order {row['method']}"
        text.append(line.format(**{**row, **figures, "method": name}))
    return "\n".join([*text, ""])


def main() -> None:
    """Measures and writes."""
    options = parser(__doc__)
    options.add_argument("--share", type=float, default=1.0, help="share of the study's households")
    options.add_argument("--base", type=int, default=BASE)
    options.add_argument("--weeks", type=int, default=2)
    options.add_argument("--only", choices=METHODS, help=SUPPRESS)
    asked = parsed(options, "against_greedy", page)
    if asked.only:
        print(json.dumps(run_one(asked.only, asked.share, asked.base, asked.weeks)))
        return
    rows = []
    for method in METHODS:
        ran = subprocess.run([sys.executable, __file__, *sys.argv[1:], "--only", method], capture_output=True, text=True, check=True)
        rows.append(json.loads(ran.stdout.splitlines()[-1]))
        print(rows[-1], flush=True)
    write("against_greedy", {"command": command(), "share": asked.share, "weeks": asked.weeks, "rows": rows}, page)


if __name__ == "__main__":
    main()
