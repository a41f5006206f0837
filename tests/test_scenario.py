"""The scenario file: every way to get it wrong has its sentence, and what is right survives being written and read."""

import json
import pickle
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dr_opt.basics import InputError
from dr_opt.blocks import Block
from dr_opt.calendar import Calendar
from dr_opt.constraints.behavioural import MaxMovesPerDay, MinMoveSize
from dr_opt.models import ConveniencePrioritised, HighUsageFocus, ImpactPrioritised
from dr_opt.parameters import known_paths, mapping_of, read_yaml, yaml_text
from dr_opt.pipeline import optimise
from dr_opt.problem import Kind, Limit, limits, register_limit
from dr_opt.readings import read_readings
from dr_opt.scenario import FAMILIES, SEED_NAMES, Constraints, Parallel, Scenario, SolverChoice, annotated_yaml, schema
from dr_opt.sweeps import frontier, sweep
from dr_opt.synthesis import synthesise
from dr_opt.tables import Check, CustomerChoice, Period, Tables


def faults(text: str, overrides: Sequence[str] = ()) -> list[str]:
    """The faults of a scenario given as YAML."""
    content, twice = mapping_of(text)
    with pytest.raises(InputError) as caught:
        Scenario.from_mapping(content, overrides)
    return [*twice, *caught.value.faults]


def again(text: str) -> Scenario:
    return Scenario.from_mapping(mapping_of(text)[0])


# Wrong values and names, each with its exact line

