"""Every solver family with every back-end on the same households: `python benchmarks/methods.py`.

Writes results/methods.json and .md beside this file. The days are a week of synthetic Delhi households, once under the
default limits and once under tight ones (hardly any room for new spikes), where the shared caps tie the households together.
Each run has a process of its own, which first plans two households by the same method, so that loading libraries and
compiling is not counted.

A plan of `continuous` is worth its grams less a comfort cost, and its bound and gap are of that.

A table that exists is gone on with: what it holds already is not run again (`--again` does), so a part can be measured anew
and a broken run resumed. A method that did not finish in time is not tried on more households under the same limits, and the
page says so; only greedy, `prices` (which are harder for few households than for many) and the back-end that `auto` takes first
for few are tried on all. So one table may come of several commands, with other sizes
and time limits; the page names them in the order in which to give them.

`--readings PATH` measures on your own readings instead (the first households and the first week of one city) and needs
`--out`, since the stored table is of synthetic ones only.
"""

import json
import os
import platform
import resource
import subprocess
import sys
from argparse import SUPPRESS
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import suppress
from datetime import timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from stored import RESULTS, at_least, parsed, parser, read, write

import dr_opt

DAYS = 7
CUSTOMERS, TIME_LIMIT = [20, 100, 300], 60  # households and seconds, unless others are asked for
OWN = "the readings given"
TIGHT_PERCENT = 2
SPIKES = dr_opt.NoNewSpike(alpha_peak_cap_percent=TIGHT_PERCENT)
LIMITS = {"default": dr_opt.Constraints(), "tight": dr_opt.Constraints(no_new_spike=SPIKES)}
GREEDY_ORDERS = ("saving", "saving_per_kwh", "chronological")
PACKAGES = ("dr_opt", "highspy", "pyscipopt", "cbcbox", "cvxopt", "clarabel", "ecos", "scs", "osqp", "cvxpy", "pyomo", "scipy", "numpy")
KEYS = ("limits", "customers", "family", "backend")
SHORT = {  # how a status sentence is told in a table
    "The plan is optimal": "optimal",
    "The plan is made from prices": "by prices",
    "The plan is rounded": "rounded",
    "The plan keeps every limit": "feasible",
    "The time limit was reached": "time limit",
    "The solver stopped early": "stopped early",
}
Row = dict[str, Any]


# ---- one run, in a process of its own ------------------------------------------------------------------------------


def readings_of(task: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Readings, and what of them is planned: everything of the synthetic ones, the first households and week of others."""
    if task["readings"] is None:
        frame = dr_opt.synthesise("delhi", customers=task["customers"], days=DAYS)
        return dr_opt.read_readings(frame, show_progress=False), {}
    readings = dr_opt.read_readings(task["readings"], show_progress=False)
    city, first = readings.frame.select("city", "customer_id", "time").row(0)[0], readings.frame["time"].min().date()
    names = readings.frame.filter(city=city)["customer_id"].unique().sort().head(task["customers"]).to_list()
    period = dr_opt.Period(start=first, end=first + timedelta(days=DAYS - 1))
    return readings, {"cities": [city], "customers": dr_opt.CustomerChoice(include=names), "period": period}


def scenario_of(task: Mapping[str, Any], **more: Any) -> dr_opt.Scenario:
    """The scenario of a run; greedy's orders stand where others name their back-end."""
    given = {"order": task["backend"]} if task["family"] == "greedy" else {"backend": task["backend"]}
    choice = dr_opt.SolverChoice(family=task["family"], time_limit_seconds=task["time_limit_seconds"], **given)
    return dr_opt.Scenario(constraints=LIMITS[task["limits"]], solver=choice, progress=False, **more)


def run_one(task: Mapping[str, Any]) -> Row:
    """What one method reaches and takes."""
    few = dr_opt.read_readings(dr_opt.synthesise("delhi", customers=2, days=DAYS), show_progress=False)
    readings, chosen = readings_of(task)
    with suppress(dr_opt.DrOptError):
        dr_opt.optimise(few, scenario_of(task))
    try:
        plan = dr_opt.optimise(readings, scenario_of(task, **chosen))
    except dr_opt.DrOptError as problem:
        status = "refused" if isinstance(problem, dr_opt.InputError) else "failed"
        return {"status": status, "why": str(problem).splitlines()[0]}
    summary, total, seconds = plan.summary, plan.summary["total"], plan.run["seconds"]
    kibibytes = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {
        "status": next((word for start, word in SHORT.items() if summary["status"].startswith(start)), summary["status"]),
        "objective": summary["objective"],
        **{name: summary[name] for name in ("achieved", "bound", "gap")},
        "grams": 1e6 * total["tco2_avoided"],
        "kwh_moved": total["kwh_moved"],
        "moves": total["moves"],
        "solving_seconds": seconds["solving"],
        "seconds": round(sum(seconds.values()), 3),
        "peak_memory_mib": round(kibibytes / 1024, 1),
    }


def in_own_process(task: Mapping[str, Any]) -> Row:
    """The same, by another process; killed where it does not mind the time limit."""
    longest = 1.5 * task["time_limit_seconds"] + 60
    command = [sys.executable, __file__, "--one", json.dumps(task)]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=longest, check=False)
    except subprocess.TimeoutExpired:
        return {"status": "killed", "why": f"nothing came back in {longest:.0f} s"}
    if ran.returncode:
        return {"status": "failed", "why": (ran.stderr.strip().splitlines() or [f"exit code {ran.returncode}"])[-1]}
    return json.loads(ran.stdout.splitlines()[-1])


