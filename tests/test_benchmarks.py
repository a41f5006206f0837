"""The benchmarks: each stored page is what its command makes of the stored figures, and says the command that measured them."""

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"
sys.path.insert(0, str(FOLDER))

import methods  # noqa: E402
import stored  # noqa: E402

PAGES = {
    "against_greedy": "page", "against_highs": "page", "city_end_to_end": "report", "city_sizes": "page", "hard_grid": "page",
    "lp_methods": "report", "methods": "report", "model_building": "report", "tightness": "page", "workers": "page",
}  # fmt: skip


@pytest.mark.parametrize("name", PAGES)
def test_the_stored_page_is_that_of_the_stored_figures(name: str) -> None:
    made = getattr(import_module(name), PAGES[name])(stored.read(name))
    assert made == (FOLDER / f"results/{name}.md").read_text(encoding="utf-8"), f"Run python benchmarks/{name}.py --report."


def test_figures_and_page_are_stored_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [str(FOLDER / "mine.py"), "--readings", "my meters.csv"])
    stored.write("mine", {"command": stored.command(), "s": 0.1}, lambda figures: f"`{figures['command']}`: {figures['s']} s\n", tmp_path)
    assert stored.read("mine", tmp_path)["s"] == 0.1
    assert (tmp_path / "mine.md").read_text() == "`python benchmarks/mine.py --readings 'my meters.csv'`: 0.1 s\n"


def test_a_share_that_rounds_to_nothing_has_no_sign() -> None:
    assert [stored.percent(share, 2, "+") for share in (-1e-6, 0.0, 1e-6)] == ["0.00 %"] * 3
    assert [stored.percent(share, 1, "+") for share in (-0.25, 0.5)] == ["-25.0 %", "+50.0 %"]
    assert stored.percent(0.000351, 4) == "0.0351 %" and stored.percent(-0.5, 1) == "-50.0 %"


def test_a_figure_that_rounds_to_nothing_is_less_than_its_last_digit() -> None:
    assert [stored.at_least(value, 4) for value in (0.0, 1e-9, 4e-5, 6e-5, 1234.5)] == [
        "0.0000", "< 0.0001", "< 0.0001", "0.0001", "1,234.5000",
    ]  # fmt: skip
    assert stored.percent(1e-9, 4) == "< 0.0001 %" and stored.at_least(0.2, 0) == "< 1"


def test_report_writes_the_page_anew_and_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = stored.parser(None)
    options.add_argument("--out", type=Path)
    stored.write("mine", {"s": 2}, lambda figures: "old\n", tmp_path, show=False)
    monkeypatch.setattr(sys, "argv", ["mine.py", "--out", str(tmp_path)])
    assert stored.parsed(options, "mine", lambda figures: "new\n").out == tmp_path
    assert (tmp_path / "mine.md").read_text() == "old\n"
    monkeypatch.setattr(sys, "argv", ["mine.py", "--out", str(tmp_path), "--report"])
    with pytest.raises(SystemExit) as ended:
        stored.parsed(options, "mine", lambda figures: f"{figures['s']} s\n")
    assert not ended.value.code and (tmp_path / "mine.md").read_text() == "2 s\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.json", "mine.md"]


def rows(*, customers: int, seconds: float, limits: str = "default", chosen: str = "lp/highs lp/cbc milp/highs") -> list[dict[str, Any]]:
    """Rows of methods as they are stored."""
    found = []
    for method in chosen.split():
        family, backend = method.split("/")
        case = {"limits": limits, "customers": customers, "family": family, "backend": backend, "time_limit_seconds": seconds}
        found.append({**case, "status": "optimal", "grams": 9.0, "achieved": 9.0})
    return found


def both(**more: Any) -> list[dict[str, Any]]:
    """The same under both sets of limits."""
    return [row for limits in methods.LIMITS for row in rows(limits=limits, **more)]


def test_the_commands_of_the_table_of_methods() -> None:
    told = lambda found: methods.commands({"readings": "synthetic Delhi households", "rows": found})
    usual = [row for customers in methods.CUSTOMERS for row in both(customers=customers, seconds=methods.TIME_LIMIT)]
    assert told(usual) == ["python benchmarks/methods.py"]
    large = both(customers=1000, seconds=300, chosen="lp/highs lp/cbc")
    assert told(usual + large) == [
        "python benchmarks/methods.py", "python benchmarks/methods.py --customers 1000 --methods lp --time-limit 300",
    ]  # fmt: skip
    tight = rows(customers=1000, seconds=300, limits="tight", chosen="lp/highs milp/highs")
    assert told(usual + tight)[1] == "python benchmarks/methods.py --customers 1000 --limits tight --methods lp/highs milp --time-limit 300"
    assert methods.time_limits(usual) == "60 s for the solver"
    assert methods.time_limits(usual + large) == "60 s with 20, 100, 300 households and 300 s with 1,000 households for the solver"


def test_what_stands_below_a_table_of_methods() -> None:
    found = rows(customers=20, seconds=60)
    found[0] |= {"status": "refused", "why": "too many columns. Take fewer."}
    found[1] |= {"status": "not run", "why": "out of time with 9 households"}
    found[2] |= {"achieved": 7.0, "grams": 1234.0}
    assert methods.notes(found) == [
        "- Grams saved, before the comfort cost: `milp/highs` 1,234.", "- Refused, `lp/highs`: too many columns.",
        "- Not run, `lp/cbc`: out of time with 9 households.",
    ]  # fmt: skip
    assert methods.notes(rows(customers=20, seconds=60)) == []


def test_the_table_of_methods_is_made_of_its_figures() -> None:
    page = methods.report(json.loads((FOLDER / "results/methods.json").read_text(encoding="utf-8")))
    assert page.startswith("# Methods on the same days\n\nBy `python benchmarks/methods.py")
    assert all(line.count("|") == len(methods.NUMBERS) + 4 for line in page.splitlines() if line.startswith("|"))
