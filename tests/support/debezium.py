"""Changes of a table's rows as Debezium writes them, and the rows themselves."""

import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ingest.event import KafkaRecord

UNAVAILABLE = "__debezium_unavailable_value"
NOW_MS = 1_780_000_000_000
Row = dict[str, Any]


def _json(value: Any) -> bytes | None:
    return None if value is None else json.dumps(value).encode()


def change(op: str, lsn: int, row: Row, *, key: Any = None, **headers: Any) -> KafkaRecord:
    """One change of a row whose primary key is `id`."""
    deleted = op == "d"
    value = {
        "before": {name: row[name] if name == "id" else None for name in row} if deleted else None,
        "after": None if deleted else row,
        "source": {"connector": "postgresql", "lsn": lsn, "ts_ms": NOW_MS, "table": "notes"},
        "op": op,
        "ts_ms": NOW_MS,
    }
    return record({"id": row["id"]} if key is None else key, value, headers)


def record(key: Any, value: Any, headers: dict[str, Any] | None = None) -> KafkaRecord:
    """A record with JSON in key, value and headers."""
    return KafkaRecord(
        topic="",
        partition=0,
        offset=0,
        timestamp_ms=NOW_MS,
        key=_json(key),
        value=_json(value),
        headers=tuple(
            (f"__debezium.{name}", _json(header)) for name, header in (headers or {}).items()
        ),
    )


def read_fixture(path: Path) -> list[KafkaRecord]:
    """The records of a file that a real Debezium wrote (`NULL` is no JSON, and headers are one text)."""
    text = (
        path.read_text(encoding="utf-8")
        .replace('"value":NULL', '"value":null')
        .replace('"key":"NULL"', '"key":null')
    )
    return [_recorded(line) for line in text.splitlines()]


def _recorded(line: str) -> KafkaRecord:
    headers: list[tuple[str, bytes | None]] = []
    written = re.search(r'"headers":"(.*?)","klen"', line)
    if written is not None:
        line = line.replace(written[0], '"klen"')
        for part in re.split(",(?=__)", written[1]):
            name, _, value = part.partition("=")
            headers.append((name, value.encode()))
    stored = json.loads(line)
    return KafkaRecord(
        topic="t",
        partition=0,
        offset=stored["offset"],
        timestamp_ms=stored.get("ts", NOW_MS),
        key=_json(stored["key"]),
        value=_json(stored["value"]),
        headers=tuple(headers),
    )


@dataclass
class Table:
    """A table that is changed at random, and the changes in the order of its log.

    Attributes:
        rng: of the changes.
        keys: rows are inserted with keys up to this one; changed keys are above.
        uses_again: whether a key that was changed may be that of a new row.
    """

    rng: random.Random
    keys: int = 4
    uses_again: bool = True
    left: set[int] = field(default_factory=set[int])
    rows: dict[int, Row] = field(default_factory=dict[int, Row])
    log: list[KafkaRecord] = field(default_factory=list[KafkaRecord])
    lsn: int = 1_000

    def change(self) -> None:
        """Insert, update, delete or rename a row; an update leaves out the large columns that it does not touch."""
        self.lsn += self.rng.randint(1, 50)
        number = self.rng.randint(1, self.keys)
        if number in self.left:
            return
        row = self.rows.get(number)
        if row is None:
            self.rows[number] = {"id": number, "title": self._text(), "big": self._text()}
            self._write("c", self.rows[number])
        elif self.rng.random() < 0.15:
            del self.rows[number]
            self._delete(row)
        elif self.rng.random() < 0.15:
            self._rename(row)
        else:
            self._update(row)

    def _update(self, row: Row) -> None:
        row["title"] = self._text()
        touched = self.rng.random() < 0.3
        if touched:
            row["big"] = self._text()
        self._write("u", row if touched else row | {"big": UNAVAILABLE})

    def _rename(self, row: Row) -> None:
        number = self.rng.randint(self.keys + 1, 2 * self.keys)
        if number in self.rows:
            return
        old = {"id": row["id"]}
        del self.rows[row["id"]]
        if not self.uses_again:
            self.left.add(row["id"])
        self._delete(row, newkey={"id": number})
        self.rows[number] = row | {"id": number}
        self._write("c", row | {"id": number, "big": UNAVAILABLE}, oldkey=old)

    def _write(self, op: str, row: Row, **headers: Any) -> None:
        self.log.append(change(op, self.lsn, dict(row), **headers))

    def _delete(self, row: Row, **headers: Any) -> None:
        self.log.append(change("d", self.lsn, dict(row), **headers))
        self.log.append(record({"id": row["id"]}, None))

    def _text(self) -> str:
        return f"text {self.rng.randint(0, 10**9)} of a row that is long enough to be kept"

    def documents(self) -> dict[str, str]:
        """What the corpus has to show: id -> text."""
        return {str(number): f"{row['title']} {row['big']}" for number, row in self.rows.items()}


def tombstones_alone(log: list[KafkaRecord]) -> list[KafkaRecord]:
    """The log of a topic whose deletes are tombstones alone, with times; those of a changed key name the new one."""
    alone: list[KafkaRecord] = []
    half: KafkaRecord | None = None
    for number, each in enumerate(log):
        timed = replace(each, timestamp_ms=NOW_MS + 10 * number)
        if each.value is not None and json.loads(each.value)["op"] == "d":
            half = timed
        elif each.value is None and half is not None:
            alone.append(replace(half, value=None))
        else:
            alone.append(timed)
    return alone


def cut(rng: random.Random, log: list[KafkaRecord]) -> Iterator[list[KafkaRecord]]:
    """The log in batches of a few records."""
    while log:
        size = rng.randint(1, 6)
        yield log[:size]
        log = log[size:]
