"""Result folders under attack: killed writers, full disks, read-only places, odd names, and two writers at once."""

import errno
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dr_opt.basics import InputError
from dr_opt.folders import MADE_BY, beside, recover, run_of, whole_folder, write_file

KILLS = 20
FILES = 5

# Writes one version after the other into a folder, and says when each is begun and done. Every file of a version holds its number.
WRITER = f"""
import itertools, json, sys
from dr_opt.folders import MADE_BY, whole_folder

place, first, most = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
names = [f"{{k}}.txt" for k in range({FILES})]
for number in itertools.count(first):
    if number - first >= most:
        break
    print("begun", number, flush=True)
    with whole_folder(place) as new:
        for name in names:
            (new / name).write_text(str(number) * 500)
        (new / "run.json").write_text(json.dumps({{"made_by": MADE_BY, "files": [*names, "run.json"], "version": number}}))
    print("done", number, flush=True)
"""


def fill(folder: str | Path, number: int) -> None:
    """Writes one version, as the writer above does."""
    names = [f"{k}.txt" for k in range(FILES)]
    with whole_folder(folder) as new:
        for name in names:
            (new / name).write_text(str(number) * 500)
        (new / "run.json").write_text(json.dumps({"made_by": MADE_BY, "files": [*names, "run.json"], "version": number}))


def version(folder: Path) -> int:
    """The one version that all files of a whole folder hold."""
    run = run_of(folder)
    assert run is not None
    found = {path.name: path.read_text() for path in folder.iterdir() if path.suffix == ".txt" and path.name[0].isdigit()}
    assert found == {f"{k}.txt": str(run["version"]) * 500 for k in range(FILES)}
    return int(run["version"])


def writer(folder: Path, log: Path, first: int, most: float = float("inf")) -> subprocess.Popen[bytes]:
    """A process that writes versions from `first` on, and has begun; what it says goes into `log`."""
    with log.open("wb") as out:
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(folder), str(first), str(most)], stdout=out, stderr=out)
    while not log.stat().st_size and process.poll() is None:
        time.sleep(0.002)
    return process


def kill_within(process: subprocess.Popen[bytes], seconds: float) -> None:
    time.sleep(seconds)
    process.kill()
    assert process.wait() == -signal.SIGKILL


def done(log: Path) -> list[int]:
    """The versions that were done; nothing but beginnings and ends was said. A line that the kill has cut short does not count."""
    lines = [line.split() for line in log.read_text().splitlines(keepends=True) if line.endswith("\n")]
    assert {word for word, _ in lines} <= {"begun", "done"}
    return [int(number) for word, number in lines if word == "done"]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@contextmanager
def small_rights() -> Iterator[Path]:
    """A folder to work in, as somebody whom permissions hold: root, whom they do not, becomes nobody during the block."""
    if os.name != "posix":
        pytest.skip("permissions as these are known only to POSIX systems")
    root = os.geteuid() == 0
    with tempfile.TemporaryDirectory() as name:
        if root:
            os.chown(name, 65534, 65534)
            os.seteuid(65534)
        try:
            yield Path(name)
        finally:
            if root:
                os.seteuid(0)
            for path in (Path(name), *Path(name).rglob("*")):
                with suppress(OSError):
                    path.chmod(0o700)


# Killed writers


@pytest.mark.slow
def test_a_killed_writer_leaves_a_whole_folder(tmp_path: Path) -> None:
    """SIGKILL at random moments: what is there is the last version that was done, or the one that was begun."""
    home, log, rng = tmp_path / "home", tmp_path / "log", random.Random(0)
    home.mkdir()
    folder, last, interrupted = home / "results", 0, 0
    for kill in range(KILLS):
        process = writer(folder, log, last + 1)
        kill_within(process, 0 if kill % 4 == 0 else rng.uniform(0.001, 0.08))  # in the very first write, too
        finished = max(done(log), default=last)
        interrupted += any(name.startswith(".results.") for name in names(home))
        recover(folder)
        if finished or folder.exists():
            last = version(folder)
            assert last in (finished, finished + 1)
    assert interrupted, "no kill came while a folder was being written: the test has lost its point"
    fill(folder, 10**6)
    assert version(folder) == 10**6
    assert names(home) == ["results"]


