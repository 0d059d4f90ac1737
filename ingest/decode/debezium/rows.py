"""Format `debezium`: rows of a database as its connectors write them.

Three forms are recognised in the value: the envelope (`before`, `after`, `source`, `op`), the same with its schema, and
the flattened row (`ExtractNewRecordState`, its fields with `__` before them). `outbox` rows are rows whose `payload`
is the event. A column that did not change and is too large for the log has a placeholder in place of its value; it is
taken from the version before (`corpus/prepare/unchanged.py`), and never read as text.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from corpus.dead_letter import DeadLetterReason
from corpus.source import SourceSpec
from corpus.versions.truncation import UNDECIDED
from ingest.decode import fields
from ingest.decode.debezium.own_records import ENVELOPE, rule_of_own_record
from ingest.decode.debezium.placeholder import is_placeholder, may_have_placeholder
from ingest.decode.debezium.position import version_of
from ingest.decode.debezium.values import value_of
from ingest.decode.fields import FieldError
from ingest.decode.inflate import inflated
from ingest.decode.json_fields import mapped_event, read_object
from ingest.decode.mapping import compiled, version_in
from ingest.decode.record_key import id_of_fields, key_as_id, key_fields
from ingest.decode.registry.values import with_plain_key
from ingest.event import ChangeEvent, Decoded, Ignored, KafkaRecord, Op

SECOND_HALF = "debezium tombstone behind its delete"
_DELETED = "d"
_OPERATIONS = frozenset("crudt")
_OUTBOX = frozenset({"aggregateid", "aggregatetype", "payload"})
_META = "__"
_OLD_KEY = "__debezium.oldkey"
_NEW_KEY = "__debezium.newkey"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What one record says of one row."""

    op: str
    row: dict[str, Any]  # as it is now; of a delete what is known of it
    source: Mapping[str, Any]
    before: Mapping[str, Any]  # as it was, where the database says so
    unavailable: frozenset[str] = frozenset()  # columns that did not change
    may_have_placeholder: bool = False


def decode_debezium(
    record: KafkaRecord,
    spec: SourceSpec,
    known: Mapping[str, Any] | None = None,
) -> Decoded:
    """Read a change of a row.

    Args:
        record: its value is not null.
        spec: of the source.
        known: values of columns that did not change, by name.

    Raises:
        FieldError: the value is no change of a row, or names no document.
        RecursionError: it is nested too deeply.
    """
    value = value_of(record, spec)
    if value is None:
        return _delete(record, spec, None)
    rule = rule_of_own_record(value)
    if rule:
        return Ignored(rule=rule)
    change = _with_known(_change_of(value, record, spec), known or {})
    if change.op == _DELETED:
        return _deleted(change, record, spec)
    return _upserted(change, record, spec)


def large_columns(
    record: KafkaRecord, spec: SourceSpec, known: Mapping[str, Any]
) -> dict[str, Any]:
    """The columns of a row that a later change may leave out, by name: those that the mapping reads."""
    value = value_of(record, spec)
    if value is None or rule_of_own_record(value):
        return {}
    change = _with_known(_change_of(value, record, spec), known)
    used = compiled(spec.mapping).reads
    return {
        name: each
        for name, each in change.row.items()
        if isinstance(each, str | list) and (used is None or name in used)
    }


def is_second_half(
    record: KafkaRecord, before: KafkaRecord | None, spec: SourceSpec
) -> bool:
    """Whether a tombstone only repeats the delete before it, for compaction.

    The delete names its version. The tombstone names none, so it would delete whatever was written before it: after a
    connector has sent both again, also a row that was inserted meanwhile.
    """
    if spec.format != "debezium" or before is None or before.key != record.key:
        return False
    if before.value is None or not spec.reads_own_versions:
        return False
    try:
        decoded = decode_debezium(_as_decoded(before, spec), spec)
    except (FieldError, RecursionError):
        return False
    return (
        isinstance(decoded, ChangeEvent)
        and decoded.op is Op.DELETE
        and decoded.version is not None
    )


