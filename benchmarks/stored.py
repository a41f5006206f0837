"""What the benchmarks share: the command as it was given, and the two files of its results, figures and page."""

import json
import shlex
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
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


def read(name: str, folder: Path = RESULTS) -> Any:
    """The stored figures of a benchmark."""
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))


def write(name: str, figures: Any, page: Callable[[Any], str], folder: Path = RESULTS, indent: int = 1) -> None:
    """Stores figures and their page, and prints the page."""
    folder.mkdir(parents=True, exist_ok=True)
    text = page(figures)
    (folder / f"{name}.json").write_text(json.dumps(figures, indent=indent) + "\n", encoding="utf-8")
    (folder / f"{name}.md").write_text(text, encoding="utf-8")
    print(text)


def percent(share: float, digits: int, sign: str = "") -> str:
    """A share in per cent; what rounds to nothing is less than the last digit, and a difference without a sign."""
    shown = f"{100 * share:{sign}z.{digits}f} %"
    if float(shown[:-2]) == 0 and share > 0 and not sign:
        return f"< {10.0**-digits:.{digits}f} %"
    return shown.removeprefix("+") if not float(shown[:-2]) else shown
