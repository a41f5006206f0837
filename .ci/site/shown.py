"""How a function or a class is shown on its page: its head as its source has it, its docstring, and what can be asked of a class.

nbdev shows objects: a default such as a team or a keeper would be told with its address in memory, a type hint of the notebook's own
as `__main__.Block`, and a class by the arguments of its `__init__`, which a class of parameters has not written. Source says it as it
was meant.
"""

import ast
import inspect
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

TOP = Path(__file__).resolve().parents[2]
WIDE = 100  # characters that fit a page
Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = Function | ast.ClassDef


@cache
def definitions() -> dict[str, list[tuple[Definition, str]]]:
    """What each name of the package is at the top of its modules, with the module's source."""
    found: dict[str, list[tuple[Definition, str]]] = {}
    for path in sorted((TOP / "dr_opt").rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        for node in ast.parse(source).body:
            if isinstance(node, Definition):
                found.setdefault(node.name, []).append((node, source))
    return found


def definition_of(thing: Any) -> tuple[Definition, str] | None:
    """Where a thing is written, with its module's source; None where it is not ours."""
    found = definitions().get(getattr(thing, "__name__", ""), [])
    same = [pair for pair in found if ast.get_docstring(pair[0]) == inspect.getdoc(thing)]
    return next(iter(same or found), None)


def head_of(node: Function) -> str:
    """The head of a function, on one line if it fits."""
    result = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    arguments = list(arguments_of(node.args))
    line = f"def {node.name}({', '.join(arguments)}){result}"
    if len(line) <= WIDE:
        return line
    return f"def {node.name}(\n" + "".join(f"    {argument},\n" for argument in arguments) + f"){result}"


def arguments_of(given: ast.arguments) -> Iterator[str]:
    """Each argument with its hint and default, and the signs between them."""
    places = [*given.posonlyargs, *given.args]
    defaults = [None] * (len(places) - len(given.defaults)) + list(given.defaults)
    for k, (argument, default) in enumerate(zip(places, defaults, strict=True)):
        yield _argument(argument, default)
        if k + 1 == len(given.posonlyargs):
            yield "/"
    if given.vararg:
        yield f"*{ast.unparse(given.vararg)}"
    elif given.kwonlyargs:
        yield "*"
    for argument, default in zip(given.kwonlyargs, given.kw_defaults, strict=True):
        yield _argument(argument, default)
    if given.kwarg:
        yield f"**{ast.unparse(given.kwarg)}"


def _argument(argument: ast.arg, default: ast.expr | None) -> str:
    hint = f": {ast.unparse(argument.annotation)}" if argument.annotation else ""
    sign = " = " if hint else "="
    return f"{argument.arg}{hint}" + (f"{sign}{ast.unparse(default)}" if default else "")


def class_head(node: ast.ClassDef, source: str, parameters: bool) -> str:
    """A class with its bases, its fields as they are written, comments too, and the head of its `__init__`.

    Of a class of `parameters` only those fields that are none of its parameters, which have a table: its key and the like.
    """
    bases = [ast.unparse(base) for base in [*node.bases, *node.keywords]]
    lines = [f"class {node.name}({', '.join(bases)})" if bases else f"class {node.name}"]
    for part in node.body:
        if isinstance(part, ast.Assign if parameters else ast.AnnAssign | ast.Assign) and not _named(part).startswith("_"):
            text = source.splitlines()[part.lineno - 1 : part.end_lineno]
            lines += ["    " + line[part.col_offset :].removesuffix("  # fmt: skip") for line in text]
        elif isinstance(part, Function) and part.name == "__init__":
            lines += ["    " + line for line in head_of(part).splitlines()]
    return "\n".join(lines).replace("`", "")  # nbdev would make links of words in backticks


def _named(part: ast.AnnAssign | ast.Assign) -> str:
    """The first name that is assigned."""
    return ast.unparse(part.target if isinstance(part, ast.AnnAssign) else part.targets[0]).lstrip("(")


def methods_of(node: ast.ClassDef) -> Iterator[str]:
    """A line for each public method and property that says something: its head, and the first line of that."""
    for part in node.body:
        if isinstance(part, Function) and not part.name.startswith("_"):
            decorators = {ast.unparse(decorator).rpartition(".")[2] for decorator in part.decorator_list}
            says = (ast.get_docstring(part) or "").partition("\n\n")[0].replace("\n", " ")
            call = part.name if decorators & {"property", "cached_property"} else f"{part.name}({_called(part, decorators)})"
            if says and "setter" not in decorators:
                yield f"- `.{call}`: {says}"


def _called(part: Function, decorators: set[str]) -> str:
    """The names of a method's arguments, as a caller gives them."""
    names = [argument.partition(":")[0].partition("=")[0] for argument in arguments_of(part.args)]
    return ", ".join(names if "staticmethod" in decorators else names[1:])


def parameters_of(thing: Any) -> str:
    """The fields of a class of parameters as a table: default, unit, range, meaning; nothing for other classes."""
    from generated import parameter_table

    from dr_opt.basics import Parameters

    return parameter_table(thing, "") if isinstance(thing, type) and issubclass(thing, Parameters) else ""


def head_and_members(thing: Any) -> tuple[str, str] | None:
    """The head of a thing as code, and what can be asked of it as markdown; None where its source is not ours."""
    found = definition_of(thing)
    if found is None:
        return None
    node, source = found
    if not isinstance(node, ast.ClassDef):
        return head_of(node), ""
    table = parameters_of(thing)
    methods = "\n".join(methods_of(node))
    return class_head(node, source, parameters=bool(table)), "\n\n".join(part for part in (table, methods) if part)
