"""What is attached to e-mails, in the answers of commands."""

from collections.abc import Iterator
from typing import Any

from workers.cli.console import one_line


def part_lines(parts: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """One line per part: "2 levels.pdf (application/pdf), 812 of 812 characters kept"."""
    for part in parts:
        name = one_line(part["name"])
        yield (
            "part",
            f"{part['number']} {name} ({part['media_type']}), {part_account(part)}",
        )


def part_account(part: dict[str, Any]) -> str:
    """What became of a part of a document: how much of it was kept, or why it is not read."""
    if part["reason"]:
        size = f"{part['content_bytes']:,} bytes"
        return f"not read, {size}: {one_line(part['detail'])}"
    return f"{part['kept']:,} of {part['received']:,} characters kept"