# ---- all of them ---------------------------------------------------------------------------------------------------


def methods() -> Iterator[tuple[str, str, bool]]:
    """Every family with every back-end that is installed here, and whether it is tried on all sizes."""
    for row in dr_opt.solvers().filter("installed").iter_rows(named=True):
        for backend in GREEDY_ORDERS if row["family"] == "greedy" else (row["backend"],):
            yield row["family"], backend, row["family"] == "greedy" or row["backend"] == "prices" or row["auto"] == 1


def out_of_time(rows: Sequence[Row], task: Row) -> int | None:
    """The fewest households, fewer than the task's, on which its method did not finish under the same limits."""
    mine = (row for row in rows if all(row[key] == task[key] for key in KEYS if key != "customers"))
    slow = (row["customers"] for row in mine if row["status"] in ("time limit", "killed"))
    return min((customers for customers in slow if customers < task["customers"]), default=None)


def measure(task: Row, rows: Sequence[Row], on_all_sizes: bool) -> Row:
    """One row of the table: measured, or left out with the reason."""
    slower = None if on_all_sizes else out_of_time(rows, task)
    found = in_own_process(task) if slower is None else {"status": "not run", "why": f"out of time with {slower} households"}
    return {**{key: task[key] for key in KEYS}, "time_limit_seconds": task["time_limit_seconds"], **found}


def memory_gib() -> float:
    """The memory of this machine."""
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)


def facts() -> Row:
    """The machine, without names."""
    packages = {}
    for package in PACKAGES:
        try:
            packages[package] = version(package)
        except PackageNotFoundError:
            continue
    where = {"system": platform.system(), "machine": platform.machine(), "cores": os.cpu_count(), "memory_gib": memory_gib()}
    return {**where, "python": platform.python_version(), "packages": packages}


# ---- the report ----------------------------------------------------------------------------------------------------

NUMBERS = {  # title, column, factor, decimals
    "objective, g": ("achieved", 1, 0), "bound, g": ("bound", 1, 0), "gap, %": ("gap", 100, 4), "kWh": ("kwh_moved", 1, 1),
    "moves": ("moves", 1, 0), "solver, s": ("solving_seconds", 1, 2), "in all, s": ("seconds", 1, 2),
    "MiB": ("peak_memory_mib", 1, 0),
}  # fmt: skip
HEAD = ["| family | back-end | status | " + " | ".join(NUMBERS) + " |", "| --- | --- | --- |" + " ---: |" * len(NUMBERS)]