def _as_decoded(record: KafkaRecord, spec: SourceSpec) -> KafkaRecord:
    """A record as `decode` hands it to this format."""
    record = with_plain_key(record, spec)
    return inflated(record, spec.pipeline.max_document_bytes)


# ── the forms ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _change_of(value: dict[str, Any], record: KafkaRecord, spec: SourceSpec) -> Change:
    if "op" in value and not ENVELOPE.isdisjoint(value.keys()):
        change = _enveloped(value, compiled(spec.mapping).unrepeated)
    else:
        change = _flattened(value)
    if "payload" in change.row:
        change = replace(change, row=_with_payload(change.row))
    placeholder = spec.debezium.unavailable
    written = record.value or b""
    if not may_have_placeholder(written, change.row, placeholder, spec.schema_kind):
        return change
    unavailable = [
        name for name, each in change.row.items() if is_placeholder(each, placeholder)
    ]
    return replace(
        change,
        unavailable=frozenset(unavailable),
        may_have_placeholder=True,
    )


def _enveloped(value: dict[str, Any], unrepeated: tuple[str, ...]) -> Change:
    op = _operation("op", value["op"])
    before = _row(value.get("before"), unrepeated)
    after = _row(value.get("after"), unrepeated)
    if op in "cur" and after is None:
        raise FieldError(DeadLetterReason.INVALID_FIELD, _NO_ROW.format(op))
    row = before if op == _DELETED else after
    source = value.get("source")
    return Change(
        op=op,
        row=dict(row or {}),
        source=cast("dict[str, Any]", source) if isinstance(source, dict) else {},
        before=before or {},
    )


def _operation(name: str, op: Any) -> str:
    if isinstance(op, str) and op in _OPERATIONS:
        return op
    raise fields.invalid(name, op, "c, u, r, d or t")


_NO_ROW = (
    "after is null although op is {}: a change without its row; let the connector write full rows "
    "(MongoDB: capture.mode with full documents)"
)


def _row(value: Any, unrepeated: tuple[str, ...]) -> dict[str, Any] | None:
    """A row; MongoDB's is text, in extended JSON."""
    if value is None or isinstance(value, dict):
        return cast("dict[str, Any] | None", value)
    if isinstance(value, str):
        text = value.encode("utf-8", "surrogatepass")
        return cast("dict[str, Any]", relaxed(read_object(text, unrepeated)))
    raise fields.invalid("a row", value, "an object")


def _flattened(value: dict[str, Any]) -> Change:
    source = {
        name.removeprefix(_META).removeprefix("source_"): each
        for name, each in value.items()
        if name.startswith(_META)
    }
    row = {name: each for name, each in value.items() if not name.startswith(_META)}
    is_deleted = source.get("deleted") in (True, "true")
    op = _DELETED if is_deleted else _operation("__op", source.get("op", "u"))
    return Change(op=op, row=row, source=source, before={})


def _with_payload(row: dict[str, Any]) -> dict[str, Any]:
    """An outbox row: its payload is the event, as an object or as JSON text."""
    payload = row["payload"]
    if row.keys() >= _OUTBOX and isinstance(payload, str) and payload[:1] == "{":
        return row | {"payload": read_object(payload.encode())}
    return row


