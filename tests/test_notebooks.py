"""Every notebook runs from top to bottom on a fresh kernel, and says again what is saved in it."""

import importlib.util
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

TOP = Path(__file__).resolve().parents[1]
BOOKS = (TOP / "nbs").rglob("[!_.]*.ipynb")
NOTEBOOKS = sorted(path.relative_to(TOP).as_posix() for path in BOOKS if ".ipynb_checkpoints" not in path.parts)
SECONDS_PER_CELL = 300

# What a notebook needs beyond the core and the dev extra; where it is missing, the notebook runs but may say something else.
SOLVERS = ("cvxpy", "clarabel", "osqp", "scs", "ecos", "cvxopt", "pyomo", "cbcbox", "pyscipopt")
NEEDS = {
    "nbs/api/16_layers.ipynb": SOLVERS,
    "nbs/api/17_matching.ipynb": SOLVERS,
    "nbs/studies/methods_compared.ipynb": SOLVERS,
    "nbs/tutorials/choose_a_solver.ipynb": SOLVERS,
}
RUNS_ONLY_WITH = dict.fromkeys(("nbs/api/31_form_controls.ipynb", "nbs/api/31_widgets.ipynb"), "ipywidgets")


def told(outputs: Iterable[Any]) -> list[str]:
    """What outputs say in words, one text for what is printed in a row; no pictures, no widgets, no addresses in memory."""
    texts: list[str] = []
    printing = False
    for output in outputs:
        if output["output_type"] == "stream":
            if output["name"] != "stdout":
                continue
            text = output["text"]
            texts = [*texts[:-1], texts[-1] + text] if printing else [*texts, text]
        else:
            kinds = output.get("data", {})
            if any("widget" in kind or kind.startswith("image/") for kind in kinds):
                continue
            texts += [kinds[kind] for kind in ("text/plain", "text/markdown") if kind in kinds]
        printing = output["output_type"] == "stream"
    return [re.sub(r" at 0x[0-9a-f]+|[ \t]+(?=\n)", "", text).strip() for text in texts]


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_notebook_runs_and_says_the_same(notebook: str) -> None:
    if notebook in RUNS_ONLY_WITH:
        pytest.importorskip(RUNS_ONLY_WITH[notebook])
    missing = [name for name in NEEDS.get(notebook, ()) if importlib.util.find_spec(name) is None]
    saved = nbformat.read(TOP / notebook, as_version=4)
    fresh = nbformat.read(TOP / notebook, as_version=4)
    left_out = [cell.cell_type != "code" or re.search(r"^#\|\s*eval:\s*false", cell.source, re.MULTILINE) for cell in fresh.cells]
    for cell, out in zip(fresh.cells, left_out):
        if out:
            cell.cell_type, cell.source = "raw", ""
    place = {"metadata": {"path": str((TOP / notebook).parent)}}
    NotebookClient(fresh, timeout=SECONDS_PER_CELL, iopub_timeout=60, kernel_name="python3", resources=place).execute()
    for cell, before, out in zip(fresh.cells, saved.cells, left_out):
        if not out and not missing:
            assert told(cell.outputs) == told(before.outputs), before.source
    if missing:
        pytest.skip(f"{notebook} ran, but its words depend on what is not installed here: {', '.join(missing)}")


def test_the_notebooks_with_needs_exist() -> None:
    assert set(NOTEBOOKS) >= {*NEEDS, *RUNS_ONLY_WITH}
