"""Time, memory and messages of one plan by one and two workers of every method: `python benchmarks/workers.py`.

Writes results/workers.md and .json beside this file. A synthetic city (`--households`, one week) lies on disk; `dr-opt run` plans
it from there, alone, with threads, with processes and in MPI ranks, each in processes of their own, and each run is checked to
give the same shifts, byte for byte. Seconds and stages are those that the runs note down themselves (`run.json`), so the start
of Python is not among them. *Shared* seconds are those in which the team had something to do; the rest is rank 0's alone.

The model of the time on k workers is drawn from the run of one worker of a method and checked on that of two: what is shared
takes a k-th, the rest as long as before.
"""

import argparse
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

from dr_opt.synthesis import synthesise

RESULTS = Path(__file__).resolve().parent / "results"
MPIEXEC = Path(sys.executable).with_name("mpiexec")
WAYS = (("alone", 1), ("thread", 1), ("thread", 2), ("process", 1), ("process", 2), ("mpi", 1), ("mpi", 2))
DR_OPT = "from dr_opt.cli import main; main()"


def row(folder: Path, method: str, workers: int) -> dict[str, Any]:
    """One run."""
    out = folder / f"{method}-{workers}"
    command = [sys.executable, "-c", DR_OPT, "run", str(folder / "scenario.yaml"), "--out", str(out), "--no-figures"]
    if method == "mpi":
        command = [str(MPIEXEC), "-n", str(workers), *command, "--set", "parallel={enabled: true, method: mpi}"]
    elif method != "alone":
        command += ["--set", f"parallel={{enabled: true, method: {method}, workers: {workers}}}"]
    else:
        command += ["--set", "solver.options.threads=1"]
    environment = {**os.environ, "POLARS_MAX_THREADS": "1"}  # so that a worker is a core
    subprocess.run(command, check=True, capture_output=True, env=environment)
    run = json.loads((out / "run.json").read_text(encoding="utf-8"))
    told = {name: run[name] for name in ("shared_seconds", "sent_bytes", "received_bytes", "rounds", "peak_memory_mib")}
    digest = hashlib.sha256((out / "shifts.parquet").read_bytes()).hexdigest()
    seconds = {"seconds": sum(run["seconds"].values()), "stages": run["seconds"]}
    return {"method": method, "workers": workers, **seconds, **told, "shifts": digest}


def page(result: dict[str, Any]) -> str:
    """The tables as markdown."""
    rows = result["rows"]
    lines = [
        "# One plan, one and two workers",
        "",
        f"One run of `python benchmarks/workers.py`: {result['households']:,} synthetic households, one week, planned from disk by",
        f"prices, on {result['machine']['cores']} cores. All runs gave the same shifts, byte for byte. *Shared*: seconds in which the",
        "workers had something to do; the rest is the first one's alone. Memory is the highest of the first process.",
        "",
        "| method | workers | seconds | shared | memory, MiB | rounds | sent to each other rank, MB | got from it, MB |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    mega = lambda number: "–" if not number else f"{number / 1e6:.2f}"
    for r in rows:
        head = f"| {r['method']} | {r['workers']} | {r['seconds']:.1f} | {r['shared_seconds']:.1f} | {r['peak_memory_mib']:,.0f} |"
        others = max(r["workers"] - 1, 1)
        lines.append(f"{head} {r['rounds']} | {mega((r['sent_bytes'] or 0) / others)} | {mega((r['received_bytes'] or 0) / others)} |")
    stages = list(rows[0]["stages"])
    lines += ["", "Seconds by stage:", "", f"| method | workers | {' | '.join(stages)} |", f"| --- | ---: |{' ---: |' * len(stages)}"]
    lines += [f"| {r['method']} | {r['workers']} | {' | '.join(format(r['stages'][s], '.1f') for s in stages)} |" for r in rows]
    lines += [
        "",
        "## A model of the time",
        "",
        "$T(k) = T(1) - S + S/k$, with the shared seconds $S$ of the run of one worker of the same method.",
        "",
        "| method | workers | measured, seconds | by the model | difference |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    checked = "| {method} | {workers} | {measured:.1f} | {modelled:.1f} | {difference:+.0%} |"
    lines += [checked.format(**check) for check in result["model"]]
    return "\n".join([*lines, ""])


def main() -> None:
    """Measures and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--households", type=int, default=10_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        synthesise("delhi", asked.households, 7, seed=0).write_parquet(folder / "readings.parquet")
        settings = {"readings": "readings.parquet", "progress": False, "solver": {"backend": "prices"}}
        streaming = {"enabled": True, "shard_rows": max(asked.households * 336 // 16, 1)}
        (folder / "scenario.yaml").write_text(yaml.safe_dump({**settings, "streaming": streaming}))
        row(folder, "alone", 1)  # compiles what is compiled once
        rows = []
        for method, workers in WAYS:
            if method == "mpi" and not MPIEXEC.exists():
                continue
            rows.append(row(folder, method, workers))
            print(rows[-1], flush=True)
    assert len({r["shifts"] for r in rows}) == 1, "the plans differ"
    one = {r["method"]: r for r in rows if r["workers"] == 1}
    checks = []
    for r in rows:
        if r["workers"] > 1:
            base = one[r["method"]]
            modelled = base["seconds"] - base["shared_seconds"] * (1 - 1 / r["workers"])
            known = {"method": r["method"], "workers": r["workers"], "measured": r["seconds"], "modelled": modelled}
            checks.append({**known, "difference": modelled / r["seconds"] - 1})
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.system()}
    result = {"households": asked.households, "machine": machine, "rows": rows, "model": checks}
    (RESULTS / "workers.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (RESULTS / "workers.md").write_text(page(result), encoding="utf-8")
    print(page(result))


if __name__ == "__main__":
    main()
