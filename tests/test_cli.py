"""The command: what it prints and where, its exit codes, and for every wrong file the exact line that says what to do."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import dr_opt
from dr_opt.solver.backends import backends
from dr_opt.solver.base import Status

COMMANDS = ("run", "demo", "check", "audit", "synth", "scenario")
MARGINAL, AVERAGE = "marginal_emissions_grams_co2_per_kWh", "average_emissions_grams_co2_per_kWh"
RESULTS = "dr_opt_results"  # where results go unless told otherwise


@dataclass(frozen=True)
class Ran:
    """What a terminal would have seen."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        return [line.removeprefix("error: ") for line in self.err.splitlines() if line.startswith("error: ")]


def command(*arguments: str) -> Ran:
    """Runs the command in this process."""
    from dr_opt.cli import main

    out, err, code = StringIO(), StringIO(), None
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main(list(arguments), prog_name="dr-opt")
        except SystemExit as ended:
            code = ended.code
    assert isinstance(code, int), code
    return Ran(code, out.getvalue(), err.getvalue())


def program() -> str:
    """The installed command."""
    found = shutil.which("dr-opt", path=str(Path(sys.executable).parent)) or shutil.which("dr-opt")
    assert found, "the command dr-opt is not installed"
    return found


def in_terminal(*arguments: str, **more: Any) -> Ran:
    """Runs the installed command as a process of its own."""
    ran = subprocess.run([program(), *arguments], capture_output=True, text=True, timeout=120, **more)
    return Ran(ran.returncode, ran.stdout, ran.stderr)


