"""The fields of a record become those of an event, by the mapping of its source."""

from functools import lru_cache
from typing import Any, NamedTuple, cast

from corpus.specs.formats import EVERY_OTHER, HEADER, OPTIONAL, MappingSpec
from ingest.decode import times
from ingest.decode.fields import FieldError
from ingest.decode.paths import (
    Compiled,
    PathError,
    Reader,
    compile_path,
    compile_text,
    plain,
    template_text,
)
from ingest.decode.received import ReceivedFields
from ingest.event import KafkaRecord

# Fields that a template may make.
_TEXTS = frozenset({"id", "content", "content_url", "title", "uri"})
# Read for every event, deletes included.
_FIRST = ("id", "version")
_OTHERS = (
    *("content", "content_base64", "content_url", "content_sha256"),
    *("title", "uri", "content_type"),
    *("updated_at", "expires_at", "acl", "language"),
)
# A wrong value of these shows a wrong document, or shows one to the wrong people.
_UNREPEATED = (
    *("id", "version", "content", "content_base64", "acl", "expires_at"),
    *("content_url", "content_sha256"),
)


class Condition(NamedTuple):
    """A field that has a value."""

    read: Reader
    wanted: str


class Mapping(NamedTuple):
    """A mapping, compiled."""

    first: tuple[tuple[str, Reader], ...]
    others: tuple[tuple[str, Reader], ...]
    metadata: tuple[tuple[str, Reader], ...]
    # Fields that are no metadata, where every other one is.
    used: frozenset[str] | None
    deleted_when: tuple[Condition, ...]
    # Names that no object of the value may have twice: parsers differ on which one counts.
    unrepeated: tuple[str, ...]
    # Fields of the value that any path begins with; None: all of them.
    reads: frozenset[str] | None

    @property
    def names_id(self) -> bool:
        """Whether a path names the document, and not the record's key."""
        return bool(self.first) and self.first[0][0] == "id"


@lru_cache(maxsize=1_024)
def compiled(spec: MappingSpec) -> Mapping:
    """The mapping of a specification.

    Raises:
        PathError: names the field whose path cannot be read.
    """
    paths = {name: _field(spec, name) for name in (*_FIRST, *_OTHERS)}
    entries = [_metadata(entry) for entry in spec.metadata if entry != EVERY_OTHER]
    conditions = [_condition(text) for text in spec.deleted_when]
    named = [*paths.values(), *(path for _, path in (*entries, *conditions))]
    return Mapping(
        first=_readers(paths, _FIRST),
        others=_readers(paths, _OTHERS),
        metadata=tuple((name, path.read) for name, path in entries),
        used=_used(named) if EVERY_OTHER in spec.metadata else None,
        deleted_when=tuple(Condition(path.read, wanted) for wanted, path in conditions),
        unrepeated=_unrepeated(paths),
        reads=_reads(spec, named),
    )


def begin_event(
    mapping: Mapping, value: Any, record: KafkaRecord, document_id: str | None = None
) -> ReceivedFields:
    """The id, and whether the record deletes its document.

    Raises:
        FieldError: the path of the id is missing.
    """
    event = ReceivedFields()
    if document_id is not None:
        event.id = document_id
    elif mapping.names_id:
        event.id = plain(mapping.first[0][1](value, record))
    if _is_deleted(mapping, value, record):
        event.op = "delete"
    return event


def fill_event(
    event: ReceivedFields,
    mapping: Mapping,
    value: Any,
    record: KafkaRecord,
) -> None:
    """Read the other fields; of a delete only its version.

    Raises:
        FieldError: names the path that is missing.
    """
    for name, read in mapping.first:
        if name == "version":
            event.version = _version(read(value, record))
    if event.op == "delete":
        return
    for name, read in mapping.others:
        setattr(event, name, read(value, record))
    if mapping.others:
        _settle(event)
    if mapping.metadata or mapping.used is not None:
        event.metadata = _all_metadata(mapping, value, record)


def version_in(
    spec: MappingSpec, value: Any, record: KafkaRecord, *, is_optional: bool
) -> Any:
    """The version by its path alone; None: it may be missing, and is.

    Raises:
        FieldError: the path is missing.
    """
    for name, read in compiled(spec).first:
        if name != "version":
            continue
        try:
            return _version(read(value, record))
        except FieldError:
            if not is_optional:
                raise
    return None


def fill_from_headers(
    event: ReceivedFields,
    mapping: Mapping,
    record: KafkaRecord,
) -> dict[str, Any]:
    """Set what the mapping takes from headers, in a format that names its fields itself.

    Returns:
        Metadata beside that of the event.

    Raises:
        FieldError: names the header that is missing.
    """
    if _is_deleted(mapping, None, record):
        event.op = "delete"
    readers = mapping.first
    if event.op != "delete":
        readers += mapping.others
    # Apart from the event's own fields, which are as its format has them: there, a text is no access list.
    in_headers = ReceivedFields()
    for name, read in readers:
        setattr(in_headers, name, read(None, record))
    _settle(in_headers)
    for name, _ in readers:
        value = getattr(in_headers, name)
        if value is not None:
            setattr(event, name, value)
    if event.op == "delete":
        return {}
    return {name: read(None, record) for name, read in mapping.metadata}


