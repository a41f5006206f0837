"""Runs that are killed anywhere go on where they stood, and end in the folder that an uninterrupted run makes."""

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from dr_opt.folders import recover
from dr_opt.plan import read_plan
from dr_opt.synthesis import synthesise

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="signals and limits of this kind are POSIX's")]

WAYS: dict[str, dict[str, Any]] = {
    "from disk": {"solver": {"backend": "prices"}, "streaming": {"enabled": True, "shard_rows": 6000}},
    "from disk, for convenience": {
        "solver": {"backend": "prices"},
        "streaming": {"enabled": True, "shard_rows": 6000},
        "model": {"name": "ConveniencePrioritised", "min_total_shift_kwh": 3},
    },
    "in memory": {"solver": {"backend": "highs", "gap": 1e-3}},
    "in processes": {"solver": {"family": "greedy"}, "parallel": {"enabled": True, "method": "process", "workers": 2}},
}
SERVER = get_context("forkserver") if os.name == "posix" else get_context("spawn")
SERVER.set_forkserver_preload(["dr_opt.cli", "dr_opt.streaming", "dr_opt.pipeline", "dr_opt.solver.milp", "dr_opt.synthesis"])


def command(arguments: list[str], said: Path, before: Callable[[], object]) -> None:
    """`dr-opt` with these arguments, in a process of its own."""
    handle = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
    before()
    from dr_opt.cli import main

    main(arguments)


def begin(folder: Path, out: str, before: Callable[[], object] = int, *more: str) -> BaseProcess:
    """Starts the run of a folder's scenario."""
    arguments = ["run", str(folder / "scenario.yaml"), "--out", str(folder / out), "--no-figures", *more]
    process = SERVER.Process(target=command, args=(arguments, folder / "said.txt", before))
    process.start()
    return process


def run(folder: Path, out: str, before: Callable[[], object] = int, *more: str) -> int:
    """The exit code of a whole run; negative where a signal ended it."""
    process = begin(folder, out, before, *more)
    process.join(120)
    assert process.exitcode is not None
    return process.exitcode


def prepared(folder: Path, way: str, **changes: Any) -> None:
    """Readings and a scenario."""
    if not (folder / "readings.parquet").exists():
        synthesise(("delhi", "mumbai"), 30, 15, seed=3).write_parquet(folder / "readings.parquet")
    scenario = {"readings": "readings.parquet", "progress": False, **WAYS[way], **changes}
    (folder / "scenario.yaml").write_text(yaml.safe_dump(scenario))


def content(place: Path) -> dict[str, bytes]:
    """What a result folder holds, but for what may differ between two equal runs."""
    return {str(p.relative_to(place)): p.read_bytes() for p in sorted(place.rglob("*")) if p.is_file() and p.name != "run.json"}


def die_at(number: int) -> None:
    """This process kills itself as it is about to move a file or a folder into place for the n-th time."""
    left, move = [number], os.replace

    def replace(old: Any, new: Any) -> None:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        move(old, new)

    os.replace = replace  # type: ignore[assignment]


def assert_one_of(place: Path, wholes: list[dict[str, bytes]]) -> None:
    """A result folder is one of these, whole, or not there."""
    recover(place)
    if place.exists():
        assert content(place) in wholes
        read_plan(place)


@pytest.mark.parametrize("way", WAYS)
def test_a_run_killed_at_every_step_ends_as_if_nothing_had_happened(way: str, tmp_path: Path) -> None:
    """Each attempt is killed at a move into place, a later one where the last finished nothing new: every step, and the swap."""
    prepared(tmp_path, way, seed=1)
    assert run(tmp_path, "out") == 0, (tmp_path / "said.txt").read_text()
    old = content(tmp_path / "out")
    prepared(tmp_path, way)
    assert run(tmp_path, "whole") == 0
    new = content(tmp_path / "whole")
    assert new.keys() == old.keys()
    kills, move, kept = 0, 2, 0
    while (code := run(tmp_path, "out", partial(die_at, move))) == -signal.SIGKILL:
        kills += 1
        assert_one_of(tmp_path / "out", [old, new])
        now = len(list(tmp_path.glob(".out.dr_opt-work/**/*.result")))
        move, kept = move + (now == kept), now
        assert kills < 60
    assert code == 0, (tmp_path / "said.txt").read_text()
    assert kills >= 7
    assert content(tmp_path / "out") == new
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]
    print(f"{way}: {kills} kills")


