"""The shape of the code in figures: `python -m tests.bench.shape [--write] [--worst] [FOLDER]`.

The same definitions for every tree, so that Freshet can be compared with its models:

- *code line*: a line that is not blank, not a comment, and not part of a docstring.
- *density*: AST nodes of a function divided by its code lines; the median over functions of five or more code lines.
- *complexity*: radon's cyclomatic complexity of a function.
- *folder*: Python files directly in it, `__init__.py` left out.

`--write` puts the table into CONTRIBUTING.md between its marks; `--worst` names the places.
"""

import ast
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from radon.complexity import cc_visit

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("ingest", "corpus", "freshness", "workers", "compose")
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
BEGIN, END = "<!-- shape: made by `make docs` -->", "<!-- end of shape -->"
MAX_COLUMNS = 120
MIN_FUNCTION_LINES = 5

# The same figures of the first version (0724ce2), by `python -m tests.bench.shape FOLDER` on a checkout of it.
BEFORE = (
    "10.8", "548", "43", "28.2", "13", "3", "1; 41", "44 files (corpus)", "100 % / 100 % / 93 %", "7",
    "10,651; 0.66",
)  # fmt: skip

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


@dataclass(frozen=True)
class Function:
    """One function."""

    place: str  # file:line name
    lines: int  # of code
    nodes: int


