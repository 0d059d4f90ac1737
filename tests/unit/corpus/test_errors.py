"""The tree of errors, and what Temporal makes of them."""

import inspect
import re

import pytest

from corpus import errors
from corpus.errors import FreshetError, PermanentError, TransientError, as_application_error

CLASSES = [
    kind
    for kind in vars(errors).values()
    if inspect.isclass(kind) and issubclass(kind, FreshetError)
]
LEAVES = [kind for kind in CLASSES if not kind.__subclasses__()]


def drawn_tree() -> dict[str, str]:
    """Child -> parent, as the module's docstring draws them by indentation."""
    assert errors.__doc__ is not None
    parents: dict[str, str] = {}
    path: dict[int, str] = {}
    for line in errors.__doc__.splitlines():
        match = re.match(r"(    [│├└─ ]*)(\w+Error)\b", line)
        if match is None:
            continue
        depth = len(match[1]) // 4
        path[depth] = match[2]
        if depth > 1:
            parents[match[2]] = path[depth - 1]
    return parents


def test_the_drawn_tree_and_the_classes_agree() -> None:
    classes = {kind.__name__: kind.__mro__[1].__name__ for kind in CLASSES}
    del classes["FreshetError"]
    assert drawn_tree() == classes


@pytest.mark.parametrize("kind", LEAVES, ids=lambda kind: kind.__name__)
def test_every_error_is_either_permanent_or_transient(kind: type[FreshetError]) -> None:
    assert issubclass(kind, PermanentError) != issubclass(kind, TransientError)
    assert kind.retryable is issubclass(kind, TransientError)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_temporal_gets_the_name_the_message_and_whether_to_retry(kind: type[FreshetError]) -> None:
    error = as_application_error(kind("offsets 3 to 5 are missing"))
    assert error.type == kind.__name__
    assert error.message == "offsets 3 to 5 are missing"
    assert error.non_retryable is not kind.retryable
