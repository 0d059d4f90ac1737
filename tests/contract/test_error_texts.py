"""No library's words leave a process: what code says about an error that it caught goes through one function."""

import ast
from collections.abc import Iterator

import pytest

from tests.bench.shape import Module, modules

# Errors whose message is Freshet's own, or that of an operating system about a path that a person named.
OWN = {
    *("FreshetError", "PermanentError", "TransientError", "ConfigurationError", "DependencyError"),
    *("StagedFileError", "UnreadableSpecError", "InstallationError", "StalePreparationError"),
    *("CommandError", "StateFileError", "FieldError", "LockWaitError", "CheckFailedError"),
    *("TooManyChunks", "WorkflowQueryFailedError", "PathError"),
    *("SourceStoppedError", "UnreadableFileError"),
}
# What runs in the terminal of the person whose own input or files the message is about.
OF_A_PERSON = (
    *("workers/cli/", "workers/config/", "workers/apply/", "compose/"),
    "ingest/event_file.py",
    "corpus/limits/",  # the text goes to the preparer, which keeps the class of it (`corpus/clean/cleaner.py`)
)

PRODUCT = [one for one in modules() if not one.name.startswith(OF_A_PERSON)]


def caught(handler: ast.ExceptHandler) -> set[str]:
    """Names of the classes that a handler catches."""
    if handler.type is None:
        return {"BaseException"}
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return {ast.unparse(kind).rpartition(".")[2] for kind in kinds}


def said(body: list[ast.stmt], name: str) -> Iterator[int]:
    """Lines where the text of an error becomes part of another text."""
    for statement in body:
        for node in ast.walk(statement):
            if isinstance(node, ast.FormattedValue) and ast.unparse(node.value) == name:
                yield node.lineno
            if isinstance(node, ast.Call):
                callee = ast.unparse(node.func)
                is_text = callee in ("str", "repr", "one_line")
                if is_text and any(ast.unparse(one) == name for one in node.args):
                    yield node.lineno


@pytest.mark.parametrize("module", PRODUCT, ids=lambda module: module.name)
def test_a_caught_error_is_worded_by_one_function(module: Module) -> None:
    found: list[int] = []
    tree = ast.parse("\n".join(module.lines))
    for handler in ast.walk(tree):
        if isinstance(handler, ast.ExceptHandler) and handler.name and caught(handler) - OWN:
            found += said(handler.body, handler.name)
    assert found == []