class Module:
    """One file, parsed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
        self.text = path.read_text(encoding="utf-8")
        self.lines = self.text.splitlines()
        self.tree = ast.parse(self.text)

    @cached_property
    def code(self) -> frozenset[int]:
        """Numbers of the code lines."""
        prose = {
            number for node in ast.walk(self.tree) if _is_docstring(node) for number in _span(node)
        }
        numbered = enumerate(self.lines, 1)
        return frozenset(n for n, line in numbered if _is_code(line) and n not in prose)

    @cached_property
    def functions(self) -> list[Function]:
        """Every function and method, nested ones too."""
        return [
            Function(
                place=f"{self.name}:{node.lineno} {node.name}",
                lines=sum(number in self.code for number in _span(node)),
                nodes=sum(1 for _ in ast.walk(node)),
            )
            for node in ast.walk(self.tree)
            if isinstance(node, _FUNCTIONS)
        ]

    def conditional_expressions(self) -> list[ast.IfExp]:
        """All of them."""
        return [node for node in ast.walk(self.tree) if isinstance(node, ast.IfExp)]

    def nested_conditionals(self) -> Iterator[str]:
        """Conditional expressions with another inside."""
        for node in self.conditional_expressions():
            inner = [child for child in ast.walk(node) if isinstance(child, ast.IfExp)]
            if len(inner) > 1:
                yield f"{self.name}:{node.lineno}: a conditional expression inside another"

    def crowded_comprehensions(self) -> Iterator[str]:
        """Comprehensions with three clauses (each `for` and each `if` is one) or more."""
        for node in ast.walk(self.tree):
            if isinstance(node, _COMPREHENSIONS):
                clauses = sum(1 + len(part.ifs) for part in node.generators)
                if clauses > 2:
                    yield f"{self.name}:{node.lineno}: a comprehension with {clauses} clauses"

    def wide_lines(self) -> Iterator[str]:
        """Lines over the limit."""
        for number, line in enumerate(self.lines, 1):
            if len(line) > MAX_COLUMNS:
                yield f"{self.name}:{number}: {len(line)} columns"

    def complex_functions(self) -> Iterator[str]:
        """Functions and methods that radon finds above 10."""
        for block in cc_visit(self.text):
            if type(block).__name__ == "Function" and block.complexity > 10:
                yield f"{self.name}:{block.lineno} {block.name}: {block.complexity}"


def _is_docstring(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _span(node: ast.AST) -> range:
    first = getattr(node, "lineno", 1)
    return range(first, (getattr(node, "end_lineno", None) or first) + 1)


def _is_code(line: str) -> bool:
    text = line.strip()
    return bool(text) and not text.startswith("#")


def modules(root: Path = ROOT, packages: tuple[str, ...] = PACKAGES) -> list[Module]:
    """The files of some packages, in order."""
    return [Module(path) for package in packages for path in sorted((root / package).rglob("*.py"))]


def code_lines(found: list[Module]) -> int:
    """Code lines of all of them."""
    return sum(len(module.code) for module in found)


def density(found: list[Module]) -> float:
    """Median of AST nodes per code line, over functions of five or more code lines."""
    functions = [function for module in found for function in module.functions]
    return statistics.median(
        function.nodes / function.lines
        for function in functions
        if function.lines >= MIN_FUNCTION_LINES
    )


def largest_folder(found: list[Module]) -> tuple[int, str]:
    """Files in the fullest folder, and its name."""
    counts: dict[Path, int] = {}
    for module in found:
        if module.path.name != "__init__.py":
            folder = module.path.parent
            counts[folder] = counts.get(folder, 0) + 1
    folder, count = max(counts.items(), key=lambda entry: entry[1])
    return count, folder.name


def documented(found: list[Module], kind: type | tuple[type, ...]) -> float:
    """Percentage of public definitions of a kind (module, class, function) with a docstring."""
    nodes = [
        node
        for module in found
        for node in ast.walk(module.tree)
        if isinstance(node, kind) and not getattr(node, "name", "module").startswith("_")
    ]
    return 100 * sum(ast.get_docstring(node) is not None for node in nodes) / len(nodes)  # type: ignore[arg-type]


def figures(root: Path = ROOT) -> dict[str, tuple[str, str]]:
    """What is measured: its name to (figure, goal)."""
    found = modules(root)
    tests = [Module(path) for path in sorted((root / "tests").rglob("*.py"))]
    lines = code_lines(found)
    functions = [function for module in found for function in module.functions]
    longest = max(function.lines for function in functions)
    over_forty = sum(function.lines > 40 for function in functions)
    conditionals = sum(len(module.conditional_expressions()) for module in found)
    wide = [place for module in found for place in module.wide_lines()]
    complex_ = [place for module in found for place in module.complex_functions()]
    nested = [place for module in found for place in module.nested_conditionals()]
    crowded = [place for module in found for place in module.crowded_comprehensions()]
    ignores = sum(module.text.count(mark) for module in found for mark in ("type: ignore", "noqa"))
    folder, folder_name = largest_folder(found)
    ratio = code_lines(tests) / lines
    return {
        "AST nodes per code line, median over functions": (f"{density(found):.1f}", "<= 8"),
        f"lines over {MAX_COLUMNS} columns": (str(len(wide)), "0"),
        "functions above 10 by radon": (str(len(complex_)), "0"),
        "conditional expressions per 1,000 code lines": (
            f"{1000 * conditionals / lines:.1f}",
            "<= 10",
        ),
        "conditional expressions inside another": (str(len(nested)), "0"),
        "comprehensions with three clauses": (str(len(crowded)), "0"),
        "functions over 40 code lines; the longest": (f"{over_forty}; {longest}", "0; 40"),
        "largest folder": (f"{folder} files ({folder_name})", "<= 20"),
        "docstrings: modules, classes, public functions": (
            " / ".join(
                f"{documented(found, kind):.0f} %"
                for kind in (ast.Module, ast.ClassDef, _FUNCTIONS)
            ),
            "100 / 100 / 90 %",
        ),
        "`type: ignore` and `noqa`": (str(ignores), "few, each with its reason"),
        "code lines; test code lines per code line": (f"{lines:,}; {ratio:.2f}", ">= 0.9"),
    }


def table(root: Path = ROOT) -> str:
    """The figures as a Markdown table."""
    rows = [
        f"| {name} | {before} | {now} | {goal} |"
        for before, (name, (now, goal)) in zip(BEFORE, figures(root).items(), strict=True)
    ]
    return "\n".join(["| figure | before | now | goal |", "| --- | --- | --- | --- |", *rows])


def with_table(text: str) -> str:
    """A document with the table between its marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}"


def worst() -> Iterator[str]:
    """The densest functions, and every place that breaks a rule."""
    found = modules()
    functions = [function for module in found for function in module.functions]
    long_enough = [one for one in functions if one.lines >= MIN_FUNCTION_LINES]
    densest = sorted(long_enough, key=lambda one: one.nodes / one.lines, reverse=True)
    yield from (f"{one.place}: {one.nodes / one.lines:.1f} nodes per line" for one in densest[:20])
    for module in found:
        yield from module.wide_lines()
        yield from module.complex_functions()
        yield from module.nested_conditionals()
        yield from module.crowded_comprehensions()
    yield from (f"{one.place}: {one.lines} code lines" for one in functions if one.lines > 40)


def main(arguments: list[str]) -> None:
    """Print or write; a folder as the last word measures another checkout of this project."""
    if "--write" in arguments:
        text = CONTRIBUTING.read_text(encoding="utf-8")
        CONTRIBUTING.write_text(with_table(text), encoding="utf-8")
        return
    if "--worst" in arguments:
        print(*worst(), sep="\n")
        return
    folders = [word for word in arguments if not word.startswith("-")]
    print(table(Path(folders[0]).resolve() if folders else ROOT))


if __name__ == "__main__":
    main(sys.argv[1:])
