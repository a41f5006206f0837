"""Every notebook runs from top to bottom, as nbdev_test runs it, each in a process of its own."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[1]
BOOKS = (TOP / "nbs").rglob("[!_.]*.ipynb")
NOTEBOOKS = sorted(path.relative_to(TOP).as_posix() for path in BOOKS if ".ipynb_checkpoints" not in path.parts)
# Notebooks about solvers that do not come with the package; they run without, too, but have little to say then.
OF_SOLVERS = {"nbs/studies/methods_compared.ipynb"}
SOLVERS = ("cvxpy", "clarabel", "osqp", "scs", "ecos", "cvxopt", "pyomo", "cbcbox", "pyscipopt")


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_notebook_runs(notebook: str) -> None:
    missing = [name for name in SOLVERS if importlib.util.find_spec(name) is None]
    if notebook in OF_SOLVERS and missing:
        pytest.skip(f"{notebook} compares solvers that are not installed here: {', '.join(missing)} (pip install 'dr_opt[solvers]')")
    program = Path(sys.executable).with_name("nbdev_test")
    ran = subprocess.run([program, "--path", notebook], cwd=TOP, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, (ran.stdout + ran.stderr)[-4000:]


def test_notebooks_of_solvers_exist() -> None:
    assert set(NOTEBOOKS) >= OF_SOLVERS