def shown(value: float | None, factor: float, digits: int) -> str:
    """A figure, in a table; one that rounds to nothing is less than the last digit."""
    return "–" if value is None else at_least(factor * value, digits)


def line(row: Row) -> str:
    """A row of the table."""
    cells = [shown(row.get(name), factor, digits) for name, factor, digits in NUMBERS.values()]
    return f"| {row['family']} | {row['backend']} | {row['status']} | " + " | ".join(cells) + " |"


def notes(rows: Sequence[Row]) -> list[str]:
    """What stands below a table: why a row is empty, and the grams of plans whose objective is something else."""
    told: dict[tuple[str, str], list[str]] = {}
    grams = []
    for row in rows:
        name = f"`{row['family']}/{row['backend']}`"
        if "why" in row:
            told.setdefault((row["status"].capitalize(), row["why"].split(". ")[0]), []).append(name)
        elif abs(row["grams"] - row["achieved"]) >= 0.5:
            grams.append(f"{name} {row['grams']:,.0f}")
    lines = [f"- {status}, {', '.join(names)}: {why}." for (status, why), names in told.items()]
    return [*([f"- Grams saved, before the comfort cost: {', '.join(grams)}."] if grams else []), *lines]


def commands(stored: Mapping[str, Any]) -> list[str]:
    """The commands that measure these rows: one for each time limit and choice of methods, with the defaults left out."""
    methods_of: dict[tuple, set] = {}
    for row in stored["rows"]:
        case = row["time_limit_seconds"], row["customers"], row["limits"]
        methods_of.setdefault(case, set()).add((row["family"], row["backend"]))
    limits_of: dict[tuple, list[str]] = {}
    for (seconds, customers, limits), chosen in methods_of.items():
        limits_of.setdefault((seconds, frozenset(chosen), customers), []).append(limits)
    sizes_of: dict[tuple, list[int]] = {}
    for (seconds, chosen, customers), limits in limits_of.items():
        sizes_of.setdefault((seconds, chosen, tuple(sorted(limits))), []).append(customers)
    own = ["--readings PATH --out FOLDER"] if stored["readings"] == OWN else []
    every, found = set().union(*methods_of.values()), []
    for (seconds, chosen, limits), sizes in sorted(sizes_of.items(), key=lambda item: (item[0][0], sorted(item[1]))):
        words = ["python benchmarks/methods.py", *own]
        words += [] if sorted(sizes) == CUSTOMERS else ["--customers", *map(str, sorted(sizes))]
        words += [] if set(limits) == set(LIMITS) else ["--limits", *limits]
        words += [] if chosen == every else ["--methods", *named(chosen, every)]
        words += [] if seconds == TIME_LIMIT else [f"--time-limit {seconds:g}"]
        found.append(" ".join(words))
    return found


def named(chosen: Set[tuple[str, str]], every: Set[tuple[str, str]]) -> list[str]:
    """Methods as `--methods` takes them: a family by its name where all its back-ends are among them."""
    whole = {family for family, _ in chosen if all(method in chosen for method in every if method[0] == family)}
    return sorted(whole | {f"{family}/{backend}" for family, backend in chosen if family not in whole})


def time_limits(rows: Sequence[Row]) -> str:
    """The time limits, with the numbers of households where there are several."""
    sizes: dict[float, set[int]] = {}
    for row in rows:
        sizes.setdefault(row["time_limit_seconds"], set()).add(row["customers"])
    if len(sizes) == 1:
        return f"{min(sizes):g} s for the solver"
    told = (f"{seconds:g} s with {', '.join(f'{size:,}' for size in sorted(sizes[seconds]))} households" for seconds in sorted(sizes))
    return f"{' and '.join(told)} for the solver"


