"""Every picture for ordinary, tiny, empty and odd plans, with warnings as errors, and without touching pyplot."""

import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib
import numpy as np
import polars as pl
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dr_opt.basics import InputError
from dr_opt.calendar import Calendar
from dr_opt.constraints.technical import NoNewSpike
from dr_opt.drawing import new_axes
from dr_opt.metrics import FigureTables
from dr_opt.plots import (
    busiest_day,
    draw_all,
    file_names,
    plot_households,
    plot_load,
    plot_marginal_against_average,
    plot_moves,
    plot_moves_distribution,
    plot_savings_by_hour,
)  # fmt: skip
from dr_opt.result_tables import customer_table, load_table
from dr_opt.tables import example_readings, example_tables

pytestmark = pytest.mark.filterwarnings("error")

Moves = list[tuple[str, float, float, float]]


def as_plan(readings: Any, moves: Moves, cap: bool = True) -> SimpleNamespace:
    """What the pictures read of a plan."""
    tables = FigureTables.of(example_tables(readings, moves, {"no_new_spike": NoNewSpike()} if cap else {}))
    made = {"shifts": tables.shifts, "load": load_table(tables), "customers": customer_table(tables)}
    return SimpleNamespace(**made, scenario=SimpleNamespace(calendar=readings.calendar), frames={}, readings=readings)