WRONG = {
    "constraints: {max_shift_window: {hours: -2}}": "constraints.max_shift_window.hours is -2 hours. Give a number greater than 0.",
    "constraints: {max_shift_window: {hours: two}}": "constraints.max_shift_window.hours is 'two'. Give a number greater than 0.",
    "constraints: {max_shift_window: {hours: .inf}}": "constraints.max_shift_window.hours is inf hours. Give a number greater than 0.",
    "constraints: {max_shift_window: {inclusive: maybe}}": "constraints.max_shift_window.inclusive is 'maybe'. Give true or false.",
    "constraints: {max_moves_per_day: {limit: 1.5}}":
        "constraints.max_moves_per_day.limit is 1.5 moves. Give a whole number of at least 0.",
    "constraints: {max_moves_per_day: {limit: yes}}": "constraints.max_moves_per_day.limit is true. Give a whole number of at least 0.",
    "constraints: {max_moves_per_day: {limit: null}}": "constraints.max_moves_per_day.limit is null. Give a whole number of at least 0.",
    "constraints: {max_moves_per_day: 2}":
        "constraints.max_moves_per_day is 2. Give its parameters, such as {limit: 1}, {} for the defaults, or null to switch it off.",
    "constraints: {only_saving_moves: true}":
        "constraints.only_saving_moves is true. Give {} to switch it on, or null to switch it off.",
    "constraints: {min_move_size: {}}":
        "constraints.min_move_size needs exactly one of kwh and percent_of_day. Give the least size in kWh or as a share of the day.",
    "constraints: {regional_shift_cap: {percent: 120}}": "constraints.regional_shift_cap.percent is 120 %. Give a number from 0 to 100.",
    "constraints: {regional_shift_cap: {daily_average_load_kwh: {delhi: lots}}}":
        "constraints.regional_shift_cap.daily_average_load_kwh.delhi is 'lots'. Give a number.",
    "constraints: {peak_hour_comfort: {peak_hours: {delhi: {monday: [8]}}}}":
        "constraints.peak_hour_comfort.peak_hours.delhi names the weekday 'monday'. Use mon, tue, wed, thu, fri, sat, sun.",
    "constraints: {peak_hour_comfort: {peak_hours: {delhi: {mon: [8, 25]}}}}":
        "constraints.peak_hour_comfort.peak_hours.delhi.mon lists [8, 25]. Give up to six different hours from 0 to 23.",
    "constraints: {peak_hour_comfort: {peak_hours: {delhi: {mon: [8, x]}}}}":
        "constraints.peak_hour_comfort.peak_hours.delhi.mon[1] is 'x'. Give a whole number.",
    "constraints: {move_counting: pairs}": "constraints.move_counting is 'pairs'. Choose slot or pair.",
    "constraints: {max_move_per_day: {limit: 1}}":
        "constraints.max_move_per_day is not a known key. Did you mean constraints.max_moves_per_day?",
    "constraints: {max_shift_window: {hour: 2}}":
        "constraints.max_shift_window.hour is not a known key. Did you mean constraints.max_shift_window.hours?",
    "constraints: 5": "constraints is 5. Give its parameters, such as {max_moves_per_day: {limit: 1}}.",
    "usage_unit: kwh": "usage_unit is 'kwh'. Choose kWh, Wh or kW.",
    "factor_unit: kg": "factor_unit is 'kg'. Choose g/kWh, kg/MWh, kg/kWh, t/MWh or lb/MWh.",
    "missing: drop": "missing is 'drop'. Choose skip_day, interpolate or error.",
    "max_plausible_kwh: 0": "max_plausible_kwh is 0 kWh. Give a number greater than 0.",
    "readings: 5": "readings is 5. Give text; in quotes, if it looks like something else.",
    "readings: null": "readings is null. Give text; in quotes, if it looks like something else.",
    "reading: demo": "reading is not a known key. Did you mean readings?",
    "cities: delhi": "cities is 'delhi'. Give a list of one or more, such as [a, b], or null.",
    "cities: []": "cities is []. Give a list of one or more, such as [a, b], or null.",
    "cities: [no]": "cities[0] is false. Give text; in quotes, if it looks like something else.",
    "period: {start: 2025-11-30, end: 2025-11-23}": "period.start 2025-11-30 lies after period.end 2025-11-23. Swap them.",
    "period: {start: 2025-13-45}": "period.start is '2025-13-45'. Give a date such as 2025-11-17, or null.",
    "period: {begin: 2025-11-17}": "period.begin is not a known key. Known here: start, end.",
    "customers: {include: 5}":
        "customers.include is 5. What is meant: Only these customers (a list, or a file with one id a line); null: all.",
    "customers: {include: [a, 2.5]}": "customers.include[1] is 2.5. Give text; in quotes, if it looks like something else.",
    "calendar: {timezone: Asia/Kolkatta}":
        "calendar.timezone 'Asia/Kolkatta' is not an IANA time zone. Did you mean 'Asia/Kolkata'?",
    "calendar: {slot_minutes: 20}": "calendar.slot_minutes is 20 minutes. Choose 15, 30 or 60.",
    "calendar: {day_boundaries: [0, 24]}":
        "calendar.day_boundaries [0, 24] names an hour outside 0 to 23. Give the first and the last hour of the counting day.",
    "calendar: {day_boundaries: [0, 12, 23]}": "calendar.day_boundaries is [0, 12, 23]. Give 2 values, such as [0, 23].",
    "slot_minutes: 30": "slot_minutes is not a known key. Use calendar.slot_minutes.",
    "model: ImpactPrioritised": "model is 'ImpactPrioritised'. Give its parameters, such as {name: ImpactPrioritised}.",
    "model: {name: Impact}": "model.name is 'Impact'. Choose ImpactPrioritised, ConveniencePrioritised or HighUsageFocus.",
    "model: {name: HighUsageFocus, objective: {name: Most}}":
        "model.objective.name is 'Most'. Choose ImpactPrioritised or ConveniencePrioritised.",
    "model: {name: HighUsageFocus, objective: {max_total_shift_kwh: -1}}":
        "model.objective.max_total_shift_kwh is -1 kWh. Give a number of at least 0, or null.",
    "model: {percentile_threshold: 80}":
        "model.percentile_threshold is no parameter of ImpactPrioritised, but of HighUsageFocus. Set model.name to that, or remove it.",
    "solver: {family: milq}": "solver.family is 'milq', which is no solver family. Did you mean 'milp'?",
    "solver: {family: quantum}": "solver.family is 'quantum', which is no solver family. Choose milp, lp, greedy or continuous.",
    "solver: {family: greedy, backend: highs}": "solver.backend is 'highs', but greedy needs no other program. Set it to auto.",
    "solver: {gap: -1}": "solver.gap is -1. Give a number of at least 0.",
    "solver: {time_limit_seconds: 0}": "solver.time_limit_seconds is 0 seconds. Give a number greater than 0, or null.",
    "solver: {options: [threads]}":
        "solver.options is [threads]. What is meant: Options passed to the back-end under its own names.",
    "parallel: {method: fork}": "parallel.method is 'fork'. Choose process, thread, mpi or null.",
    "parallel: {workers: 0}": "parallel.workers is 0 workers. Give a whole number from 1 to 1024, or null.",
    "output: {figures: 7}": "output.figures is 7. Give true or false.",
    "seed: -1": "seed is -1. Give a whole number of at least 0.",
    "X: 2": "X is not a known key. Use constraints.max_moves_per_day.limit.",
    "constraints: {max_shift_window: {H_hours: 3}}":
        "constraints.max_shift_window.H_hours is not a known key. Use constraints.max_shift_window.hours.",
    "max_shift_frac: 0.3": "max_shift_frac is not a known key. Use constraints.max_customer_shift.percent.",
    "min_day_trigger_frac: 0.3":
        "min_day_trigger_frac is not a known key. Use constraints.min_day_potential.percent or constraints.min_move_size.percent_of_day.",
    "delta_E: 3": "delta_E is not a known key, but a figure of the results (customer_days.marginal_g_delta). Remove it.",
    "seed: 1\nseed: 2\nsolver: {gap: -1}": "'seed' stands twice in one place, in lines 1 and 2. Keep one of them.",
}  # fmt: skip


