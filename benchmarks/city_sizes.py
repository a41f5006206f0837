"""Prices on cities of 1,000 to 1,000,000 households: `python benchmarks/city_sizes.py`.

Writes results/city_sizes.md and .json beside this file. A city is a synthetic Delhi of at most 20,000 households and one week,
made into arrays as every plan's readings are. A larger one repeats it, every household scaled by a factor of its own (log-normal,
σ 0.5, seeded) and the caps with their sum. Timed is what follows: prices, bound, plan, from arrays in memory. Two more cities
have sizes that are far from alike: heavy tails, and one giant among dwarfs. A second table holds one pass over the
households against the speed at which the same run reads the same memory.
"""

import resource
import time
from dataclasses import replace

import numpy as np
from stored import command, parsed, parser, percent, write

from dr_opt.parallel import in_threads
from dr_opt.pipeline import make_problems
from dr_opt.readings import read_readings
from dr_opt.scenario import Scenario
from dr_opt.solver.base import Effort
from dr_opt.solver.crowd import Crowd, Gathering, Market
from dr_opt.solver.prices import settle
from dr_opt.solver.replies import worth_of
from dr_opt.solver.search import city_of
from dr_opt.synthesis import synthesise

BASE = 20_000
THREADS = 2


def base_city(customers: int, constraints: dict) -> tuple[Market, Crowd]:
    """A synthetic city of so many households under some constraints."""
    scenario = Scenario.from_mapping({"constraints": constraints, "progress": False})
    readings = read_readings(synthesise("delhi", customers=customers, days=7), calendar=scenario.calendar, show_progress=False)
    [problem] = make_problems(readings, scenario)
    gathering = Gathering()
    crowd = gathering.add(problem)
    return gathering.market, crowd


def scaled(market: Market, crowd: Crowd, factor: np.ndarray) -> tuple[Market, Crowd]:
    """The city repeated, customer k of the whole scaled by `factor[k]`, and its caps with them."""
    number, size = len(crowd), len(factor)
    highest = np.empty((size, crowd.highest_kwh.shape[1]), np.float32)
    sums = None if crowd.sum_limit_kwh is None else np.empty((size, crowd.sum_limit_kwh.shape[1]), np.float32)
    for first in range(0, size, number):
        own = slice(first, min(first + number, size))
        f = factor[own, None].astype(np.float32)
        np.multiply(crowd.highest_kwh[: len(f)], f, out=highest[own])
        if sums is not None:
            np.multiply(crowd.sum_limit_kwh[: len(f)], f, out=sums[own])
    row = np.arange(size) % number
    share = float((factor * crowd.highest_kwh.sum(axis=1, dtype=float)[row]).sum() / crowd.highest_kwh.sum(dtype=float))
    city_sums = tuple(replace(city_sum, limit_kwh=city_sum.limit_kwh * share) for city_sum in market.city_sums)
    return replace(market, city_sums=city_sums), Crowd(crowd.profile[row], crowd.city[row], highest, None, sums)


def measured(name: str, market: Market, crowd: Crowd) -> dict[str, float | int | str]:
    """One city solved and timed."""
    began = time.perf_counter()
    found = settle(market, [crowd], Effort(threads=THREADS))
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    gap = (found.bound - found.achieved) / found.bound
    return {
        "city": name, "households": len(crowd), "seconds": seconds, "rounds": found.rounds, "gap": gap, "bound_g": found.bound,
        "achieved_g": found.achieved, "peak_gib": peak, "arrays_gib": crowd.highest_kwh.nbytes / 2**30,
    }  # fmt: skip


