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
        self._path = Path(path) if path else None
        self._seen: set[str] = set()
        if self._path and self._path.exists():
            for line in self._path.read_text(encoding="utf-8").splitlines():
                try:
                    self._seen.add(json.loads(line)["notice_id"])
                except (ValueError, KeyError):
                    continue  # cut by a kill; it is written again, on a line of its own

    @activity.defn
    def write(self, notice: BatchNotice) -> None:
        """One line a notice."""
        if notice.notice_id in self._seen:
            return
        line = json.dumps(asdict(notice), ensure_ascii=False)
        if self._path is None:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
        else:
            self._append(line)
        self._seen.add(notice.notice_id)

    def _append(self, line: str) -> None:
        assert self._path is not None
        with self._path.open("ab+") as file:
            file.seek(0, os.SEEK_END)
            if file.tell():
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    file.write(b"\n")
            file.write(line.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