@pytest.mark.parametrize("text", WRONG)
def test_wrong_values_and_names(text: str) -> None:
    assert faults(text)[0] == WRONG[text]
    assert len(faults(text)) == (2 if "\n" in text else 1)


def test_all_faults_at_once() -> None:
    everything: dict[str, Any] = {}
    chosen = ["usage_unit: kwh", "cities: []", "calendar: {slot_minutes: 20}", "model: {name: Impact}", "seed: -1", "X: 2",
              "period: {start: 2025-11-30, end: 2025-11-23}", "solver: {family: greedy, backend: highs}"]  # fmt: skip
    for text in chosen:
        everything |= read_yaml(text)[0]
    with pytest.raises(InputError) as caught:
        Scenario.from_mapping(everything, ["parallel.workers=0", "constraints"])
    assert set(caught.value.faults) == {WRONG[text] for text in chosen} | {
        WRONG["parallel: {workers: 0}"], "--set 'constraints' is not key.path=value. Name a key, an equals sign and its value.",
    }  # fmt: skip


def test_faults_are_sentences() -> None:
    for line in WRONG.values():
        assert line.endswith((".", "?"))
        assert not set(line) & set("\n\t")


# Files


FILES: dict[str, tuple[str | bytes, str]] = {
    "empty.yaml": ("# nothing\n", "'{path}' is empty. Write at least one 'key: value'."),
    "list.yaml": ("- demo\n", "'{path}' holds [demo], not keys with values. Write 'key: value'."),
    "word.yaml": ("demo", "'{path}' holds 'demo', not keys with values. Write 'key: value'."),
    "tab.yaml": (
        "solver:\n\tgap: 1",
        "'{path}' is not YAML: line 2, column 1, found character '\\t' that cannot start any token."
        " Write 'key: value', indented with spaces.",
    ),
    "colon.yaml": (
        "readings: a: b",
        "'{path}' is not YAML: line 1, column 12, mapping values are not allowed here. Write 'key: value', indented with spaces.",
    ),
    "python.yaml": (
        "seed: !!python/object:os.system []",
        "'{path}' is not YAML: line 1, column 7, could not determine a constructor for the tag 'tag:yaml.org,2002:python/object:os.system'."
        " Write 'key: value', indented with spaces.",
    ),
    "latin.yaml": (b"name: M\xfcnchen", "'{path}' is not text in UTF-8 (byte 7). Give a YAML or JSON file, saved as UTF-8."),
    "zeros.yaml": (b"name: \x00", "'{path}' is not YAML. Write 'key: value' in plain text."),
    "itself.yaml": ("solver: {options: &a {b: *a}}", "'{path}' is not YAML. Write 'key: value' in plain text."),
    "digits.yaml": ("seed: " + "9" * 5000, "'{path}' is not YAML. Write 'key: value' in plain text."),
    "deep.yaml": ("a: " + "[" * 5000, "'{path}' is not YAML. Write 'key: value' in plain text."),
    "comma.json": ('{"seed": 1,}', "'{path}' is not JSON: line 1, column 11, illegal trailing comma before end of object. Mend it there."),
    "twice.json": ('{"seed": 1, "seed": 2}', "'seed' stands twice in one place. Keep one of them."),
}


