"""Forty hard cases for prices at 20,000 households: `python benchmarks/hard_grid.py`.

Writes results/hard_grid.md and .json beside this file. The list of cases is fixed: every two values of any two settings meet
in some case, the tightest corners are among them, and each case says whether moves may be split. For each: the
certified gap (the bound by the certificate, in double precision) and the seconds that prices, bound and plan took.
"""

import itertools
import time

from stored import command, parsed, parser, percent, write

from dr_opt.pipeline import make_problems
from dr_opt.readings import read_readings
from dr_opt.scenario import Scenario
from dr_opt.solver.backends import backends
from dr_opt.solver.base import Effort
from dr_opt.solver.selection import families  # noqa: F401  it registers the back-ends
from dr_opt.synthesis import synthesise

CASES = 40
SETTINGS = {
    "Y": (3, 7), "X": (1, 2, 3), "H": (1, 4, 12), "alpha": (1, 5, 25), "P": (0.2, 2, 10), "Z by": ("slot", "hour", "day"),
    "horizon": ("day", "week"), "Z for": ("per_customer", "per_city"), "least kWh": (None, 0.1), "splits": (True, False),
}  # fmt: skip
CORNERS = [
    {"alpha": 1, "H": 1, "X": 3, "Y": 7}, {"alpha": 1, "P": 0.2, "H": 12, "X": 1}, {"alpha": 1, "H": 12, "horizon": "week", "X": 3},
    {"alpha": 1, "Z by": "day", "least kWh": 0.1, "X": 3}, {"alpha": 1, "P": 10, "H": 4, "X": 2, "Z by": "hour"},
    {"alpha": 5, "X": 1, "Y": 3},
]  # fmt: skip


def cases() -> list[dict]:
    """The fixed list: corners with and without splits, then whatever brings most pairs of values together for the first time."""
    names = list(SETTINGS)
    whole = {name: values[-1] for name, values in SETTINGS.items()}
    found = [{**whole, "least kWh": None, **corner, "splits": splits} for corner in CORNERS for splits in (True, False)]
    pairs = {((a, x), (b, y)) for a, b in itertools.combinations(names, 2) for x in SETTINGS[a] for y in SETTINGS[b]}
    met = lambda case: {((a, case[a]), (b, case[b])) for a, b in itertools.combinations(names, 2)}
    for case in found:
        pairs -= met(case)
    grid = [dict(zip(names, values)) for values in itertools.product(*SETTINGS.values())]
    while len(found) < CASES:
        best = max(grid[len(found) % 7 :: 7], key=lambda case: len(met(case) & pairs))
        if best in found:
            best = grid[(len(found) * 1009) % len(grid)]
        pairs -= met(best)
        found.append(best)
    if pairs:
        raise SystemExit(f"{len(pairs)} pairs of values never meet in {CASES} cases. Raise CASES.")
    return found


def scenario_of(case: dict) -> Scenario:
    """A case as a scenario."""
    constraints = {
        "max_moves_per_day": {"limit": case["X"]},
        "max_moves_per_week": {"limit": case["Y"]},
        "max_shift_window": {"hours": case["H"]},
        "no_new_spike": {"alpha_peak_cap_percent": case["alpha"]},
        "regional_shift_cap": {"percent": case["P"]},
        "peak_hour_comfort": {"max_reduction_percent": 30, "group": case["Z by"], "scope": case["Z for"]},
        "conservation": {"horizon": case["horizon"]},
        "min_move_size": None if case["least kWh"] is None else {"kwh": case["least kWh"]},
        "move_counting": "slot" if case["splits"] else "pair",
    }
    return Scenario.from_mapping({"constraints": constraints, "progress": False})


def row(case: dict, readings: object) -> dict:
    """One case solved."""
    [problem] = make_problems(readings, scenario_of(case))  # type: ignore[arg-type]
    began = time.perf_counter()
    answer = backends["prices"].answer(problem, Effort(gap=1e-5))  # type: ignore[attr-defined]
    seconds = time.perf_counter() - began
    gap = (answer.bound - answer.achieved) / max(answer.bound, 1e-9)
    moves = len(set(zip(answer.flows.customer.tolist(), answer.flows.origin.tolist())))
    found = {"moves": moves, "more_places": len(answer.flows) - moves, "kwh": float(answer.flows.kwh.sum())}
    return {**case, "seconds": seconds, "gap": gap, **found}


def page(stored: dict) -> str:
    """The table as markdown."""
    rows = stored["rows"]
    worst = {splits: max(r["gap"] for r in rows if r["splits"] is splits) for splits in (True, False)}
    slowest = max(r["seconds"] for r in rows)
    line = (
        "| {X} | {Y} | {H} | {alpha} | {P} | {z} | {horizon} | {least} | {splits} | {gap} | {seconds:.1f} | {moves:,} | {more_places:,} |"
    )
    text = [
        "# Forty hard cases",
        "",
        f"One run of `{stored['command']}`: {stored['households']:,} synthetic Delhi households, one week, two threads. The largest gap",
        f"is {percent(worst[True], 4)} with splits and {percent(worst[False], 4)} without; the slowest case took {slowest:.1f} s.",
        "",
        "X, Y: most moves a day and a week. H: window, hours. α: room for new spikes, %. P: regional cap, %. Z: peak comfort of 30 %,",
        "counted by slot, hour or day, for each customer or for the city. Horizon: the period that no move leaves, so that a household's",
        "total over it stays.",
        "Least: least size of a move, kWh. *Split* moves have more than one new time; *more places* counts these further times.",
        "",
        "| X | Y | H | α | P | Z | horizon | least | splits | certified gap | seconds | moves | more places |",
        "| ---: | ---: | ---: | ---: | ---: | --- | --- | --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for r in rows:
        z = f"{r['Z by']}, {'customer' if r['Z for'] == 'per_customer' else 'city'}"
        least, splits = "–" if r["least kWh"] is None else f"{r['least kWh']:g}", "yes" if r["splits"] else "no"
        text.append(line.format(**{**r, "z": z, "least": least, "splits": splits, "gap": percent(r["gap"], 4)}))
    return "\n".join([*text, ""])


def main() -> None:
    """Measures and writes."""
    options = parser(__doc__)
    options.add_argument("--households", type=int, default=20_000)
    asked = parsed(options, "hard_grid", page)
    calendar = Scenario().calendar
    warm = read_readings(synthesise("delhi", customers=20, days=7), calendar=calendar, show_progress=False)
    row({name: values[0] for name, values in SETTINGS.items()}, warm)  # compiles what is compiled once
    row({**{name: values[-1] for name, values in SETTINGS.items()}, "least kWh": 0.1, "Z for": "per_customer"}, warm)
    readings = read_readings(synthesise("delhi", customers=asked.households, days=7), calendar=calendar, show_progress=False)
    rows = []
    for case in cases():
        rows.append(row(case, readings))
        print(rows[-1], flush=True)
    write("hard_grid", {"command": command(), "households": asked.households, "rows": rows}, page)


if __name__ == "__main__":
    main()
