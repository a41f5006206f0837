"""The load's duration curve, a household's week, the frontier and sweeps as pictures: for every kind of plan, warnings as errors."""

import itertools
import re
from collections.abc import Callable
from datetime import date
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from test_plots import as_plan, tiny_plan, without_rows

import dr_opt
from dr_opt.basics import InputError
from dr_opt.calendar import Calendar
from dr_opt.curves import plot_duration, plot_frontier, plot_household_week, plot_sweep
from dr_opt.tables import example_readings

pytestmark = pytest.mark.filterwarnings("error")

Moves = list[tuple[str, float, float, float]]
UNIT = re.compile(r"\(.*(?:[kMG]Wh|CO2|\bh\b|hours|moves|number|objective|%).*\)")


@cache
def readings_of(cities: tuple[str, ...], days: int, timezone: str, first_hour: int, last_hour: int, absent: bool) -> Any:
    """Two households a city, half-hourly; with `absent`, the first day of the first household is unknown."""
    chance, calendar = np.random.default_rng(0), Calendar(timezone=timezone, day_boundaries=(first_hour, last_hour))
    names = [f"{city}-{k}" for city in cities for k in range(2)]
    slots = days * 2 * len(calendar.day_hours)
    usage: dict[str, list[float | None]] = {name: (chance.lognormal(-1, 0.6, slots) + 0.05).tolist() for name in names}
    if absent:
        usage[names[0]][:48] = [None] * 48
    marginal, average = (chance.uniform(low, high, slots).tolist() for low, high in ((400, 950), (600, 800)))
    first_day = date(2025, 10, 20) if timezone != "Asia/Kolkata" else date(2025, 11, 17)
    return example_readings(usage, marginal, average, {name: name.rsplit("-", 1)[0] for name in names}, first_day, calendar)


def usual(
    cities: tuple[str, ...] = ("delhi", "mumbai"), days: int = 9, moving: bool = True, timezone: str = "Asia/Kolkata",
    hours: tuple[int, int] = (0, 23), absent: bool = False,
) -> SimpleNamespace:  # fmt: skip
    """A plan with three moves for each city's first household, the last of them split over two new times."""
    readings = readings_of(cities, days, timezone, *hours, absent)
    kwh = {name: part["usage_kwh"].to_list() for (name,), part in readings.frame.group_by("customer_id")}
    names = [f"{city}-0" for city in cities] if moving else []
    slot = 48 if absent else 0
    moves = [(name, (slot + 2) / 2, (slot + 5) / 2, 0.8 * kwh[name][slot + 2]) for name in names]
    for name in names:
        moves += [(name, 30, 29, 0.8 * kwh[name][60]), (name, 60, 61, 0.4 * kwh[name][120]), (name, 60, 61.5, 0.4 * kwh[name][120])]
    return as_plan(readings, moves, cap=False)


def bare(**more: Any) -> SimpleNamespace:
    """A plan read back without its readings."""
    return SimpleNamespace(**{**vars(usual(**more)), "readings": None})


def nobody_known() -> SimpleNamespace:
    """A planned household of which no slot is known."""
    return bare(moving=False)


PLANS: dict[str, Callable[[], SimpleNamespace]] = {
    "normal": usual,
    "one city": lambda: usual(("delhi",), days=3),
    "tiny": tiny_plan,
    "no moves": lambda: usual(days=3, moving=False),
    "no rows": without_rows,
    "many cities": lambda: usual(tuple(f"town {k}" for k in range(6)), days=3),
    "read back bare": bare,
    "nothing known": nobody_known,
    "gaps": lambda: usual(absent=True),
    "odd names": lambda: usual(("a$b$/_", "दिल्ली" + "n" * 300), days=3),
    "day from six": lambda: usual(hours=(6, 5)),
    "daytime": lambda: usual(hours=(8, 20), moving=False),
    "clocks change": lambda: usual(timezone="Europe/Zurich"),
}
SLOW = ("gaps", "day from six", "daytime", "clocks change", "many cities")
each_plan = pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in PLANS])
each_picture = pytest.mark.parametrize("draw", [plot_duration, plot_household_week])


def title(ax: Axes) -> str:
    return ax.get_title(loc="left")


def words(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.texts if text.get_text()]