@pytest.mark.parametrize("name", FILES)
def test_files_that_are_no_scenarios(name: str, tmp_path: Path) -> None:
    content, line = FILES[name]
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError) as caught:
        Scenario.load(path)
    if name == "comma.json":  # the words of the JSON library change with Python's version
        assert caught.value.faults[0].startswith(f"'{path}' is not JSON: line 1, column 1")
    else:
        assert caught.value.faults == (line.format(path=path),)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "scenario.yaml").write_text("readings: demo\n")
    with pytest.raises(InputError) as caught:
        Scenario.load(tmp_path / "scenari.yaml")
    assert caught.value.faults == (f"'{tmp_path / 'scenari.yaml'}' does not exist. Did you mean 'scenario.yaml'?",)
    with pytest.raises(InputError) as caught:
        Scenario.load(tmp_path)
    assert caught.value.faults == (f"'{tmp_path}' is a folder. Name the file in it.",)
    with pytest.raises(InputError, match=r"does not exist\. Check the path"):
        Scenario.load(tmp_path / "nowhere" / "x.yaml")


def test_json_and_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"seed": 3, "solver": {"gap": 1e-4}}))
    (tmp_path / "b.yaml").write_bytes(b"\xef\xbb\xbfseed: 3\nsolver: {gap: 1e-4}\n")
    assert Scenario.load(tmp_path / "a.json") == Scenario.load(tmp_path / "b.yaml")


# What is meant


def test_traps_of_yaml() -> None:
    text = """
    customers: {include: [60000005516, 007, 22:30, 0x1F], exclude: [1]}
    cities: [110001, 'no']
    progress: off
    period: {start: 2025-11-17}
    solver: {gap: 1e-4, options: {mip_abs_gap: 1e-6}}
    constraints: {peak_hour_comfort: {peak_hours: {no: {mon: [8, 9]}}}}
    """
    scenario = again(text)
    assert scenario.customers == CustomerChoice(include=["60000005516", "007", "22:30", "0x1F"], exclude=["1"])
    assert scenario.cities == ["110001", "no"]
    assert scenario.progress is False
    assert scenario.period == Period(start=date(2025, 11, 17))
    assert scenario.solver.gap == 1e-4
    assert scenario.solver.options == {"mip_abs_gap": 1e-6}
    assert scenario.constraints.peak_hour_comfort and scenario.constraints.peak_hour_comfort.peak_hours == {"no": {"mon": (8, 9)}}


def test_empty_parts_are_their_defaults() -> None:
    assert again("readings: demo\nsolver:\nmodel:\nconstraints:\nperiod:\ncustomers:\n") == Scenario()
    assert again("model: {max_total_shift_kwh: 5}").model == ImpactPrioritised(max_total_shift_kwh=5)


def test_merge_keys() -> None:
    text = "solver: &s {gap: 0.1, family: lp}\nconstraints: {}\n"
    assert again(text).solver.gap == 0.1
    assert read_yaml("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}")[0]["b"] == {"x": 1, "y": 3}


def test_braces_and_null() -> None:
    constraints = again("constraints: {max_moves_per_day: {}, max_moves_per_week: null, no_average_increase: {}}").constraints
    assert constraints.max_moves_per_day == MaxMovesPerDay()
    keys = [limit.key for limit in constraints.chosen()]
    assert keys == ["max_moves_per_day", "max_shift_window", "peak_hour_comfort", "regional_shift_cap", "household_minimum_usage",
                    "no_new_spike", "conservation", "only_saving_moves", "no_average_increase", "intra_customer"]  # fmt: skip


def test_fields_carry_the_registered_keys() -> None:
    for name, field in Constraints.model_fields.items():
        if name != "move_counting":
            assert limits[name].key == name
            assert limits[name] in getattr(field.annotation, "__args__", ())
    assert set(Constraints.model_fields) - {"move_counting"} <= set(limits)


