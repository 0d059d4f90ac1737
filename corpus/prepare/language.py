"""The language of a document: what its event names, else what its text is in, else that of its source."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from psycopg.rows import scalar_row

from corpus.database import Connection, fetch_all
from corpus.languages import (
    WITHOUT_DICTIONARY,
    configuration_of,
    names_no_language,
)
from corpus.prepare.detector import detected_language
from corpus.prepare.heads import Head
from corpus.source import SourceSpec

# A text -> the code of its language; None: not sure.
Detector = Callable[[str], str | None]


class Origin(StrEnum):
    """Where the language of a document version is from."""

    EVENT = "event"
    DETECTED = "detected"
    SOURCE = "source"


class Note(StrEnum):
    """Why a document has the language of its source although more was known of it."""

    UNKNOWN = "unknown"  # the event names a language that is none
    UNSURE = "unsure"  # the text is in several languages, too short, or in none


@dataclass(frozen=True, slots=True)
class Language:
    """The language of a document version."""

    configuration: str  # a text search configuration
    origin: Origin
    note: Note | None = None

    def columns(self) -> dict[str, Any]:
        """The columns of the documents file."""
        return {
            "language": self.configuration,
            "language_from": str(self.origin),
            "language_note": None if self.note is None else str(self.note),
        }


class Languages:
    """Chooses the languages of a source's documents.

    Args:
        spec: of the source.
        known: the text search configurations of the database.
        detector: for sources that detect languages; None: py3langid.
    """

    def __init__(
        self,
        spec: SourceSpec,
        known: Collection[str],
        detector: Detector | None = None,
    ) -> None:
        self._spec = spec
        self._known = frozenset(known)
        self._detector = detector or detected_language

    def of(self, stated: str | None, text: str) -> Language:
        """The language of a document.

        Args:
            stated: what its event names.
            text: of the document, cleaned.

        Raises:
            ConfigurationError: the source detects languages, and the library for it is not installed.
        """
        language = self.without_text(stated)
        if language is not None:
            return language
        code = self._detector(text)
        if code is None:
            return self._of_source(Note.UNSURE)
        configuration = configuration_of(code, self._known) or WITHOUT_DICTIONARY
        return Language(configuration, Origin.DETECTED)

    def without_text(
        self, stated: str | None, reused: Head | None = None
    ) -> Language | None:
        """The language of a document whose text is not at hand; None where the text decides.

        Args:
            stated: what its event names.
            reused: a version of the same text.
        """
        if stated is not None and not names_no_language(stated):
            return self._stated(stated)
        if not self._spec.detect_language:
            return self._of_source()
        if reused is None or not _was_detected(reused):
            return None
        if reused.language is None or reused.language_note == Note.UNSURE:
            return self._of_source(Note.UNSURE)
        return Language(reused.language, Origin.DETECTED)

    def _stated(self, stated: str) -> Language:
        configuration = configuration_of(stated, self._known)
        if configuration is None:
            return self._of_source(Note.UNKNOWN)
        return Language(configuration, Origin.EVENT)

    def _of_source(self, note: Note | None = None) -> Language:
        return Language(self._spec.text_search_language, Origin.SOURCE, note)


def _was_detected(version: Head) -> bool:
    """Whether the language of the version's text was looked for before."""
    return (
        version.language_from == Origin.DETECTED or version.language_note == Note.UNSURE
    )


def languages_of(connection: Connection, spec: SourceSpec) -> Languages:
    """What chooses the languages of a source's documents, by the configurations of this database."""
    known = fetch_all(connection, scalar_row, "text_search_languages")
    return Languages(spec, known)
