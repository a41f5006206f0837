"""Threads, processes and MPI ranks give the plan of a serial run, byte for byte; and what fails in one of them stops all."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import yaml

from dr_opt.basics import InputError, SolverError
from dr_opt.keeping import Keep
from dr_opt.parallel import CORES, Alone, Processes, Ranks, Team, Threads
from dr_opt.pipeline import optimise
from dr_opt.scenario import Scenario
from dr_opt.streaming import stream
from dr_opt.synthesis import synthesise

MPIEXEC = Path(sys.executable).with_name("mpiexec")
needs_mpi = pytest.mark.skipif(not MPIEXEC.exists(), reason="MPI is not installed: pip install -e '.[mpi]'")
SOLVERS: dict[str, dict[str, Any]] = {
    "greedy": {"solver": {"family": "greedy"}},
    "milp": {"solver": {"family": "milp", "backend": "highs", "gap": 1e-3}},
    "lp": {"solver": {"family": "lp", "backend": "highs"}, "model": {"name": "ConveniencePrioritised", "min_saving_g_per_kwh": 20}},
    "prices": {"solver": {"backend": "prices"}},
    "prices, from disk": {"solver": {"backend": "prices"}, "streaming": {"enabled": True, "shard_rows": 3000}},
    "prices, from disk, for convenience": {
        "solver": {"backend": "prices"},
        "streaming": {"enabled": True, "shard_rows": 3000},
        "model": {"name": "ConveniencePrioritised", "min_total_shift_kwh": 4},
        "missing": "interpolate",
    },
}


def write_readings(folder: Path, households: int = 24, days: int = 9) -> None:
    """Two cities with a few gaps."""
    frame = synthesise(("delhi", "mumbai"), households, days, seed=3)
    frame.filter(np.random.default_rng(0).random(len(frame)) > 0.0005).write_parquet(folder / "readings.parquet")


def scenario_of(folder: Path, name: str, parallel: dict[str, Any] | None) -> Scenario:
    changes = {"readings": str(folder / "readings.parquet"), "progress": False, **SOLVERS[name]}
    return Scenario.from_mapping(changes | ({"parallel": parallel} if parallel else {}))


def plan_into(folder: Path, name: str, parallel: dict[str, Any] | None) -> Path:
    """The result folder of one solver, done by one method."""
    scenario, place = scenario_of(folder, name, parallel), folder / f"{name} {parallel}"
    if scenario.streaming.enabled:
        stream(place, scenario)
    else:
        optimise(None, scenario).write(place)
    return place


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The shifts of every solver, done alone; under the key "", the folder with the readings."""
    folder = tmp_path_factory.mktemp("serial")
    write_readings(folder)
    shifts = {name: (plan_into(folder, name, None) / "shifts.parquet").read_bytes() for name in SOLVERS}
    return shifts | {"": os.fsencode(folder)}


def assert_same(serial: dict[str, bytes], folder: Path, parallel: dict[str, Any]) -> None:
    for name in SOLVERS:
        place = folder / f"{name} {parallel}"
        assert (place / "shifts.parquet").read_bytes() == serial[name], f"{name} by {parallel}"


@pytest.mark.slow
@pytest.mark.parametrize(("method", "workers"), [("thread", 2), ("thread", 3), ("process", 2), ("process", 3)])
def test_threads_and_processes_plan_as_one(method: str, workers: int, serial: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "readings.parquet").write_bytes((Path(os.fsdecode(serial[""])) / "readings.parquet").read_bytes())
    parallel = {"enabled": True, "method": method, "workers": workers}
    for name in SOLVERS:
        plan_into(tmp_path, name, parallel)
    assert_same(serial, tmp_path, parallel)


