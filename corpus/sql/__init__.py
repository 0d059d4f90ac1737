"""Named queries: every SQL text of Freshet is in `queries/*.sql`.

A file holds queries. Each begins with its name and its purpose, which may take several lines::

    -- name: some_name
    -- What it is for.
    SELECT ...
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import LiteralString, cast

_HEADER = re.compile(
    r"^-- name: (?P<name>[a-z0-9_]+)\n(?P<purpose>(?:-- .+\n)+)", re.MULTILINE
)


@cache
def queries() -> Mapping[str, LiteralString]:
    """All queries by name, without their headers.

    Raises:
        ValueError: a name appears twice, or a header is malformed.
    """
    texts: dict[str, LiteralString] = {}
    for file in _query_files():
        for name, text in parse(file.read_text(encoding="utf-8"), file.name):
            if name in texts:
                raise ValueError(
                    f"query {name!r} appears twice; the second time in {file.name}"
                )
            # The text is from the package: it is as literal as a string in the code.
            texts[name] = cast("LiteralString", text)
    return texts


def parse(text: str, file_name: str) -> Iterator[tuple[str, str]]:
    """The queries of one file, as (name, text).

    Raises:
        ValueError: a header is malformed; without this error its query would silently become a part of the one before.
    """
    before, *pieces = _HEADER.split(text)
    names, bodies = pieces[::3], pieces[2::3]
    for body in (before, *bodies):
        if "-- name:" in body or (body is before and body.strip()):
            raise ValueError(
                f"{file_name} holds text under a malformed header: {body.strip()[:60]!r}. "
                "A header is `-- name: lower_case` and then a comment that says what the query is for."
            )
    for name, body in zip(names, bodies, strict=True):
        yield name, body.strip().rstrip(";")


def query(name: str) -> LiteralString:
    """The text of one query.

    Raises:
        KeyError: there is no such query.
    """
    return queries()[name]


def _query_files() -> list[Traversable]:
    folder = files("corpus.sql").joinpath("queries")
    entries = [entry for entry in folder.iterdir() if entry.name.endswith(".sql")]
    return sorted(entries, key=lambda entry: entry.name)
