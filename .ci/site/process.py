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
    from nbdev import processors, showdoc

    inspect.get_annotations = as_written
    defined, shown = processors._def_names, renderer(showdoc.BasicMarkdownRenderer)
    processors._def_names = lambda *given: defined(*given)[::-1]  # nbdev inserts each above the one before
    showdoc.show_doc = lambda thing, *_, name=None, title_level=3, **__: help_of(thing) or shown(thing, name=name, title_level=title_level)


def renderer(plain: type) -> type:
    """nbdev's heading and link to the source, and below them what our source says."""
    from shown import head_and_members

    class AsWritten(plain):
        def __init__(self, thing: Any, **ways: Any) -> None:
            super().__init__(thing, **ways)
            if found := head_and_members(thing):
                self.dm, self.members = found

        def _repr_markdown_(self) -> str:
            members = getattr(self, "members", "")
            return super()._repr_markdown_() + (f"\n\n{members}" if members else "")

    return AsWritten


def help_of(thing: Any) -> Any:
    """What a command of a terminal says with --help, where `thing` is one; the package's own knows all of its commands."""
    import click
    from IPython.display import Markdown

    from dr_opt import cli

    if not isinstance(thing, click.Command):
        return None
    top = click.Context(cli.main, info_name="dr-opt", terminal_width=100, **cli.main.context_settings)
    command = cli.main if isinstance(thing, click.Group) else cli.main.get_command(top, thing.name)
    context = top if command is cli.main else click.Context(command, info_name=thing.name, parent=top)
    return Markdown(f"### {context.command_path}\n\n```text\n{command.get_help(context)}\n```")


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
