"""The form: what a file says comes back from it unchanged, what a file refuses it refuses in the same words, and a run can be stopped."""

import importlib.util
import os
import pickle
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_exactness import random_case

from dr_opt.basics import InputError, SolverError, heard_by, parameter, progress
from dr_opt.beside import CancelledError, InProcess, InThread
from dr_opt.constraints.behavioural import DAYS, STUDY_PEAK_HOURS
from dr_opt.form import (
    Node,
    Outcome,
    content_of,
    every_node,
    few_readings,
    file_text,
    found_rows,
    html_faults,
    html_table,
    judge,
    known_only_here,
    meant,
    nodes_of,
    plan_and_audit,
    refusal,
    save_scenario,
    sentences_of,
    shown_text,
    shown_value,
    tabs_of,
    text_meant,
    toggled,
    values_of,
)
from dr_opt.parameters import known_paths, mapping_of, plain
from dr_opt.plan import Plan
from dr_opt.problem import Limit, limits, register_limit
from dr_opt.relaxation import Relaxation
from dr_opt.scenario import Scenario, annotated_yaml
from dr_opt.tables import example_readings

NODES = nodes_of(Scenario)
EVERY = {node.address: node for node in every_node(NODES)}
DEFAULT = values_of(NODES, {})
needs_widgets = pytest.mark.skipif(importlib.util.find_spec("ipywidgets") is None, reason="ipywidgets is not installed: dr_opt[notebooks]")


# ---- random scenarios --------------------------------------------------------------------------------------------

WORDS = st.one_of(
    st.text(min_size=0, max_size=8),
    st.sampled_from(["007", "no", "null", "1e-4", '"', "'a'", " x", "a\nb", "[a", "{}", "#", "demo", "22:30", "Küche", "\u2028", "~"]),
)
NAMES = st.lists(WORDS, min_size=1, max_size=3)
HOURS = st.dictionaries(st.sampled_from(DAYS), st.lists(st.integers(0, 23), max_size=6, unique=True), max_size=7)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(10**6), 10**6), st.floats(allow_nan=False, allow_infinity=False), WORDS),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(WORDS, inner, max_size=2)),
    max_leaves=4,
)
SPECIAL = {  # where the type alone allows more than the field does
    "calendar.timezone": st.sampled_from(["Asia/Kolkata", "Europe/Berlin", "UTC"]),
    "calendar.day_boundaries": st.tuples(st.integers(0, 23), st.integers(0, 23)).map(list),
    "solver.family": st.sampled_from(["milp", "lp", "greedy", "continuous"]),
    "solver.backend": st.just("auto"),
    "solver.options": st.dictionaries(WORDS, JSON, max_size=3),
    "constraints.regional_shift_cap.daily_average_load_kwh": st.none() | st.dictionaries(WORDS, st.floats(0, 1e9), max_size=3),
    "constraints.peak_hour_comfort.peak_hours": st.none() | st.dictionaries(WORDS, HOURS, max_size=3),
    "customers.include": st.none() | st.lists(WORDS, max_size=3) | WORDS,
    "customers.exclude": st.none() | st.lists(WORDS, max_size=3) | WORDS,
    "cities": st.none() | NAMES,
    "period.start": st.none() | st.dates(date(2020, 1, 1), date(2024, 1, 1)),
    "period.end": st.none() | st.dates(date(2024, 1, 2), date(2026, 1, 1)),
}


def number(node: Node) -> st.SearchStrategy[Any]:
    """Numbers within the range of a field."""
    bound = {key: getattr(rule, key) for rule in node.info.metadata for key in ("ge", "gt", "le", "lt") if hasattr(rule, key)}
    low, high = bound.get("ge", bound.get("gt", -1e9)), bound.get("le", bound.get("lt", 1e9))
    if "int" in str(node.info.annotation):
        return st.integers(int(low), int(high))
    return st.floats(low, high, exclude_min="gt" in bound, exclude_max="lt" in bound)


