"""A whole city from readings on disk to an audited result folder: `python benchmarks/city_end_to_end.py`.

Writes results/city_end_to_end.md and .json beside this file. There are three sizes: 10,000 households, 50,000, and as many as
the published study had (Delhi 184,640 and Mumbai 53,839), each for 14 days and with its readings in two orders. The largest has
160 million readings. All are invented by `dr_opt.synthesis` and written piece by piece before the clock starts.
The limits are nearly the default ones: one move a day and three a week, two hours either way, at most 25 % of each household's peak
hour, 10 % of a region's day, the least use of a half-hour as its floor, and no slot more than 25 % above its load.

The run is `dr-opt run` without pictures, in a process of its own, so that its time and its memory are a user's. Readings
are sorted by household, or by time, which costs more, since they are then dealt out on disk first; `--order` and `--households`
take some of the runs. Files are made in `--folder` (a new temporary one, removed afterwards, unless named).
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml
from stored import parsed, parser, percent, write

from dr_opt.calendar import Calendar, slots_of_dates
from dr_opt.synthesis import split_customers, synthesise_arrays

STUDY = 238_479  # households
DEFAULTS = {"households": [10_000, 50_000, STUDY], "days": [14], "order": ["household", "time"]}
START = date(2025, 11, 3)
PIECE = 5_000  # households a file
LIMITS = {
    "max_moves_per_day": {"limit": 1},
    "max_moves_per_week": {"limit": 3},
    "max_shift_window": {"hours": 2},
    "peak_hour_comfort": {"max_reduction_percent": 25},
    "regional_shift_cap": {"percent": 10},
    "household_minimum_usage": {"percent_of_robust_max": 10},
    "no_new_spike": {"alpha_peak_cap_percent": 25},
}


def pieces(city: str, households: int, days: int, order: str) -> Iterator[tuple[int, int, date, int]]:
    """First household, how many, first day and how many: what one file holds."""
    if order == "time":
        yield from ((0, households, START + timedelta(days=day), 1) for day in range(days))
    else:
        yield from ((first, min(PIECE, households - first), START, days) for first in range(0, households, PIECE))


def table(city: str, first: int, households: int, start: date, days: int, order: str) -> pl.DataFrame:
    """Readings in the research data's columns."""
    usage, factors = synthesise_arrays(city, households, days, start, 0, first)
    slots = slots_of_dates(Calendar(), start, start + timedelta(days=days - 1))
    names = pl.Series([f"{city}-{n:07d}" for n in range(first + 1, first + households + 1)])
    times = pl.Series(slots.time).cast(pl.Datetime("us", "UTC")).dt.convert_time_zone("Asia/Kolkata")
    household, slot = np.divmod(np.arange(usage.size, dtype=np.uint32), len(slots))
    if order == "time":
        slot, household = np.divmod(np.arange(usage.size, dtype=np.uint32), households)
    return pl.DataFrame(
        {
            "ca_id": names.gather(household),
            "date": times.gather(slot),
            "city": pl.repeat(city, usage.size, eager=True),
            "value": usage[household, slot].astype(np.float64).round(3),
            "marginal_emissions_grams_co2_per_kWh": factors.marginal_g_per_kwh[slot],
            "average_emissions_grams_co2_per_kWh": factors.average_g_per_kwh[slot],
        }
    )