def test_in_python() -> None:
    scenario = Scenario(constraints=Constraints(max_moves_per_day=MaxMovesPerDay(limit=2)))
    assert scenario.constraints.max_moves_per_day == MaxMovesPerDay(limit=2)
    assert scenario == again("constraints: {max_moves_per_day: {limit: 2}}")
    assert pickle.loads(pickle.dumps(scenario)) == scenario
    for wrong in ({"seed": -1}, {"constraints": {"quota": {}}}, {"period": Period(start=date(2025, 1, 2), end=date(2025, 1, 1))}):
        with pytest.raises(ValueError):
            Scenario(**wrong)


# Changes


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"a": 1}, "scenario is of type dict. Give a Scenario: dr_opt.Scenario.from_mapping({…}) makes one."),
        ("scenario.yaml", "scenario is of type str. Give a Scenario: dr_opt.Scenario.load(path) makes one."),
        (7, "scenario is of type int. Give a Scenario: dr_opt.Scenario.from_mapping({…}) makes one."),
        ({}, "scenario is of type dict. Give a Scenario: dr_opt.Scenario.from_mapping({…}) makes one."),
    ],
)
def test_what_is_no_scenario_is_refused_wherever_one_is_taken(wrong: Any, words: str) -> None:
    for function in (optimise, frontier, lambda source, scenario: sweep(source, scenario, {"seed": [1]})):
        with pytest.raises(InputError) as caught:
            function("small.parquet", wrong)
        assert str(caught.value) == words
    assert Scenario.given(None) == Scenario() and Scenario.given(chosen := Scenario(seed=3)) is chosen


def test_overrides() -> None:
    scenario = Scenario.from_mapping(
        {"constraints": {"min_move_size": None}, "model": {"name": "HighUsageFocus", "percentile_threshold": 80}},
        ["constraints.max_shift_window.hours=4", "constraints.min_move_size.kwh=0.05", "cities=[delhi]",
         "model.name=ConveniencePrioritised",
         "model.min_saving_g_per_kwh=12.5", "constraints.no_new_spike=null", "name=a=b", "solver.options.threads=2"],
    )  # fmt: skip
    assert scenario.constraints.max_shift_window and scenario.constraints.max_shift_window.hours == 4
    assert scenario.constraints.min_move_size == MinMoveSize(kwh=0.05)
    assert scenario.constraints.no_new_spike is None
    assert scenario.model == ConveniencePrioritised(min_saving_g_per_kwh=12.5)
    assert (scenario.cities, scenario.name, scenario.solver.options) == (["delhi"], "a=b", {"threads": 2})


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("seed", "--set 'seed' is not key.path=value. Name a key, an equals sign and its value."),
        ("solver..gap=1", "--set 'solver..gap=1' is not key.path=value. Name a key, an equals sign and its value."),
        ("cities=[delhi", "--set cities has the value '[delhi', which is not YAML. Put it in quotes."),
        ("seed.more=1", "seed.more lies inside seed, which is 5. Set that as a whole."),
        ("seed=five", "seed is 'five'. Give a whole number of at least 0."),
        ("solver.method=lp", "solver.method is not a known key. Use solver.family or parallel.method."),
    ],
)
def test_wrong_overrides(override: str, line: str) -> None:
    assert faults("seed: 5", [override]) == [line]


def test_overrides_of_a_file_leave_the_mapping_alone() -> None:
    content: dict[str, Any] = {"solver": {"gap": 0.5}}
    assert Scenario.from_mapping(content, ["solver.gap=0.1"]).solver.gap == 0.1
    assert content == {"solver": {"gap": 0.5}}


def test_replace() -> None:
    scenario = Scenario(model=HighUsageFocus(percentile_threshold=80))
    changed = scenario.replace({"constraints.max_shift_window.hours": 4, "model.name": "ImpactPrioritised", "solver.family": "greedy"})
    assert changed.constraints.max_shift_window and changed.constraints.max_shift_window.hours == 4
    assert changed.model == ImpactPrioritised()
    assert scenario.model == HighUsageFocus(percentile_threshold=80)
    with pytest.raises(InputError, match=r"solver\.gap is 'x'"):
        scenario.replace({"solver.gap": "x"})