def value_of(node: Node) -> st.SearchStrategy[Any]:
    """Values that a file may have there."""
    if node.path in SPECIAL:
        return SPECIAL[node.path]
    least = max((rule.min_length for rule in node.info.metadata if hasattr(rule, "min_length")), default=0)
    words = WORDS.filter(lambda word: len(word) >= least)
    kinds = {"switch": st.booleans, "choice": lambda: st.sampled_from(node.choices), "text": lambda: words, "number": lambda: number(node)}
    some = kinds[node.kind]()
    return st.none() | some if node.null else some


@st.composite
def contents(draw: st.DrawFn, nodes: tuple[Node, ...] | None = None) -> dict[str, Any]:
    """The content of a file with some fields given."""
    content: dict[str, Any] = {}
    for node in NODES if nodes is None else nodes:
        if node.path == "constraints.min_move_size":  # exactly one of the two
            content[node.name] = draw(st.sampled_from([None, {"kwh": 0.05}, {"percent_of_day": 5.0}]))
        elif draw(st.booleans()):
            if node.kind == "limit":
                content[node.name] = draw(st.none() | contents(node.inside[next(iter(node.inside))]))
            elif node.kind == "model":
                name = draw(st.sampled_from(sorted(node.inside)))
                content[node.name] = {"name": name, **draw(contents(node.inside[name]))}
            else:
                content[node.name] = draw(contents(next(iter(node.inside.values()))) if node.inside else value_of(node))
    return content


def there_and_back(scenario: Scenario) -> Scenario:
    """A scenario through the values of the form, the fields being those of the moment."""
    nodes = nodes_of(Scenario)
    content, wrong = content_of(nodes, values_of(nodes, plain(scenario)))
    assert not wrong
    return Scenario.from_mapping(content, folder=scenario.folder)


