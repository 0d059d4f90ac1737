"""What a mapping is guessed of: the names that fields usually have, the rows, and the guesses themselves."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from ingest.trial.facts import Facts, Fields

SURE, LIKELY, UNSURE = "sure", "likely", "a guess"

NAMES: dict[str, tuple[str, ...]] = {
    "id": (
        *("id", "document_id", "doc_id", "uuid", "guid", "key", "slug", "page_id"),
        *("article_id", "ticket_id", "number", "path", "url", "uri"),
    ),
    "version": (
        *("version", "revision", "rev", "version_number", "row_version", "seq"),
        *("sequence", "lsn", "etag_version"),
    ),
    "content": (
        *("content", "body", "text", "body_html", "html", "body_text", "markdown"),
        *("body_markdown", "description", "article", "message", "comment", "notes"),
        *("note", "abstract", "summary", "answer", "value"),
    ),
    "title": (
        *("title", "headline", "subject", "heading", "name", "label", "question"),
        *("summary",),
    ),
    "uri": ("uri", "url", "link", "href", "permalink", "web_url", "html_url", "self"),
    "content_type": (
        *("content_type", "media_type", "mime_type", "mimetype", "mime"),
        "format",
    ),
    "updated_at": (
        *("updated_at", "modified_at", "last_modified", "updated", "modified"),
        *("changed_at", "revised_at", "updated_on", "last_updated", "published_at"),
        *("timestamp", "ts", "time", "date", "created_at", "created"),
    ),
    "expires_at": ("expires_at", "expiry", "expires", "valid_until", "valid_to"),
    "acl": (
        *("acl", "readers", "allowed_groups", "access_groups", "visible_to"),
        *("groups", "permissions"),
    ),
    "language": ("language", "lang", "locale"),
}


class Row(NamedTuple):
    """The fields of one record."""

    fields: Fields
    key: str  # empty: the record has none
    deletes: bool  # by its format; the fields may be what is left of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """One line of a mapping."""

    field: str
    value: Any  # a path, or a list of them
    sure: str  # SURE, LIKELY, UNSURE
    why: str


class Context(NamedTuple):
    """What guesses are made of."""

    facts: dict[str, Facts]
    records: int  # that have fields and do not delete by their format
    used: set[str]  # paths

    def named(self, field: str, fits: Callable[[Facts], bool]) -> Facts | None:
        """The field that a list of names puts first; one that is less deep comes before a deeper one."""
        names = NAMES[field]
        fitting = [
            facts
            for facts in self.facts.values()
            if facts.name in names and facts.path not in self.used and fits(facts)
        ]
        if not fitting:
            return None
        return min(fitting, key=lambda one: (one.depth, names.index(one.name)))

    def path(self, facts: Facts) -> str:
        """Its path; one that a record lacks may be missing."""
        self.used.add(facts.path)
        return facts.path if facts.present >= self.records else f"{facts.path}?"
