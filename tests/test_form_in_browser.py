"""The form as a person meets it: a real browser, from the first cell to the results.

Needs Debian's `chromium`, and `playwright` and `jupyterlab` from PyPI (Voilà too for its part); skipped where one is missing.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from dr_opt.scenario import Scenario

pytestmark = pytest.mark.slow
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytest.importorskip("jupyterlab", reason="jupyterlab is not installed: dr_opt[notebooks]")
pytest.importorskip("ipywidgets", reason="ipywidgets is not installed: dr_opt[notebooks]")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None:
    pytest.skip("chromium is not installed", allow_module_level=True)

SECONDS = 120  # for anything that is waited for, on a busy machine
CELLS = [
    "import dr_opt\n\nform = dr_opt.scenario_form()\nform",
    "print('meanwhile', 6 * 7)",
    "print(len(form.plan.shifts) > 0, form.scenario.name)",
]
WRONG_HOURS = "constraints.max_shift_window.hours is -2 hours. Give a number greater than 0."
SEVENTH_HOUR = "peak_hours.delhi.mon lists [8, 9, 10, 11, 12, 13, 20]. Give up to six different hours from 0 to 23."
TABS = ("data", "calendar", "limits", "model", "solver", "parallel", "output")


def write_notebook(path: Path, sources: list[str]) -> None:
    """A notebook with these cells, none of them run."""
    cells = [
        {"cell_type": "code", "id": f"cell{k}", "metadata": {}, "source": source, "execution_count": None, "outputs": []}
        for k, source in enumerate(sources)
    ]
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    path.write_text(json.dumps({"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(folder: Path, arguments: list[str], port: int, ready: str) -> Iterator[str]:
    """A server of notebooks in a folder, with settings of its own; gives its address."""
    settings = folder / ".settings"
    overrides = settings / "config" / "labconfig" / "default_setting_overrides.json"
    overrides.parent.mkdir(parents=True, exist_ok=True)
    quiet = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}}
    overrides.write_text(json.dumps(quiet))
    own = {"JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data", "JUPYTER_RUNTIME_DIR": "runtime", "IPYTHONDIR": "ipython"}
    environment = os.environ | {name: str(settings / place) for name, place in own.items()}
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen([sys.executable, "-m", *arguments], cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        address = f"http://127.0.0.1:{port}"
        wait_until(lambda: answers(address + ready) or server.poll() is not None)
        assert server.poll() is None, (folder / "server.log").read_text()[-3000:]
        yield address
    finally:
        server.terminate()
        server.wait(timeout=60)


def answers(address: str) -> bool:
    """Whether somebody answers there, were it only to say that there is no such page."""
    try:
        with urllib.request.urlopen(address, timeout=5):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def kernel_listens(address: str) -> bool:
    """Whether a notebook has a kernel, idle and connected: the indicator on its page says idle before there is one."""
    with urllib.request.urlopen(f"{address}/api/sessions", timeout=SECONDS) as reply:
        kernels = [session["kernel"] for session in json.load(reply)]
    return any(kernel["execution_state"] == "idle" and kernel["connections"] > 0 for kernel in kernels)


def wait_until(true: Callable[[], Any]) -> None:
    deadline = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


class Person:
    """What a person does with the form on a page."""

    def __init__(self, page: Any):
        self.page = page
        page.set_default_timeout(SECONDS * 1000)
        self.asked: list[str] = []
        page.add_locator_handler(page.locator("dialog.jp-Dialog"), self.agrees, no_wait_after=True)
        self.form = page.locator(".jp-OutputArea-output").filter(has=page.get_by_label("with comments")).first

    def agrees(self, dialog: Any) -> None:
        """To what JupyterLab asks where a start was slow: which kernel, whether to try again."""
        self.asked.append(dialog.inner_text())
        dialog.locator("button.jp-mod-accept").click()

    def opens_notebook(self, address: str) -> None:
        """Opens it and runs its first cell; again where no form appears: a page that began without a kernel shows none."""
        indicator = self.page.locator(".jp-Notebook-ExecutionIndicator")
        for _ in range(5):
            self.page.goto(f"{address}/lab/tree/form.ipynb?reset")
            wait_until(lambda: indicator.wait_for() or kernel_listens(address))  # each look answers what is asked
            self.runs_cell(0)
            with suppress(sync_api.TimeoutError):
                return self.field("name").wait_for(timeout=SECONDS * 1000 / 4)
        raise AssertionError(f"the form does not appear; JupyterLab asked: {self.asked}")

    def opens(self, tab: str) -> None:
        self.form.locator(".lm-TabBar-tab").filter(has_text=tab).first.click()

    def field(self, label: str) -> Any:
        return self.form.get_by_label(label, exact=True)

    def types(self, label: str, text: str) -> None:
        self.field(label).fill(text)

    def clicks(self, button: str) -> None:
        self.form.locator("button").filter(has_text=button).first.click()

    def sees(self, text: str, where: str = "") -> None:
        self.form.locator(where or "div").filter(has_text=text).last.wait_for()

    def hour(self, day: str, hour: int) -> Any:
        return self.form.get_by_title(f"{day} {hour}:00", exact=True)

    def runs_cell(self, number: int) -> None:
        """Clicks into a cell and runs it; once more where the page was not yet listening."""
        cell = self.page.locator(".jp-CodeCell").nth(number)
        for _ in range(5):
            cell.locator(".cm-content").click()
            self.page.keyboard.press("Shift+Enter")
            self.page.wait_for_timeout(1500)
            if cell.locator(".jp-InputPrompt").first.inner_text().strip() != "[ ]:":
                return
        raise AssertionError("the cell cannot be run")

    def output_of_cell(self, number: int) -> str:
        cell = self.page.locator(".jp-CodeCell").nth(number)
        cell.locator(".jp-OutputArea-output").first.wait_for()
        return str(cell.locator(".jp-OutputArea-output").first.inner_text())


@pytest.fixture
def person(browser: Any, tmp_path: Path) -> Iterator[Person]:
    """A person who has opened a notebook in JupyterLab and run its first cell."""
    write_notebook(tmp_path / "form.ipynb", CELLS)
    port = free_port()
    arguments = ["jupyterlab", "--no-browser", "--allow-root", f"--ServerApp.port={port}", "--IdentityProvider.token="]
    with serving(tmp_path, [*arguments, f"--ServerApp.root_dir={tmp_path}"], port, "/api") as address:
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        person = Person(page)
        person.opens_notebook(address)
        yield person
        page.close()


def shut(person: Person, button: str) -> bool:
    return bool(person.form.locator("button").filter(has_text=button).first.is_disabled())


def every_tab_opens_and_shows_its_fields(person: Person) -> None:
    fields = {"data": "max_plausible_kwh", "calendar": "timezone", "limits": "max_reduction_percent", "model": "model"}
    fields |= {"solver": "time_limit_seconds", "parallel": "workers", "output": "seed"}
    assert tuple(fields) == TABS
    for tab, label in fields.items():
        person.opens(tab)
        assert person.field(label).is_visible()


def a_wrong_value_is_refused_beside_its_field(person: Person) -> None:
    person.opens("limits")
    person.types("hours", "-2")
    person.sees(WRONG_HOURS, ".dr-opt-fault")
    person.sees("limits ✗ 1", ".lm-TabBar-tab")
    wait_until(lambda: shut(person, "Run"))
    person.types("hours", "1.5")
    wait_until(lambda: not shut(person, "Run"))
    assert person.form.locator(".dr-opt-fault").count() == 0


def peak_hours_are_clicked_up_to_six_a_day(person: Person) -> None:
    person.opens("limits")
    person.hour("mon", 20).click()
    person.sees(SEVENTH_HOUR, ".dr-opt-fault")
    assert "●" not in person.hour("mon", 20).inner_text()
    person.hour("mon", 8).click()
    wait_until(lambda: "●" not in person.hour("mon", 8).inner_text())
    person.hour("mon", 20).click()
    wait_until(lambda: "●" in person.hour("mon", 20).inner_text())


def limits_and_models_open_and_close(person: Person) -> None:
    person.opens("limits")
    person.field("no_new_spike").uncheck()
    person.field("alpha_peak_cap_percent").wait_for(state="hidden")
    person.field("min_move_size").check()
    person.sees("constraints.min_move_size needs exactly one of kwh and percent_of_day.", ".dr-opt-fault")
    person.types("kwh", "0.05")
    wait_until(lambda: not shut(person, "Run"))
    person.opens("model")
    person.field("model").select_option("HighUsageFocus")
    person.field("percentile_threshold").fill("50")
    assert person.field("objective").is_visible()


def a_run_shows_its_results_while_cells_can_be_run(person: Person) -> None:
    person.opens("data")
    person.types("name", "from a browser")
    person.types("customers", "8")
    person.types("days", "2")
    person.opens("solver")
    person.field("family").select_option("greedy")
    person.clicks("Run")
    person.runs_cell(1)
    assert "meanwhile 42" in person.output_of_cell(1)
    person.sees("Done. The plan is form.plan.", ".dr-opt-note")
    person.sees("every limit is kept and every figure agrees.", ".dr-opt-note")
    assert "kwh_moved" in person.form.locator(".dr-opt-figures").inner_text()
    person.runs_cell(2)
    assert "True from a browser" in person.output_of_cell(2)


def results_are_drawn_searched_and_sorted(person: Person) -> None:
    person.opens("shifts")
    table = person.form.locator(".dr-opt-table")
    table.wait_for()
    names = table.locator("th").all_inner_texts()

    def column(name: str) -> list[str]:
        script = "(table, place) => [...table.tBodies[0].rows].map(row => row.cells[place].innerText)"
        return list(table.evaluate(script, names.index(name)))

    person.types("rows with", "mumbai")
    wait_until(lambda: set(column("city")) == {"mumbai"})
    person.types("rows with", "")
    wait_until(lambda: "delhi" in column("city"))
    person.field("sorted by").select_option("kwh")
    person.field("largest first").check()
    wait_until(lambda: (sizes := [float(kwh) for kwh in column("kwh")]) == sorted(sizes, reverse=True) and len(sizes) > 1)
    person.opens("pictures")
    person.field("picture").wait_for()
    picture = person.form.locator("img")
    wait_until(lambda: picture.first.evaluate("image => image.naturalWidth") > 300)


def save_and_load(person: Person, folder: Path) -> None:
    person.types("file", "gentle.yaml")
    person.clicks("Save")
    person.sees("Saved gentle.yaml.", ".dr-opt-note")
    scenario = Scenario.load(folder / "gentle.yaml")
    assert (scenario.name, scenario.demo.customers, scenario.solver.family) == ("from a browser", 8, "greedy")
    assert scenario.constraints.max_shift_window.hours == 1.5 and scenario.constraints.no_new_spike is None
    assert scenario.constraints.min_move_size.kwh == 0.05 and scenario.model.percentile_threshold == 50
    assert scenario.constraints.peak_hour_comfort.peak_hours["delhi"]["mon"] == (9, 10, 11, 12, 13, 20)
    (folder / "wrong.yaml").write_text("X: 2\n")
    person.types("file", "wrong.yaml")
    person.clicks("Load")
    person.sees("X is not a known key. Use constraints.max_moves_per_day.limit.", ".dr-opt-fault")
    person.opens("data")
    assert person.field("name").input_value() == "from a browser"
    (folder / "other.yaml").write_text("{name: other, demo: {customers: 3000}, output: {figures: false}}\n")
    person.types("file", "other.yaml")
    person.clicks("Load")
    person.sees("Loaded other.yaml.", ".dr-opt-note")
    wait_until(lambda: person.field("name").input_value() == "other")
    assert person.field("days").input_value() == "14"


def cancel_stops_a_run(person: Person) -> None:
    person.clicks("Run")
    person.sees("reading", ".dr-opt-meaning")
    began = time.monotonic()
    person.clicks("Cancel")
    person.sees("The run was cancelled. Start it again when you like.", ".dr-opt-warning")
    assert time.monotonic() - began < 10
    wait_until(lambda: not shut(person, "Run"))
    person.opens("figures")
    assert "kwh_moved" in person.form.locator(".dr-opt-figures").inner_text()  # those of the last plan


def a_file_that_is_not_there_is_a_sentence(person: Person) -> None:
    person.opens("data")
    person.types("readings", "nowhere.parquet")
    person.clicks("Run")
    person.sees("nowhere.parquet", ".dr-opt-fault")
    assert "Traceback" not in person.form.inner_text()


def test_from_the_first_cell_to_the_results(person: Person, tmp_path: Path) -> None:
    """One person, one page, in this order: each step begins where the one before ended."""
    every_tab_opens_and_shows_its_fields(person)
    a_wrong_value_is_refused_beside_its_field(person)
    peak_hours_are_clicked_up_to_six_a_day(person)
    limits_and_models_open_and_close(person)
    a_run_shows_its_results_while_cells_can_be_run(person)
    results_are_drawn_searched_and_sorted(person)
    save_and_load(person, tmp_path)
    cancel_stops_a_run(person)
    a_file_that_is_not_there_is_a_sentence(person)


@pytest.mark.skipif("DR_OPT_PICTURES" not in os.environ, reason="draws nbs/api/images/widgets_*.png anew, with DR_OPT_PICTURES=1")
def test_pictures_of_the_form(person: Person) -> None:
    """The pictures of nbs/api/31_widgets.ipynb, clipped to what is told there."""
    images = Path(__file__).resolve().parents[1] / "nbs" / "api" / "images"

    def keep(name: str, height: int) -> None:
        person.page.wait_for_timeout(1000)
        box = person.form.bounding_box()
        clip = {"x": box["x"], "y": box["y"], "width": 1070, "height": height}
        person.page.screenshot(path=images / f"widgets_{name}.png", clip=clip)

    person.page.set_viewport_size({"width": 1500, "height": 1400})
    person.types("customers", "8")
    person.types("days", "2")
    person.opens("solver")
    person.field("family").select_option("greedy")
    person.clicks("Run")
    person.sees("Done. The plan is form.plan.", ".dr-opt-note")
    keep("results", 1062)
    person.opens("limits")
    person.types("hours", "-2")
    person.sees(WRONG_HOURS, ".dr-opt-fault")
    keep("limits", 546)


def test_voila_shows_the_form_and_runs_it(browser: Any, tmp_path: Path) -> None:
    pytest.importorskip("voila", reason="voila is not installed")
    first = "import dr_opt\n\nsmall = {'demo': {'customers': 6, 'days': 2}, 'solver': {'family': 'greedy'}, 'output': {'figures': False}}\n"
    write_notebook(tmp_path / "app.ipynb", [first + "dr_opt.scenario_form(scenario=dr_opt.Scenario.from_mapping(small))"])
    port = free_port()
    arguments = ["voila", "app.ipynb", "--no-browser", f"--port={port}"]
    with serving(tmp_path, arguments, port, "/static/nothing_but_alive") as address:
        page = browser.new_page()
        person = Person(page)
        person.form = page.locator("body")
        page.goto(address)
        person.field("name").wait_for()
        person.opens("limits")
        person.types("hours", "-2")
        person.sees(WRONG_HOURS, ".dr-opt-fault")
        person.types("hours", "1")
        wait_until(lambda: not shut(person, "Run"))
        person.clicks("Run")
        person.sees("Done. The plan is form.plan.", ".dr-opt-note")
        page.close()
