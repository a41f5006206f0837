"""nbdev's part: every notebook as a page of `_proc`, hidden cells gone, exported code as signature and docstring.

A program of its own, because it starts processes: `python .ci/site/process.py`, from the top of the checkout. nbdev shows a function
by evaluating its type hints. Names that our modules import for type checkers only, such as `Axes`, are not there when a page is
made; such hints are shown as they are written.
"""

import inspect
import multiprocessing
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

WORKERS = 2
_evaluated = inspect.get_annotations


def as_written(thing: Any, *, globals: Any = None, locals: Any = None, eval_str: bool = False) -> dict[str, Any]:
    """The type hints of a thing, as text where they cannot be evaluated."""
    try:
        return _evaluated(thing, globals=globals, locals=locals, eval_str=eval_str)
    except NameError:
        return _evaluated(thing)


def prepare() -> None:
    """What each process does first."""
    from nbdev import showdoc

    inspect.get_annotations = as_written
    shown = showdoc.show_doc
    showdoc.show_doc = lambda thing, *more, **ways: help_of(thing) or shown(thing, *more, **ways)


def help_of(thing: Any) -> Any:
    """What a command of a terminal says with --help, where `thing` is one."""
    import click
    from IPython.display import Markdown

    if not isinstance(thing, click.Command):
        return None
    words = "dr-opt" if isinstance(thing, click.Group) else f"dr-opt {thing.name}"
    text = thing.get_help(click.Context(thing, info_name=words, terminal_width=100))
    return Markdown(f"### {words}\n\n```text\n{text}\n```")


def side_by_side(work: Callable[[Any], Any], jobs: Iterable[Any], **_: Any) -> None:
    """Does all jobs in a few processes, and raises what the first of them raised."""
    with ProcessPoolExecutor(WORKERS, multiprocessing.get_context("spawn"), prepare) as pool:
        for _done in pool.map(work, jobs):
            pass


def main() -> None:
    from nbdev import serve
    from nbdev.quarto import nbdev_sidebar, refresh_quarto_yml

    refresh_quarto_yml()
    nbdev_sidebar.__wrapped__()
    serve.parallel = side_by_side
    serve.proc_nbs(n_workers=WORKERS, force=True)


if __name__ == "__main__":
    main()