@pytest.mark.parametrize("way", ["from disk", "in memory"])
def test_runs_killed_at_random(way: str, tmp_path: Path) -> None:
    prepared(tmp_path, way)
    began = time.monotonic()
    assert run(tmp_path, "whole") == 0
    seconds, new, dice = time.monotonic() - began, content(tmp_path / "whole"), random.Random(7)
    for _ in range(8):
        process = begin(tmp_path, "out")
        process.join(dice.uniform(0.1, 0.9) * seconds)
        process.kill()
        process.join()
        assert_one_of(tmp_path / "out", [new])
    assert run(tmp_path, "out") == 0, (tmp_path / "said.txt").read_text()
    assert content(tmp_path / "out") == new
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    """Files may not grow beyond a size, which a system reports much as it reports a full disk."""
    prepared(tmp_path, "from disk")
    assert run(tmp_path, "whole") == 0
    new = content(tmp_path / "whole")
    prepared(tmp_path, "from disk", seed=1)
    assert run(tmp_path, "out") == 0
    old = content(tmp_path / "out")
    prepared(tmp_path, "from disk")
    refused = 0
    for kib in (1, 30, 100, 300, 1000):
        (tmp_path / "said.txt").unlink()
        code = run(tmp_path, "out", partial(resource.setrlimit, resource.RLIMIT_FSIZE, (kib * 1024, kib * 1024)))
        if code == 0:
            break
        refused += 1
        said = (tmp_path / "said.txt").read_text()
        assert code == 2, said
        assert ("(File too large)" in said or "requested and" in said) and "make room there." in said
        assert "Traceback" not in said
        assert content(tmp_path / "out") == old
    assert refused >= 2
    assert run(tmp_path, "out") == 0
    assert content(tmp_path / "out") == new


def clear_away_slowly(seconds: float) -> None:
    """The standard library takes so long to close the pipe of a broken pool; Python fails if it ends in the middle of that."""
    from concurrent.futures.process import _ThreadWakeup

    def close(wakeup: Any) -> None:
        if not wakeup._closed:
            wakeup._writer.close()
            time.sleep(seconds)
            wakeup._closed = True
            wakeup._reader.close()

    _ThreadWakeup.close = close  # type: ignore[method-assign]


@pytest.mark.parametrize("seconds", [0, 0.2, 5])
def test_a_killed_worker_and_then_the_same_command(tmp_path: Path, seconds: float) -> None:
    prepared(tmp_path, "in processes")
    assert run(tmp_path, "whole") == 0
    process = begin(tmp_path, "out", partial(clear_away_slowly, seconds))
    killed = 0
    deadline = time.monotonic() + 60
    while process.is_alive() and not killed and time.monotonic() < deadline:
        for worker in children_of(process.pid or 0):
            os.kill(worker, signal.SIGKILL)
            killed += 1
        time.sleep(0.02)
    process.join(60)
    assert killed
    said = (tmp_path / "said.txt").read_text()
    assert process.exitcode == 3, said
    assert "error: A worker process ended without a word, perhaps for want of memory. Use fewer parallel.workers." in said
    assert not (tmp_path / "out").exists()
    assert run(tmp_path, "out") == 0
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def children_of(parent: int) -> list[int]:
    """The worker processes that a process has started."""
    found = []
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(place.read_text().rsplit(")", 1)[1].split()[1]) == parent and b"spawn_main" in (place.parent / "cmdline").read_bytes():
                found.append(int(place.parent.name))
        except OSError:
            continue
    return found


def cut_off(folder: Path, out: str = "out") -> None:
    """A run that is killed when some of its work is kept."""
    assert run(folder, out, partial(die_at, 4)) == -signal.SIGKILL
    assert [path for path in folder.iterdir() if path.name == f".{out}.dr_opt-work"]