@given(contents())
@settings(max_examples=settings().max_examples // 4)  # a hundred fields each
def test_file_to_form_to_file_is_the_identity(content: dict[str, Any]) -> None:
    scenario = Scenario.from_mapping(content)
    assert there_and_back(scenario) == scenario


@pytest.mark.slow
@given(contents())
def test_many_files_to_form_to_file(content: dict[str, Any]) -> None:
    scenario = Scenario.from_mapping(content)
    again = there_and_back(scenario)
    assert again == scenario and again.to_yaml() == scenario.to_yaml()
    assert Scenario.from_mapping(mapping_of(annotated_yaml(scenario))[0]) == scenario


@pytest.mark.parametrize("seed", range(25))
def test_random_limits_and_models_survive_the_form(seed: int) -> None:
    case = random_case(seed)
    given = {"constraints": case.constraints, "model": case.model}
    scenario = Scenario.from_mapping(given)
    assert there_and_back(scenario) == scenario


@given(WORDS)
def test_every_text_can_be_typed(text: str) -> None:
    shown = shown_text(text)
    assert text_meant(shown) == text and "\n" not in shown


# ---- every field -------------------------------------------------------------------------------------------------


def test_every_path_is_reached() -> None:
    reached = {node.path for node in EVERY.values()} | {f"{node.path}.name" for node in EVERY.values() if node.kind == "model"}
    assert reached == set(known_paths(Scenario))


def test_every_field_is_in_a_tab() -> None:
    tabs = tabs_of(NODES)
    assert list(tabs) == ["data", "calendar", "limits", "model", "solver", "parallel", "output"]
    assert [node for nodes in tabs.values() for node in nodes] == list(NODES)


def test_defaults_are_the_default_scenario() -> None:
    judged = judge(NODES, DEFAULT)
    assert judged.scenario == Scenario() and not judged.refused and not judged.warnings


def test_every_field_has_a_meaning() -> None:
    assert not [address for address, node in EVERY.items() if not node.meaning]


@pytest.mark.parametrize("address", [address for address, node in EVERY.items() if node.kind == "number"])
def test_a_word_for_a_number_is_refused_beside_its_field(address: str) -> None:
    above = [other for other in EVERY if address.startswith((f"{other}.", f"{other}("))]
    on = {other: True for other in above if EVERY[other].kind == "limit"}
    models = {other: address[len(other) + 1 :].split(")")[0] for other in above if EVERY[other].kind == "model"}
    judged = judge(NODES, DEFAULT | on | models | {address: "lots"})
    assert judged.scenario is None
    assert [text for text in judged.beside[address] if text.startswith(f"{EVERY[address].path} is 'lots'. Give a")]


# ---- the same sentences as for a file ----------------------------------------------------------------------------

HOURS_PATH = "constraints.max_shift_window.hours"
WRONG = {
    (HOURS_PATH, "-2"): f"{HOURS_PATH} is -2 hours. Give a number greater than 0.",
    (HOURS_PATH, ""): f"{HOURS_PATH} is null. Give a number greater than 0.",
    (HOURS_PATH, "yes"): f"{HOURS_PATH} is true. Give a number greater than 0.",
    ("calendar.timezone", "Asia/Kolkatta"): "calendar.timezone 'Asia/Kolkatta' is not an IANA time zone. Did you mean 'Asia/Kolkata'?",
    ("calendar.day_boundaries", "8"): "calendar.day_boundaries is 8 hours. Give 2 values, such as [0, 23].",
    ("readings", ""): "readings is null. Give text; in quotes, if it looks like something else.",
    ("cities", ("list", "")): "cities is []. Give a list of one or more, such as [a, b], or null.",
    ("constraints.min_move_size", True): (
        "constraints.min_move_size needs exactly one of kwh and percent_of_day. Give the least size in kWh or as a share of the day."
    ),
    ("constraints.regional_shift_cap.daily_average_load_kwh", "delhi: lots"): (
        "constraints.regional_shift_cap.daily_average_load_kwh.delhi is 'lots'. Give a number."
    ),
    ("solver.options", "threads 2"): "solver.options is 'threads 2'. What is meant: Options passed to the back-end under its own names.",
    ("solver.options", "a: 1\na: 2"): "'a' stands twice in one place, in lines 1 and 2. Keep one of them.",
    ("solver.family", "milq"): "solver.family is 'milq', which is no solver family. Did you mean 'milp'?",
}


@pytest.mark.parametrize(("address", "shown"), list(WRONG))
def test_sentences_of_the_file_stand_beside_their_field(address: str, shown: Any) -> None:
    judged = judge(NODES, DEFAULT | {address: shown})
    assert judged.beside == {address: (WRONG[address, shown],)}
    assert judged.faults == (WRONG[address, shown],) and judged.scenario is None
    content, written_wrong = content_of(NODES, DEFAULT | {address: shown})
    if not written_wrong:
        with pytest.raises(InputError) as caught:
            Scenario.from_mapping(content)
        assert caught.value.faults == judged.faults


def test_warnings_stand_beside_their_field_and_refuse_nothing() -> None:
    judged = judge(NODES, DEFAULT | {"parallel.workers": "2"})
    assert judged.warnings == ("parallel.workers has no effect while parallel.enabled is false. Set it to true.",)
    assert judged.beside == {"parallel.workers": judged.warnings} and not judged.refused and judged.scenario


def readings_of_two_days() -> Any:
    usage = {"anita": [1.0] * 48 + [2.0] * 48, "bala": [0.5] * 48 + [0.8] * 48}
    return example_readings(usage, marginal=[900, 500] * 48, average=[600] * 96)


def test_what_does_not_fit_the_readings_is_said_and_is_a_scenario_all_the_same() -> None:
    few = few_readings(readings_of_two_days())
    values = DEFAULT | {
        "cities": ("list", "pune"),
        "customers.exclude": ("list", "zeno"),
        "period.start": date(2030, 1, 1),
        "constraints.regional_shift_cap.daily_average_load_kwh": "agra: 5",
    }
    judged = judge(NODES, values, readings=few)
    assert judged.scenario and not judged.faults and len(judged.unfit) == 4
    assert set(judged.beside) == {
        "cities", "customers.exclude", "period.start", "constraints.regional_shift_cap.daily_average_load_kwh",
    }  # fmt: skip


def test_few_readings_say_the_same_as_all() -> None:
    readings = readings_of_two_days()
    for change in ({"cities": ["pune"]}, {"customers.include": ["anita", "zeno"]}, {"period.end": date(2020, 1, 1)}, {}):
        scenario = Scenario().replace(change)
        assert scenario.faults(few_readings(readings)) == scenario.faults(readings)


def test_seventh_hour_is_refused_by_the_file() -> None:
    node = EVERY["constraints.peak_hour_comfort.peak_hours"]
    seventh = toggled(None, "mumbai", "mon", 12)
    sentence = refusal(NODES, DEFAULT, node, seventh)
    assert sentence == (
        "constraints.peak_hour_comfort.peak_hours.mumbai.mon lists [8, 9, 10, 11, 12, 20, 21]. Give up to six different hours from 0 to 23."
    )
    assert refusal(NODES, DEFAULT, node, toggled(None, "mumbai", "mon", 8)) is None


def test_clicks_keep_what_was_not_clicked() -> None:
    peak = toggled({"agra": {"sun": [7]}}, "delhi", "mon", 8)
    assert peak["agra"] == {"sun": [7]}
    assert {day: tuple(hours) for day, hours in peak["delhi"].items() if day != "mon"} == {
        day: hours for day, hours in STUDY_PEAK_HOURS["delhi"].items() if day != "mon"
    }
    assert toggled(peak, "delhi", "mon", 8)["delhi"]["mon"] == list(STUDY_PEAK_HOURS["delhi"]["mon"])


# ---- limits of one's own -----------------------------------------------------------------------------------------


@contextmanager
def registered(name: str, fields: dict[str, Any], module: str = __name__) -> Iterator[type[Limit]]:
    """A limit with these fields, registered for a while."""
    types = {key: kind for key, (kind, _) in fields.items()}
    body = {key: default for key, (_, default) in fields.items()}
    nothing = {"kinds": lambda self, block: [], "check": lambda self, tables: None}
    made = type("Made", (Limit,), {"__annotations__": types, "__module__": module, "__doc__": "A limit of one's own.", **body, **nothing})
    register_limit(name)(made)
    try:
        yield made
    finally:
        del limits[name]


ODD = {
    "numbers": (tuple[int, ...], parameter((1, 2), "Some numbers.")),
    "either": (int | str, parameter("a", "A number or a text.")),
    "sure": (bool | None, parameter(None, "Yes, no, or null.")),
    "weights": (dict[str, float], parameter({}, "By name.")),
    "names": (list[str], parameter(["x"], "Names.")),
    "table": (dict[str, list[int]] | None, parameter(None, "Lists by name.")),
}


def test_registered_limits_appear_whatever_their_fields_are() -> None:
    with registered("odd_limit", ODD):
        nodes = {node.address: node for node in every_node(nodes_of(Scenario))}
        kinds = {address.split(".")[-1]: node.kind for address, node in nodes.items() if "odd_limit" in address}
        assert kinds == {
            "odd_limit": "limit", "numbers": "value", "either": "value", "sure": "choice", "weights": "lines", "names": "names",
            "table": "lines",
        }  # fmt: skip
        every_way = {"numbers": [3], "either": 7, "sure": False, "weights": {"a": 1.5}, "names": [], "table": {"a": [1], "b": []}}
        for given in (every_way, {}, {"either": "7", "table": {}}):
            scenario = Scenario.from_mapping({"constraints": {"odd_limit": given}})
            assert there_and_back(scenario) == scenario
        assert there_and_back(Scenario()) == Scenario()
    assert "constraints.odd_limit" not in {node.address for node in every_node(nodes_of(Scenario))}


def test_what_only_the_notebook_knows_is_not_sent_elsewhere() -> None:
    with registered("home_made", {}, module="__main__"):
        scenario = Scenario.from_mapping({"constraints": {"home_made": {}}})
        assert known_only_here(scenario) == ["home_made"]
        assert known_only_here(Scenario()) == []


def test_unknown_kinds_are_shown_as_in_the_file() -> None:
    node = EVERY["calendar.day_boundaries"]
    assert shown_value(node, [0, 23]) == "[0, 23]" and meant(node, "[0, 23]") == ([0, 23], [])


# ---- files -------------------------------------------------------------------------------------------------------


@given(contents())
@settings(max_examples=settings().max_examples // 10)
def test_saved_is_loaded_equal(tmp_path_factory: pytest.TempPathFactory, content: dict[str, Any]) -> None:
    path = tmp_path_factory.mktemp("form") / "scenario.yaml"
    scenario = Scenario.from_mapping(content, folder=path.parent)
    for annotated in (True, False):
        save_scenario(scenario, path, annotated)
        assert Scenario.load(path) == scenario


def test_paths_lead_back_from_another_folder(tmp_path: Path) -> None:
    scenario = Scenario.from_mapping({"readings": "mine.parquet", "customers": {"include": "some.txt"}}, folder=tmp_path)
    assert Scenario.from_mapping(mapping_of(file_text(scenario, tmp_path / "a.yaml"))[0], folder=tmp_path) == scenario
    moved = Scenario.from_mapping(mapping_of(file_text(scenario, tmp_path / "deeper" / "a.yaml"))[0])
    assert (moved.readings, moved.customers.include) == (str(tmp_path / "mine.parquet"), str(tmp_path / "some.txt"))


def test_only_yaml_is_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"does not end in .yaml. Give a name that does, such as a.yaml."):
        save_scenario(Scenario(), tmp_path / "a.json")
    (tmp_path / "full").write_text("not a folder")
    with pytest.raises(InputError, match="cannot be written"):
        save_scenario(Scenario(), tmp_path / "full" / "a.yaml")


# ---- tables and sentences ----------------------------------------------------------------------------------------


def test_rows_are_found_by_words_and_sorted() -> None:
    frame = pl.DataFrame({"city": ["delhi", "mumbai", None], "day": [date(2025, 11, day) for day in (3, 4, 5)], "kwh": [1.0, None, 3.0]})
    assert found_rows(frame, "DELHI 11-03")["kwh"].to_list() == [1.0]
    assert found_rows(frame, "[")["kwh"].to_list() == []
    assert found_rows(frame, "", "kwh", descending=True)["kwh"].to_list() == [3.0, 1.0, None]
    assert found_rows(pl.DataFrame({"kwh": [1.0]}), "x").is_empty() and found_rows(pl.DataFrame()).is_empty()


def test_tables_and_sentences_are_safe_to_show() -> None:
    assert "<script>" not in html_table(pl.DataFrame({"<script>": ["<script>"]})) + html_faults(["<script>"])
    assert sentences_of(InputError("a.", "b.")) == ["a.", "b."]
    assert sentences_of(ValueError("x")) == ["ValueError: x. This is a fault of the package. Please report it with the scenario."]


# ---- work beside -------------------------------------------------------------------------------------------------


def steps_of(number: int) -> int:
    """Work with some progress."""
    with progress("counting", number, "step") as bar:
        for _ in range(number):
            bar.update()
    return number


def test_progress_is_heard_in_its_thread_only() -> None:
    heard: list[Any] = []
    with heard_by(lambda *step: heard.append(step)):
        assert steps_of(2) == 2
        assert InThread(steps_of, 3).result() == 3
    steps_of(1)
    assert heard == [("counting", done, 2) for done in range(3)]


def test_errors_keep_their_faults_on_the_way() -> None:
    assert pickle.loads(pickle.dumps(SolverError("a.", "b."))).faults == ("a.", "b.")


def endless() -> None:
    """Work that ends only when it is told to."""
    with progress("waiting", None, "step") as bar:
        while True:
            time.sleep(0.005)
            bar.update()


def test_a_thread_stops_at_its_next_step() -> None:
    work = InThread(endless)
    while not work.step:
        work.poll(0.1)
    work.cancel()
    with pytest.raises(CancelledError, match="cancelled"):
        work.result()


def nested(path: str) -> None:
    """A process that starts another and waits for it."""
    import subprocess
    import sys

    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(900)"])
    Path(path).write_text(str(child.pid))
    child.wait()


def alive(pid: int) -> bool:
    """Whether a process runs (and is not merely waiting to be buried)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.slow
def test_cancel_ends_the_process_and_its_children(tmp_path: Path) -> None:
    work = InProcess(nested, str(tmp_path / "pid"))
    deadline = time.monotonic() + 60
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        assert time.monotonic() < deadline and not work.poll(0.1)
    child = int((tmp_path / "pid").read_text())
    work.cancel()
    assert work.poll()
    while alive(child):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
def test_a_process_does_not_outlive_its_parent(tmp_path: Path) -> None:
    import signal
    import subprocess
    import sys

    code = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "if __name__ == '__main__':\n"
        "    from dr_opt.beside import InProcess; import test_form, time\n"
        "    work = InProcess(test_form.nested, sys.argv[1]); time.sleep(900)\n"
    )
    script = tmp_path / "parent.py"
    script.write_text(code)
    parent = subprocess.Popen([sys.executable, script, tmp_path / "pid", Path(__file__).parent])
    deadline = time.monotonic() + 90
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        assert time.monotonic() < deadline and parent.poll() is None
        time.sleep(0.05)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    while alive(int((tmp_path / "pid").read_text())):
        assert time.monotonic() < deadline
        time.sleep(0.05)


# ---- the widgets -------------------------------------------------------------------------------------------------

GREEDY = {"output.figures": False, "solver.family": "greedy"}


def form_of(readings: Any = None, scenario: Scenario | None = None, function: Any = plan_and_audit) -> Any:
    """A form whose runs take place in a thread."""
    from dr_opt.widgets import ScenarioForm

    return ScenarioForm(readings, scenario, start=lambda *given: InThread(function, *given))


def fill(form: Any, **values: Any) -> None:
    for address, value in values.items():
        form.fields.controls[address].put(value)


@pytest.fixture(scope="module")
def shared_form() -> Any:
    """One form for all tests that only fill it; to make one takes half a second."""
    return form_of()


def test_without_ipywidgets_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    import dr_opt

    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    with pytest.raises(InputError) as caught:
        dr_opt.scenario_form()
    sentence = "The form needs ipywidgets, which is not installed here. Install it: pip install 'dr_opt[notebooks]'"
    assert str(caught.value) == sentence


@needs_widgets
@given(contents())
@settings(max_examples=settings().max_examples // 10)
def test_widgets_give_back_what_was_filled_in(shared_form: Any, content: dict[str, Any]) -> None:
    scenario = Scenario.from_mapping(content)
    shared_form.fill(scenario)
    assert shared_form.scenario == scenario


@needs_widgets
def test_every_field_has_its_widget(shared_form: Any) -> None:
    assert set(shared_form.fields.controls) == {address for address, node in EVERY.items() if node.kind != "part"}
    assert shared_form.fields.widget.titles == ("data", "calendar", "limits", "model", "solver", "parallel", "output")


@needs_widgets
def test_a_fault_is_shown_where_it_is_and_run_is_shut(shared_form: Any) -> None:
    form = shared_form
    form.fill(Scenario())
    fill(form, **{HOURS_PATH: "-2"})
    sentence = f"{HOURS_PATH} is -2 hours. Give a number greater than 0."
    assert sentence in form.fields.meanings[HOURS_PATH].value and sentence in form.faults_shown.value
    assert form.run_button.disabled and form.fields.widget.titles[2] == "limits ✗ 1"
    assert form.run().plan is None and not form.running
    with pytest.raises(InputError, match="is -2 hours"):
        form.scenario  # noqa: B018
    fill(form, **{HOURS_PATH: "2"})
    assert form.scenario == Scenario() and not form.run_button.disabled and not form.faults_shown.value


@needs_widgets
def test_a_wrong_file_leaves_the_form_as_it_was(shared_form: Any, tmp_path: Path) -> None:
    form, scenario = shared_form, Scenario.from_mapping({"name": "before"})
    form.fill(scenario)
    for text in ("X: 2", "[", "", "solver: {family: milq}"):
        (tmp_path / "wrong.yaml").write_text(text)
        form.load(tmp_path / "wrong.yaml")
        with pytest.raises(InputError) as caught:
            Scenario.load(tmp_path / "wrong.yaml")
        assert form.said == caught.value.faults and form.scenario == scenario
    form.load(tmp_path / "absent.yaml")
    assert "does not exist" in form.said[0] and form.scenario == scenario


@needs_widgets
def test_save_and_load(shared_form: Any, tmp_path: Path) -> None:
    form, scenario = shared_form, Scenario.from_mapping({"name": "007", "readings": "mine.parquet"}, folder=tmp_path)
    form.fill(scenario)
    form.save(tmp_path / "a.yaml")
    form.fill(Scenario())
    form.path.value = str(tmp_path / "a.yaml")
    form.load_button.click()
    assert form.scenario == scenario and form.scenario.folder == tmp_path and form.said == (f"Loaded {tmp_path}/a.yaml.",)
    form.save(tmp_path / "a.txt")
    assert "does not end in .yaml" in form.said[0]


@needs_widgets
def test_a_limit_registered_later_appears_when_a_file_names_it(shared_form: Any) -> None:
    with registered("odd_limit", ODD):
        scenario = Scenario.from_mapping({"constraints": {"odd_limit": {"either": 3}}})
        shared_form.fill(scenario)
        assert shared_form.scenario == scenario
    shared_form.fill(Scenario())
    assert shared_form.scenario == Scenario()


@needs_widgets
def test_a_run_gives_a_plan_and_shows_it() -> None:
    form = form_of(readings_of_two_days())
    fill(form, **GREEDY)
    plan = form.run().wait()
    assert isinstance(plan, Plan) and form.plan is plan and plan.audit_ok and len(plan.shifts)
    assert form.said == ("Done. The plan is form.plan.",) and not form.running and not form.run_button.disabled
    results = form.results
    assert results.widget.layout.display is None and "every limit is kept and every figure agrees." in results.audit.value
    assert "kwh_moved" in results.figures.value and "output.figures is off" in results.waiting.value
    results.shifts.words.value = "anita"
    assert "bala" not in results.shifts.table.value and "anita" in results.shifts.table.value
    fill(form, **{"solver.family": "lp", "solver.repair": False})
    assert isinstance(form.run().wait(), Relaxation) and "no plan" in results.audit.value


@needs_widgets
def test_pictures_come_after_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    import dr_opt.widgets as module

    monkeypatch.setattr(module, "pictures_of", lambda plan: {"hours": b"png", "load": b"other"})
    form = form_of(readings_of_two_days())
    fill(form, **{"solver.family": "greedy"})
    form.run().wait()
    deadline = time.monotonic() + 10
    while not form.results.pictures and time.monotonic() < deadline:
        time.sleep(0.01)
    assert form.results.which.value == "hours" and form.results.picture.value == b"png"
    form.results.which.value = "load"
    assert form.results.picture.value == b"other"


@needs_widgets
def test_cancel_lets_go_at_once() -> None:
    form = form_of(function=lambda readings, scenario: endless())
    form.run()
    assert form.running and form.run_button.disabled and not form.cancel_button.disabled
    form.cancel_button.click()
    assert form.wait() is None and not form.running
    assert form.said == ("The run was cancelled. Start it again when you like.",)
    assert not form.run_button.disabled and form.cancel_button.disabled


@needs_widgets
def test_errors_are_sentences_and_the_last_plan_stays() -> None:
    def fails(readings: Any, scenario: Scenario) -> Outcome:
        raise SolverError("There is no plan <here>. Loosen a limit.", "Nor there. Wait.") if scenario.seed else ZeroDivisionError("oh")

    form = form_of(function=fails)
    form.plan = "the last"
    fill(form, seed="1")
    form.run().wait()
    assert form.said == ("There is no plan <here>. Loosen a limit.", "Nor there. Wait.") and "&lt;here&gt;" in form.run_said.value
    fill(form, seed="0")
    form.run().wait()
    assert form.said == ("ZeroDivisionError: oh. This is a fault of the package. Please report it with the scenario.",)
    assert form.plan == "the last" and "Traceback" not in form.run_said.value


@needs_widgets
@pytest.mark.slow
def test_a_run_in_a_process_and_its_cancel() -> None:
    import dr_opt

    scenario = Scenario.from_mapping({"demo": {"customers": 6, "days": 2}, "output": {"figures": False}})
    form = dr_opt.scenario_form(scenario=scenario)
    plan = form.run().wait()
    assert isinstance(plan, Plan) and plan.scenario == scenario, form.said
    frame = plan.readings.frame
    form = dr_opt.scenario_form(plan.readings, scenario.replace({"solver.family": "greedy"}))
    again = form.run().wait()
    assert again.readings.frame.equals(frame) and np.isfinite(again.summary["total"]["tco2_avoided"])
    form = dr_opt.scenario_form(scenario=scenario.replace({"demo.customers": 5000, "demo.days": 28}))  # not done in a second anywhere
    form.run()
    time.sleep(1.0)
    form.cancel()
    form.wait()
    assert form.said == ("The run was cancelled. Start it again when you like.",)