def in_ranks(ranks: int, *arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """This file as a script, in so many ranks."""
    command = [str(MPIEXEC), "-n", str(ranks), sys.executable, __file__, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, **options)


@needs_mpi
@pytest.mark.slow
@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_plan_as_one(ranks: int, serial: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "readings.parquet").write_bytes((Path(os.fsdecode(serial[""])) / "readings.parquet").read_bytes())
    done = in_ranks(ranks, "plans", tmp_path)
    assert done.returncode == 0, done.stderr
    assert_same(serial, tmp_path, MPI)


MPI = {"enabled": True, "method": "mpi"}


def squares(share: range) -> np.ndarray:
    return np.array([sum(n * n for n in share), len(share)])


def failing(number: int) -> int:
    if number == 1:
        raise InputError("Item 1 is not wanted. Leave it out.")
    return -number


def test_a_thread_that_is_nearly_done_is_waited_for() -> None:
    """Else it would write into folders that are being removed, as nobody waits for what it makes."""
    done = []

    def work(number: int) -> None:
        if number == 0:
            raise InputError("Block 0 has no plan.")
        time.sleep(0.4)
        done.append(number)

    with pytest.raises(InputError, match="Block 0 has no plan"):
        Threads(2).each(work, [1, 0, 2, 3, 4], show=False)
    assert done == [1] or sorted(done) == [1, 2]  # what had begun is done, the rest is dropped


TEAMS: dict[str, Callable[[], Team]] = {
    "alone": Alone, "cores": lambda: CORES, "one thread": partial(Threads, 1), "threads": partial(Threads, 3),
    "processes": partial(Processes, 2),
}  # fmt: skip


@pytest.mark.parametrize("name", TEAMS)
def test_what_every_team_can_do(name: str, tmp_path: Path) -> None:
    check_team(TEAMS[name](), Keep(tmp_path))


def check_team(team: Team, keep: Keep) -> None:
    """A team answers in order, adds up, asks for nothing that is remembered, raises what was raised."""
    with team:
        assert team.each(abs, [3, -1, -2, 0], show=False) == [3, 1, 2, 0]
        keep.put("size-1", "remembered")
        for _ in range(2):
            assert team.each(abs, [3, -1, -2, 0], show=False, keep=keep, name="size") == [3, "remembered", 2, 0]
        assert all(keep.holds(f"size-{number}") for number in range(4)) and not keep.holds("size-4")
        assert team.each(abs, [], show=False) == []
        for shares in ([range(5)], [range(5), range(5, 9)][: team.workers]):
            assert team.total(squares, shares).tolist() == squares(range(sum(map(len, shares)))).tolist()
        with pytest.raises(InputError, match="Item 1 is not wanted"):
            team.each(failing, [0, 1, 2], show=False)
        if not isinstance(team, Ranks):  # ranks that broke off are ended
            assert team.each(abs, [-4, 4], show=False) == [4, 4]


@needs_mpi
@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 3])
def test_what_ranks_can_do(ranks: int) -> None:
    done = in_ranks(ranks, "team")
    assert "the team is sound" in done.stdout, done.stderr


@needs_mpi
@pytest.mark.slow
def test_an_error_in_a_rank_ends_all_with_its_words(tmp_path: Path) -> None:
    began = time.monotonic()
    done = in_ranks(3, "failing")
    assert done.returncode == 2
    assert "error: Item 1 is not wanted. Leave it out." in done.stderr
    assert "Traceback" not in done.stderr
    assert time.monotonic() - began < 30


@needs_mpi
@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_is_killed_ends_all(rank: int) -> None:
    done = in_ranks(3, "dying", rank)
    assert done.returncode != 0
    assert "came to its end" not in done.stdout


