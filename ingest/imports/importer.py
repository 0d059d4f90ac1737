"""Carry out an import: read what may have changed, and send it, and the deletes, as events of format `native`."""

import base64
import hashlib
import json
import mimetypes
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from corpus.clean.names import type_by_name
from corpus.source import MAX_VERSION
from ingest.imports.file import MARK, MARK_HEADER, Mark, Place, UnreadableFileError
from ingest.imports.plan import FileToSend, HeldDocument, ImportPlan
from ingest.produce import FileProducer, RecordToSend


@dataclass(slots=True, kw_only=True)
class Imported:
    """What an import did."""

    new: int = 0
    changed: int = 0
    touched: int = 0  # were read, and have the bytes that the corpus has
    refused: list[str] = field(default_factory=list[str])  # as those of the plan
    deleted: int = 0
    # Modified after now, or before the version that the corpus has.
    in_future: int = 0
    went_back: int = 0
    problems: dict[str, str] = field(default_factory=dict[str, str])


class Importer:
    """Sends what a plan has.

    Args:
        place: of the files.
        plan: is carried out.
        producer: of the source's topic.
        now_us: epoch microseconds UTC; a file is not newer.
    """

    def __init__(
        self, place: Place, plan: ImportPlan, producer: FileProducer, *, now_us: int
    ) -> None:
        self._place = place
        self._plan = plan
        self._producer = producer
        self._now_us = now_us
        self.result = Imported()

    def run(self) -> None:
        """Send the files, and after them the deletes: a renamed file is there before its old name is gone.

        Raises:
            ConfigurationError: Kafka does not take a record of this size.
            DependencyError: Kafka does not take the records.
        """
        root = self._plan.rules.root
        self._producer.send_records(root, self._records())

    def _records(self) -> Iterator[RecordToSend]:
        for one in self._plan.send:
            record = self._record_of(one)
            if record is not None:
                yield record
        deletes = self._plan.delete
        for held in deletes:
            self.result.deleted += 1
            record = self._delete(held)
            yield record

    def _record_of(self, one: FileToSend) -> RecordToSend | None:
        """The record of a file; None: there is nothing to send."""
        path, result = one.file.path, self.result
        try:
            content, stamp = self._place.read(one.file)
        except UnreadableFileError as error:
            result.problems[path] = str(error)
            return None
        digest = hashlib.sha256(content)
        sha256 = digest.hexdigest()
        root = self._plan.rules.root
        prefix = self._plan.rules.prefix
        mark = Mark(root=root, stamp=stamp, sha256=sha256, prefix=prefix)
        if not one.is_new and _has_same_bytes(one, mark):
            result.touched += 1
            return None
        if one.refused is not None and one.refused.sha256 == mark.sha256:
            result.refused.append(path)
            return None
        if one.is_new:
            result.new += 1
        else:
            result.changed += 1
        return self._upsert(one, content, mark)

    def _upsert(self, one: FileToSend, content: bytes, mark: Mark) -> RecordToSend:
        path = one.file.path
        name = PurePosixPath(path)
        encoded = base64.b64encode(content)
        modified_us = mark.stamp.modified_us
        version = self._version(modified_us, one.held)
        event = {
            "id": one.document_id,
            "version": version,
            "title": name.stem,
            "uri": self._place.uri(path),
            "content_type": media_type(path),
            "content_base64": encoded.decode("ascii"),
            "updated_at": _iso(modified_us),
            "metadata": {MARK: mark.to_json()},
        }
        return _record(one.document_id, event, mark)

    def _version(self, modified_us: int, held: HeldDocument | None) -> int:
        """The time of modification, but not after now, and above the version that the corpus has."""
        version = max(modified_us, 0)
        if version > self._now_us:
            self.result.in_future += 1
            version = self._now_us
        if held is not None and version <= held.version:
            self.result.went_back += held.visible
            version = held.version + 1
        return min(version, MAX_VERSION)

    def _delete(self, held: HeldDocument) -> RecordToSend:
        version = max(self._now_us, held.version + 1)
        event = {
            "id": held.document_id,
            "op": "delete",
            "version": min(version, MAX_VERSION),
        }
        return _record(held.document_id, event, None)


def media_type(path: str) -> str | None:
    """The media type that a file's name stands for; None: its bytes tell."""
    known = type_by_name(path)
    if known is not None:
        return known
    guessed, encoding = mimetypes.guess_type(path)
    return None if encoding else guessed


def _has_same_bytes(one: FileToSend, mark: Mark) -> bool:
    held = one.held
    known = None if held is None else held.mark
    return known is not None and known.sha256 == mark.sha256


def _record(document_id: str, event: dict[str, Any], mark: Mark | None) -> RecordToSend:
    headers: dict[str, str] = {}
    if mark is not None:
        headers[MARK_HEADER] = json.dumps(mark.to_json())
    value = json.dumps(event, ensure_ascii=False).encode()
    return RecordToSend(key=document_id.encode(), value=value, headers=headers)


def _iso(epoch_us: int) -> str:
    seconds, microseconds = divmod(max(epoch_us, 0), 1_000_000)
    instant = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{instant}.{microseconds:06}Z"
