"""The shape of the code: one thought per line, files and folders that a reader can hold in mind."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.shape import (
    MAX_COLUMNS,
    PACKAGES,
    ROOT,
    Module,
    code_lines,
    density,
    largest_folder,
    modules,
)

PRODUCT = modules()
TESTS = [Module(path) for path in sorted((ROOT / "tests").rglob("*.py"))]
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 40
MAX_FOLDER_FILES = 20


def prose_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines of a document that can be wrapped: no table row, no code block, no lone link."""
    in_code = False
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.lstrip().startswith("```"):
            in_code = not in_code
        elif not in_code and not line.startswith(("|", "<!--")):
            yield number, line


def documents() -> list[Path]:
    folders = [ROOT / name for name in (*PACKAGES, "tests", "examples", ".github")]
    return sorted([*ROOT.glob("*.md"), *(path for one in folders for path in one.rglob("*.md"))])


@pytest.mark.parametrize("module", PRODUCT, ids=lambda module: module.name)
def test_a_file_of_the_product(module: Module) -> None:
    long_functions = [one.place for one in module.functions if one.lines > MAX_FUNCTION_LINES]
    assert list(module.complex_functions()) == []
    assert list(module.nested_conditionals()) == []
    assert list(module.crowded_comprehensions()) == []
    assert list(module.wide_lines()) == []
    assert long_functions == []
    assert len(module.lines) <= MAX_FILE_LINES


@pytest.mark.parametrize("module", TESTS, ids=lambda module: module.name)
def test_a_file_of_the_tests(module: Module) -> None:
    assert list(module.wide_lines()) == []
    assert len(module.lines) <= MAX_FILE_LINES


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_prose_ends_at_the_limit(document: Path) -> None:
    wide = [f"{document.name}:{n}" for n, line in prose_lines(document) if len(line) > MAX_COLUMNS]
    assert wide == []


def test_lines_hold_one_thought() -> None:
    assert density(PRODUCT) <= 8
    conditionals = sum(len(module.conditional_expressions()) for module in PRODUCT)
    assert 1000 * conditionals / code_lines(PRODUCT) <= 10


def test_no_folder_is_a_heap() -> None:
    count, name = largest_folder(PRODUCT)
    assert count <= MAX_FOLDER_FILES, f"{name}: a wing is missing"


def test_the_measure_sees_what_it_should(tmp_path: Path) -> None:
    text = '"""A module."""\n\n\ndef f(a, b):\n    """Say."""\n    # why\n    return 1 if a else (2 if b else 3)\n'
    path = tmp_path / "m.py"
    path.write_text(text + "x = [i for i in [] if i for j in []]\n" + "y = '" + "z" * 120 + "'\n")
    module = Module(path)
    assert module.code == {4, 7, 8, 9}
    assert [one.lines for one in module.functions] == [2]
    assert len(list(module.nested_conditionals())) == 1
    assert len(list(module.crowded_comprehensions())) == 1
    assert len(list(module.wide_lines())) == 1