def legend(ax: Axes) -> list[str]:
    found = ax.get_legend()
    return [text.get_text() for text in found.get_texts()] if found else []


def arrows(ax: Axes) -> list[Annotation]:
    return [text for text in ax.texts if isinstance(text, Annotation) and text.arrow_patch is not None and not text.get_text()]


def check(ax: Axes) -> None:
    """Title, labels and units are there and can be read whole, however the picture is drawn."""
    ax.figure.canvas.draw()
    for part in [ax, *ax.figure.axes]:
        for label in (part.get_xlabel(), part.get_ylabel()):
            assert not label or UNIT.search(label) or label in ("plan", "solver.family"), label
    assert title(ax) and ax.get_xlabel() and ax.get_ylabel()
    edge = ax.figure.bbox.padded(1)
    for text in (ax._left_title, ax.xaxis.label, ax.yaxis.label):
        box = text.get_window_extent()
        assert edge.contains(box.x0, box.y0) and edge.contains(box.x1, box.y1), text.get_text()


@each_plan
@each_picture
def test_draws_every_plan(name: str, draw: Callable[..., Axes]) -> None:
    plan = PLANS[name]()
    ax = draw(plan)
    check(ax)
    said = {"no moves", "no households", "no readings"} & set(words(ax))
    assert bool(said) == plan.shifts.is_empty()


def test_uses_the_axes_given() -> None:
    figure = Figure()
    axes = figure.subplots(2, 2).ravel()
    for draw, ax in zip((plot_duration, plot_household_week), axes, strict=False):
        assert draw(tiny_plan(), ax=ax) is ax
    assert plot_frontier(CURVE, ax=axes[2]) is axes[2] and plot_sweep(SWEPT, ax=axes[3]) is axes[3]
    assert all(title(ax) for ax in axes) and axes[0].figure is figure
    figure.canvas.draw()


def test_they_are_public_names() -> None:
    names = [name for name in dir(dr_opt) if name.startswith("plot_")]
    assert len(names) == 10 and dr_opt.plot_frontier is plot_frontier


# Duration curve


def test_duration_holds_the_sorted_loads() -> None:
    plan = usual()
    ax = plot_duration(plan, "mumbai")
    load = plan.load.filter(pl.col("city") == "mumbai")
    for patch, column in zip(ax.patches, ("load_before_kwh", "load_after_kwh"), strict=True):
        np.testing.assert_allclose(patch.get_data().values, load[column].sort(descending=True).to_numpy())
        np.testing.assert_allclose(patch.get_data().edges, np.linspace(0, 100, len(load) + 1))
    old, new = load["load_before_kwh"].max(), load["load_after_kwh"].max()
    assert ("stays" in title(ax)) == (old == pytest.approx(new)) and "kWh per 30 minutes" in ax.get_ylabel()


def test_duration_of_many_cities_adds_up_the_smaller() -> None:
    ax = plot_duration(usual(tuple(f"town {k}" for k in range(6)), days=3))
    assert len(ax.patches) == 8 and "3 other cities after" in legend(ax)
    assert re.fullmatch(r"The highest load grows in (none|\d) of 4 cities(, by at most .* %)?", title(ax))


def test_duration_of_a_wrong_city() -> None:
    with pytest.raises(InputError) as caught:
        plot_duration(usual(), "dehli")
    assert caught.value.faults == ("city is 'dehli', which is not in the plan (delhi, mumbai). Did you mean 'delhi'?",)


# A household's week


def test_week_shows_usage_and_an_arrow_for_each_shift() -> None:
    plan = usual()
    ax = plot_household_week(plan, "delhi-0", "2025-11-20")
    assert len(arrows(ax)) == 4 and sum("kWh" in text for text in words(ax)) == 3  # one of the moves is split
    assert title(ax).startswith("Household delhi-0 (Delhi), 17 to 23 November 2025: 3 moves ")
    monday = next(line for line in ax.lines if line.get_label() == "usage after")
    rows = dr_opt.curves._usage_of(plan, "delhi-0", "delhi").filter(pl.col("day") == date(2025, 11, 17))
    top = dr_opt.curves._usage_of(plan, "delhi-0", "delhi").filter(pl.col("week") == date(2025, 11, 17))
    highest = top.select(pl.max_horizontal(pl.col("before_kwh", "after_kwh").max())).item()
    base = 6 * dr_opt.curves.ROW
    np.testing.assert_allclose((np.asarray(monday.get_ydata())[::3] - base) * highest, rows["after_kwh"].to_numpy())
    assert [tick.get_text() for tick in ax.get_yticklabels()] == [
        f"{d} {17 + k}" for k, d in enumerate("Mon Tue Wed Thu Fri Sat Sun".split())
    ]
    assert ax.figure.axes[1].get_ylabel() == "marginal factor (gCO2/kWh)"


