"""Named queries: every SQL text of Freshet stands in `queries/*.sql`.

A file holds queries, each under two comment lines::

    -- name: some_name
    -- One line that says what it is for.
    SELECT ...
"""

import re
from functools import cache
from importlib.resources import files
from typing import LiteralString, cast

_HEADER = re.compile(r"^-- name: (?P<name>[a-z0-9_]+)\n-- (?P<purpose>.+)\n", re.MULTILINE)


@cache
def queries() -> dict[str, LiteralString]:
    """All named queries.

    Raises:
        ValueError: a name stands twice.
    """
    found: dict[str, LiteralString] = {}
    for path in sorted(
        files("corpus.sql").joinpath("queries").iterdir(), key=lambda entry: entry.name
    ):
        if not path.name.endswith(".sql"):
            continue
        text = path.read_text(encoding="utf-8")
        heads = list(_HEADER.finditer(text))
        for head, following in zip(heads, [*heads[1:], None], strict=True):
            name = head["name"]
            if name in found:
                raise ValueError(f"query {name!r} stands twice; the second time in {path.name}")
            body = text[head.end() : following.start() if following else len(text)].strip()
            # The text is ours, from the package: as literal as a string in the code.
            found[name] = cast("LiteralString", body.rstrip(";"))
    return found


def query(name: str) -> LiteralString:
    """The text of one query.

    Raises:
        KeyError: there is no such query.
    """
    return queries()[name]