def one_pass(name: str, market: Market, crowd: Crowd) -> dict[str, float | str]:
    """Seconds for one pass of replies, and for reading the same arrays once, each the best of five taken in turn."""
    city = city_of(market, [crowd], THREADS)
    worth = [worth_of(market, city.value, np.zeros(len(market.limit_kwh)))]
    arrays = [array for array in (crowd.highest_kwh, crowd.sum_limit_kwh) if array is not None]
    read = lambda k: [array[k * len(array) // THREADS : (k + 1) * len(array) // THREADS].max() for array in arrays]
    city.totals(worth)
    replies, reads = [], []
    for _ in range(5):
        began = time.perf_counter()
        city.totals(worth)
        replies.append(time.perf_counter() - began)
        began = time.perf_counter()
        in_threads(read, [(k,) for k in range(THREADS)])
        reads.append(time.perf_counter() - began)
    gib = sum(array.nbytes for array in arrays) / 2**30
    seconds, read_seconds = min(replies), min(reads)
    times = {"seconds": seconds, "read_seconds": read_seconds}
    return {"case": name, "households": len(crowd), **times, "gib": gib, "ratio": seconds / read_seconds}


def page(stored: dict) -> str:
    """The tables as markdown."""
    passes, base = stored["passes"], stored["base"]
    city = "| {city} | {households:,} | {seconds:.2f} | {rounds} | {shown} | {arrays_gib:.2g} | {peak_gib:.2f} |"
    line = "| {case} | {seconds:.3f} | {read_seconds:.3f} | {ratio:.1f} |"
    text = [
        "# Prices and the size of a city",
        "",
        f"One run of `{stored['command']}`: default limits, one week, two threads. Seconds are those for prices, bound and",
        "plan, from arrays in memory. The gap is between a strict bound and a plan that keeps every limit. Memory is the highest",
        f"of the whole process so far. Cities above {base:,} households repeat one of that size, each household scaled by a factor of its",
        "own.",
        "",
        "| city | households | seconds | rounds | certified gap | arrays, GiB | memory, GiB |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        *(city.format(**row, shown=percent(row["gap"], 5)) for row in stored["rows"]),
        "",
        "## One pass over the households, and the speed of memory",
        "",
        f"{passes[0]['households']:,} households, one week. *Pass*: the replies of all of them to one price vector, added up.",
        "*Reading*: the largest number of the same arrays, found by the same two threads. The best of five, taken in turn.",
        "",
        "| case | pass, seconds | reading, seconds | ratio |",
        "| --- | ---: | ---: | ---: |",
        *(line.format(**row) for row in passes),
        "",
    ]
    return "\n".join(text)


def main() -> None:
    """Measures and writes."""
    options = parser(__doc__)
    options.add_argument("--households", type=int, nargs="+", default=[1_000, 10_000, 100_000, 1_000_000])
    options.add_argument("--base", type=int, default=BASE)
    asked = parsed(options, "city_sizes", page)
    random, rows = np.random.default_rng(0), []
    market, crowd = base_city(200, {})
    settle(market, [crowd], Effort(threads=THREADS))  # compiles what is compiled once
    for households in asked.households:
        market, crowd = base_city(min(households, asked.base), {})
        if households > asked.base:
            market, crowd = scaled(market, crowd, random.lognormal(0, 0.5, households))
        rows.append(measured("synthetic", market, crowd))
        print(rows[-1], flush=True)
    base = base_city(asked.base, {})
    rows.append(measured("heavy tails (Pareto, exponent 1.5)", *scaled(*base, 1 + random.pareto(1.5, asked.base))))
    giant = np.ones(asked.base)
    giant[0] = asked.base / 5
    rows.append(measured("one giant, a fifth as large as all others together", *scaled(*base, giant)))
    passes = []
    peak = {"max_reduction_percent": 30}
    for name, limits in {
        "1 move a day": {},
        "2 moves a day, peaks by slot": {"max_moves_per_day": {"limit": 2}, "peak_hour_comfort": {**peak, "group": "slot"}},
        "2 moves a day, peaks by hour": {"max_moves_per_day": {"limit": 2}, "peak_hour_comfort": peak},
        "3 moves a day, peaks by slot": {"max_moves_per_day": {"limit": 3}, "peak_hour_comfort": {**peak, "group": "slot"}},
        "3 moves a day, peaks by hour": {"max_moves_per_day": {"limit": 3}, "peak_hour_comfort": peak},
    }.items():
        passes.append(one_pass(name, *scaled(*base_city(asked.base, limits), random.lognormal(0, 0.5, 10 * asked.base))))
        print(passes[-1], flush=True)
    write("city_sizes", {"command": command(), "base": asked.base, "rows": rows, "passes": passes}, page)


if __name__ == "__main__":
    main()
