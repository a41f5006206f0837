"""The study: a page that says otherwise than the stored results is found, and the small study still gives what is stored."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[1]
BESIDE = ("study.py", "study_pages.py", "stored.py", "against_greedy.py", "city_end_to_end.py")  # what the command imports

STRICT_DELHI = re.compile(r'"headline": \{.*?"strict": \{.*?"delhi": \{.*?"marginal_reduction_percent": ([\d.]+)', re.DOTALL)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The command, its results and the pages, to be spoiled."""
    for name in BESIDE:
        (tmp_path / "benchmarks").mkdir(exist_ok=True)
        shutil.copy(TOP / "benchmarks" / name, tmp_path / "benchmarks")
    shutil.copytree(TOP / "benchmarks" / "results", tmp_path / "benchmarks" / "results")
    shutil.copytree(TOP / "nbs" / "studies", tmp_path / "nbs" / "studies")
    shutil.copy(TOP / "nbs" / "index.ipynb", tmp_path / "nbs")
    return tmp_path


def study(top: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """The command, as a user runs it."""
    return subprocess.run([sys.executable, str(top / "benchmarks" / "study.py"), *words], capture_output=True, text=True, check=False)


def spoil(file: Path, change: "re.Pattern[str]") -> None:
    """Adds a tenth to the first number that matches."""
    text = file.read_text(encoding="utf-8")
    found = change.search(text)
    assert found is not None
    file.write_text(text[: found.start(1)] + repr(1.1 * float(found[1])) + text[found.end(1) :], encoding="utf-8")


def test_the_pages_say_what_is_stored() -> None:
    ran = study(TOP, "--pages")
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("size", ["full", "small"])
def test_a_figure_that_a_page_states_otherwise_is_named(copy: Path, size: str) -> None:
    spoil(copy / "benchmarks" / "results" / f"study_{size}.json", STRICT_DELHI)
    ran = study(copy, "--pages")
    assert ran.returncode == 1
    line = re.compile(r"drifted: delhi\.ipynb: (\S+): stated ([\d.]+), now ([\d.]+)")
    path, stated, now = next(filter(None, map(line.fullmatch, ran.stdout.splitlines()))).groups()
    assert path == f"{size}/headline/strict/delhi/marginal_reduction_percent"
    assert abs(float(now) / float(stated) - 1.1) < 0.02


def test_a_sentence_whose_words_were_changed_is_named(copy: Path) -> None:
    page = copy / "nbs" / "studies" / "mumbai.ipynb"
    book = json.loads(page.read_text(encoding="utf-8"))
    cell = next(cell for cell in book["cells"] if "".join(cell["source"]).startswith("#| echo: false\nsay("))
    cell["source"] = "".join(cell["source"]).replace("synthetic", "invented")
    page.write_text(json.dumps(book), encoding="utf-8")
    ran = study(copy, "--pages")
    assert ran.returncode == 1 and "the saved sentence is not the cell's" in ran.stdout


@pytest.mark.parametrize(("old", "new", "fault"), [
    ("| city | policy |", "| town | policy |", "its table of the study lacks the row | city | policy |"),
    ("| Delhi | strict | 1,1", "| Delhi | strict | 9,1", "its table of the study lacks the row | Delhi | strict | 1,1"),
    ("within 0.001 % of a bound", "within 0.0000001 % of a bound", "says within 0.0000001 % of how near the bound its plans are"),
    ("within 0.001 % of a bound", "near a bound", "says nothing of how near the bound its plans are"),
])  # fmt: skip
def test_what_the_start_page_says_otherwise_is_named(copy: Path, old: str, new: str, fault: str) -> None:
    page = copy / "nbs" / "index.ipynb"
    text = page.read_text(encoding="utf-8")
    assert text.count(old) == 1
    page.write_text(text.replace(old, new), encoding="utf-8")
    ran = study(copy, "--pages")
    assert ran.returncode == 1 and f"drifted: index.ipynb: {fault}" in ran.stdout


def test_requests_are_cut_to_the_limits_of_the_week_in_which_they_are_carried_out() -> None:
    """A plan's own requests stay whole; twice as much of each is cut back, and every limit is kept again."""
    script = """
import polars as pl
import study
readings = study.readings_of(("mumbai",), 30)
plan = study.plan_of(readings, {})
requests = plan.shifts.rename({"original_time": "time", "shifted_time": "to"})
problems = study.make_problems(readings, plan.scenario)
whole, twice = (sum(study.grams_within_limits(p, requests.with_columns(pl.col("kwh") * k)) for p in problems) for k in (1, 2))
best = -plan.shifts["marginal_g_delta"].sum()
assert abs(whole - best) < 1e-6 * best and 0.9 * best < twice < 1.001 * best, (whole, twice, best)
kept = study.repeated(plan, readings)
assert 0 < kept["kept"] < kept["asked"] < 100, kept
"""
    ran = subprocess.run([sys.executable, "-c", script], cwd=TOP / "benchmarks", capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_a_stored_figure_that_no_longer_comes_out_is_named(copy: Path) -> None:
    spoil(copy / "benchmarks" / "results" / "study_small.json", re.compile(r'"lp, highs": \{.*?"tco2_avoided": ([\d.]+)', re.DOTALL))
    ran = study(copy, "--size", "small", "--only", "families")
    assert ran.returncode == 1
    assert "drifted: study_small.json: families/lp, highs/tco2_avoided: stated " in ran.stdout


@pytest.mark.slow
def test_the_small_study_gives_what_is_stored_and_stated() -> None:
    ran = study(TOP, "--size", "small")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "left out: --real names no readings" in ran.stdout
    assert "every stated figure still holds" in ran.stdout