def test_arrows_go_from_the_old_to_the_new_time() -> None:
    ax = plot_household_week(usual(), "mumbai-0")
    ends = sorted((round(arrow.xyann[0], 6), round(arrow.xy[0], 6)) for arrow in arrows(ax))
    assert ends == [(1.25, 2.75), (6.25, 5.25), (12.25, 13.25), (12.25, 13.75)]  # the middles of the half hours


def test_labels_of_a_week_cover_neither_each_other_nor_the_usage() -> None:
    readings = dr_opt.read_readings(dr_opt.synthesise("delhi", customers=6, days=7, seed=0), show_progress=False)
    often = {"constraints.max_moves_per_day.limit": 3, "constraints.max_moves_per_week.limit": 9, "solver.family": "greedy"}
    ax = plot_household_week(dr_opt.optimise(readings, dr_opt.Scenario(progress=False).replace(often)))
    ax.figure.canvas.draw()
    boxes = [text.get_window_extent() for text in ax.texts if text.get_text().endswith(" kWh")]
    assert len(boxes) > 3 and not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    for line in ax.lines:
        if str(line.get_label()).endswith("usage after"):
            points = ax.transData.transform(np.column_stack(line.get_data()))
            assert not any(box.contains(x, y) for box in boxes for x, y in points)


def test_the_week_and_the_household_that_save_most_are_drawn() -> None:
    plan = usual()
    best = plan.customers.filter(pl.col("moves") > 0).sort("marginal_g_delta")["customer_id"][0]
    assert title(plot_household_week(plan)).lower().startswith(f"household {best}")
    later = plot_household_week(plan, week=date(2025, 11, 25))
    assert "24 to 25 November 2025" in title(later) and "no moves" in words(later)


def test_usage_from_the_table_of_every_slot_is_the_same() -> None:
    plan = usual()
    usage = plan.readings.frame.select("customer_id", "city", "time", "usage_kwh", optimised_kwh="usage_kwh")
    stored = SimpleNamespace(**{**vars(plan), "readings": None, "frames": {"optimised_usage": usage}})
    mine, theirs = (dr_opt.curves._usage_of(each, "delhi-0", "delhi") for each in (plan, stored))
    assert mine.equals(theirs)
    assert plot_household_week(stored, "delhi-0").get_legend().get_title().get_text() == ""
    assert plot_household_week(bare(), "delhi-0").get_legend().get_title().get_text() == "usage known only where energy moves"


def test_an_hour_that_comes_twice_breaks_the_line() -> None:
    ax = plot_household_week(usual(timezone="Europe/Zurich"), week="2025-10-26")
    sunday = [line for line in ax.lines if line.get_label() == "_usage after"][-1]
    assert np.isnan(np.asarray(sunday.get_ydata())).sum() == 1


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"customer": "delhi0"}, "customer is 'delhi0', which is not in the plan (it has 4 households). Did you mean 'delhi-0'?"),
        ({"customer": 7}, "customer is '7', which is not in the plan (it has 4 households). Choose one of plan.customers."),
        (
            {"week": date(2026, 1, 1)},
            "week is that of 2026-01-01, in which the household has no readings (2025-11-17 to 2025-11-30). Choose a date in between.",
        ),
        ({"week": "now"}, "week is 'now', which is not a date. Write it as 2025-11-17."),
    ],
)
def test_wrong_household_or_week(wrong: dict[str, Any], line: str) -> None:
    with pytest.raises(InputError) as caught:
        plot_household_week(usual(), **wrong)
    assert caught.value.faults == (line,)


# The frontier

