"""Where notices end up: a JSON Lines file, or standard output."""

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from temporalio import activity

from corpus.service import BatchNotice


class NoticeLog:
    """Appends each notice once, also when an attempt is repeated."""

    def __init__(self, path: str | None) -> None:
        self._path: Path | None = None
        self._logged: set[str] = set()
        if path:
            self._path = Path(path)
            self._logged = notice_ids(self._path)

    @activity.defn
    def write(self, notice: BatchNotice) -> None:
        """One line per notice."""
        if notice.notice_id in self._logged:
            return
        line = json.dumps(asdict(notice), ensure_ascii=False)
        if self._path is None:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
        else:
            append_line(self._path, line)
        self._logged.add(notice.notice_id)


def notice_ids(path: Path) -> set[str]:
    """The notices in a log; none where there is no file yet."""
    ids: set[str] = set()
    if not path.exists():
        return ids
    text = path.read_text(encoding="utf-8", errors="replace")
    for line in text.splitlines():
        try:
            ids.add(json.loads(line)["notice_id"])
        except (ValueError, KeyError, TypeError):
            continue  # a kill cut this line; its notice is written again, on a line of its own
    return ids


def append_line(path: Path, line: str) -> None:
    """Append a line durably; a line that a kill cut is ended first."""
    with path.open("ab+") as file:
        file.seek(0, os.SEEK_END)
        if file.tell():
            file.seek(-1, os.SEEK_END)
            last = file.read(1)
            if last != b"\n":
                file.write(b"\n")
        file.write(line.encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