@cache
def frame() -> pl.DataFrame:
    """Three days of six invented households."""
    return dr_opt.synthesise(["delhi", "mumbai"], customers=6, days=3)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="session")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The readings, a scenario and the results of an earlier run, to be copied."""
    folder = tmp_path_factory.mktemp("earlier")
    frame().write_parquet(folder / "readings.parquet")
    (folder / "scenario.yaml").write_text("readings: readings.parquet\nsolver: {family: greedy}\n")
    ran = command("run", str(folder / "scenario.yaml"), "--out", str(folder / RESULTS), "--no-figures")
    assert ran.code == 0, ran.err
    return folder


@pytest.fixture
def here(earlier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: readings, a scenario, and the results of an earlier run."""
    shutil.copytree(earlier, tmp_path, dirs_exist_ok=True)
    results = tmp_path / RESULTS
    (results / "scenario.yaml").write_text((results / "scenario.yaml").read_text().replace(str(earlier), str(tmp_path)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


# Wrong files, each with its exact lines

Make = Callable[[pl.DataFrame], pl.DataFrame | None]


@dataclass(frozen=True)
class Wrong:
    """Something wrong: a scenario's text, what is done to the readings or the folder, the arguments, and the lines that follow."""

    name: str
    lines: tuple[str, ...]
    scenario: str | None = ""
    make: Make | None = None
    arguments: tuple[str, ...] = ("run", "scenario.yaml", "--no-figures")


wrong_cases: list[Wrong] = []


def wrong(name: str, *lines: str, scenario: str | None = "", make: Make | None = None, arguments: str = "", set: str = "") -> None:
    """Adds a case; the scenario's text stands behind `readings: readings.parquet` unless it names readings itself."""
    if scenario is not None and "readings:" not in scenario:
        scenario = f"readings: readings.parquet\n{scenario}\n"
    words = tuple(arguments.split()) if arguments else ("run", "scenario.yaml", "--no-figures")
    wrong_cases.append(Wrong(name, lines, scenario, make, (*words, *(("--set", set) if set else ()))))


def instead(path: str, content: str | bytes | None) -> Make:
    """Writes a file instead of the readings; None makes a folder."""

    def make(_: pl.DataFrame) -> None:
        if content is None:
            Path(path).unlink(missing_ok=True)
            Path(path).mkdir()
        else:
            Path(path).write_bytes(content.encode() if isinstance(content, str) else content)

    return make


def changed(**columns: Any) -> Make:
    """The readings with columns replaced."""
    return lambda readings: readings.with_columns(**columns)


def csv(*rows: str) -> Make:
    """A csv file of these rows under the research data's names."""
    return instead("readings.csv", "\n".join([f"ca_id,date,city,value,{MARGINAL},{AVERAGE}", *rows]) + "\n")


# The scenario as a file

wrong("no such file", "'nowhere.yaml' does not exist. Check the path.", arguments="run nowhere.yaml")
wrong("nearly its name", "'scenaro.yaml' does not exist. Did you mean 'scenario.yaml'?", arguments="run scenaro.yaml")
wrong("a folder", "'there' is a folder. Name the file in it.", make=instead("there", None), arguments="run there")
wrong(
    "nothing in it",
    "'empty.yaml' is empty. Write at least one 'key: value'.",
    make=instead("empty.yaml", "# nothing yet\n"),
    arguments="run empty.yaml",
)
wrong(
    "broken YAML",
    "'scenario.yaml' is not YAML: line 2, column 5, expected ',' or ']', but got ':'. Write 'key: value', indented with spaces.",
    scenario="readings: [a\nname: x",
)
wrong(
    "tabs",
    "'scenario.yaml' is not YAML: line 3, column 1, found character '\\t' that cannot start any token."
    " Write 'key: value', indented with spaces.",
    scenario="calendar:\n\tslot_minutes: 30",
)
wrong(
    "a list",
    "'list.yaml' holds [a, b], not keys with values. Write 'key: value'.",
    make=instead("list.yaml", "- a\n- b\n"),
    arguments="run list.yaml",
)
wrong(
    "not text",
    "'picture.yaml' is not text in UTF-8 (byte 0). Give a YAML or JSON file, saved as UTF-8.",
    make=instead("picture.yaml", b"\x89PNG\xff\xfe"),
    arguments="run picture.yaml",
)
wrong(
    "broken JSON",
    "'scenario.json' is not JSON: line 1, column 26, expecting property name enclosed in double quotes. Mend it there.",
    make=instead("scenario.json", '{"readings": "r.parquet",}'),
    arguments="run scenario.json",
)
wrong("a key twice", "'name' stands twice in one place, in lines 2 and 3. Keep one of them.", scenario="name: a\nname: b")

# Places that cannot be

NOBODY = "'~nobody-of-that-name/x{}' cannot be used (Could not determine home directory). Give another path."
LONG = f"'{'long' * 80}' cannot be used (File name too long). Give another path."
wrong("the home of nobody", NOBODY.format(""), arguments="run scenario.yaml --out ~nobody-of-that-name/x")
wrong("readings in the home of nobody", NOBODY.format(".parquet"), scenario="readings: ~nobody-of-that-name/x.parquet")
wrong("results in the home of nobody", NOBODY.format(""), arguments="audit ~nobody-of-that-name/x")
wrong("readings made for nobody", NOBODY.format(".parquet"), arguments="synth ~nobody-of-that-name/x.parquet --customers 2 --days 1")
wrong("a name that no disk takes", LONG, arguments=f"run scenario.yaml --out {'long' * 80}")
wrong("readings of a name that no disk takes", LONG, scenario=f"readings: {'long' * 80}")
wrong("results of a name that no disk takes", LONG, arguments=f"audit {'long' * 80}")
wrong("no name for readings", "readings is ''. Give text; in quotes, if it looks like something else.", scenario="readings: ''")
wrong("no name for factors", "factors is ''. Give text; in quotes, if it looks like something else, or null.", scenario="factors: ''")

# Keys and values

wrong("unknown key", "constrains is not a known key. Did you mean constraints?", scenario="constrains: {}")
wrong(
    "unknown key inside",
    "constraints.max_move_per_day is not a known key. Did you mean constraints.max_moves_per_day?",
    scenario="constraints: {max_move_per_day: {limit: 1}}",
)
wrong(
    "earlier names",
    "X is not a known key. Use constraints.max_moves_per_day.limit.",
    "H_hours is not a known key. Use constraints.max_shift_window.hours.",
    "max_shift_frac is not a known key. Use constraints.max_customer_shift.percent.",
    "delta_E is not a known key, but a figure of the results (customer_days.marginal_g_delta). Remove it.",
    scenario="X: 2\nH_hours: 3\nmax_shift_frac: 0.3\ndelta_E: 1",
)
wrong(
    "many values",
    "max_plausible_kwh is 0 kWh. Give a number greater than 0.",
    "missing is 'drop'. Choose skip_day, interpolate or error.",
    "period.start is '2025-02-30'. Give a date such as 2025-11-17, or null.",
    "cities is []. Give a list of one or more, such as [a, b], or null.",
    "calendar.slot_minutes is 20 minutes. Choose 15, 30 or 60.",
    "constraints.max_moves_per_day.limit is 'one'. Give a whole number of at least 0.",
    "constraints.max_shift_window.hours is 0 hours. Give a number greater than 0.",
    "constraints.regional_shift_cap.percent is -1 %. Give a number from 0 to 100.",
    "constraints.only_saving_moves is true. Give {} to switch it on, or null to switch it off.",
    "model.max_total_shift_kwh is -1 kWh. Give a number of at least 0, or null.",
    "solver.gap is -1. Give a number of at least 0.",
    "output is 'png'. Give its parameters, such as {optimised_usage: false}.",
    "progress is 'maybe'. Give true or false.",
    "seed is -1. Give a whole number of at least 0.",
    scenario="max_plausible_kwh: 0\nmissing: drop\nperiod: {start: 2025-02-30}\ncities: []\ncalendar: {slot_minutes: 20}\n"
    "constraints:\n  max_moves_per_day: {limit: one}\n  max_shift_window: {hours: 0}\n  regional_shift_cap: {percent: -1}\n"
    "  only_saving_moves: true\nmodel: {max_total_shift_kwh: -1}\nsolver: {gap: -1}\noutput: png\nprogress: maybe\nseed: -1",
)
wrong(
    "kWh and percent",
    "constraints.min_move_size needs exactly one of kwh and percent_of_day. Give the least size in kWh or as a share of the day.",
    scenario="constraints: {min_move_size: {kwh: 1, percent_of_day: 2}}",
)
wrong(
    "time zone",
    "calendar.timezone 'Asia/Kolkatta' is not an IANA time zone. Did you mean 'Asia/Kolkata'?",
    scenario="calendar: {timezone: Asia/Kolkatta}",
)
wrong(
    "hour 25",
    "calendar.day_boundaries [0, 25] names an hour outside 0 to 23. Give the first and the last hour of the counting day.",
    scenario="calendar: {day_boundaries: [0, 25]}",
)
wrong(
    "period reversed",
    "period.start 2025-11-05 lies after period.end 2025-11-03. Swap them.",
    scenario="period: {start: 2025-11-05, end: 2025-11-03}",
)
wrong(
    "model", "model.name is 'Impact'. Choose ImpactPrioritised, ConveniencePrioritised or HighUsageFocus.", scenario="model: {name: Impact}"
)
wrong(
    "another model's parameter",
    "model.percentile_threshold is no parameter of ImpactPrioritised, but of HighUsageFocus. Set model.name to that, or remove it.",
    scenario="model: {percentile_threshold: 80}",
)
wrong("family", "solver.family is 'milq', which is no solver family. Did you mean 'milp'?", scenario="solver: {family: milq}")
wrong(
    "family of another kind",
    "solver.family is 'gurobi', which is no solver family. Choose milp, lp, greedy or continuous.",
    set="solver.family=gurobi",
)
wrong(
    "order of greedy",
    "solver.order is 'random'. Choose saving, saving_per_kwh or chronological.",
    scenario="solver: {family: greedy, order: random}",
)
wrong(
    "back-end of greedy",
    "solver.backend is 'highs', but greedy needs no other program. Set it to auto.",
    scenario="solver: {family: greedy, backend: highs}",
)
BACKEND = "solver.backend 'higs' is not known (highs, cbc, scip, glpk, gurobi, cplex, prices). Did you mean 'highs'?"
HERE = ", ".join(dr_opt.solvers().filter((pl.col("family") == "milp") & pl.col("installed"))["backend"])
UNABLE = f"solver.backend 'clarabel' knows no integers, which the family milp needs. Use {HERE}, or solver.family lp."
wrong("back-end", BACKEND, scenario="solver: {backend: higs}")
wrong("back-end, checked", BACKEND, scenario="solver: {backend: higs}", arguments="check scenario.yaml")
wrong("back-end without integers", UNABLE, scenario="solver: {backend: clarabel}")
wrong(
    "solver's option",
    "solver.options.mip_gap is not an option of HiGHS. Did you mean 'mip_rel_gap'?",
    scenario="solver: {options: {mip_gap: 1}}",
)
wrong(
    "value of a solver's option",
    "solver.options.mip_rel_gap is -1, which HiGHS refuses. Give a value like its default, 0.0001.",
    scenario="solver: {options: {mip_rel_gap: -1}}",
)
wrong(
    "kind of a solver's option",
    "solver.options.mip_rel_gap is 'high', which HiGHS refuses. Give a value like its default, 0.0001.",
    scenario="solver: {options: {mip_rel_gap: high}}",
)

wrong(
    "a list for a solver's option",
    "solver.options.mip_rel_gap is [1], which HiGHS refuses. Give a value like its default, 0.0001.",
    scenario="solver: {options: {mip_rel_gap: [1]}}",
)
wrong(
    "more workers than any machine has",
    "parallel.workers is 99999999999 workers. Give a whole number from 1 to 1024, or null.",
    scenario="parallel: {enabled: true, workers: 99999999999}",
)
wrong(
    "more households than any country has",
    "customers is 99999999999999999999. Give a whole number of at most 1,000,000,000.",
    "days is 99999999. Give a whole number of at most 1,000,000.",
    scenario="readings: demo\ndemo: {customers: 99999999999999999999, days: 99999999}",
)

# --set

wrong("set without a value", "--set 'solver.family' is not key.path=value. Name a key, an equals sign and its value.", set="solver.family")
wrong("set unknown", "solver.famly is not a known key. Did you mean solver.family?", set="solver.famly=greedy")
wrong("set broken", "--set cities has the value '[delhi', which is not YAML. Put it in quotes.", set="cities=[delhi")
wrong("set inside a number", "seed.x lies inside seed, which is 3. Set that as a whole.", scenario="seed: 3", set="seed.x=1")
wrong("set a wrong value", "seed is 'x'. Give a whole number of at least 0.", set="seed=x")

# The readings as files

wrong(
    "readings missing", "readings 'reading.parquet' does not exist. Did you mean 'readings.parquet'?", scenario="readings: reading.parquet"
)
wrong("readings nowhere", "readings 'nowhere/x.parquet' does not exist. Check the path.", scenario="readings: nowhere/x.parquet")
wrong(
    "folder without parquet",
    "readings 'empty' is a folder without parquet files. For csv give a pattern, 'empty/*.csv'.",
    scenario="readings: empty",
    make=instead("empty", None),
)
wrong("pattern without a match", "readings '2025-*.parquet' matches no file. Check the pattern.", scenario="readings: '2025-*.parquet'")
wrong(
    "another kind of file",
    "readings 'readings.xlsx' is neither parquet nor csv. Convert it, or give its name the ending .parquet or .csv.",
    scenario="readings: readings.xlsx",
    make=instead("readings.xlsx", b"PK"),
)
wrong(
    "parquet cut off",
    "readings 'readings.parquet' cannot be read (parquet: File out of specification: The file must end with PAR1 or PARE)."
    " Check that it is whole and of the kind its name says.",
    make=instead("readings.parquet", b"PAR1 and no more"),
)
wrong(
    "csv of nothing",
    "readings 'readings.csv' cannot be read (empty CSV). Check that it is whole and of the kind its name says.",
    scenario="readings: readings.csv",
    make=instead("readings.csv", ""),
)
wrong(
    "csv without rows",
    "readings 'readings.csv' holds no rows. Give at least one day of them.",
    scenario="readings: readings.csv",
    make=csv(),
)
wrong(
    "csv with two columns of one name",
    "columns.usage names 'value', which several columns of readings 'readings.csv' are called. Give each its own name.",
    scenario="readings: readings.csv",
    make=instead("readings.csv", f"ca_id,date,city,value,value,{MARGINAL},{AVERAGE}\n7,2025-11-03T00:00:00+05:30,delhi,0.5,5,700,600\n"),
)
wrong(
    "csv with too many fields",
    "readings 'readings.csv' cannot be read (found more fields than defined in 'Schema')."
    " Check that it is whole and of the kind its name says.",
    scenario="readings: readings.csv",
    make=csv("7,2025-11-03T00:00:00+05:30,delhi,0,5,700,600,1", "7,2025-11-03T00:30:00+05:30,delhi,0,5,700,600,1"),
)
wrong(
    "csv with a word for a number",
    "columns.usage 'value' holds 'half', which is not a number. Mend it, or leave it empty.",
    scenario="readings: readings.csv",
    make=csv("7,2025-11-03T00:00:00+05:30,delhi,half,700,600"),
)
wrong(
    "csv with naive times",
    "columns.time 'date' holds '2025-11-03 00:00', which is not a time with a time zone. Write 2025-11-03T00:00:00+05:30.",
    scenario="readings: readings.csv",
    make=csv("7,2025-11-03 00:00,delhi,0.5,700,600"),
)
wrong(
    "csv with other times",
    "columns.time 'date' holds '03.11.2025 00:00', which is not a time we can read."
    " Write ISO 8601 with the offset, such as 2025-11-17T08:30:00+05:30.",
    scenario="readings: readings.csv",
    make=csv("7,03.11.2025 00:00,delhi,0.5,700,600"),
)

# What stands in the readings

wrong(
    "naive times",
    'columns.time \'date\' has times without a time zone. Add it: .with_columns(pl.col("date").dt.replace_time_zone("Asia/Kolkata")).',
    make=changed(date=pl.col("date").dt.replace_time_zone(None)),
)
wrong(
    "dates for times",
    "columns.time 'date' holds Date, not times of day. Give the start of each slot, with its time zone.",
    make=changed(date=pl.col("date").dt.date()),
)
OTHERS = f"meter, date, city, value, demand_met_kWh, {AVERAGE}"
wrong(
    "columns under other names",
    f"columns.customer names 'ca_id', which is not among the columns of readings 'readings.parquet' ({OTHERS})."
    " Set columns.customer to the column that holds it.",
    f"columns.marginal names '{MARGINAL}', which is not among the columns of readings 'readings.parquet' ({OTHERS})."
    " Set columns.marginal to the column that holds it. Or give the factors as a table of their own (factors).",
    make=lambda readings: readings.rename({"ca_id": "meter"}).drop(MARGINAL),
)
wrong(
    "one column for two",
    *(f"columns.{role} names 'ca_id', which another role has as well. Give each its own column." for role in ("customer", "usage")),
    scenario="columns: {usage: ca_id}",
)
wrong(
    "no name for a column",
    f"columns.usage names '', which is not among the columns of readings 'readings.parquet' (ca_id, {OTHERS.removeprefix('meter, ')}"
    .replace("demand_met_kWh", f"demand_met_kWh, {MARGINAL}") + "). Set columns.usage to the column that holds it.",
    scenario="columns: {usage: ''}",
)
wrong("switches for usage", "columns.usage 'value' holds Boolean, not numbers. Name a column of numbers.", make=changed(value=True))
wrong("fractions for ids", "columns.customer 'ca_id' holds Float64. Give identifiers as text or whole numbers.", make=changed(ca_id=1.5))
wrong(
    "unit words",
    "usage_unit is 'kwh'. Choose kWh, Wh or kW.",
    "factor_unit is 'g/Wh'. Choose g/kWh, kg/MWh, kg/kWh, t/MWh or lb/MWh.",
    "time_label is 'begin'. Choose start or end.",
    scenario="usage_unit: kwh\nfactor_unit: g/Wh\ntime_label: begin",
)
UNUSABLE = "readings hold no usable reading (864 {}). Check columns, usage_unit and max_plausible_kwh."
wrong("only negative", UNUSABLE.format("negative usage"), make=changed(value=-1.0))
wrong("only negative, checked", UNUSABLE.format("negative usage"), make=changed(value=-1.0), arguments="check scenario.yaml")
wrong("only implausible", UNUSABLE.format("implausible usage"), make=changed(value=51.0))
wrong("only missing", UNUSABLE.format("usage null or not a number"), make=changed(value=pl.lit(None, pl.Float64)))
OFF_GRID = "readings hold no usable reading (864 off the slot grid). Check calendar.slot_minutes and the times of the readings."
wrong("off the grid", OFF_GRID, make=changed(date=pl.col("date") + timedelta(minutes=7)))
wrong("no rows", "readings 'readings.parquet' holds no rows. Give at least one day of them.", make=lambda readings: readings.clear())
wrong(
    "a customer in two cities",
    "customer 'delhi-0000001' is in delhi, mumbai. Give each customer one city, or each meter its own identifier.",
    make=changed(city=pl.when(pl.int_range(pl.len()) == 5).then(pl.lit("mumbai")).otherwise("city")),
)
wrong(
    "another spacing",
    "calendar.slot_minutes is 15, but the readings of 6 customers stand 30 minutes apart (customer 'delhi-0000001')."
    " Set calendar.slot_minutes to 30, with one spacing for all customers.",
    scenario="calendar: {slot_minutes: 15}",
)
wrong(
    "gaps refused",
    "missing is 'error' and 6 slots lack usage or marginal factor (customer delhi-0000001, 2025-11-03 04:00;"
    " customer delhi-0000001, 2025-11-03 04:30; customer delhi-0000001, 2025-11-04 04:00; and 3 more)."
    " Mend the data, or set missing to skip_day or interpolate.",
    scenario="missing: error",
    make=lambda readings: readings.filter((pl.col("ca_id") != "delhi-0000001") | (pl.col("date").dt.hour() != 4)),
)

# Factors


def with_factors(days: int = 0, twice: bool = False) -> Make:
    """Factors in a table of their own, so many days later, or all of them twice."""

    def make(readings: pl.DataFrame) -> pl.DataFrame:
        times = readings.select(time=(pl.col("date") + timedelta(days=days)).unique().sort())
        once = times.with_columns(marginal_g_per_kwh=700.0, average_g_per_kwh=600.0)
        pl.concat([once, once.with_columns(marginal_g_per_kwh=701.0)] if twice else [once]).write_parquet("factors.parquet")
        return readings

    return make


GIVE_FACTORS = "Every saving is a difference of marginal factors: give them."
wrong(
    "no factor in the readings",
    f"columns.marginal '{MARGINAL}' holds no number. {GIVE_FACTORS}",
    make=changed(**{MARGINAL: pl.lit(None, pl.Float64)}),
)
wrong(
    "no factor anywhere",
    "columns.marginal is null and no factors are given. Name the column of marginal factors, or give factors.",
    scenario="columns: {marginal: null}",
)
wrong(
    "factors missing",
    "factors 'factor.parquet' does not exist. Did you mean 'factors.parquet'?",
    scenario="factors: factor.parquet",
    make=with_factors(),
)
wrong(
    "factors of another year",
    "factors (2026-12-08 to 2026-12-10) hold no marginal factor for the times and cities of the readings"
    f" (2025-11-03 to 2025-11-05). {GIVE_FACTORS}",
    scenario="factors: factors.parquet",
    make=with_factors(days=400),
)
wrong(
    "factors twice",
    "factors at 2025-11-03 00:00 are given twice: 700 and 600, then 701 and 600 g/kWh."
    " Keep one row for each time, or name the city's column in factor_columns.city.",
    scenario="factors: factors.parquet",
    make=with_factors(twice=True),
)
wrong(
    "factors under other names",
    "factor_columns.marginal names 'mef', which is not among the columns of factors 'factors.parquet'"
    " (time, marginal_g_per_kwh, average_g_per_kwh). Set factor_columns.marginal to the column that holds it.",
    scenario="factors: factors.parquet\nfactor_columns: {marginal: mef}",
    make=with_factors(),
)

# A scenario that does not fit its readings

NOT_THERE = '{} names "pune", which is not in the readings (delhi, mumbai). Remove it or add readings for it.'
wrong("cities", NOT_THERE.format("cities").replace('"', "'"), scenario="cities: [pune]")
wrong(
    "customers", "customers.include names '7', '8', not in the readings. Remove what is not there.", scenario="customers: {include: [7, 8]}"
)
wrong(
    "file of customers",
    "customers names the file ids.txt, which cannot be read (No such file or directory). Give a text file with one id a line.",
    scenario="customers: {exclude: ids.txt}",
)
wrong(
    "file of customers in another alphabet",
    "customers names the file ids.txt, which is not text in UTF-8 (byte 0). Save it as UTF-8.",
    scenario="customers: {exclude: ids.txt}",
    make=instead("ids.txt", "delhi-0000001\n".encode("utf-16")),
)
wrong(
    "nobody left",
    "cities, customers.include and customers.exclude leave none of the 6 customers of the readings. Choose at least one.",
    scenario="cities: [mumbai]\ncustomers: {exclude: [mumbai-0000001]}",
)
wrong(
    "period before the readings",
    "period.end 2025-11-02 lies before the first day of the readings, 2025-11-03. Choose days from 2025-11-03 to 2025-11-05.",
    scenario="period: {end: 2025-11-02}",
)
AFTER = "period.start 2026-11-05 lies after the last day of the readings, 2025-11-05. Choose days from 2025-11-03 to 2025-11-05."
wrong("period after the readings", AFTER, scenario="period: {start: 2026-11-05, end: 2026-11-07}")
wrong("period after the readings, checked", AFTER, scenario="period: {start: 2026-11-05}", arguments="check scenario.yaml")
wrong(
    "peak hours of nowhere",
    NOT_THERE.format("peak_hour_comfort.peak_hours"),
    scenario="constraints: {peak_hour_comfort: {peak_hours: {pune: {mon: [8]}}}}",
)
wrong(
    "seven peak hours",
    "constraints.peak_hour_comfort.peak_hours.delhi.mon lists [1, 2, 3, 4, 5, 6, 7]. Give up to six different hours from 0 to 23.",
    scenario="constraints: {peak_hour_comfort: {peak_hours: {delhi: {mon: [1, 2, 3, 4, 5, 6, 7]}}}}",
)
LOADS = (
    NOT_THERE.format("regional_shift_cap.daily_average_load_kwh"),
    "regional_shift_cap.daily_average_load_kwh of delhi is 0 kWh. Give the city's load of an average day, above zero.",
)
wrong("loads", *LOADS, scenario="constraints: {regional_shift_cap: {daily_average_load_kwh: {pune: 5, delhi: 0}}}")
wrong(
    "several at once",
    *LOADS,
    NOT_THERE.format("cities").replace('"', "'"),
    scenario="cities: [pune]\nconstraints: {regional_shift_cap: {daily_average_load_kwh: {pune: 5, delhi: 0}}}",
    arguments="check scenario.yaml",
)

# Places for results, and the other commands

wrong(
    "a file for results",
    "'thing' is a file. Give a folder for the results.",
    make=instead("thing", "mine"),
    arguments="run scenario.yaml --out thing",
)
wrong("no folder to audit", "'nowhere' is not there. Give a folder that dr-opt run has written.", arguments="audit nowhere")
wrong("a file to audit", "'scenario.yaml' is a file. Give a folder that dr-opt run has written.", arguments="audit scenario.yaml")
wrong(
    "somebody's folder to audit",
    "'theirs' holds no run.json of dr_opt. Give a folder that dr-opt run has written.",
    make=instead("theirs", None),
    arguments="audit theirs",
)
wrong(
    "no readings to audit with",
    "readings '{here}/2025.parquet' does not exist. Check the path.",
    arguments=f"audit {RESULTS} --readings 2025.parquet",
)
wrong("city to make", "'dehli' is not a known city (delhi, mumbai). Did you mean 'delhi'?", arguments="synth x.parquet --city dehli")
wrong("day to begin", "start is 'tomorrow', which is not a date. Write it as '2025-11-03'.", arguments="synth x.parquet --start tomorrow")
wrong(
    "households to make",
    "customers is 1, fewer than the 2 cities. Give at least one customer for each city.",
    arguments="synth x.parquet --customers 1",
)
wrong("seed to make from", "seed is -1. Give a whole number of at least 0.", arguments="synth x.parquet --seed -1")
wrong(
    "a folder to make readings in",
    "'there.parquet' cannot be written (Is a directory). Choose another place, or make room there.",
    make=instead("there.parquet", None),
    arguments="synth there.parquet --customers 2 --days 1",
)
wrong(
    "another kind of file to make",
    "'x.csv' does not end in .parquet. Give a name that does, such as x.parquet.",
    arguments="synth x.csv --customers 2 --days 1",
)
wrong(
    "households of the demo",
    "customers is 1, fewer than the 2 cities. Give at least one customer for each city.",
    arguments="demo --customers 1",
)


@pytest.mark.parametrize("case", wrong_cases, ids=lambda case: case.name)
def test_wrong_input(case: Wrong, here: Path) -> None:
    if case.scenario:
        (here / "scenario.yaml").write_text(case.scenario)
    readings = case.make(frame()) if case.make else None
    if readings is not None:
        readings.write_parquet(here / "readings.parquet")
    before = contents(here)
    ran = command(*case.arguments)
    assert ran.err.splitlines() == [f"error: {line.replace('{here}', str(here))}" for line in case.lines]
    assert (ran.code, ran.out) == (2, "")
    assert contents(here) == before  # the earlier results, and nothing left over


def test_the_table_is_long_and_its_lines_are_sentences() -> None:
    assert len(wrong_cases) >= 34
    assert len({case.name for case in wrong_cases}) == len(wrong_cases)
    for line in (line for case in wrong_cases for line in case.lines):
        assert line.endswith((".", "?")) and ".." not in line and "?." not in line, line


# Words that click finds wrong; its own part of the sentence differs between versions

MISUSED = {
    "run": "Missing argument 'SCENARIO'",
    "run scenario.yaml more": "unexpected extra argument",
    "run scenario.yaml --outt x": "--outt",
    "runn scenario.yaml": "No such command 'runn'",
    "scenario --shema": "--shema",
    "demo --customers 0": "--customers",
    "demo --days x": "--days",
    "synth": "Missing argument 'OUT'",
    "audit": "Missing argument 'FOLDER'",
    "check": "Missing argument 'SCENARIO'",
}


@pytest.mark.parametrize("words", MISUSED)
def test_misused_command(words: str, here: Path) -> None:
    before = contents(here)
    ran = command(*words.split())
    name = words.split()[0]
    place = f"dr-opt {name}" if name in COMMANDS else "dr-opt"
    assert ran.code == 2 and ran.out == "" and len(ran.err.splitlines()) == 1
    assert ran.err.startswith("error: ") and MISUSED[words] in ran.err and ran.err.endswith(f" See {place} --help.\n")
    assert not re.search(r"[?.]\.", ran.err)
    assert contents(here) == before


def test_no_command_shows_the_help() -> None:
    ran = command()
    assert ran.code in (0, 2) and "Usage: dr-opt" in ran.out + ran.err and "error:" not in ran.err


# Somebody's own files

OWN = "'theirs' is not empty (notes.txt) and holds no run.json of dr_opt. Choose a new or empty folder."


@pytest.mark.parametrize("words", ["run scenario.yaml", "demo --customers 2 --days 1"])
def test_somebodys_folder_is_refused_before_any_work(words: str, here: Path) -> None:
    (here / "theirs").mkdir()
    (here / "theirs" / "notes.txt").write_text("mine")
    (here / "readings.parquet").unlink()  # had any work begun, this would be the error
    before = contents(here)
    ran = command(*words.split(), "--out", "theirs")
    assert (ran.code, ran.out, ran.err) == (2, "", f"error: {OWN}\n")
    assert contents(here) == before


def test_files_put_into_our_folder_stay(here: Path) -> None:
    (here / RESULTS / "notes.txt").write_text("mine")
    assert command("run", "scenario.yaml", "--no-figures").code == 0
    assert (here / RESULTS / "notes.txt").read_text() == "mine"
    assert sorted(path.name for path in here.iterdir()) == [RESULTS, "readings.parquet", "scenario.yaml"]


# Auditing folders

AGAIN = "Run it again: dr-opt run '{here}/dr_opt_results/scenario.yaml' --out 'dr_opt_results'."
UNKNOWN = "Run it again from its scenario."


def spoil(name: str, change: Callable[[bytes], bytes | None]) -> Callable[[Path], None]:
    """Changes one file of a folder; None removes it."""

    def act(folder: Path) -> None:
        new = change((folder / name).read_bytes())
        (folder / name).unlink() if new is None else (folder / name).write_bytes(new)

    return act


DAMAGED = {
    "no run.json": (
        spoil("run.json", lambda _: None),
        "'dr_opt_results' holds no run.json of dr_opt. Give a folder that dr-opt run has written.",
    ),
    "another run.json": (
        spoil("run.json", lambda _: b"{}"),
        "'dr_opt_results' holds no run.json of dr_opt. Give a folder that dr-opt run has written.",
    ),
    "no shifts": (spoil("shifts.parquet", lambda _: None), f"'dr_opt_results/shifts.parquet' is missing. {AGAIN}"),
    "shifts cut off": (spoil("shifts.parquet", lambda data: data[:100]), f"'dr_opt_results/shifts.parquet' is damaged. {AGAIN}"),
    "no summary": (spoil("summary.json", lambda _: None), f"'dr_opt_results/summary.json' is missing. {AGAIN}"),
    "summary cut off": (spoil("summary.json", lambda data: data[:100]), f"'dr_opt_results/summary.json' is damaged. {AGAIN}"),
    "a scenario with a fault": (
        spoil("scenario.yaml", lambda data: data.replace(b"family: greedy", b"family: greedi")),
        "'dr_opt_results/scenario.yaml' cannot be used"
        f" (solver.family is 'greedi', which is no solver family. Did you mean 'greedy'?). {UNKNOWN}",
    ),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_audit_of_a_damaged_folder(name: str, here: Path) -> None:
    change, line = DAMAGED[name]
    change(here / RESULTS)
    before = contents(here)
    ran = command("audit", RESULTS)
    assert ran.errors == [line.replace("{here}", str(here))]
    assert (ran.code, ran.out) == (2, "")
    assert contents(here) == before


def test_audit_that_holds(here: Path) -> None:
    before = contents(here)
    ran = command("audit", RESULTS)
    lines = ran.out.splitlines()
    assert ran.code == 0 and ran.err == f"all {len(lines)} checks hold.\n"
    assert all(line.startswith("ok   ") for line in lines)
    names = [re.split("[: ]+", line)[1] for line in lines]
    assert {"max_moves_per_day", "no_new_spike", "intra_customer", "summary.total.kwh_moved", "shifts.kwh", "load.limit_kwh"} <= set(names)
    assert contents(here) == before


def tamper_with_shifts(folder: Path) -> None:
    shifts = pl.read_parquet(folder / "shifts.parquet")
    first = pl.int_range(pl.len()) == 0
    shifts.with_columns(
        pl.when(first).then(pl.col("average_g_before") + 1).otherwise("average_g_before").alias("average_g_before")
    ).write_parquet(folder / "shifts.parquet")


def tamper_with_summary(folder: Path) -> None:
    summary = json.loads((folder / "summary.json").read_text())
    summary["total"]["kwh_moved"] *= 2
    (folder / "summary.json").write_text(json.dumps(summary))


@pytest.mark.parametrize(
    "change, name",
    [(tamper_with_shifts, "shifts.average_g_before"), (tamper_with_summary, "summary.total.kwh_moved")],
    ids=["shifts", "summary"],
)
def test_audit_of_a_folder_that_was_tampered_with(change: Callable[[Path], None], name: str, here: Path) -> None:
    change(here / RESULTS)
    ran = command("audit", RESULTS)
    failed = [line for line in ran.out.splitlines() if line.startswith("FAIL ")]
    assert len(failed) == 1 and re.fullmatch(
        rf"FAIL {re.escape(name)}: \d+ checked, least room -\S+ ?\S*; .*says \S+, comes to \S+( kWh)?", failed[0]
    )
    total = len(ran.out.splitlines())
    assert ran.errors == [f"the audit failed on 1 of {total} checks: {name}. Run the scenario again."]
    assert ran.code == 1


def with_summary(**values: Any) -> Callable[[Path], None]:
    """Sets values of the summary."""
    return spoil("summary.json", lambda data: json.dumps(json.loads(data) | values).encode())


def swapped(name: str) -> Callable[[Path], None]:
    """The first two columns of a table in each other's place."""

    def act(folder: Path) -> None:
        table = pl.read_parquet(folder / name)
        first, second, *others = table.columns
        table.select(second, first, *others).write_parquet(folder / name)

    return act


def second_line(data: bytes) -> bytes:
    return data.splitlines(keepends=True)[1]


NO_BOUND = {"bound": None, "bound_g": None, "gap": None}
STATED = {  # what is tampered with, in a folder of milp with HiGHS, and the check that fails
    "name": (with_summary(name="all of Delhi"), "summary.name"),
    "family": (with_summary(family="lp"), "summary.family"),
    "backend": (with_summary(backend="numba"), "summary.backend"),
    "status": (with_summary(status="There is no better plan."), "summary.status"),
    "status of a relaxation": (with_summary(status=str(Status.RELAXED)), "summary.status"),
    "foresight": (with_summary(foresight="This plan knew nothing of the day."), "summary.foresight"),
    "bound left out": (with_summary(**NO_BOUND), "summary.status"),
    "columns of shifts": (swapped("shifts.parquet"), "shifts.columns"),
    "columns of customer days": (swapped("customer_days.parquet"), "customer_days.columns"),
    "columns of the load": (swapped("load.parquet"), "load.columns"),
    "a row of the csv": (spoil("shifts.csv", lambda data: data.replace(b",delhi,", b",pune,", 1)), "shifts.csv"),
    "a row too many": (spoil("shifts.csv", lambda data: data + second_line(data)), "shifts.csv"),
    "a row too few": (spoil("shifts.csv", lambda data: data.replace(second_line(data), b"")), "shifts.csv"),
    "a heading": (spoil("shifts.csv", lambda data: data.replace(b"move_id,customer_id", b"customer_id,move_id")), "shifts.csv"),
    "no csv": (spoil("shifts.csv", lambda _: None), "shifts.csv"),
}  # fmt: skip


@pytest.fixture(scope="session")
def stated(earlier: Path) -> Path:
    """Results of milp, with a csv."""
    words = "--no-figures", "--csv", "--set", "solver.family=milp"
    ran = command("run", str(earlier / "scenario.yaml"), "--out", str(earlier / "stated"), *words)
    assert ran.code == 0, ran.err
    return earlier / "stated"


@pytest.mark.parametrize("what", STATED)
def test_audit_of_what_a_folder_says_beside_its_figures(what: str, stated: Path, tmp_path: Path) -> None:
    change, name = STATED[what]
    folder = Path(shutil.copytree(stated, tmp_path / "results"))
    change(folder)
    ran = command("audit", str(folder))
    assert ran.code == 1
    assert [re.split("[: ]+", line)[1] for line in ran.out.splitlines() if line.startswith("FAIL ")] == [name]


def test_audit_says_whose_word_a_bound_is(stated: Path, tmp_path: Path) -> None:
    """HiGHS proves its bound by a search that nobody can repeat without searching; greedy proves none, so that one is made up."""
    ran = command("audit", str(stated))
    assert ran.code == 0
    [line] = [line for line in ran.out.splitlines() if line.startswith("ok   summary.bound:")]
    assert line.endswith("is the solver's own word (highs): nobody can work it out again without solving")
    folder = Path(shutil.copytree(stated.parent / RESULTS, tmp_path / "results"))
    summary = json.loads((folder / "summary.json").read_text())
    with_summary(bound=summary["achieved"], bound_g=summary["achieved"], gap=0.0)(folder)
    assert "FAIL summary.status: 1 checked; the family greedy proves no bound" in command("audit", str(folder)).out
    with_summary(**NO_BOUND, status=str(Status.OPTIMAL))(folder)
    assert "FAIL summary.status: 1 checked; the family greedy (numba) never says" in command("audit", str(folder)).out


def test_audit_of_a_csv_that_somebody_else_put_there(here: Path) -> None:
    (here / RESULTS / "shifts.csv").write_text("a sheet of my own\n")
    assert command("audit", RESULTS).code == 0


SOLVERS = [
    f"{row['family']} {row['backend']}" for row in dr_opt.solvers().iter_rows(named=True) if row["installed"]
    and row["backend"] not in ("slsqp", "trust-constr", "cplex", "gurobi")  # too slow, or not for so many columns
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("limit", [None, 0.001])
@pytest.mark.parametrize("solver", SOLVERS)
def test_audit_of_every_solver(solver: str, limit: float | None, here: Path) -> None:
    """Whatever an honest solver says passes, with and without time for it."""
    family, backend = solver.split()
    words = [f"solver.family={family}", f"solver.backend={backend if backend in backends else 'auto'}"]
    words += [] if limit is None or family == "greedy" else [f"solver.time_limit_seconds={limit}"]
    ran = command("run", "scenario.yaml", "--no-figures", "--csv", *(part for word in words for part in ("--set", word)))
    if ran.code == 3 and limit is not None:
        pytest.skip("no plan in so little time")
    assert ran.code == 0, ran.err
    audited = command("audit", RESULTS)
    assert audited.code == 0, audited.err


def test_audit_with_other_readings(here: Path) -> None:
    dr_opt.synthesise(["delhi", "mumbai"], customers=6, days=3, seed=1).write_parquet(here / "other.parquet")
    ran = command("audit", RESULTS, "--readings", "other.parquet")
    assert ran.code == 1
    assert "FAIL summary.data_hash: 1 checked; these are not the readings that the plan was made from" in ran.out.splitlines()
    # one cause, not the seventy checks that follow from it
    assert ran.errors == ["these are not the readings that the plan was made from. Give those, with --readings."]


def test_audit_with_readings_that_were_moved(here: Path) -> None:
    (here / "readings.parquet").rename(here / "my_readings.parquet")
    ran = command("audit", RESULTS)
    assert (ran.code, ran.errors) == (2, [f"readings '{here}/readings.parquet' does not exist. Did you mean 'my_readings.parquet'?"])
    assert command("audit", RESULTS, "--readings", "my_readings.parquet").code == 0


# A solver that fails, and one that is interrupted


@pytest.fixture
def solver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Callable[..., Any]], None]]:
    """Puts another function in the place of the solver's."""
    import highspy

    yield lambda run: monkeypatch.setattr(highspy.Highs, "run", run)


def test_solver_that_fails(here: Path, solver: Callable[[Callable[..., Any]], None]) -> None:
    def run(self: Any) -> None:
        self.clearSolver()  # not even the plan that was given to start from

    solver(run)
    before = contents(here)
    ran = command("run", "scenario.yaml", "--set", "solver.family=milp", "--no-figures")
    assert ran.errors == ["HiGHS ended with 'not set' and no plan. Use another back-end, or other solver.options. Its last lines:"]
    assert (ran.code, ran.out) == (3, "") and "Traceback" not in ran.err
    assert "Running HiGHS" in ran.err  # its own words, under the sentence
    assert contents(here) == before


def test_too_little_memory(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(self: object, source: object = None) -> None:
        raise MemoryError("Unable to allocate 135. TiB")

    monkeypatch.setattr(dr_opt.Scenario, "read", read)
    before = contents(here)
    ran = command("run", "scenario.yaml")
    assert ran.code == 2 and contents(here) == before
    said = "There is not enough memory (Unable to allocate 135. TiB). Plan fewer customers or days, or use a larger machine."
    assert ran.errors == [said]


def test_customers_from_an_editor_of_windows(here: Path) -> None:
    (here / "ids.txt").write_bytes(b"\xef\xbb\xbfdelhi-0000001\r\ndelhi-0000002\r\n")
    ran = command("run", "scenario.yaml", "--no-figures", "--set", "customers.include=ids.txt")
    assert ran.code == 0, ran.err
    assert set(pl.read_parquet(here / RESULTS / "customers.parquet")["customer_id"]) == {"delhi-0000001", "delhi-0000002"}


def test_interrupted(here: Path, solver: Callable[[Callable[..., Any]], None]) -> None:
    def run(_: Any) -> None:
        raise KeyboardInterrupt

    solver(run)
    before = contents(here)
    ran = command("run", "scenario.yaml", "--set", "solver.family=milp", "--no-figures")
    assert (ran.code, ran.out, ran.err.strip()) == (130, "", "interrupted: no results were written.")
    assert contents(here) == before


SLOW_SOLVER = """
import os, signal, time
import highspy
def run(self):
    open(os.environ["STARTED"] + str(os.getpid()), "w").close()
    if "DEAF" in os.environ:  # as a solver's own code is
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    time.sleep(90)
highspy.Highs.run = run
"""


def alive(process: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are looked up in /proc, which this system does not have")
@pytest.mark.parametrize(("workers", "deaf"), [(0, False), (0, True), (2, False)], ids=["alone", "deep in a solver", "worker processes"])
def test_interrupted_from_the_keyboard(workers: int, deaf: bool, here: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("slow")
    (elsewhere / "sitecustomize.py").write_text(SLOW_SOLVER)  # Python runs it at its start, in the workers too
    (elsewhere / "started").mkdir()
    paths = [str(elsewhere), os.environ.get("PYTHONPATH", "")]
    settings = {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "STARTED": f"{elsewhere / 'started'}{os.sep}"}
    settings |= {"DEAF": "1"} if deaf else {}
    before = contents(here)
    several = ["--set", f"parallel={{enabled: true, method: process, workers: {workers}}}"] if workers else []
    process = subprocess.Popen(
        [program(), "run", "scenario.yaml", "--set", "solver.family=milp", *several],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | settings,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # who starts the tests may have it ignored
    )
    started: list[int] = []
    deadline = time.monotonic() + 60
    while len(started) < max(1, workers) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
        started = [int(path.name) for path in (elsewhere / "started").iterdir()]
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)  # Ctrl-C reaches every process of the terminal
    try:
        out, err = process.communicate(timeout=30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        pytest.fail(f"still running 30 s after Ctrl-C: {process.communicate()[1]}")
    assert len(started) == max(1, workers), err
    assert (process.returncode, out, err.strip()) == (130, "", "interrupted: no results were written.")
    assert {name: content for name, content in contents(here).items() if not (deaf and name.startswith("."))} == before  # its work may stay
    assert not any(alive(one) for one in started)


# What goes where


def test_summary_on_stdout_and_messages_on_stderr(here: Path) -> None:
    ran = in_terminal("run", "scenario.yaml", "--no-figures", "--out", "new", cwd=here)
    assert ran.code == 0
    assert ran.out.splitlines()[0] == "greedy (numba): The plan keeps every limit; this family proves no bound."
    assert re.search(r"^kwh_moved +kWh +[\d.]+ +[\d.]+ +[\d.]+$", ran.out, re.MULTILINE)
    assert "perfect foresight" in ran.out and "rows read" not in ran.out and "results in" not in ran.out
    assert re.search(r"^rows read +864$", ran.err, re.MULTILINE) and "Traceback" not in ran.err
    shifts = pl.read_parquet(here / "new" / "shifts.parquet")
    assert ran.err.splitlines()[-1] == f"results in new: {len(shifts):,} shifts; every limit and figure audited."
    assert sorted(path.name for path in (here / "new").iterdir()) == sorted(
        [
            "city_days.parquet",
            "city_months.parquet",
            "customer_days.parquet",
            "customers.parquet",
            "load.parquet",
            "run.json",
            "scenario.yaml",
            "shifts.parquet",
            "summary.json",
        ]
    )


def test_letters_that_a_system_lacks(here: Path) -> None:
    plain = {name: value for name, value in os.environ.items() if name not in ("PYTHONIOENCODING", "PYTHONUTF8", "LC_ALL")}
    habit = plain | {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C.ISO-8859-1"}
    for settings in (plain | {"PYTHONIOENCODING": "cp1252"}, habit):
        ran = subprocess.run([program(), "scenario"], capture_output=True, timeout=120, env=settings)
        assert ran.returncode == 0 and b"max_moves_per_day" in ran.stdout, ran.stderr
    assert "λ" in ran.stdout.decode("utf-8")


def test_verbose_leaves_stdout_to_the_summary(here: Path) -> None:
    words = ("run", "scenario.yaml", "--no-figures", "--set", "solver.family=milp")
    quiet, verbose = (in_terminal(*words, *more, cwd=here) for more in ((), ("--verbose",)))
    assert (quiet.code, verbose.code) == (0, 0)
    assert verbose.out == quiet.out
    assert "Running HiGHS" in verbose.err and "Running HiGHS" not in quiet.err
    assert quiet.err.startswith("solver: auto took HiGHS, the first choice of the family milp; the largest of 2 blocks has 5 households, ")


@pytest.mark.skipif(os.name != "posix", reason="a pseudo-terminal needs a POSIX system")
def test_progress_is_shown_to_those_who_watch(here: Path) -> None:
    import termios  # which Windows does not have

    seen = {}
    for progress in ("true", "false"):
        master, terminal = os.openpty()
        termios.tcsetwinsize(terminal, (25, 100))
        words = [program(), "run", "scenario.yaml", "--no-figures", "--set", f"progress={progress}"]
        process = subprocess.Popen(words, cwd=here, stdout=subprocess.PIPE, stderr=terminal, text=True)
        os.close(terminal)
        shown = b""
        while True:
            try:
                part = os.read(master, 65536)
            except OSError:  # the other end was closed
                break
            if not part:
                break
            shown += part
        os.close(master)
        out = process.communicate(timeout=60)[0]
        assert process.returncode == 0 and out.startswith("greedy") and "\r" not in out
        seen[progress] = shown.decode()
    for stage in ("reading readings", "preparing", "solving", "auditing"):
        assert f"{stage}:" in seen["true"] and f"{stage}:" not in seen["false"]


def test_reader_who_goes_away(here: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    ran = subprocess.run([program(), "scenario"], stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(writer)
    assert "Traceback" not in ran.stderr and ran.returncode != 0


def test_warnings_are_no_errors(here: Path) -> None:
    for words in ("check scenario.yaml", "run scenario.yaml --no-figures"):
        ran = command(*words.split(), "--set", "parallel.workers=2")
        assert ran.code == 0
        assert "warning: parallel.workers has no effect while parallel.enabled is false. Set it to true." in ran.err.splitlines()


# What the options do


def test_csv_holds_the_shifts(here: Path) -> None:
    assert command("run", "scenario.yaml", "--no-figures", "--csv").code == 0
    right = pl.read_parquet(here / RESULTS / "shifts.parquet")
    times = dict.fromkeys(("original_time", "shifted_time"), pl.String)
    read = pl.read_csv(here / RESULTS / "shifts.csv", schema={name: times.get(name, kind) for name, kind in right.schema.items()})
    read = read.with_columns(
        pl.col(name).str.to_datetime("%Y-%m-%dT%H:%M:%S%:z", time_unit="us").dt.convert_time_zone("Asia/Kolkata") for name in times
    )
    assert len(right) > 0 and read.equals(right) and read.schema == right.schema
    assert not (here / RESULTS / "figures").exists()


def test_set_chooses_the_family(here: Path) -> None:
    ran = command("run", "scenario.yaml", "--no-figures", "--set", "solver.family=milp", "--set", "constraints.max_moves_per_day.limit=2")
    assert ran.code == 0 and ran.out.startswith("milp (highs): The plan is optimal within the gap asked for.")
    written = dr_opt.Scenario.load(here / RESULTS / "scenario.yaml")
    assert (written.solver.family, written.constraints.max_moves_per_day) == ("milp", dr_opt.MaxMovesPerDay(limit=2))
    days = pl.read_parquet(here / RESULTS / "customer_days.parquet")
    assert days["moves"].max() == 2


@pytest.mark.parametrize("family", ["greedy", "milp"])
def test_a_number_of_moves_beyond_all_arrays_is_no_limit(family: str, here: Path) -> None:
    for number, limit in enumerate((336, 10**26)):
        sets = [f"solver.family={family}", *(f"constraints.max_moves_per_{span}.limit={limit}" for span in ("day", "week"))]
        ran = command("run", "scenario.yaml", "--no-figures", "--out", str(number), *(word for one in sets for word in ("--set", one)))
        assert ran.code == 0, ran.err
    assert (here / "0" / "shifts.parquet").read_bytes() == (here / "1" / "shifts.parquet").read_bytes()


def test_run_again_from_the_written_scenario(here: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (
        command("run", "scenario.yaml", "--no-figures", "--csv", "--set", "solver.family=milp", "--set", "output.optimised_usage=true").code
        == 0
    )
    monkeypatch.chdir(tmp_path_factory.mktemp("another"))  # the written scenario knows where its readings are
    assert command("run", str(here / RESULTS / "scenario.yaml"), "--out", "again", "--no-figures").code == 0
    first, second = contents(here / RESULTS), contents(Path("again"))
    assert {"shifts.csv", "optimised_usage.parquet", "scenario.yaml"} <= set(first)
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] in ([], ["run.json"])


PARALLEL = ("", "", "{enabled: true, method: thread, workers: 2}", "{enabled: true, method: process, workers: 2}", "{enabled: true}")


@pytest.mark.parametrize("family", ["greedy", pytest.param("milp", marks=pytest.mark.slow)])
def test_same_plan_however_it_is_worked_out(family: str, here: Path) -> None:
    folders = []
    for number, parallel in enumerate(PARALLEL):
        words = ["--set", f"parallel={parallel}"] if parallel else []
        ran = command("run", "scenario.yaml", "--no-figures", "--set", f"solver.family={family}", "--out", str(number), *words)
        assert ran.code == 0, ran.err
        folders.append(contents(Path(str(number))))
    assert pl.read_parquet("0/shifts.parquet")["city"].n_unique() == 2  # at least two blocks
    for name in ("shifts.parquet", "customer_days.parquet", "load.parquet", "summary.json"):
        assert len({folder[name] for folder in folders}) == 1, name


def test_demo_draws_and_can_be_audited_and_run_again(here: Path) -> None:
    ran = command("demo", "--customers", "12", "--days", "3", "--out", "demo")
    assert ran.code == 0, ran.err
    report = [line.split() for line in ran.err.splitlines()]
    assert ["customers", "12"] in report and ["customer", "days", "36"] in report
    figures = {path.name for path in (here / "demo" / "figures").glob("*.png")}
    assert {"savings_by_hour.png", "load_mean_day_delhi.png", "load_mean_day_mumbai.png", "sizes.png"} <= figures
    assert all((here / "demo" / "figures" / name).read_bytes().startswith(b"\x89PNG") for name in figures)
    audited = command("audit", "demo")
    assert (audited.code, audited.errors) == (0, [])
    assert command("run", "demo/scenario.yaml", "--out", "again", "--no-figures").code == 0
    for name in ("shifts.parquet", "summary.json", "customers.parquet", "load.parquet"):
        assert (here / "demo" / name).read_bytes() == (here / "again" / name).read_bytes(), name


def test_synth_writes_what_run_reads(here: Path) -> None:
    words = ("--customers", "5", "--days", "2", "--start", "2025-06-02", "--seed", "4")
    for name in ("one.parquet", "two.parquet"):
        ran = command("synth", name, *words, "--city", "mumbai")
        assert (ran.code, ran.out, ran.err) == (0, "", f"480 readings of 5 households in {name}.\n")
    assert (here / "one.parquet").read_bytes() == (here / "two.parquet").read_bytes()
    assert pl.read_parquet("one.parquet").equals(dr_opt.synthesise("mumbai", 5, 2, "2025-06-02", 4))
    (here / "scenario.yaml").write_text("readings: one.parquet\nsolver: {family: greedy}\n")
    ran = command("run", "scenario.yaml", "--no-figures", "--out", "new")
    assert ran.code == 0 and re.search(r"^customers by city +mumbai 5$", ran.err, re.MULTILINE)
    assert len(pl.read_parquet("new/customer_days.parquet")) == 10


def test_check_says_what_is_missing_and_what_can_bind(here: Path) -> None:
    lost = (pl.col("ca_id") == "delhi-0000002") & (pl.col("date").dt.hour() == 4) & (pl.col("date").dt.day() == 4)
    odd = (pl.col("ca_id") == "delhi-0000003") & (pl.col("date").dt.hour() == 5) & (pl.col("date").dt.day() == 5)
    frame().filter(~lost).with_columns(value=pl.when(odd).then(-0.25).otherwise("value")).write_parquet("readings.parquet")
    before = contents(here)
    ran = command("check", "scenario.yaml")
    report, binding = ran.out.split("Where each limit could bind:\n")
    assert ran.code == 0 and contents(here) == before
    lines = [re.sub(" {2,}", ": ", line) for line in report.splitlines()]
    assert {"rows read: 862", "readings: 862", "customers: 6", "customer days: 18", "complete days: 16"} <= set(lines)
    assert "slot without a row: 2: missing" in lines
    assert "negative usage: 2: -0.500: missing; e.g. customer delhi-0000003, 2025-11-05 05:00, -0.25 kWh" in lines
    skipped = (
        frame()
        .filter(
            ((pl.col("ca_id") == "delhi-0000002") & (pl.col("date").dt.day() == 4))
            | ((pl.col("ca_id") == "delhi-0000003") & (pl.col("date").dt.day() == 5))
        )
        .filter(~lost & ~odd)
    )
    assert f"reading in an incomplete day: 92: {skipped['value'].sum():.3f}: gives" in "\n".join(lines)
    assert "note: Peak hours of mumbai: mon 8, 9, 10, 11, 20, 21;" in report and "floors (100%) rest on fewer than 5 readings" in report
    can = dict(re.findall(r"^  (\w+): ([\d,]+ of [\d,]+)$", binding, re.MULTILINE))
    assert list(can)[:3] == ["max_moves_per_day", "max_moves_per_week", "max_shift_window"] and {
        "no_new_spike",
        "only_saving_moves",
    } <= set(can)
    assert can["max_moves_per_day"] == "16 of 18"  # not on the days that are incomplete


def test_scenario_prints_what_load_reads(here: Path) -> None:
    ran = command("scenario")
    assert (ran.code, ran.err) == (0, "")
    (here / "full.yaml").write_text(ran.out)
    assert dr_opt.Scenario.load(here / "full.yaml").model_dump() == dr_opt.Scenario().model_dump()
    assert "hours: 2.0" in ran.out and "(hours; greater than 0)" in ran.out


def test_scenario_prints_its_schema() -> None:
    ran = command("scenario", "--schema")
    schema = json.loads(ran.out)
    assert (ran.code, ran.err) == (0, "") and schema["$schema"].startswith("https://json-schema.org/")
    assert set(schema["properties"]) == set(dr_opt.Scenario.model_fields)
    assert schema["$defs"]["MaxShiftWindow"]["properties"]["hours"]["unit"] == "hours"


@pytest.mark.parametrize("words", ["--debug run nowhere.yaml", "run nowhere.yaml --debug"])
def test_debug_shows_the_traceback(words: str, here: Path) -> None:
    ran = command(*words.split())
    assert ran.code == 2 and ran.errors == ["'nowhere.yaml' does not exist. Check the path."]
    assert "Traceback (most recent call last):" in ran.err and "InputError" in ran.err


# The command describes itself


def test_help_lists_the_commands() -> None:
    ran = command("--help")
    assert (ran.code, ran.err) == (0, "")
    assert set(COMMANDS) <= set(re.findall(r"^  (\w+)  ", ran.out, re.MULTILINE))
    from dr_opt.cli import main

    told = dict(re.findall(r"^  (\w+)  +(\S.*)$", ran.out.partition("Commands:")[2], re.MULTILINE))
    assert told == {name: part.help for name, part in main.commands.items()}  # whole, and each its own


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_of_each_command(name: str, flag: str) -> None:
    ran = command(name, flag)
    assert (ran.code, ran.err) == (0, "") and ran.out.startswith(f"Usage: dr-opt {name} [OPTIONS]")
    options = re.findall(r"^  (?:-h, )?(--[\w-]+)", ran.out, re.MULTILINE)
    wanted = {
        "run": {"--out", "--set", "--use", "--csv", "--no-figures", "--report", "--verbose"},
        "demo": {"--customers", "--days", "--out"},
        "audit": {"--readings"},
        "synth": {"--city", "--customers", "--days", "--start", "--seed"},
        "scenario": {"--schema"},
        "check": {"--set"},
    }
    assert wanted[name] <= set(options) and "--help" in options


OWN_LIMIT = """
import dr_opt

@dr_opt.register_limit("quiet_start")
class QuietStart(dr_opt.Limit):
    "Nothing leaves the first slots of a block."

    slots: int = dr_opt.parameter(4, "How many.", "slots", ge=0)

    def kinds(self, block):
        return [dr_opt.ArcMask(lambda arcs: arcs.origin >= self.slots)]

    def check(self, tables):
        minutes = (tables.shifts["original_time"] - tables.readings["time"].min()).dt.total_minutes()
        early = tables.shifts.with_columns(early=(minutes < 30 * self.slots).cast(int))
        return dr_opt.check_at_most(self.key, early, "early", 0, unit="shifts")
"""


def test_use_brings_a_limit_of_ones_own(here: Path) -> None:
    """In a process of its own, as a registered limit stays registered."""
    (here / "quiet.py").write_text(OWN_LIMIT)
    (here / "own.yaml").write_text("readings: readings.parquet\nconstraints: {quiet_start: {slots: 2}}\nsolver: {family: greedy}\n")
    without, ran, audited = (
        in_terminal(*words, cwd=here)
        for words in (
            ("run", "own.yaml", "--no-figures", "--out", "own"),
            ("run", "own.yaml", "--no-figures", "--out", "own", "--use", "quiet"),
            ("audit", "own", "--use", "quiet.py"),
        )
    )
    assert without.code == 2 and without.err.startswith("error: constraints.quiet_start is not a known key.")
    assert (ran.code, audited.code) == (0, 0)
    assert "ok   quiet_start: " in audited.out


def test_use_of_what_cannot_be_imported(here: Path) -> None:
    (here / "broken_rules.py").write_text("1 / 0\n")
    gone, fails = (command("check", "scenario.yaml", "--use", name) for name in ("nowhere_at_all", "broken_rules"))
    assert gone.err.strip() == "error: --use nowhere_at_all is not there. Start where its file lies, or install it."
    assert fails.err.strip() == "error: --use broken_rules fails: ZeroDivisionError, division by zero. Mend it."
    assert (gone.code, fails.code) == (2, 2)


def test_version() -> None:
    ran = in_terminal("--version")
    assert (ran.code, ran.out, ran.err) == (0, f"dr-opt, version {dr_opt.__version__}\n", "")


HEAVY = ["cvxpy", "highspy", "ipywidgets", "llvmlite", "matplotlib", "numba", "pandas", "pyarrow", "scipy", "seaborn", "yaml"]


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["--version"]], ids=" ".join)
def test_help_loads_nothing_heavy(words: list[str]) -> None:
    code = f"""
import sys
from dr_opt.cli import main
try:
    main({words})
except SystemExit as ended:
    print(ended.code, [name for name in {[*HEAVY, "polars", "numpy"]} if name in sys.modules])
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ran.stdout.splitlines()[-1] == "0 []", ran.stderr