def relaxed(value: Any) -> Any:
    """MongoDB's extended JSON as plain JSON: `{"$oid": "5f.."}` is its text, `{"$numberLong": "7"}` is 7."""
    if isinstance(value, list):
        return [relaxed(each) for each in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    typed = cast("dict[str, Any]", value)
    if len(typed) == 1:
        [(name, inner)] = typed.items()
        if name in ("$numberLong", "$numberInt"):
            number = fields.digits_as_number(str(inner))
            return inner if number is None else number
        if name.startswith("$"):
            return relaxed(inner)
    return {name: relaxed(each) for name, each in typed.items()}


# ── columns that did not change ─────────────────────────────────────────────────────────────────────────────────────


def _with_known(
    change: Change,
    known: Mapping[str, Any],
) -> Change:
    """The change with the values that are known of its columns; the others that did not change are left out."""
    if not change.unavailable:
        return change
    row = dict(change.row)
    unavailable: set[str] = set()
    for name in change.unavailable:
        value = change.before.get(name)
        if value is None or value == row[name]:
            value = known.get(name)
        if value is None:
            del row[name]
            unavailable.add(name)
        else:
            row[name] = value
    return replace(change, row=row, unavailable=frozenset(unavailable))


# ── events ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _deleted(change: Change, record: KafkaRecord, spec: SourceSpec) -> Decoded:
    if change.row.keys() >= _OUTBOX:
        return Ignored(rule="debezium outbox row removed")
    return _delete(record, spec, change)


def _delete(
    record: KafkaRecord,
    spec: SourceSpec,
    change: Change | None,
) -> Decoded:
    row = {} if change is None else change.row
    source: Mapping[str, Any] = {} if change is None else change.source
    version = _version(row, source, record, spec, relative=True)
    return ChangeEvent(
        op=Op.DELETE,
        document_id=_document_id(row, record, spec),
        version=version,
        event_at_ms=record.timestamp_ms,
        raw_sha256=hashlib.sha256(record.value or b"").digest(),
        next_id=next_id(record, spec),
    )


def _upserted(change: Change, record: KafkaRecord, spec: SourceSpec) -> Decoded:
    if change.op == "t":
        by_log = version_of(spec.debezium.version, change.source)
        is_of_log = spec.reads_own_versions and spec.mapping.version is None
        return Ignored(rule=UNDECIDED, version=by_log if is_of_log else None)
    document_id = _document_id(change.row, record, spec)
    mapping = compiled(spec.mapping)
    missing = change.unavailable
    if mapping.reads is not None:
        missing &= mapping.reads
    if missing:
        version = _version(
            change.row,
            change.source,
            record,
            spec,
            relative=False,
        )
        return ChangeEvent(
            op=Op.UPSERT,
            document_id=document_id,
            version=version,
            raw_sha256=hashlib.sha256(record.value or b"").digest(),
            unavailable=tuple(sorted(missing)),
            previous_id=_id_in(_OLD_KEY, record, spec),
        )
    return mapped_event(
        change.row,
        mapping,
        record,
        spec,
        document_id=document_id,
        own_version=version_of(spec.debezium.version, change.source),
        written=None if change.may_have_placeholder else b"",
    )


def _version(
    row: dict[str, Any],
    source: Mapping[str, Any],
    record: KafkaRecord,
    spec: SourceSpec,
    *,
    relative: bool,
) -> int | None:
    """Of a column, where the mapping names one; else of the database's log."""
    if spec.mapping.version is None:
        own = version_of(spec.debezium.version, source)
    else:
        own = version_in(spec.mapping, row, record, is_optional=relative)
    return fields.effective_version(own, record, spec.version_rule, relative=relative)


def _document_id(
    row: dict[str, Any],
    record: KafkaRecord,
    spec: SourceSpec,
) -> str:
    """The key's, so that a tombstone names the same document; where that cannot be, the row's."""
    if row.keys() >= _OUTBOX:
        path = spec.mapping.id
        if path is None:
            return fields.document_id(row["aggregateid"])
        return id_of_fields(row, spec, record)
    if spec.mapping.id is None:
        return key_as_id(record.key, spec)
    try:
        key = key_fields(record.key)
        if key is not None:
            return id_of_fields(key, spec, record)
    except FieldError:
        if not row:
            raise
    return id_of_fields(row, spec, record)


def next_id(record: KafkaRecord, spec: SourceSpec) -> str | None:
    """The document that a deleted one became, since its key changed."""
    return _id_in(_NEW_KEY, record, spec)


def _id_in(header: str, record: KafkaRecord, spec: SourceSpec) -> str | None:
    """The document of the key in a header that a connector writes where a key has changed."""
    for name, value in record.headers:
        if name == header and value is not None:
            try:
                return key_as_id(value, spec)
            except FieldError:
                return None
    return None
