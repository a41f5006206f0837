"""The page to mail: what it says, that it stands alone, that a user's words stay words, and where it is written."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest
from test_cli import command

import dr_opt
import dr_opt.report
from dr_opt.basics import InputError
from dr_opt.plan import Plan
from dr_opt.report import Picture, amount, average_in_words, certificate_words, report_html, report_parts
from dr_opt.scenario import Scenario

HOSTILE = """<script>alert("1")</script> & 'x' {{ 7 * 7 }} {% raw %}"""


@cache
def made(**changes: object) -> Plan:
    """A small plan; `changes` of the scenario with dots as double underscores."""
    base = {"demo": {"customers": 8, "days": 2}, "solver": {"family": "greedy"}, "progress": False}
    found = dr_opt.optimise(None, Scenario.from_mapping(base).replace({name.replace("__", "."): value for name, value in changes.items()}))
    assert isinstance(found, Plan)
    return found


class Read(HTMLParser):
    """Tags, addresses and words of a page; raises on tags that are not closed in order."""

    EMPTY = ("meta", "img", "wbr", "br", "link")

    def __init__(self, page: str):
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.glue = False  # a place where a word may be broken
        self.feed(page)
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag == "wbr":
            self.glue = True
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attributes if name in ("src", "href", "srcset", "data", "action")]
        assert not [name for name, _ in attributes if name.startswith("on")]
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        if self.glue:
            data = self.words.pop() + data
        self.words.append(data)
        self.glue = False


@pytest.fixture(autouse=True)
def quick(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """No pictures but where a test is about them: they take most of the time."""
    if "drawn" not in request.fixturenames:
        monkeypatch.setattr(dr_opt.report, "pictures_of", lambda plan: [Picture("a picture", "how to read it", "AAAA")])


@pytest.fixture
def drawn() -> None:
    """Asks for the pictures."""


def words(page: str) -> str:
    return " ".join(" ".join(Read(page).words).split())


def test_the_page_stands_alone(drawn: None) -> None:
    page = report_html(made())
    read = Read(page)
    assert len(read.addresses) == 6 and all(address.startswith("data:image/png;base64,") for address in read.addresses)
    assert not {"script", "link", "iframe", "object", "form"} & set(read.tags)
    assert "url(" not in page and "@import" not in page
    assert "default-src 'none'" in page


def test_it_says_what_the_summary_says() -> None:
    plan, text = made(), words(report_html(made()))
    total = plan.summary["total"]
    assert f"{total['moves']:,} requests" in text and plan.summary["foresight"] in text
    assert plan.summary["scenario_hash"] in text and plan.summary["data_hash"] in text
    for name in total:
        assert name in text
    for limit in plan.scenario.constraints.chosen():
        assert limit.key in text
    assert all(check in text for check in plan.audit()["limit"] if "." not in check)


def test_a_users_words_stay_words() -> None:
    page = report_html(made(name=HOSTILE))
    read = Read(page)
    assert "script" not in read.tags
    assert read.words.count(HOSTILE) >= 1  # as the heading, and nothing was made of the braces
    cities = {"delhi": HOSTILE, "mumbai": "</table><img src=x onerror=alert(1)>"}
    frame = dr_opt.synthesise(["delhi", "mumbai"], customers=4, days=2).with_columns(pl.col("city").replace(cities))
    page = report_html(dr_opt.optimise(frame, made().scenario))
    assert all(address.startswith("data:") for address in Read(page).addresses)


def test_it_names_no_household(tmp_path: Path) -> None:
    frame = dr_opt.synthesise("delhi", customers=4, days=3)
    gone = (
        frame.with_row_index()
        .filter(pl.col("index") != 7)
        .drop("index")
        .with_columns(value=pl.when(pl.col("value") > 1).then(-1).otherwise("value"))
    )
    scenario = made().scenario.replace(
        {"customers.include": sorted(frame["ca_id"].unique()), "readings": str(tmp_path / "private.parquet")}
    )
    page = report_html(dr_opt.optimise(gone, scenario))
    assert not [customer for customer in frame["ca_id"].unique() if customer in page]
    assert "private.parquet" in page and str(tmp_path) not in page and "4 customers" in page


def test_a_plan_read_back_gives_the_same_page(tmp_path: Path) -> None:
    made().write(tmp_path / "results")
    back = dr_opt.read_plan(tmp_path / "results")
    now, later = report_parts(made()), report_parts(back)
    assert {name for name in now if now[name] != later[name]} == {"audit"}
    assert not later["audit"]["rows"] and "without the readings" in later["audit"]["words"][1]
    assert report_parts(back, made().audit())["audit"] == now["audit"]
    place = dr_opt.write_report(tmp_path / "results", tmp_path / "page.html")
    assert place.read_text(encoding="utf-8") == report_html(back)


def test_a_failing_audit_is_told() -> None:
    shifts = made().shifts.with_columns(pl.col("kwh") * 3)
    part = report_parts(replace(made(), frames={**made().frames, "shifts": shifts}))["audit"]
    assert " fail: " in part["words"][0]
    assert "FAILS" in {row[1] for row in part["rows"]}


def test_plans_that_have_little_to_say() -> None:
    nothing = made(constraints__max_moves_per_week__limit=0)
    text = words(report_html(nothing))
    assert "nobody of 8 households is asked to move anything" in text and "It saves no emissions at the margin." in text
    frame = dr_opt.synthesise("delhi", customers=3, days=2).with_columns(average_emissions_grams_co2_per_kWh=pl.lit(None, pl.Float64))
    assert "the readings hold none" in words(report_html(dr_opt.optimise(frame, made().scenario)))
    none = dr_opt.optimise(dr_opt.synthesise("delhi", customers=3, days=2).filter(pl.col("date").dt.hour() != 5), made().scenario)
    assert "nobody of 0 households" in words(report_html(none)) or "is asked to move anything" in words(report_html(none))


def certificates() -> Iterator[tuple[dict, str]]:
    base = {"family": "milp", "objective": "grams saved", "achieved": 900.0, "achieved_g": 900.0, "bound": 1000.0, "price_bound": None}
    yield base, "finds at most 100 gCO2 more, 10 % of the bound"
    yield base | {"bound": 900.0}, "no better plan exists"
    yield base | {"bound": None, "family": "greedy"}, "proves no bound"
    yield base | {"achieved_g": None, "objective": "grams saved beyond min_saving_g_per_kwh"}, "(not plain grams). It reaches "
    yield base | {"price_bound": 1000.0}, "prices on the shared limits"


@pytest.mark.parametrize(("summary", "expected"), [*certificates()])
def test_the_certificate_in_words(summary: dict, expected: str) -> None:
    assert expected in " ".join(certificate_words(summary))


def test_amounts_and_average_factors() -> None:
    units = ((1e3, "MWh"), (1.0, "kWh"))
    assert [amount(units, value) for value in (0, 0.5, 12.34, 123.4, 27_771.0, -1500.0)] == [
        "0 kWh", "0.5 kWh", "12.3 kWh", "123 kWh", "27.8 MWh", "-1.5 MWh",
    ]  # fmt: skip
    rises = {"average_tco2_change": 1e-3, "average_reduction_percent": -0.5, "average_increase_share_percent": 40.0}
    assert average_in_words(rises).endswith("emissions rise by 1 kgCO2 (0.5 %). 40 % of the requests raise them, taken one by one.")


@pytest.mark.parametrize(
    ("what", "path", "error"),
    [
        (None, "page.pdf", "'page.pdf' does not end in .html. Give a name that does, such as page.html."),
        (None, "folder.html", "'folder.html' is a folder. Give the name of a file, such as folder.html/report.html."),
        ("nowhere", "page.html", "'nowhere' is not there. Give a folder that dr-opt run has written."),
        (7, "page.html", "A report is made from a plan or a result folder, not from something of type int. Give one of those."),
    ],
)
def test_wrong_use(what: object, path: str, error: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder.html").mkdir()
    with pytest.raises(InputError) as wrong:
        dr_opt.write_report(made() if what is None else what, path)  # type: ignore[arg-type]
    assert str(wrong.value) == error
    assert [one.name for one in tmp_path.iterdir()] == ["folder.html"]


@pytest.mark.parametrize("where", ["in memory", "from disk"])
def test_run_puts_the_report_in_place_with_the_folder(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    dr_opt.synthesise("delhi", customers=12, days=2).write_parquet("readings.parquet")
    solver = "{family: greedy}" if where == "in memory" else "{backend: prices}"
    Path("scenario.yaml").write_text(
        f"readings: readings.parquet\nsolver: {solver}\nstreaming: {{enabled: {str(where != 'in memory').lower()}}}\n"
    )
    ran = command("run", "scenario.yaml", "--out", "results", "--no-figures", "--report")
    assert ran.code == 0, ran.err
    names = {path.name for path in Path("results").iterdir()}
    assert "report.html" in names and "figures" not in names
    assert "report.html" in json.loads(Path("results/run.json").read_text())["files"]
    page = Path("results/report.html").read_text(encoding="utf-8")
    assert len(re.findall("data:image/png", page)) == 1
    assert "max_moves_per_day" in page and "holds" in Read(page).words
    ran = command("run", "results/scenario.yaml", "--out", "results", "--no-figures", "--set", "output.report=false")
    assert ran.code == 0 and not Path("results/report.html").exists()


def test_what_prices_prove_is_told() -> None:
    plan = dr_opt.optimise(None, made().scenario.replace({"solver": {"family": "milp", "backend": "prices"}, "demo.customers": 20}))
    words = report_parts(plan)["audit"]["words"]
    assert any(text.startswith("The prices alone prove that no plan exceeds") for text in words[2:]), words