def random_plan(
    cities: tuple[str, ...] = ("delhi", "mumbai"), days: int = 3, households: int = 6, seed: int = 0, calendar: Calendar | None = None,
    average: bool = True, share_moving: float = 0.6, cap: bool = True,
) -> SimpleNamespace:  # fmt: skip
    """Households with a bell of use and one move a day each, of up to three hours."""
    chance, calendar = np.random.default_rng(seed), calendar or Calendar()
    per_hour = 60 // calendar.slot_minutes
    slots = days * len(calendar.day_hours) * per_hour
    names = [f"{city}-{k}" for city in cities for k in range(households)]
    usage = {name: (chance.lognormal(-1, 0.6, slots) + 0.05).tolist() for name in names}
    factors = [chance.uniform(low, high, slots).tolist() for low, high in ((400, 950), (600, 800))]
    places = {name: cities[k // households] for k, name in enumerate(names)}
    readings = example_readings(usage, factors[0], factors[1] if average else None, places, calendar=calendar)
    moves = []
    for name in names:
        for day in range(days):
            if chance.random() < share_moving:
                origin, by = 24 * day + chance.integers(4, 20), chance.choice([-3, -1, 1, 2])
                moves.append((name, float(origin), float(origin + by), float(0.9 * usage[name][int(origin * per_hour) % slots])))
    return as_plan(readings, moves if calendar.day_boundaries == (0, 23) else [], cap)


def tiny_plan() -> SimpleNamespace:
    """One household, one city, one move, two slots."""
    calendar = Calendar(slot_minutes=60, day_boundaries=(0, 1))
    return as_plan(example_readings({"anita": [2, 1]}, [900, 400], [600, 700], calendar=calendar), [("anita", 0, 1, 1)])


def without_rows() -> SimpleNamespace:
    """A plan whose tables have no rows at all."""
    plan = tiny_plan()
    for name in ("shifts", "load", "customers"):
        setattr(plan, name, getattr(plan, name).clear())
    plan.readings = None
    return plan


PLANS: dict[str, Callable[[], SimpleNamespace]] = {
    "normal": random_plan,
    "one city": lambda: random_plan(("delhi",)),
    "many cities": lambda: random_plan(tuple(f"town {k}" for k in range(7)), days=1, households=2),
    "tiny": tiny_plan,
    "no moves": lambda: random_plan(share_moving=0),
    "no rows": without_rows,
    "no average factors": lambda: random_plan(average=False),
    "no cap": lambda: random_plan(cap=False),
    "quarter hours": lambda: random_plan(days=1, calendar=Calendar(slot_minutes=15)),
    "day from six": lambda: random_plan(calendar=Calendar(slot_minutes=60, day_boundaries=(6, 5))),
    "daytime": lambda: random_plan(calendar=Calendar(day_boundaries=(8, 20))),
    "clocks change": lambda: random_plan(days=2, calendar=Calendar(timezone="Europe/Zurich")),
    "long": lambda: random_plan(("delhi",), days=16, households=2),
    "odd names": lambda: random_plan(("a$b$/_", "दिल्ली" + "n" * 300), days=16, households=1),
}
PICTURES: dict[str, Callable[..., Axes]] = {
    "load": plot_load,
    "mean day": lambda plan, ax=None: plot_load(plan, None, "mean", ax),
    "moves": plot_moves,
    "savings": plot_savings_by_hour,
    "households": plot_households,
    "both factors": plot_marginal_against_average,
    "sizes": lambda plan, ax=None: plot_moves_distribution(plan, None if ax is None else [ax.figure.add_subplot(), ax])[1],
    "sizes in halves": lambda plan, ax=None: plot_moves_distribution(plan, ax or new_axes()[0])[1],
}
OFTEN = ("normal", "one city", "tiny", "no moves", "no rows", "odd names")  # the others are drawn in the slow tier
each_plan = pytest.mark.parametrize("name", [pytest.param(name, marks=[] if name in OFTEN else pytest.mark.slow) for name in PLANS])
each_picture = pytest.mark.parametrize("picture", PICTURES)

UNIT = re.compile(r"\(.*(?:[kMG]Wh|CO2|\bh\b|minutes|number|%).*\)|^time \(.+/.+\)$")


def words(ax: Axes) -> str:
    """All free text in a picture."""
    return " ".join(text.get_text() for text in ax.texts)


@each_plan
@each_picture
def test_draws_every_plan(name: str, picture: str) -> None:
    plan = PLANS[name]()
    ax = PICTURES[picture](plan)
    ax.figure.canvas.draw()
    for part in [ax, *ax.figure.axes]:
        for label in (part.get_xlabel(), part.get_ylabel()):
            assert not label or UNIT.search(label), label
    assert ax.get_title(loc="left") and ax.get_xlabel() and ax.get_ylabel()
    assert ("no moves" in words(ax)) == plan.shifts.is_empty()
    edge = ax.figure.bbox.padded(1)
    for text in (ax._left_title, ax.xaxis.label, ax.yaxis.label):  # all of it can be read
        box = text.get_window_extent()
        assert edge.contains(box.x0, box.y0) and edge.contains(box.x1, box.y1), text.get_text()


@pytest.mark.parametrize("picture", [name for name in PICTURES if name != "sizes in halves"])
def test_uses_the_axes_given(picture: str) -> None:
    figure = Figure()
    ax = figure.subplots()
    assert PICTURES[picture](random_plan(), ax=ax) is ax
    assert ax.figure is figure and ax.get_title(loc="left")
    figure.canvas.draw()


def test_load_shows_the_numbers_of_the_table() -> None:
    plan = random_plan()
    ax = plot_load(plan, "mumbai", date(2025, 11, 18))
    table = plan.load.filter((pl.col("city") == "mumbai") & (pl.col("time").dt.date() == date(2025, 11, 18)))
    for label, column in (("load before", "load_before_kwh"), ("load after", "load_after_kwh"), ("cap on the load after", "limit_kwh")):
        line = next(line for line in ax.lines if line.get_label() == label)
        drawn = np.asarray(line.get_ydata())[::3]  # three points a slot
        np.testing.assert_allclose(drawn, table[column].to_numpy())


def test_mean_day_is_the_mean_over_days() -> None:
    plan = random_plan(days=16, households=2)
    loads = plan.load.filter(pl.col("city") == "delhi").group_by(pl.col("time").dt.time())
    wanted = loads.agg(pl.col("load_after_kwh").mean()).sort("time")
    for day in ("mean", None):  # a long period is shown as its mean day
        ax = plot_load(plan, "delhi", day)
        line = next(line for line in ax.lines if line.get_label() == "load after")
        np.testing.assert_allclose(np.asarray(line.get_ydata())[::3], wanted["load_after_kwh"].to_numpy())


def test_absent_slots_break_the_line() -> None:
    plan = random_plan(("delhi",))
    holes = pl.col("time").dt.hour().is_in([7, 8]) & (pl.col("time").dt.date() == date(2025, 11, 18))
    plan.load = plan.load.filter(~holes)
    line = next(line for line in plot_load(plan).lines if line.get_label() == "load after")
    assert np.isnan(np.asarray(line.get_ydata())).sum() == 1


def test_savings_add_up() -> None:
    plan = random_plan()
    ax = plot_savings_by_hour(plan)
    unit = {"gCO2": 1, "kgCO2": 1e3, "tCO2": 1e6}[re.findall(r"\((\w+)\)", ax.get_ylabel())[0]]
    bars = sum(bar.get_height() for bar in ax.patches) * unit
    assert bars == pytest.approx(-plan.shifts["marginal_g_delta"].sum())


def test_heatmap_adds_up_and_wraps() -> None:
    plan = random_plan()
    ax = plot_moves(plan, "delhi")
    assert np.ma.sum(ax.collections[0].get_array()) == pytest.approx(plan.shifts.filter(pl.col("city") == "delhi")["kwh"].sum())
    calendar = Calendar(slot_minutes=60, day_boundaries=(6, 5))
    readings = example_readings({"anita": [1.0] * 24}, [900.0 - 10 * k for k in range(24)], calendar=calendar)
    late = plot_moves(as_plan(readings, [("anita", 17, 19, 0.5)]))  # 23 h to 1 h of the same counting day
    assert "from 23 h to 1 h" in late.get_title(loc="left")
    assert float(late.collections[0].get_array()[19, 17]) == 0.5


def test_share_that_disagrees() -> None:
    plan = random_plan()
    moves = plan.shifts.group_by("move_id").agg(pl.col("average_g_delta").sum())
    share = 100 * (moves["average_g_delta"] > 0).mean()
    assert plot_marginal_against_average(plan).get_title(loc="left") == f"{share:.0f} % of the moves raise average emissions"


def test_moves_without_average_factors_are_counted() -> None:
    plan = random_plan()
    first = pl.col("move_id") == 1
    plan.shifts = plan.shifts.with_columns(average_g_delta=pl.when(~first).then("average_g_delta"))
    legend = plot_marginal_against_average(plan).get_legend()
    assert legend is not None and legend.get_title().get_text() == "1 move without average factors left out"


def test_many_moves_are_thinned_but_all_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dr_opt.plots.MOST_DOTS", 5)
    plan = random_plan()
    ax = plot_marginal_against_average(plan)
    legend = ax.get_legend()
    assert legend is not None
    assert sum(int(text.get_text().split(": ")[1].split()[0]) for text in legend.get_texts()) == plan.shifts["move_id"].n_unique()
    assert sum(len(dots.get_offsets()) for dots in ax.collections) < 10
    assert "drawn" in legend.get_title().get_text()


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"city": "dehli"}, "city is 'dehli', which is not in the plan (delhi, mumbai). Did you mean 'delhi'?"),
        ({"city": "x"}, "city is 'x', which is not in the plan (delhi, mumbai). Choose one of these."),
        ({"day": date(2026, 1, 1)}, "day is 2026-01-01, which the plan does not hold (2025-11-17 to 2025-11-19). Choose a day in between."),
        ({"day": "today"}, "day is 'today', which is not a date. Write it as 2025-11-17, or 'mean' for the mean day."),
    ],
)
def test_wrong_city_or_day(wrong: dict[str, Any], line: str) -> None:
    with pytest.raises(InputError) as caught:
        plot_load(random_plan(), **wrong)
    assert caught.value.faults == (line,)


