"""What some records of a topic have in common: their format, and the lines of a mapping."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import get_args

from corpus.specs.formats import REGISTRY_FORMATS, Format
from ingest.event import KafkaRecord
from ingest.trial.context import Guess, Row
from ingest.trial.facts import key_text
from ingest.trial.forms import NO_VALUE, Form, form_of, is_native_body
from ingest.trial.guess import guess_mapping
from ingest.trial.registered import form_by_schema, with_key

# Formats of objects, of which nothing is known but the names and values of their fields.
READ_BY_NAME = frozenset({"json", *REGISTRY_FORMATS})
REGISTRY = "registry"  # Confluent's wire format, of which the bytes do not say more
_KNOWN_FORMATS = frozenset(get_args(Format))
# A type of CloudEvents that deletes, beside those that the default patterns name.
_DELETING_ENDS = ("delete", "deleted", "remove", "removed")
_DEFAULT_DELETING_ENDS = (".deleted", ".removed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recognised:
    """A topic by some of its records."""

    format: str  # of `Format`, or "registry"; empty: it is none that Freshet reads
    records: int  # that were looked at
    of_format: int  # of them, in this format
    forms: dict[str, int]  # how many records are in each form, in words
    schema_ids: tuple[str, ...] = ()  # in a schema registry
    written_by: str = ""  # of changes of rows: `DebeziumSpec.encoding`; empty: JSON
    encodings: tuple[str, ...] = ()  # of the header content-encoding
    deleted_types: tuple[str, ...] = ()  # of CloudEvents, to be configured
    guesses: tuple[Guess, ...] = ()  # of the mapping; none: it needs none

    @property
    def is_readable(self) -> bool:
        """Whether a source can be configured to read it."""
        return self.format in _KNOWN_FORMATS

    def sentence(
        self,
    ) -> str:
        """The format for people."""
        forms = [f"{form} ({count:,})" for form, count in self.forms.items()]
        seen = "; ".join(forms)
        if not self.format and set(self.forms) == {NO_VALUE}:
            return (
                "records without a value, which delete in every format; others may say more: --offset beginning, or a "
                "larger --count"
            )
        if not self.format:
            return f"no format that Freshet reads: {seen}"
        if self.format == REGISTRY:
            ids = ", ".join(self.schema_ids)
            return f"{seen}; schema ids {ids}: {_NO_REGISTRY}"
        said = f"{self.format}, {self.of_format:,} of {self.records:,} records: {seen}"
        if self.encodings:
            said += f"; compressed ({', '.join(self.encodings)})"
        if self.schema_ids:
            said += f"; schema ids {', '.join(self.schema_ids)}"
        return said


_NO_REGISTRY = (
    "a schema registry has their schemas; set FRESHET_SCHEMA_REGISTRY_URL, or give its address as --registry, and the "
    "records are read by it"
)


def recognise(
    records: Sequence[KafkaRecord],
    *,
    has_registry: bool = False,
) -> Recognised:
    """The format that most records have, and what a mapping for it would be.

    Args:
        records: of a topic.
        has_registry: whether this process has a schema registry, and reads by it what names a schema.

    Raises:
        ConfigurationError: the registry refuses the login, or its address is none.
        DependencyError: the registry does not answer.
    """
    by_schema = None
    if has_registry:
        by_schema = form_by_schema
    forms = [form_of(record, by_schema) for record in records]
    if has_registry:
        records = [
            with_key(record) if form.schema_id else record
            for record, form in zip(records, forms, strict=True)
        ]
    chosen = _most(forms)
    of_format = [form for form in forms if form.format == chosen]
    rows = _rows(records, forms, chosen)
    return Recognised(
        format=chosen,
        records=len(records),
        of_format=len(of_format),
        forms=_counted(forms),
        schema_ids=_distinct(form.schema_id for form in forms),
        written_by=_written_by(of_format),
        encodings=_distinct(form.encoding for form in forms),
        deleted_types=_deleted_types(of_format),
        guesses=tuple(_guesses(chosen, rows, of_format)),
    )


def _most(forms: Sequence[Form]) -> str:
    """The format that most of the forms have which say something."""
    votes = Counter(form.format for form in forms if form.format)
    if not votes:
        return ""
    [(chosen, _)] = votes.most_common(1)
    return _widened(chosen, votes)


def _written_by(forms: Sequence[Form]) -> str:
    """How most changes of rows are written."""
    if not forms:
        return ""
    [(written_by, _)] = Counter(form.written_by for form in forms).most_common(1)
    return written_by


def _rows(
    records: Sequence[KafkaRecord], forms: Sequence[Form], chosen: str
) -> list[Row]:
    """The fields of the records of a format."""
    rows: list[Row] = []
    for record, form in zip(records, forms, strict=True):
        if form.format == chosen and form.fields is not None:
            row = Row(form.fields, key_text(record), form.deletes)
            rows.append(row)
    return rows


def _widened(chosen: str, votes: Counter[str]) -> str:
    """Texts among objects are damaged objects, if there are as many objects."""
    others = [name for name in votes if name != "text"]
    if chosen != "text" or not others:
        return chosen
    best = max(others, key=lambda name: votes[name])
    return best if votes[best] >= votes[chosen] else chosen


def _counted(forms: Sequence[Form]) -> dict[str, int]:
    counts = Counter(form.variant for form in forms)
    return dict(counts.most_common())


def _distinct(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value for value in values if value))


def _guesses(
    chosen: str,
    rows: Sequence[Row],
    forms: Sequence[Form],
) -> list[Guess]:
    # A record without fields need have none: that of a truncated table has no key.
    has_keys = all(row.key for row in rows)
    if chosen in READ_BY_NAME:
        return guess_mapping(rows, names_id=True, versions=True)
    match chosen:
        case "debezium":
            return guess_mapping(rows, names_id=not has_keys, versions=False)
        case "cloudevents":
            return _cloud_guesses(rows, forms)
        case _:
            return []


def _cloud_guesses(rows: Sequence[Row], forms: Sequence[Form]) -> list[Guess]:
    """None where a body is the document itself, or an event in Freshet's own fields."""
    bodies = [form for form in forms if form.fields is not None]
    if not bodies or all(is_native_body(form.fields or {}) for form in bodies):
        return []
    return guess_mapping(rows, names_id=False, versions=False)


def _deleted_types(forms: Sequence[Form]) -> tuple[str, ...]:
    types = _distinct(form.type for form in forms)
    deleting = [name for name in types if name.lower().endswith(_DELETING_ENDS)]
    if all(name.endswith(_DEFAULT_DELETING_ENDS) for name in deleting):
        return ()
    return tuple(deleting)
