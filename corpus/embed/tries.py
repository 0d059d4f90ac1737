"""Texts that were begun to be embedded and got no vector, because the model raised an error or its process ended.

As with documents (`corpus.prepare.tries`), tries are noted only in attempts that follow one that ended so. A text
that was begun before is embedded alone, so that it is known which one it was; after `MAX_TRIES` it is refused.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from psycopg.rows import class_row
from psycopg_pool import ConnectionPool

from corpus.batch import EmbedRequest
from corpus.database import Connection, fetch_all
from corpus.sql import query

MAX_TRIES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class _BegunText:
    """A text that was begun (query `begun_texts`)."""

    text_sha256: bytes
    tries: int


class TextTries:
    """The notes of the texts of one batch.

    Args:
        pool: of connections to PostgreSQL; each note is committed by itself.
        request: of the batch.
        hashes: of its texts.
    """

    def __init__(
        self,
        pool: ConnectionPool[Connection],
        request: EmbedRequest,
        hashes: Sequence[bytes],
    ) -> None:
        self._pool = pool
        self._fingerprint = request.space_fingerprint
        with pool.connection() as connection:
            rows = fetch_all(
                connection,
                class_row(_BegunText),
                "begun_texts",
                self._values(hashes),
            )
        self._tries: Mapping[bytes, int] = {row.text_sha256: row.tries for row in rows}
        self._is_careful = request.bad_ends > 0 or bool(rows)

    def given_up(self) -> list[bytes]:
        """Hashes of the texts that are not tried again."""
        return [text for text, tries in self._tries.items() if tries >= MAX_TRIES]

    def was_begun(self, text: bytes) -> bool:
        """Whether a text is to be embedded alone."""
        return text in self._tries

    def begin(self, hashes: Sequence[bytes]) -> None:
        """Texts go through the model next."""
        self._note("begin_texts", hashes)

    def end(self, hashes: Sequence[bytes]) -> None:
        """They came through it, or are refused."""
        self._note("end_texts", hashes)

    def _note(self, name: str, hashes: Sequence[bytes]) -> None:
        if not self._is_careful or not hashes:
            return
        with self._pool.connection() as connection:
            connection.execute(query(name), self._values(hashes))

    def _values(self, hashes: Sequence[bytes]) -> dict[str, object]:
        return {"space_fingerprint": self._fingerprint, "hashes": list(hashes)}
