"""Time, memory and messages of one plan by one and two workers of every method: `python benchmarks/workers.py`.

Writes results/workers.md and .json beside this file. A synthetic city (`--households`, one week) lies on disk; `dr-opt run` plans
it from there, alone, with threads, with processes and in MPI ranks, each in processes of their own, and each run is checked to
give the same shifts, byte for byte. Seconds and stages are those that the runs note down themselves (`run.json`), so the start
of Python is not among them. *Shared* seconds are those in which the team had something to do; the rest is rank 0's alone.

The model of the time on k workers takes the fixed cost of k workers (their start, and compiled code read from disk) from a plan for
a handful of households, and what grows with the city from the run of one worker: what is shared takes a k-th, the rest as long
as before. It is checked on the runs of two.
"""

import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml
from stored import command, parsed, parser, percent, write

MPIEXEC = Path(sys.executable).with_name("mpiexec")
WAYS = (("thread", 1), ("thread", 2), ("process", 1), ("process", 2), ("mpi", 1), ("mpi", 2))
FEW = 200  # households of the plan that shows the fixed cost
DR_OPT = "from dr_opt.cli import main; main()"


def city(folder: Path, households: int) -> Path:
    """Readings of a synthetic city and a scenario that plans it from disk."""
    folder.mkdir()
    made = ["synth", str(folder / "readings.parquet"), "--city", "delhi", "--customers", str(households), "--days", "7"]
    subprocess.run([sys.executable, "-c", DR_OPT, *made], check=True, capture_output=True)
    settings = {"readings": "readings.parquet", "progress": False, "solver": {"backend": "prices"}}
    streaming = {"enabled": True, "shard_rows": max(households * 336 // 16, 1)}
    (folder / "scenario.yaml").write_text(yaml.safe_dump({**settings, "streaming": streaming}))
    return folder


def row(folder: Path, method: str, workers: int) -> dict[str, Any]:
    """One run."""
    out = folder / f"{method}-{workers}"
    command = [sys.executable, "-c", DR_OPT, "run", str(folder / "scenario.yaml"), "--out", str(out), "--no-figures"]
    if method == "mpi":
        command = [str(MPIEXEC), "-n", str(workers), *command, "--set", "parallel={enabled: true, method: mpi}"]
    else:
        command += ["--set", f"parallel={{enabled: true, method: {method}, workers: {workers}}}"]
    environment = {**os.environ, "POLARS_MAX_THREADS": "1"}  # so that a worker is a core
    subprocess.run(command, check=True, capture_output=True, env=environment)
    run = json.loads((out / "run.json").read_text(encoding="utf-8"))
    noted = ("shared_seconds", "sent_bytes", "received_bytes", "totals", "total_bytes", "rounds", "peak_memory_mib")
    told = {name: run[name] for name in noted}
    digest = hashlib.sha256((out / "shifts.parquet").read_bytes()).hexdigest()
    seconds = {"seconds": sum(run["seconds"].values()), "stages": run["seconds"]}
    return {"method": method, "workers": workers, **seconds, **told, "shifts": digest}


def page(result: dict[str, Any]) -> str:
    """The tables as markdown."""
    rows = result["rows"]
    lines = [
        "# One plan, one and two workers",
        "",
        f"One run of `{result['command']}`: {result['households']:,} synthetic households, one week, planned from disk by",
        f"prices, on {result['machine']['cores']} cores. All runs gave the same shifts, byte for byte. *Shared*: seconds in which the",
        "workers had something to do; the rest is the first one's alone. Memory is the highest of the first process.",
        f"*Fixed*: seconds of the same for {FEW} households.",
        "*A sum*: what a round of prices, or another sum over all customers, sends to each other rank and gets back; *messages*: what the",
        "whole run does, the moves at its end included.",
        "",
        "| method | workers | seconds | fixed | shared | memory, MiB | rounds | a sum, MiB | messages, MiB |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    mega = lambda number: "–" if not number else f"{number / 2**20:.2f}"
    for r in rows:
        others = max(r["workers"] - 1, 1)
        head = f"| {r['method']} | {r['workers']} | {r['seconds']:.1f} | {r['fixed']['seconds']:.1f} | {r['shared_seconds']:.1f} |"
        one, whole = r["total_bytes"] / others / max(r["totals"], 1), (r["sent_bytes"] + r["received_bytes"]) / others
        lines.append(f"{head} {r['peak_memory_mib']:,.0f} | {r['rounds']} | {mega(one)} | {mega(whole)} |")
    stages = list(rows[0]["stages"])
    lines += ["", "Seconds by stage:", "", f"| method | workers | {' | '.join(stages)} |", f"| --- | ---: |{' ---: |' * len(stages)}"]
    lines += [f"| {r['method']} | {r['workers']} | {' | '.join(format(r['stages'][s], '.1f') for s in stages)} |" for r in rows]
    lines += [
        "",
        "## A model of the time",
        "",
        "$T(k) = F(k) + (O - O_0) + (S - S_0) / k$. Here $F(k)$ are the fixed seconds of $k$ workers; $O$ and $S$ are the first one's own",
        f"and the shared seconds of the run of one worker, and $O_0$ and $S_0$ the same of its run for {FEW} households. Where the",
        "difference is below zero, the model is too hopeful: cores of one machine share caches and memory, and each slows the other.",
        "",
        "| method | workers | measured, seconds | by the model | difference |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    checked = "| {method} | {workers} | {measured:.1f} | {modelled:.1f} | {told} |"
    lines += [checked.format(**check, told=percent(check["difference"], 0, "+")) for check in result["model"]]
    return "\n".join([*lines, ""])


def main() -> None:
    """Measures and writes."""
    options = parser(__doc__)
    options.add_argument("--households", type=int, default=60_000)
    asked = parsed(options, "workers", page)
    with tempfile.TemporaryDirectory() as place:
        few, many = city(Path(place) / "few", FEW), city(Path(place) / "many", asked.households)
        ways = [way for way in WAYS if way[0] != "mpi" or MPIEXEC.exists()]
        row(few, "thread", 1)  # compiles what is compiled once
        rows = []
        for method, workers in ways:
            fixed = row(few, method, workers)
            rows.append({**row(many, method, workers), "fixed": {name: fixed[name] for name in ("seconds", "shared_seconds")}})
            print(rows[-1], flush=True)
    assert len({r["shifts"] for r in rows}) == 1, "the plans differ"
    checks = []
    for one, two in zip(rows[::2], rows[1::2], strict=True):
        grown = {name: one[name] - one["fixed"][name] for name in ("seconds", "shared_seconds")}
        modelled = two["fixed"]["seconds"] + grown["seconds"] - grown["shared_seconds"] * (1 - 1 / two["workers"])
        known = {"method": two["method"], "workers": two["workers"], "measured": two["seconds"], "modelled": modelled}
        checks.append({**known, "difference": modelled / two["seconds"] - 1})
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.system()}
    result = {"command": command(), "households": asked.households, "machine": machine, "rows": rows, "model": checks}
    write("workers", result, page)


if __name__ == "__main__":
    main()
