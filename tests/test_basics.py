"""What every room leans on: errors, words, parameters that refuse true for 1, registries and bars."""

import json

import pytest
from pydantic import ValidationError

from dr_opt.basics import DrOptError, InputError, Parameters, Registry, SolverError, counted, listed, nearest, parameter, progress
from dr_opt.calendar import Calendar
from dr_opt.constraints.behavioural import MaxMovesPerDay, MaxShiftWindow, PeakHourComfort
from dr_opt.scenario import Constraints, Scenario


class Inner(Parameters):
    """A class inside another."""

    size: int = parameter(1, "A number.", ge=0)
    on: bool = parameter(True, "A switch.")


class Outer(Parameters):
    """Numbers and switches in every kind of place."""

    whole: int = parameter(1, "A whole number.")
    real: float | None = parameter(None, "A number or null.")
    pair: tuple[int, int] = parameter((0, 23), "Two numbers.")
    deep: dict[str, dict[str, list[int]]] = parameter({}, "Numbers far inside.")
    switches: dict[str, bool] = parameter({}, "Switches.")
    either: int | bool = parameter(0, "A number or a switch.")
    inner: Inner = parameter(Inner(), "Parameters of their own.")


SWITCH = "true or false stands where a number is wanted. Give the number."


def faults(part: type[Parameters], content: dict) -> list[tuple[tuple, str]]:
    """Where each fault is, and what it says; the same for Python values and for JSON."""
    with pytest.raises(ValidationError) as caught:
        part(**content)
    found = [(fault["loc"], fault["msg"]) for fault in caught.value.errors()]
    with pytest.raises(ValidationError) as caught:
        part.model_validate_json(json.dumps(content))
    assert [(fault["loc"], fault["msg"]) for fault in caught.value.errors()] == found
    return found


@pytest.mark.parametrize("switch", [True, False])
def test_a_switch_is_no_number(switch: bool) -> None:
    for content in ({"whole": switch}, {"real": switch}, {"pair": [switch, 5]}, {"deep": {"delhi": {"mon": [8, switch]}}}):
        assert faults(Outer, content) == [((name,), SWITCH) for name in content]
    assert faults(Outer, {"inner": {"size": switch}}) == [(("inner", "size"), SWITCH)]
    assert faults(Outer, {"whole": switch, "real": switch}) == [(("whole",), SWITCH), (("real",), SWITCH)]


def test_a_switch_stays_a_switch() -> None:
    made = Outer(switches={"a": True}, either=True, inner={"on": False})
    assert made.switches == {"a": True} and made.either is True and made.inner.on is False
    assert Outer(inner=Inner(on=False)) == Outer(inner={"on": False})


def test_numbers_and_lists_are_taken_as_before() -> None:
    made = Outer(whole=1, real=1, pair=[1, 0], deep={"delhi": {"mon": (1, 0)}})
    assert (made.whole, made.real, made.pair, made.deep) == (1, 1.0, (1, 0), {"delhi": {"mon": [1, 0]}})
    assert Outer.model_validate(made) is made and Outer(**made.model_dump()) == made
    assert Outer.model_validate_json(made.model_dump_json()) == made


def test_the_package_s_own_parameters_refuse_switches() -> None:
    for part, content in (
        (Calendar, {"day_boundaries": [True, 5]}), (MaxMovesPerDay, {"limit": True}), (MaxShiftWindow, {"hours": True}),
        (PeakHourComfort, {"peak_hours": {"delhi": {"mon": [True]}}}),
    ):  # fmt: skip
        assert faults(part, content)[0] == ((next(iter(content)),), SWITCH)
    with pytest.raises(ValidationError):
        Calendar(slot_minutes=True)


def test_a_switch_in_a_scenario_file_is_told_once_and_with_its_value() -> None:
    def told(content: dict) -> list[str]:
        with pytest.raises(InputError) as caught:
            Scenario.from_mapping(content)
        return list(caught.value.faults)

    readings = {"readings": "demo"}
    assert told(readings | {"calendar": {"day_boundaries": [True, 5]}}) == [
        "calendar.day_boundaries is [true, 5]. Give 2 values, such as [0, 23]."
    ]
    assert told(readings | {"constraints": {"max_moves_per_day": {"limit": True}}}) == [
        "constraints.max_moves_per_day.limit is true. Give a whole number of at least 0."
    ]