def report(stored: Mapping[str, Any]) -> str:
    """The tables in markdown."""
    rows = stored["rows"]
    packages = ", ".join(f"{name} {number}" for name, number in stored["packages"].items())
    lines = [
        "# Methods on the same days",
        "",
        f"By {', then '.join(f'`{command}`' for command in commands(stored))}: one city and one week of {stored['readings']}, gap "
        f"{100 * dr_opt.SolverChoice().gap:g} %, at most {time_limits(rows)}, one thread. Each run has a process of its own and has "
        "planned two households before, so loading libraries is not counted. *In all* adds preparing, assembling and "
        "auditing to the solver's seconds; *MiB* is the most memory that the process, or a program that it started, has used; *kWh* are "
        "those that move. The objective is grams saved, of `continuous` less its comfort cost. Rows of greedy name its order.",
        "",
        "How a run ended: *optimal*, within the gap asked for; *rounded*, from a relaxation whose optimum is the bound; *by prices*, made "
        "from prices that prove the bound, with a larger gap than was asked for; *feasible*, without a bound.",
        "",
        f"Machine: {stored['cores']} cores, {stored['memory_gib']:g} GiB, {stored['system']} {stored['machine']}, Python "
        f"{stored['python']}; {packages}. Other work may have run beside it: times are good to a factor of two.",
    ]
    titles = {"default": "Default limits", "tight": f"Tight limits (`no_new_spike.alpha_peak_cap_percent` {TIGHT_PERCENT})"}
    for limits, title in titles.items():
        for customers in sorted({row["customers"] for row in rows if row["limits"] == limits}):
            these = [row for row in rows if (row["limits"], row["customers"]) == (limits, customers)]
            lines += ["", f"## {title}, {customers:,} households", "", *HEAD, *map(line, these)]
            lines += ["", *below] if (below := notes(these)) else []
    return "\n".join([*lines, ""])


def in_order(rows: Sequence[Row]) -> list[Row]:
    """Rows by limits and size, and then as `dr_opt.solvers()` has the methods."""
    place = {method[:2]: k for k, method in enumerate(methods())}
    return sorted(rows, key=lambda row: (row["limits"], row["customers"], place.get((row["family"], row["backend"]), len(place))))


def main() -> None:
    """Measures what is asked for and not there yet, and stores after every run."""
    options = parser(__doc__)
    options.add_argument("--customers", type=int, nargs="+", default=CUSTOMERS, help="households")
    options.add_argument("--limits", nargs="+", choices=LIMITS, default=list(LIMITS))
    options.add_argument("--methods", nargs="+", metavar="FAMILY[/BACKEND]", help="only these, such as milp or lp/clarabel")
    options.add_argument("--time-limit", type=float, default=TIME_LIMIT, help="seconds for a solver")
    options.add_argument("--again", action="store_true", help="run again what the table holds already")
    options.add_argument("--readings", type=Path, help="your own readings instead of synthetic ones")
    options.add_argument("--out", type=Path, help="folder for the two files")
    options.add_argument("--one", help=SUPPRESS)
    asked = parsed(options, "methods", report, show=False)
    if asked.one:
        print(json.dumps(run_one(json.loads(asked.one))))
        return
    if asked.readings and not asked.out:
        options.error("--readings needs --out, a folder for its table")
    folder = asked.out or RESULTS
    rows = read("methods", folder)["rows"] if (folder / "methods.json").exists() else []
    whose = OWN if asked.readings else "synthetic Delhi households"
    for limits in asked.limits:
        for customers in sorted(asked.customers):
            for family, backend, on_all_sizes in methods():
                task = dict(zip(KEYS, (limits, customers, family, backend))) | {"time_limit_seconds": asked.time_limit}
                there = [row for row in rows if all(row[key] == task[key] for key in KEYS)]
                if (asked.methods and not {family, f"{family}/{backend}"} & set(asked.methods)) or (there and not asked.again):
                    continue
                task["readings"] = str(asked.readings.resolve()) if asked.readings else None
                found = measure(task, rows, on_all_sizes)
                rows = in_order([*(row for row in rows if row not in there), found])
                write("methods", {"readings": whose, **facts(), "rows": rows}, report, folder, show=False)
                print(f"{limits} {customers}", line(found), flush=True)


if __name__ == "__main__":
    main()
