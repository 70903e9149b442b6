"""The examples in docstrings run as a user would type them; what an argument does not do is told."""

from __future__ import annotations

import ast
import doctest
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

import netcl as nc

PACKAGE = Path(nc.__file__).parent
FILES = [path for path in sorted(PACKAGE.rglob("*.py")) if ">>> " in path.read_text()]


PUBLIC = [
    nc, nc.accelerator, nc.amp, nc.autograd, nc.autograd.graph, nc.data, nc.distributions, nc.func, nc.jit,
    nc.linalg, nc.metrics, nc.nn, nc.nn.functional, nc.nn.init, nc.nn.utils, nc.optim, nc.optim.lr_scheduler,
    nc.profiler, nc.special, nc.testing, nc.trainer, nc.utils.checkpoint,
]  # fmt: skip


def examples(path: Path) -> list[doctest.DocTest]:
    """One for each text in a file that has examples. They share no names, and find none but Python's own."""
    parser = doctest.DocTestParser()
    texts = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)]
    return [
        parser.get_doctest(text.value, {}, f"line {text.lineno}", str(path), text.lineno - 1)
        for text in texts
        if isinstance(text.value, str) and ">>> " in text.value
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_examples_in_docstrings_print_what_they_show(path: Path) -> None:
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.REPORT_NDIFF)
    report: list[str] = []
    for example in examples(path):
        runner.run(example, out=report.append)
    assert runner.tries
    assert not runner.failures, "".join(report)


def ignored(function: Callable) -> list[str]:
    """The arguments that a function's text does not use."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    assert isinstance(definition, ast.FunctionDef)
    if any(isinstance(last, ast.Raise) for last in definition.body[-1:]) or len(definition.body) == 1:
        return []  # it refuses everything, or says in its docstring that it does nothing
    used = {node.id for line in definition.body for node in ast.walk(line) if isinstance(node, ast.Name)}
    given = definition.args.posonlyargs + definition.args.args + definition.args.kwonlyargs
    return [argument.arg for argument in given if argument.arg not in used]


def functions(module: ModuleType) -> Iterator[tuple[str, Callable, str]]:
    """The functions of a module's public names and those that make its classes' objects: name, function, docstring."""
    for name, found in vars(module).items():
        if name.startswith("_") or not getattr(found, "__module__", "").startswith("netcl."):
            continue
        made = vars(found).get("__init__") if inspect.isclass(found) else inspect.unwrap(found)
        if inspect.isfunction(made) and made.__code__.co_filename.endswith(".py") and made.__name__ != "<lambda>":
            yield name, made, f"{found.__doc__}\n{made.__doc__}"


@pytest.mark.parametrize("module", PUBLIC, ids=lambda module: module.__name__)
def test_an_argument_without_effect_is_named_in_the_docstring(module: ModuleType) -> None:
    silent = [
        f"{name}: {argument}"
        for name, function, text in functions(module)
        for argument in ignored(function)
        if argument != "self" and argument[0] != "_" and not re.search(rf"\b{argument}\b", text)
    ]
    assert not silent