def test_parameters_are_frozen_and_strict_about_names_and_numbers() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Inner().size = 2  # type: ignore[misc]
    assert faults(Inner, {"sise": 2}) == [(("sise",), "sise is not a known key. Did you mean size?")]
    for odd in (float("nan"), float("inf")):
        with pytest.raises(ValidationError, match="finite number"):
            Outer(real=odd)
    assert hash(Inner(size=2)) == hash(Inner(size=2)) and Inner(size=2) != Inner(size=3)


def test_the_schema_says_meaning_unit_and_range() -> None:
    class Kettle(Parameters):
        """An example."""

        power_kw: float = parameter(2.0, "What it draws.", "kW", gt=0, le=3)

    described = Kettle.model_json_schema()["properties"]["power_kw"]
    wanted = {"description": "What it draws.", "unit": "kW", "exclusiveMinimum": 0, "maximum": 3}
    assert wanted.items() <= described.items()


def test_errors_carry_faults_and_exit_codes() -> None:
    error = InputError("one.", "two.")
    assert error.faults == ("one.", "two.") and str(error) == "one.\ntwo."
    assert [kind.exit_code for kind in (DrOptError, InputError, SolverError)] == [1, 2, 3]
    assert issubclass(InputError, DrOptError) and issubclass(SolverError, DrOptError)


def test_words() -> None:
    assert nearest("Max_Move_Per_Day", ["max_moves_per_day"]) == "max_moves_per_day"
    assert nearest("colour", ["max_moves_per_day"]) is None and nearest("a", []) is None
    assert listed(range(8)) == "0, 1, 2, 3, 4, 5 and 2 more" and listed([]) == ""
    assert [counted(n, "day") for n in (0, 1, 1_000)] == ["0 days", "1 day", "1,000 days"]
    assert counted(2, "reading has", "readings have") == "2 readings have"


def test_a_registry_s_miss_is_an_error_that_helps() -> None:
    shapes: Registry[type] = Registry("shape")
    shapes.register("square")(list)
    with pytest.raises(InputError) as caught:
        shapes["sqare"]
    assert str(caught.value) == "'sqare' is not a known shape (square). Did you mean 'square'?"
    with pytest.raises(InputError) as caught:
        shapes["heptagon"]
    assert str(caught.value) == "'heptagon' is not a known shape (square). Choose one of these."
    shapes.update((f"shape_{number}", list) for number in range(9))
    with pytest.raises(InputError) as caught:
        shapes["sqare"]
    few = "square, shape_0, shape_1, shape_2, shape_3, shape_4 and 4 more"
    assert str(caught.value) == f"'sqare' is not a known shape ({few}). Did you mean 'square'?"
    with pytest.raises(InputError) as caught:
        shapes["heptagon"]
    assert "shape_8). Choose one of these." in str(caught.value)
    assert shapes.register("square")(tuple) is tuple and shapes["square"] is tuple and "sqare" not in shapes


def test_no_bar_where_nobody_sees_it(capsys: pytest.CaptureFixture) -> None:
    for show in (True, False):
        with progress("solving", 3, "block", show) as bar:
            bar.update(3)
        assert bar.disable
    assert capsys.readouterr() == ("", "")


def test_an_unknown_key_is_told_with_what_was_meant_and_other_faults_stay() -> None:
    assert faults(MaxMovesPerDay, {"X": 1}) == [(("X",), "X is not a known key. Did you mean limit?")]
    assert faults(MaxMovesPerDay, {"colour": 1}) == [(("colour",), "colour is not a known key. Known here: limit.")]
    assert faults(Constraints, {"max_move_per_day": None}) == [
        (("max_move_per_day",), "max_move_per_day is not a known key. Did you mean max_moves_per_day?")
    ]
    wrong = {"seeds": 1, "constraints": {"max_shift_window": {"H_hours": 1}}, "calendar": {"timezone": "{x}", "slot_minutes": 7}}
    assert dict(faults(Scenario, wrong)) == {
        ("seeds",): "seeds is not a known key. Did you mean seed?",
        ("constraints", "max_shift_window", "H_hours"): "H_hours is not a known key. Did you mean hours?",
        ("calendar", "timezone"): "Value error, '{x}' is not an IANA time zone. Use a name such as 'Asia/Kolkata'.",
        ("calendar", "slot_minutes"): "Input should be 15, 30 or 60",
    }
