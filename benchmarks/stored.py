"""What the benchmarks share: the command as it was given, the two files of its results, figures and page, and small figures."""

import json
import os
import shlex
import sys
import tempfile
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"


def command() -> str:
    """The command that runs, as it is typed at the top of the repository."""
    return shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]])


def parser(about: str | None) -> ArgumentParser:
    """Takes `--report`, and whatever is added."""
    made = ArgumentParser(description=about, formatter_class=RawDescriptionHelpFormatter)
    made.add_argument("--report", action="store_true", help="measure nothing, only write the page anew from the stored figures")
    return made


def parsed(options: ArgumentParser, name: str, page: Callable[[Any], str], **ways: Any) -> Namespace:
    """What is asked for; with `--report`, writes the page anew from the stored figures, and ends there."""
    asked = options.parse_args()
    if asked.report:
        folder = getattr(asked, "out", None) or RESULTS
        write(name, read(name, folder), page, folder, **ways)
        raise SystemExit
    return asked


def read(name: str, folder: Path = RESULTS) -> Any:
    """The stored figures of a benchmark."""
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))


def write(name: str, figures: Any, page: Callable[[Any], str], folder: Path = RESULTS, indent: int = 1, show: bool = True) -> None:
    """Stores figures and their page, each file in one piece, and prints the page where it is to be shown."""
    folder.mkdir(parents=True, exist_ok=True)
    text = page(figures)
    for file_name, content in ((f"{name}.json", json.dumps(figures, indent=indent) + "\n"), (f"{name}.md", text)):
        with tempfile.NamedTemporaryFile("w", dir=folder, delete=False, encoding="utf-8") as file:
            file.write(content)
        os.chmod(file.name, 0o644)
        os.replace(file.name, folder / file_name)
    if show:
        print(text)


def at_least(value: float, digits: int) -> str:
    """A figure that is never below zero, with so many decimals; one that rounds to nothing is less than the last digit."""
    shown = f"{value:z,.{digits}f}"
    return f"< {10.0**-digits:.{digits}f}" if value > 0 and not shown.strip("0.") else shown


def percent(share: float, digits: int, sign: str = "") -> str:
    """A share in per cent, told as by `at_least`; with the `sign` +, a difference, which has none where it rounds to nothing."""
    if not sign:
        return f"{at_least(100 * share, digits)} %"
    shown = f"{100 * share:+z.{digits}f} %"
    return shown if float(shown[:-2]) else shown.removeprefix("+")