# There and back

text_ = st.text(max_size=12)
percent, kwh, periods = st.floats(0, 100), st.floats(1, 1e9), st.sampled_from(["year", "day"])
options = st.dictionaries(text_, st.deferred(lambda: json_values), max_size=3)
maybe_kwh = st.none() | st.floats(0, 1e6)
hours = st.lists(st.integers(0, 23), max_size=6, unique=True)
convenience = st.fixed_dictionaries({"name": st.just("ConveniencePrioritised")}, optional={"min_saving_g_per_kwh": maybe_kwh})
impact = st.fixed_dictionaries({"name": st.just("ImpactPrioritised")}, optional={"max_total_shift_kwh": maybe_kwh})
high = st.fixed_dictionaries(
    {"name": st.just("HighUsageFocus")},
    optional={"percentile_threshold": percent, "by": st.sampled_from(["day", "week"]), "objective": impact | convenience},
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text_,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text_, inner, max_size=3), max_leaves=5,
)  # fmt: skip
limit_values = {
    "max_moves_per_day": st.fixed_dictionaries({"limit": st.integers(0, 9)}),
    "max_shift_window": st.fixed_dictionaries({"hours": st.floats(1e-9, 1e3), "inclusive": st.booleans()}),
    "peak_hour_comfort": st.fixed_dictionaries(
        {"peak_hours": st.none() | st.dictionaries(text_, st.dictionaries(st.sampled_from(["mon", "sun"]), hours), max_size=2)}
    ),
    "regional_shift_cap": st.fixed_dictionaries({"daily_average_load_kwh": st.none() | st.dictionaries(text_, kwh, max_size=2)}),
    "household_minimum_usage": st.fixed_dictionaries({"baseline_period": periods, "percent_of_robust_max": percent}),
    "only_saving_moves": st.just({}),
    "min_move_size": st.sampled_from([{"kwh": 0.05}, {"percent_of_day": 5}]),
}
scenarios = st.fixed_dictionaries(
    {},
    optional={
        "name": text_, "factors": st.none() | text_, "city_name": text_, "usage_unit": st.sampled_from(["kWh", "Wh", "kW"]),
        "max_plausible_kwh": st.floats(1e-6, 1e9), "cities": st.none() | st.lists(text_, min_size=1, max_size=3),
        "period": st.fixed_dictionaries({}, optional={"start": st.none() | st.dates(date(2020, 1, 1), date(2030, 1, 1))}),
        "customers": st.fixed_dictionaries({}, optional={"include": st.none() | text_ | st.lists(text_ | st.integers(), max_size=3)}),
        "calendar": st.fixed_dictionaries({"day_boundaries": st.tuples(st.integers(0, 23), st.integers(0, 23))}),
        "constraints": st.fixed_dictionaries({}, optional={key: st.none() | value for key, value in limit_values.items()}),
        "model": impact | convenience | high,
        "solver": st.fixed_dictionaries(
            {}, optional={"family": st.sampled_from(FAMILIES), "gap": st.floats(0, 1), "options": options}
        ),
        "progress": st.booleans(), "seed": st.integers(0, 2**70),
    },
)  # fmt: skip


@given(scenarios)
def test_round_trip(content: dict[str, Any]) -> None:
    scenario = Scenario.from_mapping(content)
    assert again(scenario.to_yaml()) == scenario
    assert again(annotated_yaml(scenario)) == scenario
    assert again(scenario.to_yaml()).hash == scenario.hash if not isinstance(scenario.customers.include, str) else True
    assert Scenario.from_mapping(json.loads(json.dumps(scenario.model_dump(mode="json")))) == scenario