def test_the_work_of_another_run_is_refused(tmp_path: Path) -> None:
    prepared(tmp_path, "from disk")
    cut_off(tmp_path)
    kept = tmp_path / ".out.dr_opt-work"
    before = {path: path.stat().st_mtime_ns for path in kept.rglob("*.result")}

    def refused(reason: str) -> None:
        (tmp_path / "said.txt").unlink()
        assert run(tmp_path, "out") == 2
        said = (tmp_path / "said.txt").read_text()
        fact = f"error: Beside '{tmp_path / 'out'}' lies unfinished work (.out.dr_opt-work), made {reason}. "
        assert fact + "Finish it by the command that began it, or start over with --fresh." in said
        assert {path: path.stat().st_mtime_ns for path in kept.rglob("*.result")} == before

    prepared(tmp_path, "from disk", seed=2)
    refused("under another scenario (seed was 0, is 2)")
    prepared(tmp_path, "from disk")
    whose = json.loads((kept / "whose.json").read_text())
    (kept / "whose.json").write_text(json.dumps({**whose, "version": "0.0.1"}))
    refused(f"by version 0.0.1 of dr_opt, and this is {whose['version']}")
    (kept / "whose.json").write_text(json.dumps(whose))
    frame = pl.read_parquet(tmp_path / "readings.parquet")
    frame.with_columns(pl.col("value") + 0.001).write_parquet(tmp_path / "readings.parquet")
    refused("of other readings")
    assert run(tmp_path, "out", int, "--fresh") == 0
    assert not kept.exists()
    assert run(tmp_path, "whole") == 0
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_readings_in_memory_are_known_by_what_they_hold(tmp_path: Path) -> None:
    prepared(tmp_path, "in memory")
    cut_off(tmp_path)
    frame = pl.read_parquet(tmp_path / "readings.parquet")
    frame.write_parquet(tmp_path / "readings.parquet", compression="lz4")  # another file, the same readings
    assert run(tmp_path, "out") == 0
    assert "going on with the unfinished work" in (tmp_path / "said.txt").read_text()
    cut_off(tmp_path)
    frame.with_columns(pl.col("value") + 0.001).write_parquet(tmp_path / "readings.parquet")
    assert run(tmp_path, "out") == 2
    assert "made of other readings." in (tmp_path / "said.txt").read_text()


def test_a_fault_to_mend_leaves_no_work_behind(tmp_path: Path) -> None:
    prepared(tmp_path, "from disk", cities=["delhi", "pune"])
    assert run(tmp_path, "out") == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["readings.parquet", "said.txt", "scenario.yaml"]


def test_other_workers_may_go_on_with_it(tmp_path: Path) -> None:
    prepared(tmp_path, "from disk")
    assert run(tmp_path, "whole") == 0
    cut_off(tmp_path)
    prepared(tmp_path, "from disk", parallel={"enabled": True, "method": "thread", "workers": 3})
    assert run(tmp_path, "out") == 0
    same = ("scenario.yaml", "summary.json")  # these name the workers, and the hash of what was asked
    left, right = content(tmp_path / "out"), content(tmp_path / "whole")
    assert {k: v for k, v in left.items() if k not in same} == {k: v for k, v in right.items() if k not in same}
    shutil.rmtree(tmp_path / "out")


MPIEXEC = Path(sys.executable).with_name("mpiexec")


@pytest.mark.skipif(not MPIEXEC.exists(), reason="MPI is not installed: pip install -e '.[mpi]'")
@pytest.mark.parametrize("victim", [0, -1], ids=["first of the ranks", "last of the ranks"])
def test_a_killed_rank_and_then_the_same_command_in_fewer_ranks(victim: int, tmp_path: Path) -> None:
    prepared(tmp_path, "from disk", parallel={"enabled": True, "method": "mpi"})
    program = [sys.executable, "-c", "from dr_opt.cli import main; main()", "run", str(tmp_path / "scenario.yaml"), "--no-figures", "--out"]

    def in_ranks(ranks: int, out: str) -> subprocess.Popen[bytes]:
        command = [str(MPIEXEC), "-n", str(ranks), *program, str(tmp_path / out)]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)

    assert in_ranks(2, "whole").wait(120) == 0
    mpiexec, deadline = in_ranks(3, "out"), time.monotonic() + 60
    while not list(tmp_path.glob(".out.dr_opt-work/*.result")) and mpiexec.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    ranks = sorted(pid for pid in session_of(mpiexec.pid) if b"scenario.yaml" in command_line(pid) and b"mpiexec" not in command_line(pid))
    os.kill(ranks[victim], signal.SIGKILL)
    assert mpiexec.wait(30) != 0
    assert not (tmp_path / "out").exists()
    assert in_ranks(2, "out").wait(120) == 0
    assert content(tmp_path / "out") == content(tmp_path / "whole")
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]


def command_line(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


def session_of(leader: int) -> list[int]:
    """The processes that a leader, or one of its own, has started."""
    found, parents = [], {leader}
    while parents:
        children = set()
        for place in Path("/proc").glob("[0-9]*/stat"):
            try:
                if int(place.read_text().rsplit(")", 1)[1].split()[1]) in parents:
                    children.add(int(place.parent.name))
            except (OSError, IndexError):
                continue
        found += children
        parents = children
    return found
