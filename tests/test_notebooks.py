"""Every notebook runs from top to bottom, as nbdev_test runs it, each in a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[1]
BOOKS = (TOP / "nbs").rglob("[!_.]*.ipynb")
NOTEBOOKS = sorted(path.relative_to(TOP).as_posix() for path in BOOKS if ".ipynb_checkpoints" not in path.parts)


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_notebook_runs(notebook: str) -> None:
    program = Path(sys.executable).with_name("nbdev_test")
    ran = subprocess.run([program, "--path", notebook], cwd=TOP, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, (ran.stdout + ran.stderr)[-4000:]
