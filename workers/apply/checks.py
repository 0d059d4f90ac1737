"""What `apply` refuses since a service, or what the corpus holds, rules it out; a file alone cannot show it."""

from collections.abc import Mapping
from typing import Any, cast

from psycopg.rows import scalar_row

from corpus.database import Connection, database_errors_translated
from corpus.errors import ConfigurationError
from corpus.source import SourceSpec, VersionRule
from corpus.sql import query
from workers.apply.kind import Target
from workers.apply.sources import read_rows
from workers.config import rules

# Re-embedding and re-indexing the documents that exist is not built yet.
_FIXED_BY_DOCUMENTS = ("model", "prefix", "context", "text_search_language")

# Changes after which known versions and later ones can be compared as before: "own" only puts one kind above the other.
_COMPARABLE_RULES = {(str(VersionRule.EVENT), str(VersionRule.OWN))}


def check(connection: Connection, target: Target) -> None:
    """Refuse a configuration that would stop a source, or hide its documents.

    Raises:
        ConfigurationError: names the field, the value and what to do.
        DependencyError: PostgreSQL does not answer.
    """
    _check_loops(target)
    _check_languages(connection, target.config.sources)
    _check_fixed_fields(connection, target.config.sources)
    _check_versions(connection, target.config.sources)


def _check_loops(target: Target) -> None:
    """A source that continues although the file does not name it can close a loop, too."""
    try:
        rules.no_loop(target.continuing)
    except ValueError as error:
        raise ConfigurationError(
            f"together with the sources that continue although the file does not name them: {error}"
        ) from error


def _check_languages(connection: Connection, specs: tuple[SourceSpec, ...]) -> None:
    """A name that PostgreSQL does not know would stop the source at its first batch."""
    known = _column(connection, "text_search_languages")
    for spec in specs:
        language = spec.text_search_language
        if language not in known:
            raise ConfigurationError(
                f"source.{spec.source}.text_search_language = {language!r} is not a text search configuration of "
                f"this PostgreSQL; it has {', '.join(known)}"
            )


def _check_fixed_fields(connection: Connection, specs: tuple[SourceSpec, ...]) -> None:
    """What the chunks were made with stays while there are any: no search would find those made otherwise."""
    with_documents = _column(connection, "sources_with_documents")
    stored = _stored_specs(connection)
    for spec in specs:
        if spec.source in with_documents:
            _check_unchanged(stored[spec.source], spec)


def _check_unchanged(stored: Mapping[str, Any], desired: SourceSpec) -> None:
    defaults = SourceSpec(source=desired.source, topics=desired.topics)
    for field in _FIXED_BY_DOCUMENTS:
        before = stored.get(field, getattr(defaults, field))
        after = getattr(desired, field)
        if before != after:
            raise ConfigurationError(
                f"source.{desired.source}.{field} cannot change from {before!r} to {after!r} while the corpus holds "
                "documents of this source: a search would not find them. Give a new source the new value and the "
                "same topics; retire this one when the new one has caught up"
            )


def _check_versions(connection: Connection, specs: tuple[SourceSpec, ...]) -> None:
    """What gives versions stays while the corpus knows any: later events would be smaller, and so be dropped."""
    stored = _stored_specs(connection)
    with_versions = {
        *_column(connection, "sources_with_documents"),
        *_column(connection, "sources_with_versions"),
    }
    for spec in specs:
        if spec.source in with_versions:
            before = stored[spec.source]
            _check_version_fields(before, spec)


def _check_version_fields(stored: Mapping[str, Any], spec: SourceSpec) -> None:
    before = stored.get("version_rule", str(VersionRule.EVENT))
    after = str(spec.version_rule)
    if before != after and (before, after) not in _COMPARABLE_RULES:
        raise _makes_versions_smaller(
            f"source.{spec.source}.version_rule cannot change from {before!r} to {after!r}"
        )
    added = sorted(set(spec.topics) - set(stored.get("topics") or ()))
    if added and spec.version_rule is VersionRule.OFFSET:
        raise _makes_versions_smaller(
            f'source.{spec.source}.topics cannot have {added[0]!r} beside version_rule = "offset"'
        )


def _stored_specs(connection: Connection) -> dict[str, Mapping[str, Any]]:
    """Specifications as they are stored: of one that cannot be read as a whole, its fields count all the same."""
    specs: dict[str, Mapping[str, Any]] = {}
    for row in read_rows(connection):
        stored: Any = row.spec
        is_table = isinstance(stored, dict)
        specs[row.source] = cast("dict[str, Any]", stored) if is_table else {}
    return specs


def _makes_versions_smaller(what: str) -> ConfigurationError:
    return ConfigurationError(
        f"{what} while the corpus knows versions of documents of this source, deleted ones included: versions on "
        "another scale cannot be compared with them, and where they are smaller, every later event would be dropped. "
        "Give a new source the new value and the same topics; retire this one when the new one has caught up"
    )


def _column(connection: Connection, name: str) -> list[str]:
    """The only column of a query."""
    with (
        database_errors_translated(),
        connection.cursor(row_factory=scalar_row) as cursor,
    ):
        cursor.execute(query(name))
        return cursor.fetchall()