def test_a_day_can_be_text() -> None:
    assert "Tuesday 18 November 2025" in plot_load(random_plan(), "delhi", "2025-11-18").get_title(loc="left")


def test_busiest_day() -> None:
    plan = random_plan()
    for city in ("delhi", "mumbai"):
        kwh = plan.shifts.filter(pl.col("city") == city).group_by("day").agg(pl.col("kwh").sum()).sort("kwh")
        assert busiest_day(plan, city) == kwh["day"][-1]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["one city", "long", "no rows", "odd names"])
def test_draws_all_into_a_folder(name: str, tmp_path: Path) -> None:
    plan = PLANS[name]()
    files = draw_all(plan, tmp_path / "new" / "figures")
    assert len(set(files)) == len(files)
    assert sorted(path.name for path in (tmp_path / "new" / "figures").iterdir()) == sorted(path.name for path in files)
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in files)
    per_city = 3 if name in ("long", "odd names") else 4
    assert len(files) == per_city * plan.load["city"].n_unique() + 7


def test_names_are_stable_and_safe(tmp_path: Path) -> None:
    assert [path.stem for path in draw_all(tiny_plan(), tmp_path)] == [
        "load_mean_day_delhi", "load_busiest_day_delhi", "load_period_delhi", "hours_delhi", "hours", "savings_by_hour", "sizes",
        "households", "marginal_against_average", "duration", "household_week",
    ]  # fmt: skip
    made = file_names(["delhi", "DELHI", "../../etc", "a/b", "a b", "", "...", "x" * 500, "delhi_2"])
    assert len({name.casefold() for name in made.values()}) == len(made)
    assert all(re.fullmatch(r"[\w-]{1,60}", name) for name in made.values())


