"""The claim on the texts of a shard: one transaction that holds their locks until their vectors are written."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import psycopg
from psycopg.rows import class_row
from psycopg_pool import ConnectionPool

from corpus.batch import EmbedRequest
from corpus.database import Connection
from corpus.embed.embedder import Vectors
from corpus.embed.known_texts import known_texts
from corpus.embed.spaces import registered
from corpus.errors import DependencyError
from corpus.sql import query


class Text(NamedTuple):
    """A text to embed."""

    sha256: bytes
    token_ids: list[int]


def space_of(connection: Connection, request: EmbedRequest) -> int:
    """The id of the batch's space in this transaction; the request's may be of another database."""
    space_id = registered(connection, request.space_fingerprint)
    if space_id is None:
        raise DependencyError(
            f"embedding space {request.space_fingerprint} is not in the database any more: was it restored? "
            "The next attempt registers it again"
        )
    return space_id


@dataclass(frozen=True, slots=True)
class ClaimedText:
    """A row of `claim_texts`."""

    hash: bytes
    claimed: bool
    """False: another worker holds the text."""


class Claim:
    """A claimed shard: one transaction that holds the locks until the vectors are written.

    Attributes:
        texts: claimed, and without a vector: to be embedded.
        held_by_others: claimed by other workers.
        refused: hashes of texts that the model makes no usable vector of.
    """

    def __init__(
        self,
        pool: ConnectionPool[Connection],
        request: EmbedRequest,
        shard: list[Text],
    ) -> None:
        self._pool = pool
        self._request = request
        self._connection = pool.getconn()
        try:
            # The pool's connections commit each statement; this one must not, until its vectors are written.
            self._connection.autocommit = False
            self._space_id = space_of(self._connection, request)
            claimed = self._claim([text.sha256 for text in shard])
            # A second look, after the locks: the worker that held them before may have just written.
            embedded = known_texts(self._connection, self._space_id, claimed)
        except BaseException:
            self.release()
            raise
        wanted = claimed - embedded
        self.texts = [text for text in shard if text.sha256 in wanted]
        self.held_by_others = [text for text in shard if text.sha256 not in claimed]
        self.refused: list[bytes] = []

    def without_refused(self, vectors: Vectors | None) -> Vectors | None:
        """Leave out the texts whose vectors hold no numbers; PostgreSQL would refuse them all."""
        if vectors is None:
            return None
        usable = [bool(np.isfinite(vector).all()) for vector in vectors]
        if all(usable):
            return vectors
        judged = list(zip(self.texts, usable, strict=True))
        self.texts = [text for text, is_usable in judged if is_usable]
        self.refused = [text.sha256 for text, is_usable in judged if not is_usable]
        return vectors[usable]

    def commit(self, vectors: Vectors | None) -> None:
        """Write the vectors of `texts` and end the claim."""
        try:
            if vectors is not None:
                self._copy(vectors)
            self._connection.commit()
        finally:
            self.release()

    def release(self) -> None:
        """End the claim; what was not committed is gone."""
        connection = self._connection
        try:
            if not connection.closed:
                connection.rollback()
                connection.autocommit = True
        except psycopg.Error:
            connection.close()  # it was lost; the pool opens another one in its place
        finally:
            self._pool.putconn(connection)

    def _claim(self, hashes: list[bytes]) -> set[bytes]:
        """Return those that this transaction holds now."""
        parameters = {"space_id": self._space_id, "hashes": hashes}
        with self._connection.cursor(row_factory=class_row(ClaimedText)) as cursor:
            cursor.execute(query("claim_texts"), parameters)
            rows = cursor.fetchall()
        return {row.hash for row in rows if row.claimed}

    def _copy(self, vectors: Vectors) -> None:
        request = self._request
        self._connection.execute(query("create_incoming_embedding"))
        with (
            self._connection.cursor() as cursor,
            cursor.copy(query("copy_embeddings")) as copy,
        ):
            copy.set_types(("int2", "bytea", "int4", "vector", "text", "int8"))
            for text, vector in zip(self.texts, vectors, strict=True):
                columns = (
                    self._space_id,
                    text.sha256,
                    len(vector),
                    vector,
                    request.source,
                    request.batch,
                )
                copy.write_row(columns)
        self._connection.execute(query("insert_embeddings"))