# Every name the swap can leave, as if the plug had been pulled just there: what exists, and which version is found afterwards
CUT_OFF = {
    "while building": (["place", "building"], "place"),
    "complete, beside the old one": (["place", "new"], "place"),
    "the old one put aside": (["new", "old"], "new"),
    "before the old one is removed": (["place", "old"], "place"),
    "the new one lost": (["old"], "old"),
    "a first write, complete": (["new"], "new"),
}


@pytest.mark.parametrize("exists, found", CUT_OFF.values(), ids=CUT_OFF.keys())
def test_every_state_of_a_swap_is_mended(exists: list[str], found: str, tmp_path: Path) -> None:
    folder, versions = tmp_path / "results", {}
    roles = {
        "place": folder,
        "new": beside(folder, "new"),
        "old": beside(folder, "old"),
        "building": beside(folder, "building-elsewhere-1"),
    }
    for number, role in enumerate(exists, 1):
        fill(tmp_path / "made", number)
        os.replace(tmp_path / "made", roles[role])
        versions[role] = number
    recover(folder)
    assert version(folder) == versions[found]
    fill(folder, 9)
    assert version(folder) == 9
    assert names(tmp_path) == [*([roles["building"].name] if "building" in exists else []), "results"]


# Two writers at once


def test_two_writers_at_once_do_not_harm_each_other(tmp_path: Path) -> None:
    folder, logs = tmp_path / "home" / "results", [tmp_path / "one", tmp_path / "two"]
    fill(folder, 0)
    (folder / "note.txt").write_text("Ask Bala again in spring.")
    both = [writer(folder, log, 1000 * number, 15) for number, log in enumerate(logs, 1)]
    assert [process.wait(timeout=120) for process in both] == [0, 0]
    assert [len(done(log)) for log in logs] == [15, 15]
    assert version(folder) in (1014, 2014)
    assert (folder / "note.txt").read_text() == "Ask Bala again in spring."
    assert names(folder.parent) == ["results"]


def test_a_killed_writer_does_not_stop_another(tmp_path: Path) -> None:
    folder, rng = tmp_path / "home" / "results", random.Random(1)
    steady = writer(folder, tmp_path / "steady", 1000, 40)
    for kill in range(4):
        kill_within(writer(folder, tmp_path / "other", 2000 + 1000 * kill), rng.uniform(0.01, 0.08))
    assert steady.wait(timeout=120) == 0
    assert len(done(tmp_path / "steady")) == 40
    fill(folder, 5)
    assert version(folder) == 5
    assert names(folder.parent) == ["results"]