def test_leaves_settings_and_pyplot_alone() -> None:
    code = (
        "import matplotlib, tempfile, sys, warnings; warnings.simplefilter('error'); before = dict(matplotlib.rcParams.copy())\n"
        "import dr_opt.plots; assert 'matplotlib.pyplot' not in sys.modules and 'seaborn' not in sys.modules\n"
        "sys.path.insert(0, 'tests'); import test_plots\n"
        "with tempfile.TemporaryDirectory() as folder: dr_opt.plots.draw_all(test_plots.tiny_plan(), folder)\n"
        "after = dict(matplotlib.rcParams.copy()); assert before == after, [k for k in after if before.get(k) != after[k]]\n"
        "import matplotlib.pyplot as plt; assert plt.get_fignums() == []"
    )
    top = Path(__file__).resolve().parents[1]
    ran = subprocess.run([sys.executable, "-c", code], cwd=top, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.slow
def test_threads_draw_the_same(tmp_path: Path) -> None:
    plan = tiny_plan()
    alone = {path.name: path.read_bytes() for path in draw_all(plan, tmp_path / "alone")}
    with ThreadPoolExecutor(2) as pool:
        folders = list(pool.map(lambda k: draw_all(plan, tmp_path / str(k)), range(2)))
    assert all({path.name: path.read_bytes() for path in files} == alone for files in folders)


def test_style_survives_an_error() -> None:
    before = matplotlib.rcParams.copy()
    with pytest.raises(InputError):
        plot_load(random_plan(), "pune")
    assert matplotlib.rcParams == before
    assert len(new_axes(columns=3)) == 3


def test_a_plan_as_the_pipeline_makes_it(tmp_path: Path) -> None:
    import dr_opt

    scenario = dr_opt.Scenario(solver={"family": "greedy"}, progress=False)
    plan = dr_opt.optimise(dr_opt.synthesise(customers=8, days=7), scenario)
    assert len(draw_all(plan, tmp_path)) == 15
    share = plan.summary["total"]["average_increase_share_percent"]
    title = plot_marginal_against_average(plan).get_title(loc="left")
    assert float(title.split(" %")[0]) == pytest.approx(share, rel=0.06)
