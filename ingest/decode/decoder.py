"""A Kafka record becomes a change event, or a reason why not. Nothing in here raises: one bad record never stops another.

A format is a function of (record, spec) in `FORMATS`; the next ones (Debezium, CloudEvents, Schema Registry) are added there.
"""

import hashlib
import json
import re
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from corpus.dead_letter import DeadLetterReason
from corpus.source import SourceSpec, VersionRule
from ingest.dead_letters.first_position import as_first_written
from ingest.decode import fields
from ingest.decode.fields import FieldError
from ingest.event import ChangeEvent, Decoded, KafkaRecord, Op, Undecodable


class Format(Protocol):
    """How a topic's values are read. May raise FieldError; a null value has been dealt with before."""

    def __call__(self, record: KafkaRecord, spec: SourceSpec, /) -> Decoded: ...


def decode(record: KafkaRecord, spec: SourceSpec) -> Decoded:
    """Read one record by the source's format.

    1. A null value deletes the document that the key names (Kafka tombstone), in every format.
    2. A value above the source's limit is not read at all.
    3. The format reads the rest.
    """
    record = as_first_written(record)
    if record.unreadable is not None:
        return Undecodable(
            reason=DeadLetterReason.NOT_DECODABLE,
            detail=record.unreadable,
            document_id=_readable_key(record),
        )
    try:
        if record.value is None:  # 1
            return tombstone(record, spec)
        if len(record.value) > spec.pipeline.max_document_bytes:  # 2
            return Undecodable(
                reason=DeadLetterReason.TOO_LARGE,
                detail=_too_large(len(record.value), spec),
                document_id=_readable_key(record),
            )
        return FORMATS[spec.format](record, spec)  # 3
    except FieldError as error:
        return Undecodable(
            reason=error.reason, detail=error.detail, document_id=_readable_key(record)
        )
    except RecursionError:
        return Undecodable(
            reason=DeadLetterReason.NOT_DECODABLE,
            detail="nested too deeply to be read",
            document_id=_readable_key(record),
        )


def tombstone(record: KafkaRecord, spec: SourceSpec) -> ChangeEvent:
    """A null value: the document of that key is gone, at whatever version it is."""
    return ChangeEvent(
        op=Op.DELETE,
        document_id=fields.key_as_id(record.key),
        version=fields.effective_version(None, record, spec.version_rule, relative=True),
        event_at_ms=record.timestamp_ms,
        raw_sha256=hashlib.sha256(b"").digest(),
    )


def _too_large(size: int, spec: SourceSpec) -> str:
    return f"the value has {size:,} bytes; pipeline.max_document_bytes of source {spec.source} is {spec.pipeline.max_document_bytes:,}"


def _readable_key(record: KafkaRecord) -> str | None:
    """The key as an id for people who look through the dead letters; None where it is none."""
    try:
        return fields.key_as_id(record.key)
    except FieldError:
        return None


# ── native: {"id", "op", "uri", "title", "content_type", "content", "updated_at", "version", "metadata", "expires_at", "acl"} ──


class _Native(msgspec.Struct):
    """Top-level fields as they came; types are judged in `ingest.decode.fields`, whose messages name field and value."""

    id: Any = msgspec.UNSET
    op: Any = None
    uri: Any = None
    title: Any = None
    content_type: Any = None
    content: Any = None
    updated_at: Any = None
    version: Any = None
    metadata: msgspec.Raw = msgspec.Raw(b"null")
    expires_at: Any = None
    acl: Any = None


_LONG_NUMBER = re.compile(rb"[0-9]{19}|[eE][+-]?[0-9]{3}")
_decoder = msgspec.json.Decoder(_Native)
_metadata_decoder = msgspec.json.Decoder()
_REPEATABLE = (
    b'"id"',
    b'"op"',
    b'"version"',
    b'"content"',
    b'"acl"',
    b'"expires_at"',
)  # a second one of these is never guessed away
_ESCAPED_TROUBLE = (b"\\u0000", b"\\ud", b"\\uD")  # NUL, and halves of surrogate pairs


def native(record: KafkaRecord, spec: SourceSpec) -> Decoded:
    """The JSON event. msgspec reads nearly all of them; what it refuses is looked at again, slowly."""
    value = record.value or b""
    try:
        event = _decoder.decode(value)
        careful = any(value.count(name) > 1 for name in _REPEATABLE)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        event, careful = None, True
    if event is None or careful:
        event = _read_carefully(_json_bytes(value))
    return _native_event(event, value, record, spec)