def test_what_comes_while_a_folder_is_filled_is_kept_or_refused(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    fill(folder, 1)
    with whole_folder(folder) as new:
        (new / "run.json").write_text(json.dumps({"made_by": MADE_BY, "files": ["run.json"]}))
        (folder / "late.txt").write_text("Chitra has moved.")
    assert names(folder) == ["late.txt", "run.json"]
    with pytest.raises(InputError, match=r"is not empty \(beach.jpg\)"), whole_folder(tmp_path / "trip") as new:
        (new / "run.json").write_text("{}")
        (tmp_path / "trip").mkdir()
        (tmp_path / "trip" / "beach.jpg").touch()
    assert names(tmp_path / "trip") == ["beach.jpg"]
    assert names(tmp_path) == ["results", "trip"]


# A disk that refuses


def raises(error: OSError) -> Any:
    """Stands for whatever writes, on a disk that refuses."""

    def refuse(*args: object, **more: object) -> None:
        raise error

    return refuse


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
NO_ROOM = "Results cannot be written to '{}' (No space left on device). Choose another folder, or make room there."


@pytest.mark.parametrize("call", ["write", "fsync", "mkdir", "copy"])
def test_a_full_disk_changes_nothing(call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "results"
    fill(folder, 1)
    (folder / "note.txt").write_text("Ask Bala again in spring.")
    place = {"write": "pathlib.Path.write_text", "fsync": "os.fsync", "mkdir": "pathlib.Path.mkdir", "copy": "shutil.copy2"}[call]
    with monkeypatch.context() as patch:
        patch.setattr(place, raises(FULL))
        with pytest.raises(InputError) as caught:
            fill(folder, 2)
    assert str(caught.value) == NO_ROOM.format(folder)
    assert version(folder) == 1 and (folder / "note.txt").exists()
    assert names(tmp_path) == ["results"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full, which is always full, is known to Linux only")
def test_a_disk_that_is_full_for_polars(tmp_path: Path) -> None:
    """Polars tells of a full disk by an error of its own."""
    frame = pl.DataFrame({"kwh": [1.0] * 1000})
    with pytest.raises(InputError) as caught, whole_folder(tmp_path / "results") as new:
        (new / "shifts.parquet").symlink_to("/dev/full")
        frame.write_parquet(new / "shifts.parquet")
    assert str(caught.value).startswith(NO_ROOM.format(tmp_path / "results").split(" device")[0])
    with pytest.raises(InputError, match="No space left on device"):
        write_file(tmp_path / "table.parquet", lambda path: frame.write_parquet("/dev/full"))
    assert names(tmp_path) == []


def test_faults_of_ours_are_not_blamed_on_the_disk(tmp_path: Path) -> None:
    with pytest.raises(pl.exceptions.ComputeError), whole_folder(tmp_path / "results"):
        raise pl.exceptions.ComputeError("lengths don't match")
    assert names(tmp_path) == []


def test_a_read_only_parent_is_refused_and_still_read() -> None:
    with small_rights() as home:
        fill(home / "results", 1)
        home.chmod(0o500)
        with pytest.raises(InputError) as caught:
            fill(home / "results", 2)
        assert str(caught.value) == (
            f"Results cannot be written to '{home / 'results'}' (Permission denied). Choose another folder, or make room there."
        )
        recover(home / "results")
        assert version(home / "results") == 1
        with pytest.raises(InputError, match=r"'.*table.txt' cannot be written \(Permission denied\)"):
            write_file(home / "table.txt", lambda path: path.write_text("half"))
        assert names(home) == ["results"]


def test_a_read_only_note_is_no_obstacle() -> None:
    with small_rights() as home:
        fill(home / "results", 1)
        (home / "results" / "note.txt").write_text("Ask Bala again in spring.")
        (home / "results" / "note.txt").chmod(0o400)
        fill(home / "results", 2)
        assert version(home / "results") == 2
        assert (home / "results" / "note.txt").read_text() == "Ask Bala again in spring."


# Places with odd names


def test_a_linked_folder_is_replaced_where_it_lies(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    fill(tmp_path / "disk" / "results", 1)
    (tmp_path / "latest").symlink_to(Path("disk") / "results")
    fill(tmp_path / "latest", 2)
    assert (tmp_path / "latest").is_symlink()
    assert version(tmp_path / "disk" / "results") == version(tmp_path / "latest") == 2
    assert names(tmp_path) == ["disk", "latest"] and names(tmp_path / "disk") == ["results"]


def test_a_link_to_nowhere_is_followed(tmp_path: Path) -> None:
    (tmp_path / "latest").symlink_to("later")
    fill(tmp_path / "latest", 1)
    assert version(tmp_path / "later") == 1
    assert names(tmp_path) == ["later", "latest"]


def test_links_in_a_folder_are_carried_over_as_links(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    fill(folder, 1)
    (tmp_path / "pictures").mkdir()
    (folder / "pictures").symlink_to(tmp_path / "pictures")
    (folder / "gone").symlink_to("nowhere")
    fill(folder, 2)
    assert (folder / "pictures").readlink() == tmp_path / "pictures"
    assert (folder / "gone").readlink() == Path("nowhere")


@pytest.mark.parametrize("inside", [".", "notes"])
def test_the_folder_one_stands_in(inside: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process goes on standing in the folder, and what it names next is found there."""
    folder = tmp_path / "results"
    fill(folder, 1)
    (folder / "notes").mkdir()
    (folder / "notes" / "bala.txt").touch()
    monkeypatch.chdir(folder / inside)
    for number in (2, 3):
        fill(os.path.relpath(folder), number)
        assert Path.cwd() == folder / inside
    assert version(Path(os.path.relpath(folder))) == 3
    assert names(tmp_path) == ["results"]


def test_the_empty_folder_one_stands_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    fill(".", 1)
    assert version(Path(".")) == 1


@pytest.mark.parametrize("text", ["results/", "results//", "./results", "other/../results", "results/.", "Ergebnisse für Pune ₹/"])
def test_ways_to_write_a_name(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for number in (1, 2):
        fill(text, number)
        assert version(Path(text).resolve()) == number
    assert [name for name in names(tmp_path) if name.startswith(".")] == []


def test_a_name_that_no_disk_takes(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="File name too long"):
        fill(tmp_path / ("long" * 70), 1)
    with pytest.raises(InputError, match="File name too long"):
        write_file(tmp_path / ("long" * 70), lambda path: path.write_text("half"))
