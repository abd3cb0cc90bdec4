"""Examples in docstrings run, and every module says what it is."""

import doctest
import importlib
import pkgutil

import pytest

import impasto

MODULES = [m.name for m in pkgutil.walk_packages(impasto.__path__, "impasto.") if not m.name.endswith("__main__")]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__
    assert doctest.testmod(module).failed == 0


def test_there_are_examples() -> None:
    finder = doctest.DocTestFinder(exclude_empty=True)
    examples = [test for name in MODULES for test in finder.find(importlib.import_module(name)) if test.examples]
    assert len(examples) > 8