@given(json_values)
def test_yaml_reads_what_it_writes(value: Any) -> None:
    assert read_yaml(yaml_text({"value": value}))[0] == {"value": value}
    assert read_yaml(yaml_text({"value": value}, flow=True))[0] == {"value": value}


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    synthesise(customers=4, days=2).write_parquet(tmp_path / "in" / "readings.parquet")
    (tmp_path / "in" / "ids.txt").write_text("delhi-0000001\n")
    (tmp_path / "in" / "scenario.yaml").write_text("readings: readings.parquet\nprogress: false\ncustomers: {include: ids.txt}\n")
    scenario = Scenario.load(tmp_path / "in" / "scenario.yaml")
    assert scenario.folder == tmp_path / "in"
    readings = scenario.read()
    assert readings.frame["customer_id"].n_unique() == 4
    assert scenario.chosen(readings).include == {"delhi-0000001"}
    (tmp_path / "resolved.yaml").write_text(scenario.to_yaml())
    elsewhere = Scenario.load(tmp_path / "resolved.yaml")
    assert elsewhere.readings == str(tmp_path / "in" / "readings.parquet")
    assert elsewhere.read().fingerprint == readings.fingerprint
    assert elsewhere.hash == scenario.hash == scenario.replace({"customers.include": ["delhi-0000001"]}).hash


def test_hash_says_what_decides_the_plan() -> None:
    scenario = Scenario()
    idle = {"name": "x", "readings": "a.parquet", "progress": False, "parallel.enabled": True, "output.csv": True}
    assert scenario.replace(idle).hash == scenario.hash
    changes = ({"seed": 1}, {"solver.gap": 0.1}, {"cities": ["delhi"]}, {"model.max_total_shift_kwh": 1},
               {"constraints.no_new_spike": None},
               {"constraints.move_counting": "pair"}, {"customers.exclude": ["1"]}, {"usage_unit": "Wh"})  # fmt: skip
    hashes = {scenario.replace(change).hash for change in changes} | {scenario.hash}
    assert len(hashes) == len(changes) + 1
    assert len(scenario.hash) == 32
    assert Scenario(cities=["a", "b"]).hash == Scenario(cities=["b", "a"]).hash


# The earlier names

RESULTS = {
    "customer_days": ["marginal_g_before", "marginal_g_after", "marginal_g_delta", "kwh_moved", "share_moved", "forward_kwh",
                      "backward_kwh", "mean_shift_minutes"],
    "shifts": ["original_time", "shifted_time", "minutes_moved"],
}


@pytest.mark.parametrize("name", SEED_NAMES)
def test_earlier_names_lead_somewhere(name: str) -> None:
    known = known_paths(Scenario)
    for target in SEED_NAMES[name].split(" and "):
        table, _, column = target.partition(".")
        assert target in known or column in RESULTS[table]
    if name not in Scenario.model_fields:
        (line,) = faults(f"{name}: 1")
        assert SEED_NAMES[name].split(" and ")[0] in line


# Schema and comments