CURVE = pl.DataFrame(
    {
        "min_saving_g_per_kwh": [0.0, 100.0, 300.0, 900.0],
        "kwh_moved": [4000.0, 3000.0, 1000.0, 0.0],
        "tco2_avoided": [1.2, 1.1, 0.6, 0.0],
        "bound_tco2": [1.21, 1.11, 0.61, 0.0],
    }
)


def point(kwh: float, tco2: float | None) -> Any:
    return SimpleNamespace(summary={"total": {"kwh_moved": kwh, "tco2_avoided": tco2}})


def test_frontier_draws_curve_bound_and_plans() -> None:
    plans = {
        "impact": point(4000, 1.2),
        "greedy": point(3900, 1.1),
        "wider": point(3000, 1.4),
        "_odd$": point(0, None),
        "दिल्ली": point(1, 0),
    }
    ax = plot_frontier(CURVE, plans)
    check(ax)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("energy moved (MWh)", "marginal emissions avoided (tCO2)")
    bound, curve = ax.lines[0], ax.lines[1]
    np.testing.assert_allclose(np.sort(curve.get_xdata()), [0, 0, 1, 3, 4])
    inside = np.interp(curve.get_xdata(), bound.get_xdata(), bound.get_ydata())
    assert (np.asarray(curve.get_ydata()) <= inside + 1e-9).all()
    assert {"Impact", "Greedy", "Wider*", "λ 100"} <= set(words(ax)) and "* made under other limits or of other readings" in legend(ax)
    assert title(ax) == "Half of the saving takes 25 % of the energy"


def test_the_bound_is_the_lowest_of_all_lines() -> None:
    ax = plot_frontier(CURVE)
    x, y = (np.asarray(data) for data in ax.lines[0].get_data())
    lines = [bound + value * (1000 * x - moved) / 1e6 for value, moved, _, bound in CURVE.rows()]
    np.testing.assert_allclose(y, np.min(lines, axis=0), atol=1e-12)


@pytest.mark.parametrize(
    ("frame", "said"),
    [(CURVE.with_columns(bound_tco2=pl.lit(None, pl.Float64)), False), (CURVE[3:], True), (CURVE.clear(), True), (CURVE[:1], False)],
)
def test_frontiers_of_every_kind(frame: pl.DataFrame, said: bool) -> None:
    ax = plot_frontier(frame, {"impact": point(0, 0)})
    check(ax)
    assert ("no moves" in words(ax)) == said
    assert ("proven bound" in legend(ax)) == (frame["bound_tco2"].count() > 0)


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        (("frontier",), "frontier is of type str, not a frame. Give what dr_opt.frontier returns."),
        ((CURVE.drop("kwh_moved", "bound_tco2"),), "frontier has no column 'kwh_moved', 'bound_tco2'. Give what dr_opt.frontier returns."),
        ((CURVE, [1]), 'plans is of type list, not a mapping. Give plans by name: {"impact": plan}.'),
        ((CURVE, {"a": 1}), "plans['a'] is of type int, which is no plan. Give what optimise or read_plan returns."),
    ],
)
def test_wrong_frontier_or_plans(wrong: tuple[Any, ...], line: str) -> None:
    with pytest.raises(InputError) as caught:
        plot_frontier(*wrong)
    assert caught.value.faults == (line,)


# Sweeps

HOURS, LIMIT = "constraints.max_shift_window.hours", "constraints.max_moves_per_week.limit"
SWEPT = pl.DataFrame(
    {
        HOURS: [1, 1, 2, 2, 4, 4],
        LIMIT: [1, 3, 1, 3, 1, 3],
        "family": "milp",
        "bound": pl.Series([None] * 6, dtype=pl.Float64),
        "tco2_avoided": [0.004, 0.005, 0.006, 0.007, 0.008, 0.009],
        "average_reduction_percent": [-0.1, -0.2, 0.1, 0.0, -0.3, -0.1],
        "moves": [3, 4, 5, 6, 7, 8],
        "status": "The plan is optimal.",
    }
)


def test_sweep_draws_a_line_for_each_value_of_the_second_field() -> None:
    ax = plot_sweep(SWEPT)
    check(ax)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("max_shift_window.hours (hours)", "marginal emissions avoided (kgCO2)")
    assert legend(ax) == ["1", "3"] and ax.get_legend().get_title().get_text() == "max_moves_per_week.limit"
    np.testing.assert_allclose([line.get_ydata() for line in ax.lines[:2]], [[4, 6, 8], [5, 7, 9]])
    assert title(ax) == "Highest with hours 4, limit 3: 9 kgCO2" and ax.get_ylim()[0] == 0
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["1", "2", "4"]