def of_command(command: list[str], ready: str, then: Callable[[subprocess.Popen[str]], None]) -> tuple[int, str, float]:
    """Starts a command, does something when it has said `ready`; its exit code, what else it said, and seconds until its end."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    pipes["preexec_fn"] = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # who starts the tests may have it ignored
    process = subprocess.Popen(command, start_new_session=True, env=environment, **pipes)
    assert process.stdout
    for line in process.stdout:
        if ready in line:
            break
    began = time.monotonic()
    then(process)
    said = process.communicate(timeout=60)[0]
    return process.returncode, said, time.monotonic() - began


def living_in(session: int) -> list[int]:
    """The processes of a session that are still there."""
    found = []
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = place.read_text().rsplit(")", 1)[1].split()
        except (OSError, IndexError):
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(place.parent.name))
    return found


@pytest.fixture
def session_ends() -> Iterator[list[int]]:
    """Sessions of which nobody may be left after a few seconds."""
    sessions: list[int] = []
    yield sessions
    deadline = time.monotonic() + 10
    while any(map(living_in, sessions)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not [pid for session in sessions for pid in living_in(session)]


COMMANDS = {
    "processes": [sys.executable, __file__, "waiting", "process"],
    "threads": [sys.executable, __file__, "waiting", "thread"],
    "ranks": [str(MPIEXEC), "-n", "3", sys.executable, __file__, "waiting", "mpi"],
}


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="this system has no /proc")
@pytest.mark.parametrize("way", COMMANDS)
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupt_or_a_kill_leaves_nobody_behind(way: str, sign: signal.Signals, session_ends: list[int]) -> None:
    if way == "ranks" and not MPIEXEC.exists():
        pytest.skip("MPI is not installed: pip install -e '.[mpi]'")

    def end(process: subprocess.Popen[str]) -> None:
        session_ends.append(process.pid)
        time.sleep(0.5)
        if sign is signal.SIGINT:
            os.killpg(process.pid, sign)  # as a terminal does
        else:
            process.kill()

    code, said, seconds = of_command(COMMANDS[way], "waiting", end)
    assert seconds < 15
    if sign is signal.SIGINT:
        assert code == 130 or (way == "ranks" and code != 0)
        assert "Traceback" not in said


def test_a_killed_worker_is_an_error_with_a_remedy() -> None:
    with pytest.raises(SolverError, match="A worker process ended without a word, perhaps for want of memory"), Processes(2) as team:
        team.each(os._exit, [1, 1], show=False)


@needs_mpi
@pytest.mark.slow
def test_ranks_that_nobody_asked_for_are_refused(tmp_path: Path) -> None:
    (tmp_path / "scenario.yaml").write_text(yaml.safe_dump({"readings": "demo", "demo": {"customers": 2, "days": 7}}))
    command = [str(MPIEXEC), "-n", "2", sys.executable, "-c", "from dr_opt.cli import main; main()", "run", "scenario.yaml", "--no-figures"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path)
    assert done.returncode == 2
    fact = "error: mpiexec started 2 ranks, but parallel.enabled is false. "
    assert fact + "Set parallel to {enabled: true, method: mpi}, or start without mpiexec." in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["scenario.yaml"]


def slow_abs(number: int) -> int:
    time.sleep(30)
    return abs(number)


def dying(rank: int, number: int) -> int:
    from mpi4py import MPI as mpi  # noqa: N811

    if mpi.COMM_WORLD.rank == rank:
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(20 if rank == 0 else 0.01)
    return number


def as_script(task: str, *arguments: str) -> None:
    """What this file does as a script, alone or in ranks."""
    import test_parallel as here  # so that workers find its functions by this name

    from dr_opt.cli import _Commands, main
    from dr_opt.parallel import join_ranks, team_of

    join_ranks()
    if task == "plans":
        for name in SOLVERS:
            plan_into(Path(arguments[0]), name, MPI)
    elif task == "team":
        with TemporaryDirectory() as folder:
            here.check_team(Ranks(), Keep(Path(folder)))
        print("the team is sound", flush=True)
    elif task == "dying":
        Ranks().each(partial(here.dying, int(arguments[0])), list(range(9)), show=False)
        print("came to its end")
    else:
        assert isinstance(main, _Commands)

        @main.command("task")
        def command() -> None:
            print("waiting", flush=True)
            if task == "failing":
                Ranks().each(here.failing, list(range(9)), show=False)
            else:
                team_of(arguments[0], 2).each(here.slow_abs, [1, 2, 3], show=False)

        main(["task"])


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    as_script(*sys.argv[1:])
