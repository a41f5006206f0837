"""Make the site's pages, check them, and show them without Quarto: `python .ci/site`.

    python .ci/site                pages into _proc, checked; HTML to read in _preview
    python .ci/site --no-preview   without the HTML

nbdev turns notebooks into pages, the pages that are made from classes and results are added, and every page is parsed by pandoc in
Quarto's dialect. A fault is printed as a sentence, and the exit code is 1. `quarto render _proc` makes the published site of the
same pages.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from configparser import ConfigParser
from pathlib import Path

import check
import generated
import names
import pages
import preview
import yaml

TOP = Path(__file__).resolve().parents[2]


def make(top: Path = TOP) -> Path:
    """`_proc`, as Quarto would be given it."""
    proc = top / "_proc"
    shutil.rmtree(proc, ignore_errors=True)
    subprocess.run([sys.executable, Path(__file__).with_name("process.py")], cwd=top, check=True, env={**os.environ, "MPLBACKEND": "agg"})
    generated.write(top, proc)
    return proc


def settings(top: Path = TOP) -> tuple[dict, str, str]:
    """`_quarto.yml`, the site's name and its address."""
    parser = ConfigParser(delimiters=["="])
    parser.read(top / "settings.ini", encoding="utf-8")
    own = parser["DEFAULT"]
    return yaml.safe_load((top / "_quarto.yml").read_text(encoding="utf-8")), own["title"], own["doc_host"] + own["doc_baseurl"]


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--no-preview", action="store_true", help="write no HTML")
    asked.add_argument("--out", type=Path, default=TOP / "_preview", help="folder of the HTML, which is emptied (default: _preview)")
    given = asked.parse_args()
    began = time.perf_counter()
    try:
        proc = make()
    except ValueError as fault:
        print(f"error: {fault}")
        return 1
    quarto, name, host = settings()
    found = pages.read_pages(proc)
    names.mend(found, proc, host)
    faults = check.faults(found, quarto, proc, host, TOP / "nbs")
    if not given.no_preview:
        preview.write(found, quarto, proc, given.out, name, host)
    for fault in faults:
        print(f"error: {fault}")
    print(f"{len(found)} pages, {len(faults)} faults, {time.perf_counter() - began:.0f} s.", end=" ")
    print("" if given.no_preview else f"Read them from {given.out / 'index.html'}.")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