def leaves(part: dict[str, Any], definitions: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every field of a JSON Schema that holds a value and no further fields."""
    for name, field in part.get("properties", {}).items():
        options = [field, *field.get("anyOf", []), *field.get("oneOf", [])]
        inner = [definitions[option["$ref"].split("/")[-1]] for option in options if "$ref" in option]
        inner = [one for one in inner if one.get("properties")]
        if not inner:
            yield f"{path}{name}", field
        for one in inner:
            yield from leaves(one, definitions, f"{path}{name}.")


def test_schema_explains_every_field() -> None:
    made = schema()
    found = dict(leaves(made, made["$defs"]))
    known = known_paths(Scenario)
    assert set(found) == {path for path in known if not any(other.startswith(path + ".") for other in known)}
    for path, field in found.items():
        assert field.get("description"), path
        kinds = {option.get("type") for option in [field, *field.get("anyOf", [])]}
        if kinds & {"number", "integer"}:
            assert field.get("unit"), path
    assert made["$defs"]["Constraints"]["additionalProperties"] is False
    assert found["constraints.max_shift_window.hours"]["unit"] == "hours"
    json.dumps(made)


def test_comments_explain_every_field() -> None:
    text = annotated_yaml()
    assert again(text) == Scenario()
    assert not mapping_of(text)[1]
    for path in known_paths(Scenario):
        assert path.split(".")[-1] + ":" in text, path
    for line in text.splitlines():
        assert not line or "#" in line or line.strip() == "name: ImpactPrioritised", line
    assert all(part not in text for part in ("\n\n\n", "PydanticUndefined"))


# A limit of one's own


@pytest.fixture
def quiet_night() -> Iterator[type[Limit]]:
    class QuietNight(Limit):
        """No move into the night."""

        first_hour: int = 22

        def kinds(self, block: Block) -> Sequence[Kind]:
            return []

        def check(self, tables: Tables) -> Check:
            raise NotImplementedError

    yield register_limit("quiet_night")(QuietNight)
    del limits["quiet_night"]


def test_a_registered_limit_is_welcome(quiet_night: type[Limit]) -> None:
    scenario = again("constraints: {quiet_night: {first_hour: 21}}")
    assert [limit.key for limit in scenario.constraints.chosen()][-2:] == ["quiet_night", "intra_customer"]
    assert scenario == Scenario(constraints=Constraints(quiet_night=quiet_night(first_hour=21)))  # type: ignore[call-arg]
    for text in (scenario.to_yaml(), annotated_yaml(scenario)):
        assert again(text) == scenario
    assert again("constraints: {quiet_night: null}").constraints.chosen() == Constraints().chosen()
    assert again("{}").replace({"constraints.quiet_night.first_hour": 20}).hash != scenario.hash
    assert faults("constraints: {quiet_night: {first_hour: late}, quiet_nights: {}}") == [
        "constraints.quiet_night.first_hour is 'late'. Give a whole number.",
        "constraints.quiet_nights is not a known key. Did you mean constraints.quiet_night?",
    ]
    assert "quiet_night: null" in annotated_yaml()
    assert "quiet_night" in schema()["$defs"]["Constraints"]["properties"]


# Readings


def test_demo_readings() -> None:
    scenario = Scenario(progress=False, seed=3)
    readings = scenario.replace({"demo.customers": 5, "demo.days": 2}).read()
    assert readings.frame["city"].unique().sort().to_list() == ["delhi", "mumbai"]
    assert len(readings.frame) == 5 * 2 * 48
    assert scenario.faults(readings) == []
    assert readings.fingerprint != Scenario(progress=False).replace({"demo.customers": 5, "demo.days": 2}).read().fingerprint


def test_options_reach_the_reader(tmp_path: Path) -> None:
    frame = synthesise("delhi", customers=2, days=2).rename({"ca_id": "meter"})
    frame.drop_nulls().slice(0, 190).write_parquet(tmp_path / "readings.parquet")
    content = {"readings": "readings.parquet", "columns": {"customer": "meter"}, "usage_unit": "Wh", "progress": False, "missing": "error"}
    scenario = Scenario.from_mapping(content, folder=tmp_path)
    with pytest.raises(InputError, match="missing"):
        scenario.read()
    read = scenario.replace({"missing": "skip_day"}).read()
    plain = read_readings(frame.slice(0, 190).rename({"meter": "ca_id"}), calendar=Calendar(), show_progress=False)
    assert read.frame["usage_kwh"].sum() == pytest.approx(plain.frame["usage_kwh"].sum() / 1000)


def test_what_does_not_fit_the_readings() -> None:
    text = "{progress: no, cities: [pune], customers: {exclude: [7]}, constraints: {peak_hour_comfort: {peak_hours: {agra: {mon: [8]}}}}}"
    scenario = again(text)
    assert scenario.faults(scenario.replace({"demo.customers": 2, "demo.days": 1}).read()) == [
        'peak_hour_comfort.peak_hours names "agra", which is not in the readings (delhi, mumbai). Remove it or add readings for it.',
        "cities names 'pune', which is not in the readings (delhi, mumbai). Remove it or add readings for it.",
        "customers.exclude names '7', not in the readings. Remove what is not there.",
    ]


def test_warnings() -> None:
    assert Scenario().warnings() == []
    assert Scenario(parallel=Parallel(enabled=True, method="thread", workers=2)).warnings() == []
    scenario = again("{parallel: {method: mpi}, solver: {family: lp, order: chronological, rho: 5}, usage_unit: Wh}")
    assert scenario.warnings() == [
        "parallel.method has no effect while parallel.enabled is false. Set it to true.",
        "solver.order has no effect with lp. Set solver.family to greedy.",
        "solver.rho has no effect with lp. Set solver.family to continuous.",
        "usage_unit has no effect on demo. Name your own readings.",
    ]
    assert SolverChoice(family="greedy", order="chronological").family == "greedy"