def deleting_fields(
    spec: MappingSpec,
    record: KafkaRecord,
) -> ReceivedFields:
    """What a record without a value says of its document: only its headers can say anything.

    Raises:
        FieldError: names the header that is missing.
    """
    event = ReceivedFields()
    for name, read in compiled(spec).first:
        path: str = getattr(spec, name)
        if path.startswith(HEADER):
            setattr(event, name, read(None, record))
    event.version = _version(event.version)
    return event


# ── what fields become ──────────────────────────────────────────────────────────────────────────────────────────────


def _settle(event: ReceivedFields) -> None:
    """Values as the checks of all formats expect them."""
    if isinstance(event.acl, str):
        event.acl = _readers_of(event.acl)
    event.updated_at = _moment(event.updated_at)
    event.expires_at = _moment(event.expires_at)
    event.version = _version(event.version)


def _readers_of(text: str) -> list[str]:
    """An access list as text; names are separated by commas. An empty text is no list, and is refused as such."""
    return [name.strip() for name in text.split(",")]


def _moment(value: Any) -> Any:
    if isinstance(value, str):
        return times.number_or_text(value)
    return plain(value)


def _version(value: Any) -> Any:
    """A time becomes microseconds, so that the changes of one second have an order."""
    value = plain(value)
    if not isinstance(value, str):
        return value
    if value.isdecimal():
        return value
    microseconds = times.time_us(value)
    if microseconds is None:
        return value
    return microseconds


def _is_deleted(mapping: Mapping, value: Any, record: KafkaRecord) -> bool:
    conditions = mapping.deleted_when
    if not conditions:
        return False
    return all(
        template_text(plain(condition.read(value, record))) == condition.wanted
        for condition in conditions
    )


def _all_metadata(
    mapping: Mapping,
    value: Any,
    record: KafkaRecord,
) -> Any:
    metadata: dict[str, Any] = {}
    if mapping.used is not None and isinstance(value, dict):
        every = cast("dict[str, Any]", value)
        used = mapping.used
        metadata = {
            name: plain(each) for name, each in every.items() if name not in used
        }
    for name, read in mapping.metadata:
        metadata[name] = plain(read(value, record))
    return metadata


# ── compiling ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _field(spec: MappingSpec, name: str) -> Compiled | None:
    path: str | None = getattr(spec, name)
    if path is None:
        return None
    try:
        if name in _TEXTS:
            return compile_text(name, path)
        return compile_path(name, path)
    except PathError as error:
        raise PathError(f"{name} = {error}") from None


def _readers(
    paths: dict[str, Compiled | None], names: tuple[str, ...]
) -> tuple[tuple[str, Reader], ...]:
    readers: list[tuple[str, Reader]] = []
    for name in names:
        path = paths[name]
        if path is not None:
            readers.append((name, path.read))
    return tuple(readers)


def _used(paths: list[Compiled | None]) -> frozenset[str]:
    roots: set[str] = set()
    for path in paths:
        if path is not None:
            roots |= path.roots
    return frozenset(roots)


def _reads(
    spec: MappingSpec,
    paths: list[Compiled | None],
) -> frozenset[str] | None:
    if EVERY_OTHER in spec.metadata:
        return None
    if any(path is not None and path.is_of_all for path in paths):
        return None
    return _used(paths)


def _unrepeated(paths: dict[str, Compiled | None]) -> tuple[str, ...]:
    names: set[str] = set()
    for field in _UNREPEATED:
        path = paths[field]
        if path is not None:
            names |= path.names
    return tuple(sorted(names))


def _metadata(entry: str) -> tuple[str, Compiled]:
    """`NAME = PATH`, or a path whose last name counts."""
    name, separator, path = entry.partition(" = ")
    if not separator:
        path = entry
        name = _last_name(entry)
    try:
        read = compile_path("metadata", path)
    except PathError as error:
        detail = f"metadata has {error}"
        raise PathError(detail) from None
    name = name.strip()
    return name, read


def _last_name(path: str) -> str:
    text = path.strip()
    text = text.removesuffix(OPTIONAL)
    text = text.removeprefix(HEADER)
    if path.startswith(HEADER):
        return text.strip()
    _, _, name = text.rpartition(".")
    return name.strip('" ')


def _condition(text: str) -> tuple[str, Compiled]:
    """The value and the path of `PATH = VALUE`. A field that is absent has no value, so the condition does not hold."""
    path, separator, wanted = text.partition(" = ")
    if not separator:
        raise PathError(f"deleted_when = {text!r} must be PATH = VALUE")
    try:
        optional = path.removesuffix(OPTIONAL) + OPTIONAL
        return wanted.strip(), compile_path("deleted_when", optional)
    except PathError as error:
        raise PathError(f"deleted_when = {error}") from None