def _native_event(event: _Native, value: bytes, record: KafkaRecord, spec: SourceSpec) -> Decoded:
    document_id = (
        fields.key_as_id(record.key) if event.id is msgspec.UNSET else fields.document_id(event.id)
    )
    try:
        op = operation(event.op)
        own_version = (
            fields.version(event.version) if spec.version_rule is VersionRule.EVENT else None
        )
        version = fields.effective_version(
            own_version, record, spec.version_rule, relative=op is Op.DELETE
        )
        event_at_ms = fields.time_ms(event.updated_at)
        raw_sha256 = hashlib.sha256(value).digest()
        if op is Op.DELETE:
            return ChangeEvent(
                op=op,
                document_id=document_id,
                version=version,
                event_at_ms=event_at_ms,
                raw_sha256=raw_sha256,
            )
        content, content_bytes, content_sha256 = _content(event.content)
        return ChangeEvent(
            op=op,
            document_id=document_id,
            version=version,
            uri=fields.uri(event.uri),
            title=fields.title(event.title),
            content_type=fields.content_type(event.content_type),
            content=content,
            metadata=_metadata(event.metadata),
            acl=fields.acl(event.acl),
            event_at_ms=event_at_ms,
            expires_at_ms=fields.expiry_ms(event.expires_at),
            content_bytes=content_bytes,
            content_sha256=content_sha256,
            raw_sha256=raw_sha256,
        )
    except FieldError as error:
        return Undecodable(reason=error.reason, detail=error.detail, document_id=document_id)


def operation(value: Any) -> Op:
    """`upsert` (also where none is named) or `delete`, in any case of letters."""
    if value is None:
        return Op.UPSERT
    if isinstance(value, str) and (lower := value.strip().lower()) in ("upsert", "delete"):
        return Op(lower)
    raise fields.invalid("op", value, "upsert or delete")


def _content(content: Any) -> tuple[str, int, bytes]:
    """The text, and the size in bytes and SHA-256 of it as it was received."""
    if content is None:
        raise fields.invalid(
            "content", content, "text for an upsert (an empty text is allowed, none is not)"
        )
    if not isinstance(content, str):
        raise fields.invalid("content", content, "text")
    try:
        received = content.encode()
    except UnicodeEncodeError:
        content = fields.repair(content)
        received = content.encode()
    without_nul = content.replace("\x00", "") if "\x00" in content else content
    return without_nul, len(received), hashlib.sha256(received).digest()


def _metadata(raw: msgspec.Raw) -> dict[str, Any]:
    text = bytes(raw)
    try:
        value = _metadata_decoder.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError):
        return fields.metadata(
            _loads(_text(text))
        )  # bad bytes are lone surrogates now, whatever `text` looks like
    if type(value) is dict and _is_plain(text):
        return value
    return fields.metadata(value)


def _is_plain(text: bytes) -> bool:
    """True where nothing in this JSON can need repair: saves the walk through it."""
    shallow = text.count(b"{") + text.count(b"[") < fields.MAX_METADATA_DEPTH
    return (
        shallow
        and not any(trouble in text for trouble in _ESCAPED_TROUBLE)
        and not _LONG_NUMBER.search(text)
    )


def _json_bytes(value: bytes) -> bytes:
    """Take off what may stand before JSON: a byte order mark, Confluent's header of a JSON Schema value.

    Raises:
        FieldError: the value is recognisably something else.
    """
    if value.startswith(b"\xef\xbb\xbf"):
        value = value[3:]
    if (
        value[:1] == b"\x00"
        and value[5:6] == b"{"
        and value.rstrip().endswith(b"}")
        and value[6:7] != b"\x00"
    ):
        return value[5:]
    for matches, name in _SIGNATURES:
        if matches(value):
            raise FieldError(
                DeadLetterReason.NOT_DECODABLE,
                f"the value is {name}, not JSON; it starts with {fields.shown(value[:16])}",
            )
    return value