def write_readings(folder: Path, households: int, days: int, order: str) -> int:
    """Writes the readings as a folder of parquet files; how many bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    written = 0
    for city, number in split_customers(["delhi", "mumbai"], households).items():
        for k, (first, some, start, length) in enumerate(pieces(city, number, days, order)):
            file = folder / (f"day-{k:04d}-{city}.parquet" if order == "time" else f"{city}-{k:04d}.parquet")
            if not file.exists():
                table(city, first, some, start, length, order).write_parquet(file)
            written += file.stat().st_size
    return written


def run(scenario: Path, out: Path) -> tuple[float, float, float]:
    """Seconds, seconds of all cores at work, and peak memory (GB) of `dr-opt run` in a process of its own."""
    command = [sys.executable, "-c", "from dr_opt.cli import main; main()", "run", str(scenario), "--out", str(out), "--no-figures"]
    watched = "import resource, subprocess, sys; code = subprocess.call(sys.argv[1:]);"
    watched += " used = resource.getrusage(resource.RUSAGE_CHILDREN);"
    watched += " print(used.ru_utime + used.ru_stime, used.ru_maxrss); sys.exit(code)"
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", watched, *command], stdout=subprocess.PIPE, text=True, check=True)
    cores, memory = done.stdout.split()[-2:]
    return time.perf_counter() - began, float(cores), int(memory) * 1024 / 1e9


def measure(households: int, days: int, order: str, folder: Path) -> dict[str, Any]:
    """One run: its size, seconds by stage, memory, and what it found."""
    readings = folder / f"readings-{households}-{days}-{order}"
    size = write_readings(readings, households, days, order)
    scenario = folder / "scenario.yaml"
    content = {"name": "study", "readings": str(readings), "solver": {"family": "milp", "backend": "prices"}, "constraints": LIMITS}
    scenario.write_text(yaml.safe_dump({**content, "streaming": {"enabled": True}}), encoding="utf-8")
    seconds, cores, memory = run(scenario, folder / "out")
    summary, ran = (json.loads((folder / "out" / f"{name}.json").read_text(encoding="utf-8")) for name in ("summary", "run"))
    total = summary["total"]
    machine = {"processor": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()}
    return {
        "households": households, "days": days, "order": order, "readings": summary["data_report"]["facts"]["readings"],
        "parquet_gb": round(size / 1e9, 2), "seconds": round(seconds, 1), "core_seconds": round(cores, 1), "memory_gb": round(memory, 2),
        "stages": ran["seconds"],
        "shards": ran["shards"], "tco2_avoided": total["tco2_avoided"], "kwh_moved": total["kwh_moved"], "moves": total["moves"],
        "splits": total["splits"], "marginal_reduction_percent": total["marginal_reduction_percent"], "gap": summary["gap"],
        "machine": machine,
    }  # fmt: skip


def command(rows: list[dict[str, Any]]) -> str:
    """The command that measures these rows."""
    words = ["python benchmarks/city_end_to_end.py"]
    for name, default in DEFAULTS.items():
        given = list(dict.fromkeys(row[name] for row in rows))
        words += [] if given == default else [f"--{name}", *map(str, given)]
    return " ".join(words)


def report(rows: list[dict[str, Any]]) -> str:
    """The measurements as a page."""
    machine, days = rows[0]["machine"], rows[0]["days"]
    lines = [
        "# From readings on disk to an audited result folder", "",
        f"One run of `{command(rows)}`: {days} days of synthetic households of Delhi and Mumbai; {machine['processor']}, Python",
        f"{machine['python']}, {machine['cores']} cores. Other work on the machine makes the seconds longer; *core seconds*, those of all",
        "cores at work, added up, stay what they are. Memory is the highest of the process.",
        "",
        "| households | readings | sorted by | seconds | core seconds | GiB | tCO2 saved | moves | gap |",
        "| ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]  # fmt: skip
    for row in rows:
        lines.append(
            f"| {row['households']:,} | {row['readings']:,} | {row['order']} | {row['seconds']} "
            f"| {row['core_seconds']} | {row['memory_gb'] * 1e9 / 2**30:.1f} "
            f"| {row['tco2_avoided']:.3f} | {row['moves']:,} | {percent(row['gap'], 4)} |"
        )
    lines += ["", "Seconds by stage, as the run notes them down itself. They add up to less than the seconds above, which also count the"]
    lines += ["start of Python and what lies between the stages.", "", "| households | sorted by | " + " | ".join(rows[0]["stages"]) + " |"]
    lines += ["| ---: | --- | " + " | ".join("---:" for _ in rows[0]["stages"]) + " |"]
    lines += [f"| {r['households']:,} | {r['order']} | " + " | ".join(f"{s:.1f}" for s in r["stages"].values()) + " |" for r in rows]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measures and writes the results."""
    options = parser(__doc__)
    options.add_argument("--households", type=int, nargs="*", default=DEFAULTS["households"])
    options.add_argument("--days", type=int, default=DEFAULTS["days"][0])
    options.add_argument("--order", choices=DEFAULTS["order"], nargs="*", default=DEFAULTS["order"])
    options.add_argument("--folder", type=Path, default=None, help="where readings are made and kept")
    options.add_argument("--dry", action="store_true", help="print, and leave the stored results as they are")
    given = parsed(options, "city_end_to_end", report, indent=2)
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        for households in given.households:
            for order in given.order:
                rows.append(measure(households, given.days, order, given.folder or Path(temporary)))
                print(json.dumps(rows[-1]), flush=True)
    if not given.dry:
        write("city_end_to_end", rows, report, indent=2)


if __name__ == "__main__":
    main()
