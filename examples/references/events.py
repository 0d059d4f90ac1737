"""`python -m examples.references.events FOLDER`: each file of a folder as an event that points to it, one per line.

The id is the path in the folder, and the version the time at which the file was changed, in microseconds.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def events(folder: Path) -> Iterator[dict[str, Any]]:
    """An event per file, in the order of their paths."""
    root = folder.resolve()
    for path in sorted(root.rglob("*")):
        if path.is_file():
            yield event(root, path)


def event(root: Path, path: Path) -> dict[str, Any]:
    """A file as an event: where it is, and nothing of what is in it."""
    return {
        "id": path.relative_to(root).as_posix(),
        "version": path.stat().st_mtime_ns // 1_000,
        "title": path.stem,
        "content_url": path.as_uri(),
    }


if __name__ == "__main__":
    for one in events(Path(sys.argv[1])):
        print(json.dumps(one))