_SIGNATURES: tuple[tuple[Callable[[bytes], bool], str], ...] = (
    (
        lambda value: not value.strip(b" \t\r\n"),
        "empty (that is no tombstone: a tombstone has a null value)",
    ),
    (
        lambda value: (
            value.startswith((b"\xff\xfe", b"\xfe\xff"))
            or value[:2] in (b"{\x00", b"\x00{")
            or value[:4] == b"\x00\x00\x00{"
        ),
        "UTF-16 or UTF-32 (JSON must be UTF-8)",
    ),
    (
        lambda value: value.startswith(b"\x1f\x8b"),
        "gzip (compression is the producer's `compression.type`, not the value's)",
    ),
    (lambda value: value.startswith(b"PK\x03\x04"), "a zip archive"),
    (
        lambda value: len(value) > 5 and value[0] == 0,
        "in Confluent's wire format (magic byte 0 and a schema id)",
    ),
    (lambda value: value.startswith(b"\xac\xed"), "a serialised Java object"),
    (lambda value: value.startswith(b"\x80") and value.endswith(b"."), "a Python pickle"),
)


def _read_carefully(body: bytes) -> _Native:
    """Read with Python's parser: repairs bad bytes, sees repeated keys, says where the JSON is broken."""
    text = _text(body)
    pairs: list[tuple[str, Any]] = []

    def remember(found: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal pairs
        pairs = found  # the outermost object comes last
        return dict(found)

    event = _loads(text, remember)
    if not isinstance(event, dict):
        raise FieldError(
            DeadLetterReason.NOT_DECODABLE, f"the value is {fields.shown(event)}, not a JSON object"
        )
    names = [name for name, _ in pairs]
    for name in _Native.__struct_fields__:
        if names.count(name) > 1:
            raise FieldError(
                DeadLetterReason.NOT_DECODABLE,
                f"the field {name} stands {names.count(name)} times in the event; which one counts is not guessed",
            )
    known = {name: event[name] for name in _Native.__struct_fields__ if name in event}
    if "metadata" in known:
        known["metadata"] = msgspec.Raw(
            json.dumps(fields.metadata(known["metadata"]), ensure_ascii=False).encode()
        )
    return _Native(**known)


def _loads(text: str, hook: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    try:
        return json.loads(text, object_pairs_hook=hook, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise FieldError(
            DeadLetterReason.NOT_DECODABLE,
            f"not JSON: {error.msg} at character {error.pos}: {fields.shown(text[max(error.pos - 10, 0) : error.pos + 20])}",
        ) from None
    except ValueError as error:  # integers of more digits than Python parses
        raise FieldError(
            DeadLetterReason.NOT_DECODABLE, f"not JSON that can be read: {fields.shown(str(error))}"
        ) from None


def _no_constant(name: str) -> None:
    raise FieldError(DeadLetterReason.NOT_DECODABLE, f"not JSON: {name} is no JSON number")


def _text(body: bytes) -> str:
    """UTF-8 with bad bytes kept apart as lone surrogates, which an id refuses and a text shows as U+FFFD.

    Raises:
        FieldError: so much is bad that this is another encoding.
    """
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        pass
    try:
        return body.decode(
            "utf-8", "surrogatepass"
        )  # CESU-8: an emoji as two surrogates of three bytes
    except UnicodeDecodeError:
        text = body.decode("utf-8", "surrogateescape")
    bad = sum(1 for character in text if "\udc80" <= character <= "\udcff")
    if bad > max(32, len(text) // 20):
        raise FieldError(
            DeadLetterReason.NOT_DECODABLE,
            f"the value is not UTF-8: {bad:,} of its {len(body):,} bytes are not; which encoding it is, is not guessed",
        )
    return text


# ── text: the value is the document, the rest stands in headers ──

_HEADERS = (
    "id",
    "op",
    "uri",
    "title",
    "content-type",
    "version",
    "updated-at",
    "expires-at",
    "acl",
)
_METADATA_HEADER = "meta-"


def text(record: KafkaRecord, spec: SourceSpec) -> Decoded:
    """Text, Markdown or HTML as the value. Header `id`, else the key, names the document; `meta-*` headers are metadata."""
    value = record.value or b""
    headers = _text_headers(record)
    document_id = (
        fields.document_id(headers["id"]) if "id" in headers else fields.key_as_id(record.key)
    )
    op = operation(headers.get("op"))
    own_version = (
        fields.version(headers.get("version")) if spec.version_rule is VersionRule.EVENT else None
    )
    version = fields.effective_version(
        own_version, record, spec.version_rule, relative=op is Op.DELETE
    )
    event_at_ms = fields.time_ms(_number_or_text(headers.get("updated-at"))) or record.timestamp_ms
    raw_sha256 = _sha256_of_record(value, headers)
    if op is Op.DELETE:
        return ChangeEvent(
            op=op,
            document_id=document_id,
            version=version,
            event_at_ms=event_at_ms,
            raw_sha256=raw_sha256,
        )
    content, content_bytes, content_sha256 = _content(
        _document_text(value, headers.get("content-type", ""))
    )
    readers = headers.get("acl")
    return ChangeEvent(
        op=op,
        document_id=document_id,
        version=version,
        uri=fields.uri(headers.get("uri")),
        title=fields.title(headers.get("title")),
        content_type=fields.content_type(headers.get("content-type")),
        content=content,
        metadata=fields.metadata(
            {
                name.removeprefix(_METADATA_HEADER): item
                for name, item in headers.items()
                if name.startswith(_METADATA_HEADER)
            }
        ),
        acl=None if readers is None else fields.acl([name.strip() for name in readers.split(",")]),
        event_at_ms=event_at_ms,
        expires_at_ms=fields.expiry_ms(_number_or_text(headers.get("expires-at"))),
        content_bytes=content_bytes,
        content_sha256=content_sha256,
        raw_sha256=raw_sha256,
    )


def _text_headers(record: KafkaRecord) -> dict[str, str]:
    """The headers that mean something here; names in any case, the last one of a name counts."""
    found: dict[str, str] = {}
    for name, value in record.headers:
        name = name.lower()
        if value is None or (name not in _HEADERS and not name.startswith(_METADATA_HEADER)):
            continue
        try:
            found[name] = value.decode(
                "utf-8",
                "strict" if name in ("id", "op", "acl", "version", "expires-at") else "replace",
            )
        except UnicodeDecodeError:
            raise FieldError(
                DeadLetterReason.INVALID_FIELD,
                f"header {name} is {fields.shown(value)}; it must be UTF-8",
            ) from None
    return found


def _number_or_text(value: str | None) -> int | str | None:
    return (
        int(value)
        if value is not None and len(value) <= 19 and value.isascii() and value.isdigit()
        else value
    )


def _sha256_of_record(value: bytes, headers: dict[str, str]) -> bytes:
    """Of the value and the headers that matter: with a value alone, a new title over the same text would count as nothing new."""
    digest = hashlib.sha256(value)
    # Versions are left out as they are compared apart.
    described = sorted((name, item) for name, item in headers.items() if name != "version")
    if described:
        digest.update(json.dumps(described).encode())
    return digest.digest()


def _document_text(value: bytes, content_type: str) -> str:
    """The value as text: by its byte order mark, else by the media type's charset, else UTF-8."""
    if value.startswith((b"\xff\xfe", b"\xfe\xff")):
        return value.decode("utf-16", "replace")
    found = _CHARSET.search(content_type)
    if found is not None and found[1].lower() in _CHARSETS:
        return value.decode(found[1], "replace")
    for matches, name in _SIGNATURES[2:]:
        if matches(value):
            raise FieldError(
                DeadLetterReason.NOT_DECODABLE,
                f"the value is {name}, not text; it starts with {fields.shown(value[:16])}",
            )
    return fields.repair(_text(value.removeprefix(b"\xef\xbb\xbf")))


_CHARSET = re.compile(r"charset\s*=\s*\"?([A-Za-z0-9_-]{1,30})")
# Those that browsers meet; anything else is read as UTF-8. No codec of Python's that is not a character set (rot13, zip).
_CHARSETS = frozenset(
    [
        "iso-8859-1",
        "iso-8859-2",
        "iso-8859-5",
        "iso-8859-7",
        "iso-8859-9",
        "iso-8859-15",
        "latin1",
        "windows-1250",
        "windows-1251",
        "windows-1252",
        "windows-1253",
        "windows-1254",
        "windows-1256",
        "cp1252",
        "koi8-r",
        "shift_jis",
        "euc-jp",
        "iso-2022-jp",
        "gb2312",
        "gbk",
        "gb18030",
        "big5",
        "euc-kr",
        "us-ascii",
        "ascii",
        "utf-16",
        "utf-16le",
        "utf-16be",
        "utf-32",
    ]
)

FORMATS: dict[str, Format] = {"native": native, "text": text}