def test_sweep_the_other_way_round() -> None:
    ax = plot_sweep(SWEPT, LIMIT, "moves")
    check(ax)
    assert ax.get_xlabel() == "max_moves_per_week.limit (moves)" and ax.get_ylabel() == "requests to households (number)"
    assert len(legend(ax)) == 3


def test_words_make_bars_and_signs_are_kept() -> None:
    rows = SWEPT.with_columns(pl.Series("solver.family", ["lp", "greedy"] * 3)).select("solver.family", *SWEPT.columns)
    ax = plot_sweep(rows, y="average_reduction_percent")
    check(ax)
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["lp", "greedy"] and ax.get_ylim()[0] < -0.3
    assert sorted(round(bar.get_height(), 6) for bar in ax.patches) == [-0.3, -0.2, -0.1, -0.1, 0.0, 0.1]


@pytest.mark.parametrize(
    ("rows", "y", "said"), [(SWEPT.clear(), "tco2_avoided", "no plans"), (SWEPT, "bound", "no values"), (SWEPT[:1], "tco2_avoided", "")]
)
def test_sweeps_of_every_kind(rows: pl.DataFrame, y: str, said: str) -> None:
    ax = plot_sweep(rows, y=y)
    check(ax)
    assert " ".join(words(ax)) == said


def test_odd_names_and_wide_ranges() -> None:
    rows = pl.DataFrame({"plan": ["_a$b$", "दिल्ली"], "solver.gap": [1e-5, 1e-1], "family": "milp", "kwh_moved": [1.0, 2.0]})
    check(plot_sweep(rows, y="kwh_moved"))
    ax = plot_sweep(rows, "solver.gap", "kwh_moved")
    check(ax)
    assert ax.get_xscale() == "log" and ax.get_xlabel() == "solver.gap (number)"


@pytest.mark.parametrize(
    ("wrong", "lines"),
    [
        ({"x": "hours"}, [f"x is 'hours', which the sweep does not vary. Choose one of {HOURS}, {LIMIT}."]),
        ({"y": "tco2_avoid"}, ["y is 'tco2_avoid', which the sweep does not have. Did you mean 'tco2_avoided'?"]),
        (
            {"x": "family", "y": "status"},
            [
                f"x is 'family', which the sweep does not vary. Choose one of {HOURS}, {LIMIT}.",
                "y is 'status', which holds words. Choose one of bound, tco2_avoided, average_reduction_percent, moves.",
            ],
        ),
        ({"sweep": {}}, ["sweep is of type dict, not a frame. Give what dr_opt.sweep or dr_opt.compare returns."]),
        (
            {"sweep": SWEPT.drop("family")},
            ["sweep does not say what was varied, before a column 'family'. Give what dr_opt.sweep or dr_opt.compare returns."],
        ),
    ],
)
def test_wrong_sweep_or_column(wrong: dict[str, Any], lines: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        plot_sweep(**{"sweep": SWEPT, **wrong})
    assert list(caught.value.faults) == lines


@pytest.mark.slow
def test_plans_and_tables_as_the_pipeline_makes_them() -> None:
    readings = dr_opt.read_readings(dr_opt.synthesise(customers=8, days=7))
    scenario = dr_opt.Scenario(solver={"family": "lp"}, progress=False)
    curve = dr_opt.frontier(readings, scenario, points=4)
    plans = {
        "impact": dr_opt.optimise(readings, scenario),
        "convenient": dr_opt.optimise(readings, scenario.replace({"model.name": "ConveniencePrioritised"})),
    }
    for ax in (plot_frontier(curve, plans), plot_duration(plans["impact"]), plot_household_week(plans["impact"])):
        check(ax)
    assert not [text for text in words(plot_frontier(curve, plans)) if text.endswith("*")]
    check(plot_sweep(dr_opt.sweep(readings, scenario, {HOURS: [1, 2], "solver.family": ["lp", "greedy"]})))
    check(plot_sweep(dr_opt.compare(plans), y="kwh_moved"))
