"""What imports what: light modules stay light at run time too, packages re-export nothing, SQL stands in .sql files."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("ingest", "corpus", "freshness", "workers", "compose")
HEAVY = (
    "polars",
    "numpy",
    "torch",
    "sentence_transformers",
    "psycopg",
    "psycopg_pool",
    "pgvector",
    "confluent_kafka",
    "obstore",
    "pebble",
)
CONTRACTS = {
    contract["id"]: contract
    for contract in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"][
        "contracts"
    ]
}
LIGHT = CONTRACTS["light"]["source_modules"]

# Imports one after the other and says which of them brought a heavy library in.
_IMPORTER = """
import importlib, json, sys
heavy, found = set(json.loads(sys.argv[2])), {}
for name in json.loads(sys.argv[1]):
    before = heavy & set(sys.modules)
    importlib.import_module(name)
    if new := (heavy & set(sys.modules)) - before:
        found[name] = sorted(new)
print(json.dumps(found))
"""


def import_in_a_new_process(modules: list[str], watched: tuple[str, ...]) -> dict[str, list[str]]:
    command = [sys.executable, "-c", _IMPORTER, json.dumps(modules), json.dumps(watched)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def sources() -> Iterator[tuple[str, ast.Module]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))


def test_light_modules_load_no_heavy_library() -> None:
    assert import_in_a_new_process(LIGHT, HEAVY) == {}


def test_the_contract_with_other_teams_loads_nothing_of_ours() -> None:
    ours = tuple(module for module in LIGHT if module != "corpus.service")
    assert import_in_a_new_process(["corpus.service"], (*HEAVY, *ours)) == {}


def test_every_workflow_and_activity_module_is_under_the_contract() -> None:
    found = {
        name[:-3].replace("/", ".")
        for name, _ in sources()
        if name.endswith(("workflows.py", "activities.py"))
    }
    assert found
    assert found <= set(LIGHT), "add it to the contract `light` in pyproject.toml"
    shells = {name for name in found if name.endswith("activities")}
    assert shells == set(CONTRACTS["shells"]["source_modules"]), (
        "add it to the contract `shells` in pyproject.toml"
    )


@pytest.mark.parametrize("name", [name for name, _ in sources() if name.endswith("__init__.py")])
def test_packages_import_nothing(name: str) -> None:
    tree = ast.parse((ROOT / name).read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), f"{name} says what the package is for"
    if name == "corpus/sql/__init__.py":  # a module that happens to hold data files
        return
    assert len(tree.body) == 1, (
        f"{name} holds more than a docstring: a re-export would pull heavy libraries into workflows"
    )


def test_sql_is_in_sql_files() -> None:
    """What a connection executes comes from `query(...)`; a migration's text is the one exception."""
    wrong = []
    for name, tree in sources():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            target = ast.unparse(node.func.value)
            if node.func.attr not in ("execute", "executemany", "copy") or not re.search(
                r"(connection|cursor|db)$|\bcursor\(", target
            ):
                continue
            first = ast.unparse(node.args[0]) if node.args else ""
            if not first.startswith("query(") and (name, first) != (
                "corpus/database.py",
                "cast('LiteralString', text)",
            ):
                wrong.append(f"{name}:{node.lineno}: {ast.unparse(node)[:100]}")
    assert not wrong


def test_no_sql_text_in_python() -> None:
    begins = (
        "SELECT ",
        "INSERT INTO ",
        "UPDATE ",
        "DELETE FROM ",
        "WITH ",
        "CREATE ",
        "ALTER ",
        "COPY ",
    )
    found = [
        f"{name}:{node.lineno}: {node.value[:60]!r}"
        for name, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and node.value.lstrip().startswith(begins)
        and any(
            word in node.value for word in (" FROM ", " INTO ", " SET ", " TABLE ", " DATABASE ")
        )
    ]
    assert not found


def imported(tree: ast.Module) -> set[str]:
    """The modules that a file imports, with those that they are in."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.update({node.module, *(f"{node.module}.{alias.name}" for alias in node.names)})
    return names


def importing(modules: set[str]) -> list[str]:
    return [name for name, tree in sources() if imported(tree) & modules]


def test_nothing_is_fetched_over_http() -> None:
    """An address in an event or in a document is kept and shown; whoever fetched it could be led anywhere."""
    clients = {"urllib.request", "http.client", "requests", "httpx", "aiohttp", "urllib3", "ftplib"}
    assert importing(clients) == []


def test_nothing_is_unpickled() -> None:
    assert importing({"pickle", "marshal", "shelve", "dill", "cloudpickle"}) == []
    assert importing({"hashlib"})  # a module that is imported is seen
