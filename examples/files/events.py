"""`python -m examples.files.events FOLDER`: each file of a folder as an event in JSON, one per line.

The id is the path in the folder, and the version the time at which the file was changed, in microseconds.
"""

import base64
import json
import mimetypes
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def events(folder: Path) -> Iterator[dict[str, Any]]:
    """An event per file, in the order of their paths."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield event(folder, path)


def event(folder: Path, path: Path) -> dict[str, Any]:
    """A file as an event: its bytes are in base64, whatever it is."""
    content_type, _ = mimetypes.guess_type(path.name)
    content = base64.b64encode(path.read_bytes())
    return {
        "id": path.relative_to(folder).as_posix(),
        "version": path.stat().st_mtime_ns // 1_000,
        "title": path.stem,
        "content_type": content_type,
        "content_base64": content.decode("ascii"),
    }


if __name__ == "__main__":
    for one in events(Path(sys.argv[1])):
        print(json.dumps(one))
